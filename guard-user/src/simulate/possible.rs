//! What may be true of a flow, beside what is known of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use guard_common::abi::{Direction, Hook};
use serde::Serialize;

use super::traffic::Seen;
use crate::config::policy::{Pin, Policy, is_in_cgroup};
use crate::explain::Surroundings;

/// What is not known of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lack {
    /// Who sent: users and cgroups.
    Sender,
    /// Volumes whose data the sender carried.
    Volumes,
    /// Who opened the connection.
    Direction,
    /// Whether the host only forwarded it.
    Forwarded,
    /// The interface.
    Interface,
    /// What the kernel went by: what is known does not give the flow the pins that the kernel gave it.
    Kernel,
}

impl Lack {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Sender => "who sent",
            Self::Volumes => "which volumes' data the sender carried",
            Self::Direction => "who opened the connection",
            Self::Forwarded => "whether the host only forwarded it",
            Self::Interface => "the interface",
            Self::Kernel => "by what the kernel gave it its pins",
        }
    }
}

/// What two policies ask of flows, beside their addresses and ports.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Users that pins select, of those that the same pins select one.
    users: Vec<u32>,
    /// Cgroups that pins select, likewise.
    cgroups: Vec<String>,
    direction: bool,
    host: bool,
    /// Volumes of the candidate that nothing was noted of, because the policy in force does not select them.
    volumes: Vec<PathBuf>,
    /// The interfaces that may be those of a flow; none where no pin selects any.
    interfaces: Vec<String>,
}

impl Needs {
    /// What the policy in force and the candidate ask, of flows by these interfaces.
    #[must_use]
    pub fn of(now: &Policy, then: &Policy, interfaces: &[String]) -> Self {
        let pins: Vec<&Pin> = now.pins.iter().chain(&then.pins).collect();
        let any = |holds: fn(&Pin) -> bool| pins.iter().any(|pin| holds(pin));
        let selects = |policy: &Policy| -> Vec<PathBuf> {
            policy.pins.iter().flat_map(|pin| pin.select.volumes.iter().cloned()).collect()
        };
        let (noted, mut volumes) = (selects(now), selects(then));
        volumes.retain(|path| !noted.contains(path));
        volumes.sort_unstable();
        volumes.dedup();
        let users = pins.iter().flat_map(|pin| pin.select.users.iter().filter_map(|user| user.uid));
        let cgroups = pins.iter().flat_map(|pin| pin.select.cgroups.iter().cloned());
        let has_user = |pin: &Pin, uid: &u32| pin.select.users.iter().any(|user| user.uid == Some(*uid));
        let has_cgroup =
            |pin: &Pin, path: &String| pin.select.cgroups.iter().any(|of_pin| is_in_cgroup(path, of_pin));
        let by_interface = any(|pin| !pin.select.interfaces.is_empty());
        Self {
            users: distinct(&pins, users, has_user),
            cgroups: distinct(&pins, cgroups, has_cgroup),
            direction: any(|pin| pin.select.direction != Direction::Unknown),
            host: any(|pin| pin.select.from_host),
            volumes,
            interfaces: if by_interface { interfaces.to_vec() } else { Vec::new() },
        }
    }

    /// Whether any pin selects by interfaces.
    fn by_interface(&self) -> bool {
        !self.interfaces.is_empty()
    }
}

/// One thing that may be true of a flow.
#[derive(Clone, Debug)]
pub struct Possible {
    /// Where its packets came from.
    pub from: Surroundings,
    /// Whether its socket may be anybody's, so that it matches every selector of users and cgroups.
    pub everybody: bool,
}

/// The interfaces that flows may have come in by: those that flows went by, and of each pattern of a pin one that it means.
#[must_use]
pub fn interfaces(of_flows: Vec<String>, now: &Policy, then: &Policy) -> Vec<String> {
    let patterns = now.pins.iter().chain(&then.pins).flat_map(|pin| &pin.select.interfaces);
    let meant = patterns.map(|pattern| pattern.as_str().replace('*', "").replace('?', "x"));
    let all: BTreeSet<String> = of_flows.into_iter().chain(meant).collect();
    all.into_iter().collect()
}

