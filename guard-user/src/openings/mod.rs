//! What a policy newly lets pass: the difference of two policies with their databases, computed from their tables.
//!
//! Every dimension of a flow is cut into classes wherever the old or the new tables say something else. What a pin
//! forbids is a product of sets of classes for each of its ways, and what the new policy forbids is taken away from it.
//! Nothing is sampled. What can't be compared counts as opened.

mod areas;
mod cidr;
mod destinations;
mod dimensions;
mod grants;
mod judge;
mod marks;
mod opening;
mod settings;
#[cfg(test)]
mod tests;
mod text;
mod value;
mod world;

use std::fmt;

use crate::compile::CompileError;

pub use cidr::Cidrs;
pub use destinations::{Destinations, KEPT, Moved};
pub use opening::{Changed, Opening};
pub use settings::Change;
pub use value::Packets;
pub use world::World;
use world::tables_of;

/// All that newly passes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Openings {
    /// Flows that the new policy judges more mildly.
    pub flows: Vec<Opening>,
    /// What is no matter of a single packet, and what can't be compared.
    pub changes: Vec<Change>,
}

impl Openings {
    /// Whether nothing newly passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty() && self.changes.is_empty()
    }
}

impl fmt::Display for Openings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_flow = |flow: &Opening| {
            let keys = flow.changes.iter().map(|it| it.key).collect::<Vec<_>>().join(" and ");
            format!("the pin {} ({keys})", flow.pin)
        };
        let of_change = |change: &Change| match change.key.as_str() {
            "" => change.opens.clone(),
            key => format!("{key} ({})", change.opens),
        };
        let mut all: Vec<String> = self.flows.iter().map(of_flow).collect();
        all.extend(self.changes.iter().map(of_change));
        all.dedup();
        f.write_str(&text::listed(all))
    }
}

/// What passes by the new world and not by the old one, or with a milder verdict.
///
/// A pin that is gone, and one that has another name, is told although another pin may forbid the same: exemptions and
/// history go by the name. With [`World::may_exempt`] so is what one pin loses to another.
///
/// # Errors
///
/// [`CompileError`] where either world is none that the kernel's tables can hold.
pub fn openings(old: &World<'_>, new: &World<'_>) -> Result<Openings, CompileError> {
    let tables = [tables_of(old)?, tables_of(new)?];
    let mut changes = settings::changes(old.policy, new.policy);
    let comparison = judge::Comparison::new([old, new], &tables);
    let found = comparison.as_ref().and_then(|it| Some((it, it.found()?)));
    let flows = found.map(|(comparison, found)| opening::all(comparison, &found));
    if new.may_exempt {
        changes.extend(comparison.iter().flat_map(settings::of_sites));
    }
    if flows.is_none() {
        changes.push(Change {
            key: String::new(),
            was: String::new(),
            is: String::new(),
            opens: "there are more combinations of selectors than are compared".to_owned(),
        });
    }
    Ok(Openings { flows: flows.unwrap_or_default(), changes })
}
