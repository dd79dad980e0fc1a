//! The kernel's counters as the store takes them.

use std::collections::HashMap;
use std::sync::Arc;

use guard_common::abi::{Count, Hook};
use guard_common::verdict::{Reason, Verdict};

use crate::events::names::{Names, PinName};
use crate::kernel::Counters;
use crate::store::{CountsByNumber, Judgement, Kept, PinCounts, PinInfo, Rows};

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

/// How many generations before the last one may still have events or flow records that are to be told.
const GENERATIONS: u64 = 16;

/// The names of the generations that earlier daemons left, for events and flow records of theirs that are still to come. The
/// store's own places for exemptions were so for the last one: an older store knows nothing of that.
pub(super) fn names_left(counts: &PinCounts, kept: &Kept, last: u64, config: &str) -> Vec<Names> {
    let each = last.saturating_sub(GENERATIONS)..=last;
    let names = each.filter_map(|generation| {
        if let Some((pins, exemptions)) = counts.names_of(generation) {
            let ids = exemptions.map(|(slot, id)| (slot, id.into())).collect();
            return Some(names_of(pins, ids, generation, config));
        }
        // An earlier version kept no more.
        let ids = kept.ids_by_slot().into_iter().map(|(slot, id)| (slot, id.into())).collect();
        Some(names_of(counts.pins_of(generation)?, ids, generation, config))
    });
    names.collect()
}

fn names_of(pins: &[PinInfo], exemptions: HashMap<u16, Arc<str>>, generation: u64, config: &str) -> Names {
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
        exemptions,
        interfaces: Default::default(),
        volumes: Default::default(),
        cgroups: Default::default(),
    }
}
