//! Which signatures count no more.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Kept;
use super::configs::Configs;
use super::high_water;

/// What signs nothing any more, or why that is not known: then no signature counts.
pub type Known = Result<Spent, String>;

/// What signs nothing any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Fingerprints of keys that are revoked.
    pub keys: Vec<String>,
    /// Configs that were in force and were replaced since, by their SHA-256. A signature of one may be from before that: it
    /// does not say what it was to replace, and what closed since would open again by it.
    pub configs: BTreeSet<String>,
    /// Whether the last config that was signed and in force has the signature of one of those keys: who signs the next one is
    /// recorded, also where it opens nothing.
    pub is_by_revoked: bool,
    /// The latest time that is known: keys that had ended by then sign nothing, whatever the wall clock says.
    pub latest: Option<Timestamp>,
}

impl Kept {
    /// What signs nothing any more.
    ///
    /// # Errors
    /// Where the store can't be opened, or is an older one and nobody has decided on what it lacks.
    pub fn spent_signatures(&self) -> Known {
        if !self.is_usable() {
            return Err("the store can't be opened".to_owned());
        }
        if self.orders().any(|order| order.order == high_water::UNKNOWN) {
            return Err(high_water::UNKNOWN.to_owned());
        }
        let keys = self.revoked_keys();
        let is_by_revoked = self.config_signed_with(&keys).is_some();
        Ok(Spent { keys, configs: self.replaced_configs(), is_by_revoked, latest: self.latest() })
    }

    /// The configs that were in force and were replaced since.
    pub(super) fn replaced_configs(&self) -> BTreeSet<String> {
        let Configs { all, last, lost } = self.configs();
        all.iter().filter(|it| Some(*it) != last.as_ref()).chain(lost).cloned().collect()
    }
}
