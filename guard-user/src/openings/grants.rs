//! Failsafe rules and exemptions: what lets pass what pins forbid.

use std::collections::{BTreeMap, BTreeSet};

use super::areas::{Area, Space};
use super::dimensions::Both;
use super::value::Packets;
use super::world::World;

/// A failsafe rule, or the entries of an exemption's document.
pub(super) struct Grant {
    pub(super) of: Of,
    /// The pins that it is for; `None`: every pin.
    pins: Option<BTreeSet<String>>,
    /// Bytes that it lets pass in a minute, or at all; `u64::MAX`: all.
    pub(super) bytes: u64,
    pub(super) areas: Vec<Area>,
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// A failsafe rule, by its number in the policy.
    Failsafe(usize),
    /// An exemption, by the slot of its account.
    Exemption(u16),
}

impl Grant {
    /// Whether it lets all pass, of every pin.
    pub(super) const fn is_all(&self) -> bool {
        self.pins.is_none() && self.bytes == u64::MAX
    }

    pub(super) const fn is_failsafe(&self) -> bool {
        self.pins.is_none()
    }

    pub(super) fn is_for(&self, pin: &str) -> bool {
        self.pins.as_ref().is_none_or(|pins| pins.contains(pin))
    }

    /// Whether its pins have all of another's. An exemption has no part in what a failsafe rule lets pass.
    fn has_pins_of(&self, other: &Self) -> bool {
        match (&self.pins, &other.pins) {
            (None, None) => true,
            (Some(own), Some(other)) => own.is_superset(other),
            _ => false,
        }
    }
}

/// All of one world; `area` is the area of what lets them match.
pub(super) fn of(
    world: &World<'_>,
    side: usize,
    area: impl Fn(&dyn Fn(&Both) -> bool) -> Area,
) -> Vec<Grant> {
    let rules = world.policy.failsafe.iter().enumerate().map(|(rule, of)| Grant {
        of: Of::Failsafe(rule),
        pins: None,
        bytes: of.bytes_per_minute.unwrap_or(u64::MAX),
        areas: vec![area(&|lets| lets[side].failsafes >> rule & 1 == 1)],
    });
    let mut documents: BTreeMap<u16, Grant> = BTreeMap::new();
    for entry in world.exemptions {
        let slot = usize::from(entry.slot);
        let area = area(&|lets| lets[side].has_exemption(slot));
        let none = || Grant {
            of: Of::Exemption(entry.account),
            pins: Some(BTreeSet::new()),
            bytes: entry.quota,
            areas: Vec::new(),
        };
        let document = documents.entry(entry.account).or_insert_with(none);
        document.pins.iter_mut().for_each(|pins| pins.extend(entry.pins.iter().cloned()));
        document.areas.push(area);
    }
    rules.chain(documents.into_values()).collect()
}

/// What the new ones let pass that the old ones did not, by the number of each new one that lets anything more pass. Each is
/// held against an old one of its own, for two that let so many bytes pass let more pass than one does.
pub(super) fn new(space: &Space, [old, new]: &[Vec<Grant>; 2]) -> Vec<(usize, Packets, Vec<Area>)> {
    let covers = |old: &Grant, new: &Grant| {
        old.bytes >= new.bytes && old.has_pins_of(new) && space.covers(&old.areas, new.areas.clone())
    };
    let of: Vec<Vec<usize>> =
        new.iter().map(|new| (0..old.len()).filter(|at| covers(&old[*at], new)).collect()).collect();
    let mut taken: Vec<Option<usize>> = vec![None; old.len()];
    let mut more = Vec::new();
    for (number, grant) in new.iter().enumerate() {
        if place(number, &of, &mut taken, &mut vec![false; old.len()]) {
            continue;
        }
        // What passes without a bound as it is, is no more.
        let unbounded = old.iter().filter(|it| it.bytes == u64::MAX && it.has_pins_of(grant));
        let unbounded: Vec<Area> = unbounded.flat_map(|it| it.areas.clone()).collect();
        let left = space.without(grant.areas.clone(), &unbounded);
        let left = left.unwrap_or_else(|| grant.areas.clone());
        if !left.is_empty() {
            more.push((number, Packets::Any, left));
        }
        // No old rule alone has all that this one has: what carries a packet passes only by a rule that covers both.
        if grant.is_failsafe() && of[number].is_empty() {
            more.push((number, Packets::Layered, grant.areas.clone()));
        }
    }
    more
}

/// Gives a new one an old one of its own, for which others may have to take another (an augmenting path in a bipartite
/// graph).
fn place(new: usize, of: &[Vec<usize>], taken: &mut [Option<usize>], seen: &mut Vec<bool>) -> bool {
    for &old in &of[new] {
        if std::mem::replace(&mut seen[old], true) {
            continue;
        }
        let is_free = match taken[old] {
            None => true,
            Some(other) => place(other, of, taken, seen),
        };
        if is_free {
            taken[old] = Some(new);
            return true;
        }
    }
    false
}