/// Of the values that the same pins select, one.
fn distinct<T>(pins: &[&Pin], values: impl Iterator<Item = T>, selects: impl Fn(&Pin, &T) -> bool) -> Vec<T> {
    let by = |value: &T| -> Vec<bool> { pins.iter().map(|pin| selects(pin, value)).collect() };
    let by_pins: BTreeMap<Vec<bool>, T> = values.map(|value| (by(&value), value)).collect();
    by_pins.into_values().collect()
}

/// The most possibilities of one flow that are judged.
const MOST: usize = 4096;

/// All that may be true of a flow, and what is not known of it; none where that is too much to be judged.
///
/// Of users, cgroups and volumes each is one possibility: a socket of several has the pins of each of them, so that where the
/// same becomes of the flow with each, it becomes of it with several too.
#[must_use]
pub fn possibilities(seen: &Seen, needs: &Needs) -> (Vec<Possible>, Vec<Lack>) {
    let flow = &seen.flow;
    // What came in has neither a mark nor a sender yet.
    let from = match flow.hook {
        Hook::Ingress => Surroundings { interface: flow.from.interface.clone(), ..Surroundings::default() },
        _ => flow.from.clone(),
    };
    let mut all = vec![Possible { from, everybody: false }];
    let mut lacks = Vec::new();
    if flow.from.interface.is_none() && needs.by_interface() {
        lacks.push(Lack::Interface);
        fork(&mut all, &needs.interfaces, |it, name| it.from.interface = Some(name.clone()));
    }
    if flow.hook == Hook::Ingress {
        return (all, lacks);
    }
    let from = &flow.from;
    let (knows_user, knows_cgroup) = (from.user.is_some(), from.cgroup.is_some());
    // A socket of this host sent what has a user or a cgroup; what is forwarded has no sender here.
    let mut forwarded = Vec::new();
    if (needs.host || needs.by_interface()) && !knows_user && !knows_cgroup {
        lacks.push(Lack::Forwarded);
        let came_in = needs.interfaces.iter().cloned().map(Some).chain([None]);
        for (it, name) in all.iter().flat_map(|it| came_in.clone().map(move |name| (it, name))) {
            let from = Surroundings { is_forwarded: true, came_in_by: name, ..it.from.clone() };
            forwarded.push(Possible { from, everybody: false });
        }
    }
    let lacks_user = !needs.users.is_empty() && !knows_user;
    let lacks_cgroup = !needs.cgroups.is_empty() && !knows_cgroup;
    if lacks_user || lacks_cgroup {
        lacks.push(Lack::Sender);
        let anybody: Vec<Possible> =
            all.iter().map(|it| Possible { everybody: true, ..it.clone() }).collect();
        if lacks_user {
            fork(&mut all, &needs.users, |it, uid| it.from.user = Some((uid.to_string(), *uid)));
        }
        if lacks_cgroup {
            fork(&mut all, &needs.cgroups, |it, path| it.from.cgroup = Some(path.clone()));
        }
        all.extend(anybody);
    }
    if !needs.volumes.is_empty() {
        lacks.push(Lack::Volumes);
        fork(&mut all, &needs.volumes, |it, volume| it.from.volumes.push(volume.clone()));
    }
    if needs.direction {
        lacks.push(Lack::Direction);
        let ways = [Direction::Served, Direction::Opened];
        fork(&mut all, &ways, |it, way| it.from.direction = *way);
    }
    all.extend(forwarded);
    if all.len() > MOST {
        all.clear();
    }
    (all, lacks)
}

/// Adds to each of these one with each of the values, unless there are too many already.
fn fork<T>(all: &mut Vec<Possible>, values: &[T], set: impl Fn(&mut Possible, &T)) {
    if all.len() > MOST {
        return;
    }
    let more: Vec<Possible> = all
        .iter()
        .flat_map(|one| {
            values.iter().map(|value| {
                let mut other = one.clone();
                set(&mut other, value);
                other
            })
        })
        .collect();
    all.extend(more);
}
