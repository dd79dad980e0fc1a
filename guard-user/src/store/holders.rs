//! What the kernel's numbers for pins and exemptions stood for in the generations since the kernel's counters began: flow
//! records outlive the daemon, and an exemption that is closed has given its places back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::pin_info::PinInfo;

/// How many lists of pins, and how many exemptions of one place, are kept: the last ones.
const KEPT: usize = 8;

/// By generation, what pins and places stand for from it on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holders {
    /// The last generation that was noted.
    newest: u64,
    pins: Vec<(u64, Vec<PinInfo>)>,
    exemptions: BTreeMap<u16, Vec<(u64, String)>>,
}

impl Holders {
    /// A generation with these pins, and with the exemptions of these ids in these places, goes live. A place that nobody has
    /// in it stays the last one's: no packet is of it.
    pub(super) fn note<'i>(
        &mut self,
        generation: u64,
        pins: &[PinInfo],
        exemptions: impl Iterator<Item = (u16, &'i str)>,
    ) {
        self.newest = generation;
        if self.pins.last().is_none_or(|(_, last)| last != pins) {
            push(&mut self.pins, (generation, pins.to_vec()));
        }
        for (slot, id) in exemptions {
            let holders = self.exemptions.entry(slot).or_default();
            if holders.last().is_none_or(|(_, last)| last != id) {
                push(holders, (generation, id.to_owned()));
            }
        }
    }

    /// The pins of a generation, by number; `None` where they are not known.
    pub(super) fn pins_of(&self, generation: u64) -> Option<&[PinInfo]> {
        let known = self.pins.iter().rev().find(|(since, _)| *since <= generation);
        known.filter(|_| generation <= self.newest).map(|(_, pins)| pins.as_slice())
    }

    /// The ids of its exemptions, by place.
    pub(super) fn exemptions_of(&self, generation: u64) -> impl Iterator<Item = (u16, &str)> {
        let known = self.exemptions.iter().filter(move |_| generation <= self.newest);
        known.filter_map(move |(slot, holders)| {
            let (_, id) = holders.iter().rev().find(|(since, _)| *since <= generation)?;
            Some((*slot, id.as_str()))
        })
    }
}

fn push<T>(list: &mut Vec<T>, item: T) {
    if list.len() >= KEPT {
        list.remove(0);
    }
    list.push(item);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::policy::{Action, Ingress};

    fn pin(name: &str) -> PinInfo {
        PinInfo { name: name.to_owned(), line: 1, action: Action::Drop, ingress: Ingress::Off }
    }

    #[test]
    fn a_place_is_the_exemption_s_that_had_it_then_also_when_it_is_given_back() {
        let mut holders = Holders::default();
        holders.note(4, &[pin("mail")], [(3, "one")].into_iter());
        holders.note(5, &[pin("mail")], [].into_iter());
        holders.note(6, &[pin("files")], [(3, "two"), (4, "one")].into_iter());
        let of = |generation| holders.exemptions_of(generation).collect::<Vec<_>>();
        assert_eq!((of(3), of(4), of(5)), (vec![], vec![(3, "one")], vec![(3, "one")]));
        assert_eq!(of(6), [(3, "two"), (4, "one")]);
        let pins = |generation| holders.pins_of(generation).map(|pins| pins[0].name.as_str());
        assert_eq!([3, 4, 5, 6].map(pins), [None, Some("mail"), Some("mail"), Some("files")]);
        // Of what came after the last that was noted nothing is known.
        assert_eq!((pins(7), of(7)), (None, vec![]));
    }

    #[test]
    fn it_grows_no_further() {
        let mut holders = Holders::default();
        for generation in 1..100 {
            let name = format!("p{generation}");
            holders.note(generation, &[pin(&name)], [(0, name.as_str())].into_iter());
        }
        assert_eq!((holders.pins.len(), holders.exemptions[&0].len()), (KEPT, KEPT));
        assert_eq!(holders.exemptions_of(99).collect::<Vec<_>>(), [(0, "p99")]);
        assert_eq!(holders.exemptions_of(2).count(), 0);
    }
}
