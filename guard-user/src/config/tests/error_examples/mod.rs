//! One example, or a few, for each kind of error.

mod interfaces;
mod jurisdictions;
mod keys;
mod names;
mod networks;
mod ports;
mod settings;
mod syntax;
mod types;

pub(super) use super::findings::Example;

/// All examples.
pub(super) fn examples() -> impl Iterator<Item = &'static Example> {
    let parts = [
        syntax::EXAMPLES,
        keys::EXAMPLES,
        types::EXAMPLES,
        names::EXAMPLES,
        networks::EXAMPLES,
        jurisdictions::EXAMPLES,
        ports::EXAMPLES,
        interfaces::EXAMPLES,
        settings::EXAMPLES,
    ];
    parts.into_iter().flatten()
}
