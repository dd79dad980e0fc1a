//! Which configs were in force.

use std::collections::BTreeSet;

/// The configs that were in force.
#[derive(Clone, Debug, Default)]
pub(super) struct Configs {
    /// All of them, by their SHA-256.
    pub(super) all: BTreeSet<String>,
    /// The one that was in force last.
    pub(super) last: Option<String>,
    /// Those that were replaced by what an older store lacks, as the mark beside it had them.
    pub(super) lost: BTreeSet<String>,
}
