//! The config: TOML text, then the raw config with the place of every value, then the checked
//! [`Policy`].
//!
//! [`load`] and [`parse`] find every error at once, each with line, column, field and a hint, and where
//! there is none, every warning. They look at the text alone, unless they are given a [`HostView`]: then a
//! text without errors is held against the host as well.

use std::path::Path;

mod approval;
pub mod approval_fault;
mod approval_keys;
pub mod bypass;
pub mod canary;
mod canary_keys;
mod check;
pub(crate) mod each;
pub mod error;
pub mod finding;
pub mod fragment_fault;
pub mod fragments;
pub mod groups;
mod hint;
pub mod history;
mod history_keys;
mod hook_keys;
pub mod host;
mod host_keys;
pub mod jurisdiction_set;
pub mod keys;
pub mod limits;
pub mod log;
pub mod metrics;
mod metrics_keys;
pub mod no_effect;
pub mod pattern;
mod places;
pub mod placing;
pub mod policy;
pub mod ports;
pub mod protect;
mod raw;
pub(crate) mod read;
mod record;
pub mod record_keeping;
mod record_keys;
mod same_path;
pub mod schema;
pub mod sections;
pub mod share;
pub(crate) mod sink;
pub mod sockets;
pub(crate) mod suggest;
mod surprises;
pub(crate) mod syntax;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod values;
pub mod volume;
mod wanted;
pub mod warning;
mod warning_hint;

pub use error::{ConfigErrors, ErrorKind};
pub use finding::{Errors, Explain, Finding, Place};
pub use groups::BuiltinGroups;
pub use host::HostView;
pub(crate) use places::CARRIERS;
pub use policy::Policy;
pub use surprises::Database;
pub use warning::{Warning, WarningKind};

use sink::Sink;

/// What a config is checked against beside its own text.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The built-in groups.
    pub groups: BuiltinGroups<'a>,
    /// A geo database, for sites that contradict it; `None`: this is not looked at, unless the host has one.
    pub database: Option<Database<'a>>,
    /// The host; `None`: the text alone is looked at.
    pub host: Option<&'a dyn HostView>,
}

impl<'a> Surroundings<'a> {
    /// The program's own: its built-in groups, and the geo database if there is one at hand.
    #[must_use]
    pub fn new(database: Option<Database<'a>>) -> Self {
        Self { groups: &groups::builtin, database, host: None }
    }

    /// The program's built-in groups, and a host.
    #[must_use]
    pub fn of_host(host: &'a dyn HostView) -> Self {
        Self { host: Some(host), ..Self::new(None) }
    }
}

/// A config without errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What it says.
    pub policy: Policy,
    /// What may surprise, in the order of the file.
    pub warnings: Vec<Warning>,
}

/// Reads and checks a config file, with those of `policy.d` beside it.
///
/// # Errors
/// Every error in the files, or the one that can't be read.
pub fn load(file: &Path, surroundings: &Surroundings<'_>) -> Result<Checked, ConfigErrors> {
    parse(file, &text(file)?, surroundings)
}

/// Reads the text of a config: that of its own file, and of those of `policy.d` beside it.
///
/// # Errors
/// The file that can't be read.
pub fn text(file: &Path) -> Result<Vec<u8>, ConfigErrors> {
    fragments::read(file).map(fragments::OnDisk::text)
}

/// Checks the text of a config; `file` is the name of its own file in errors.
///
/// # Errors
/// Every error in it. Where the text is not TOML, these are the syntax errors alone.
pub fn parse(file: &Path, bytes: &[u8], surroundings: &Surroundings<'_>) -> Result<Checked, ConfigErrors> {
    if bytes.len() > limits::FILE_BYTES {
        return Err(ConfigErrors::whole_file(file, ErrorKind::FileTooLong));
    }
    let text = syntax::text(bytes);
    let (own, parts) = fragments::split(text.utf8);
    let names: Vec<_> = parts.iter().map(|part| (part.start, part.name)).collect();
    let mut sink = Sink::with_fragments(text.utf8, &names);
    if !parts.is_empty() {
        fragments::check(text.utf8, (own, &parts), &mut sink);
        if sink.has_errors() {
            return finish(file, None, sink);
        }
    }
    let Some(document) = text.parse(&mut sink) else {
        return finish(file, None, sink);
    };
    let raw = raw::read(document.get_ref(), &mut sink);
    let groups = groups::Groups::resolve(&raw, surroundings.groups, &mut sink);
    let mut policy = check::check(&raw, &groups, fingerprint(bytes), &mut sink);
    policy.text = bytes.into();
    if !sink.has_errors() {
        look_around(&raw, &policy, &groups, surroundings, &mut sink);
    }
    finish(file, Some(policy), sink)
}

/// Looks at what only a policy without errors has.
fn look_around(
    raw: &raw::Raw,
    policy: &Policy,
    groups: &groups::Groups,
    surroundings: &Surroundings<'_>,
    sink: &mut Sink<'_>,
) {
    let mut databases = None;
    if let Some(view) = surroundings.host {
        databases = host::find_errors(raw, policy, view, sink);
        // Warnings are looked for once there are no errors.
        if sink.has_errors() {
            return;
        }
        host::find_warnings(raw, policy, view, databases.as_ref(), sink);
    }
    let of_host = databases.as_ref().map(|databases| |address| Some(databases.lookup(address)));
    let of_host = of_host.as_ref().map(|lookup| lookup as Database<'_>);
    surprises::find(raw, policy, groups, of_host.or(surroundings.database), sink);
}

fn finish(file: &Path, policy: Option<Policy>, sink: Sink<'_>) -> Result<Checked, ConfigErrors> {
    let (errors, warnings) = sink.finish();
    match policy {
        Some(policy) if errors.is_empty() => Ok(Checked { policy, warnings }),
        _ => Err(ConfigErrors { file: file.to_owned(), errors }),
    }
}

/// The fingerprint of a config file's bytes: FNV-1a with 64 bits (Fowler, Noll and Vo), the same on every
/// host and with every release.
#[must_use]
pub fn fingerprint(bytes: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.iter().fold(OFFSET, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}
