//! What the numbers in an event stand for: by generation, because a reload may give them to others.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

use crate::config::policy::{Action, Ingress, Policy};
use crate::digest::sha256;

/// Generations whose names are kept: events of older ones can't be in the ring buffer any more, unless a
/// policy is published many times a second.
const GENERATIONS: usize = 64;

/// The names of one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The generation.
    pub generation: u64,
    /// The config file.
    pub config: Arc<str>,
    /// SHA-256 of the config, 64 digits in small letters; `None` for a generation of an earlier daemon.
    pub policy: Option<Arc<str>>,
    /// The pins by number.
    pub pins: Vec<PinName>,
    /// Ids of the exemptions by slot.
    pub exemptions: HashMap<u16, Arc<str>>,
    /// Names of the interfaces by index.
    pub interfaces: HashMap<u32, Arc<str>>,
    /// Paths of the volumes that the policy names, by slot.
    pub volumes: HashMap<u32, Arc<str>>,
    /// Paths of the cgroups that the policy names, by id.
    pub cgroups: HashMap<u64, Arc<str>>,
}

/// One pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinName {
    /// Its name.
    pub name: Arc<str>,
    /// The line of the config on which it begins.
    pub line: usize,
    /// What it does to egress that it forbids.
    pub action: Action,
    /// What it does to packets that come in.
    pub ingress: Ingress,
}

impl Names {
    /// The names of a policy; those of exemptions, interfaces and cgroups are for the caller to fill in.
    #[must_use]
    pub fn of(policy: &Policy, config: &str, generation: u64) -> Self {
        let pins = policy.pins.iter().map(|pin| PinName {
            name: pin.name.as_str().into(),
            line: pin.line,
            action: pin.action,
            ingress: pin.ingress,
        });
        Self {
            generation,
            config: config.into(),
            policy: Some(sha256(&policy.text).into()),
            pins: pins.collect(),
            exemptions: HashMap::new(),
            interfaces: HashMap::new(),
            volumes: HashMap::new(),
            cgroups: HashMap::new(),
        }
    }

    /// The pins of this set, lowest number first, those past the last pin left out.
    pub fn pins_of(&self, set: u64) -> impl Iterator<Item = &PinName> {
        self.pins
            .iter()
            .take(64)
            .enumerate()
            .filter(move |(number, _)| set >> number & 1 == 1)
            .map(|pin| pin.1)
    }
}

/// The names of the last generations.
#[derive(Clone, Debug, Default)]
pub struct Generations {
    names: VecDeque<Arc<Names>>,
}

impl Generations {
    /// Takes up the names of a new generation. Must be called before the kernel judges by it, so that no
    /// event comes first.
    pub fn add(&mut self, names: Names) {
        if self.names.len() >= GENERATIONS {
            self.names.pop_front();
        }
        self.names.push_back(Arc::new(names));
    }

    /// Takes the newest one back: it did not go live.
    pub fn take_back(&mut self, generation: u64) {
        self.names.retain(|names| names.generation != generation);
    }

    /// Interfaces have these names now: one may have got another since a generation went live. One that is gone keeps
    /// its own, for events of it that are still to come.
    pub fn interfaces_are(&mut self, names: &HashMap<u32, Arc<str>>) {
        for generation in &mut self.names {
            let all = names.iter().map(|(index, name)| (*index, Arc::clone(name)));
            Arc::make_mut(generation).interfaces.extend(all);
        }
    }

    /// The names of this generation.
    #[must_use]
    pub fn get(&self, generation: u64) -> Option<&Arc<Names>> {
        self.names.iter().rev().find(|names| names.generation == generation)
    }

    /// The newest names.
    #[must_use]
    pub fn newest(&self) -> Option<&Arc<Names>> {
        self.names.back()
    }
}

/// The names of the last generations, shared between the thread that publishes generations and the one that
/// reports events.
#[derive(Clone, Debug, Default)]
pub struct SharedNames(Arc<RwLock<Arc<Generations>>>);

impl SharedNames {
    /// Takes up the names of a new generation. Must be called before the kernel judges by it, so that no event
    /// comes first.
    pub fn add(&self, names: Names) {
        self.change(|generations| generations.add(names));
    }

    /// Takes the newest one back: it did not go live.
    pub fn take_back(&self, generation: u64) {
        self.change(|generations| generations.take_back(generation));
    }

    /// Interfaces have these names now.
    pub fn interfaces_are(&self, names: &HashMap<u32, Arc<str>>) {
        self.change(|generations| generations.interfaces_are(names));
    }

    /// The names as they are now. Holds nobody up, however long it is kept.
    #[must_use]
    pub fn get(&self) -> Arc<Generations> {
        // Nobody panics between two changes that belong together.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Generations)) {
        let mut generations = self.0.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut generations));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(generation: u64) -> Names {
        let pin =
            |name: &str| PinName { name: name.into(), line: 1, action: Action::Drop, ingress: Ingress::Off };
        Names {
            generation,
            config: "c".into(),
            policy: None,
            pins: vec![pin("a"), pin("b"), pin("c")],
            exemptions: HashMap::new(),
            interfaces: HashMap::new(),
            volumes: HashMap::new(),
            cgroups: HashMap::new(),
        }
    }

    #[test]
    fn old_generations_give_way_and_one_that_failed_is_gone() {
        let mut generations = Generations::default();
        for generation in 1..=70 {
            generations.add(names(generation));
        }
        assert_eq!(generations.get(6), None);
        assert_eq!(generations.get(7).unwrap().generation, 7);
        generations.take_back(70);
        assert_eq!(generations.newest().unwrap().generation, 69);
    }

    #[test]
    fn names_that_a_reader_has_stay_as_they_were() {
        let shared = SharedNames::default();
        shared.add(names(1));
        let before = shared.get();
        shared.add(names(2));
        assert!(before.get(2).is_none() && shared.get().get(2).is_some());
        shared.take_back(2);
        assert!(shared.get().get(2).is_none() && shared.get().get(1).is_some());
    }

    #[test]
    fn sets_are_read_by_bit() {
        let names = names(1);
        let of = |set| names.pins_of(set).map(|pin| pin.name.to_string()).collect::<String>();
        assert_eq!((of(0b101).as_str(), of(0).as_str(), of(u64::MAX).as_str()), ("ac", "", "abc"));
    }
}
