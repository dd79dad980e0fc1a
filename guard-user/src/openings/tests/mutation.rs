//! Small changes of a world, with what another random world has.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::compile::tests::generate::Case;
use crate::config::policy::{Pin, Selectors};
use crate::geo::{Address, Runs};

/// What is changed, and where in each of the two worlds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mutation {
    what: usize,
    at: usize,
    from: usize,
}

/// One to three changes.
pub(super) fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let one = (0..26_usize, 0..8_usize, 0..8_usize);
    vec(one.prop_map(|(what, at, from)| Mutation { what, at, from }), 1..=3)
}

/// The world with these changes.
pub(super) fn mutated(old: &Case, donor: &Case, mutations: &[Mutation]) -> Case {
    let mut new = old.clone();
    for mutation in mutations {
        mutate(&mut new, donor, *mutation);
    }
    let has = |name: &String| new.policy.pins.iter().any(|pin| pin.name == *name);
    new.exemptions.iter_mut().for_each(|it| it.pins.retain(has));
    new.exemptions.retain(|it| !it.pins.is_empty());
    new
}

fn mutate(new: &mut Case, donor: &Case, Mutation { what, at, from }: Mutation) {
    let pins = new.policy.pins.len();
    let at_pin = at % pins;
    let other = donor.policy.pins[from % donor.policy.pins.len()].clone();
    let select = |change: fn(&mut Selectors, &Selectors)| {
        move |pin: &mut Pin, other: &Pin| change(&mut pin.select, &other.select)
    };
    let mut way = |change: &dyn Fn(&mut Pin, &Pin)| change(&mut new.policy.pins[at_pin], &other);
    match what {
        0 => way(&select(|own, other| own.sources.clone_from(&other.sources))),
        1 => way(&select(|own, other| own.sources.extend(other.sources.iter().copied()))),
        2 => way(&select(|own, _| own.sources.truncate(1))),
        3 => way(&select(|own, other| own.from_host = other.from_host)),
        4 => way(&select(|own, other| own.ports.clone_from(&other.ports))),
        5 => way(&select(|own, other| own.remote_ports.clone_from(&other.remote_ports))),
        6 => way(&select(|own, other| own.interfaces.clone_from(&other.interfaces))),
        7 => way(&select(|own, other| own.cgroups.clone_from(&other.cgroups))),
        8 => way(&select(|own, other| own.users.clone_from(&other.users))),
        9 => way(&select(|own, other| own.volumes.clone_from(&other.volumes))),
        10 => way(&select(|own, other| own.marks.clone_from(&other.marks))),
        11 => way(&select(|own, other| own.direction = other.direction)),
        12 => way(&select(Clone::clone_from)),
        13..=15 => {
            let name = new.policy.pins[at_pin].name.clone();
            for pin in new.policy.pins.iter_mut().filter(|pin| pin.name == name) {
                match what {
                    13 => pin.permitted.extend(other.permitted.iter()),
                    14 => pin.action = other.action,
                    _ => pin.ingress = other.ingress,
                }
            }
        }
        16 if pins > 1 => {
            new.policy.pins.remove(at_pin);
        }
        17 => new.policy.pins[at_pin].name = "renamed".to_owned(),
        18 if pins < 5 => new.policy.pins.push(Pin { name: "more".to_owned(), ..other }),
        19 => new.policy.host.observe = !new.policy.host.observe,
        20 => new.policy.failsafe.clone_from(&donor.policy.failsafe),
        21 => new.policy.failsafe.extend(donor.policy.failsafe.iter().take(1).cloned()),
        22 => new.policy.sites.clone_from(&donor.policy.sites),
        23 => {
            moved(&mut new.db.v4, &donor.db.v4, at, from);
            moved(&mut new.db.v6, &donor.db.v6, at, from);
        }
        24 => new.policy.geo.nat64.clone_from(&donor.policy.geo.nat64),
        25 => match new.exemptions.len() {
            0 => new.exemptions.extend(donor.exemptions.iter().take(2).cloned()),
            len => {
                let entry = &mut new.exemptions[at % len];
                let slot = entry.slot;
                if let Some(other) = donor.exemptions.get(from) {
                    *entry = other.clone();
                }
                (entry.slot, entry.account) = (slot, slot);
            }
        },
        _ => {}
    }
    // As the config's checks have it: nothing is a pin that selects by nothing.
    new.policy.pins.iter_mut().for_each(|pin| {
        let own = &pin.select;
        let nothing = Selectors { spread: own.spread, direction: own.direction, ..Selectors::default() };
        if *own == nothing {
            pin.select.sources = ["0.0.0.0/0", "::/0"].map(|all| all.parse().unwrap()).to_vec();
        }
    });
}

/// One run of a database is where a run of the other one is.
fn moved<K: Address>(own: &mut Runs<K>, other: &Runs<K>, at: usize, from: usize) {
    let place = other.places[from % other.places.len()];
    let at = at % own.places.len();
    let places: Vec<_> = own
        .iter()
        .enumerate()
        .map(|(number, (start, was))| (start, if number == at { place } else { was }))
        .collect();
    let mut runs = Runs::unknown();
    places.into_iter().for_each(|(start, place)| runs.push(start, place));
    *own = runs;
}
