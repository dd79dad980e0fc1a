//! The kernel's counters as the store takes them.

use guard_common::abi::{Count, Hook};
use guard_common::verdict::{Reason, Verdict};

use crate::events::names::{Names, PinName};
use crate::kernel::Counters;
use crate::store::{CountsByNumber, Judgement, Kept, PinInfo, Rows};

impl CountsByNumber for Counters {
    fn rows(&self) -> Rows<u8> {
        let permitted = self.permitted.iter().map(|row| {
            let judgement = Judgement::new(Hook::Egress, Verdict::Pass, Reason::Permitted, row.jurisdiction);
            ((row.pin, judgement), row.count)
        });
        let outcomes = self.outcomes.iter().map(|row| {
            let judgement = Judgement::new(row.hook, row.verdict, row.reason, row.jurisdiction);
            ((row.pin, judgement), row.count)
        });
        let both = permitted.chain(outcomes);
        both.map(|(key, Count { packets, bytes })| (key, (packets, bytes))).collect()
    }
}

/// The names of a generation that an earlier daemon left, for events of its that are still to come. What the store knows of the
/// kernel's places for exemptions was so for that generation: an older store knows nothing of them.
pub(super) fn names_of(pins: &[PinInfo], kept: &Kept, generation: u64, config: &str) -> Names {
    let name = |pin: &PinInfo| PinName {
        name: pin.name.as_str().into(),
        line: pin.line,
        action: pin.action,
        ingress: pin.ingress,
    };
    Names {
        generation,
        config: config.into(),
        policy: None,
        pins: pins.iter().map(name).collect(),
        exemptions: kept.ids_by_slot().into_iter().map(|(slot, id)| (slot, id.into())).collect(),
        interfaces: Default::default(),
        volumes: Default::default(),
        cgroups: Default::default(),
    }
}
