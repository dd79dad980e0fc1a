//! What is known of the interfaces: what was seen of them, and what is on its way.

use std::collections::{BTreeMap, BTreeSet};

use guard_common::abi::Hook;

use super::periods::SECOND;
use super::tries::Try;
use crate::compile::{InterfaceFact, NeedsInterfaces};
use crate::config::policy::{Ingress, Pin, Policy};
use crate::exemption::Clocks;
use crate::kernel::{Observed, ObservedInterface};
use crate::store::LetGo;

/// What is known of the interfaces.
#[derive(Default)]
pub(super) struct Interfaces {
    /// The last look.
    pub(super) observed: Option<Observed>,
    /// Why there was none.
    pub(super) blind: Option<String>,
    /// Whether a look is wanted, and since when one is on its way.
    pub(super) wanted: bool,
    pub(super) looking_since: Option<u64>,
    /// Whether what the config does not name is let go at the next look that begins after this was set.
    pub(super) release: Release,
    /// The names by which interfaces were guarded, by index: one that loses the program under another name gets
    /// it again.
    pub(super) guarded_as: BTreeMap<u32, String>,
    /// Every name that an interface has had since the daemon started, by index: pins go on selecting it by each of them.
    pub(super) known_as: BTreeMap<u32, BTreeSet<String>>,
    /// The names by which they were last asked to be guarded, by index.
    pub(super) noted_as: BTreeMap<u32, String>,
    /// Jobs on their way, by index.
    pub(super) attaching: BTreeSet<u32>,
    pub(super) releasing: BTreeSet<String>,
    pub(super) forgetting: BTreeSet<String>,
    pub(super) restoring: bool,
    /// What the last try at each came to that the looks since then show no effect of.
    pub(super) tried: BTreeMap<u32, Try>,
    pub(super) restore_tried: Option<Try>,
    /// Interfaces that are to be let go and were not.
    pub(super) unreleased: BTreeMap<u32, Try>,
    /// Where something took the program off: until it is there again, and for a while after that.
    pub(super) lost: BTreeMap<(u32, u8), Lost>,
    /// Where another program ran first, by index and hook: as long as it does, and for a while after that.
    pub(super) passed: BTreeMap<(u32, u8), Passed>,
    /// When the last look was.
    pub(super) looked: Option<Clocks>,
    /// What was on interfaces when the daemon started: that it is taken over is no news.
    pub(super) adopted: Option<BTreeMap<u32, BTreeSet<u8>>>,
    /// Interfaces that came since the config was taken up, with the last look before they were there; and those that the
    /// start found without the guard of an earlier daemon, with nothing.
    pub(super) came_after: BTreeMap<u32, Option<Clocks>>,
    /// Those of these that a candidate which nobody confirmed had let go before the start, by index.
    pub(super) let_go: BTreeMap<u32, LetGo>,
    /// Interfaces whose guard began late.
    pub(super) late: BTreeMap<u32, Late>,
    /// Interfaces whose hooks were logged.
    pub(super) announced: BTreeMap<u32, (String, Vec<(Hook, u32)>)>,
}

/// How long it is told that something was not guarded for a moment, nanoseconds.
pub(super) const LOST_NS: u64 = 60 * SECOND;

/// How long an interface may take to be guarded without a problem, nanoseconds. The daemon looks each second.
const SOON_NS: u64 = 2 * SECOND;

/// That the guard of an interface began late.
pub(super) struct Late {
    /// How many packets it had sent by then.
    pub(super) sent: u64,
    /// The last look before it was there, if there was one, and the one that showed its guard.
    pub(super) between: (Option<Clocks>, Clocks),
    /// That a candidate had let it go.
    pub(super) let_go: Option<LetGo>,
}

impl Late {
    /// What is told of it, as long as it is.
    fn told(&self, now: Clocks) -> Option<String> {
        let Self { sent, between: (after, guarded), let_go } = self;
        let by = format!("was guarded by {:.3}", guarded.wall);
        // What its counter has of before may have been judged.
        let counter = format!(
            "its own counter of sent packets, which has those of before too, was {sent} when that began"
        );
        let told = match (let_go, after) {
            (Some(LetGo { at, sent: before }), _) => {
                let count = match before.and_then(|before| sent.checked_sub(before)) {
                    Some(count) => format!("it sent {count} packets in between, which were not judged"),
                    None => format!("what it sent in between was not judged; {counter}"),
                };
                format!(
                    "a config that was applied, and that nobody confirmed before the daemon ended, had let it go at \
                     {at:.3}; it {by}, and {count}"
                )
            }
            (None, Some(after)) => format!(
                "it came after {:.3}, {by}, and had sent {sent} packets when that began, which were not judged",
                after.wall
            ),
            (None, None) => format!(
                "the daemon's start found it without a guard, beside what an earlier daemon had left; it {by}, and what \
                 it sent without one was not judged: {counter}"
            ),
        };
        (now.boot_ns <= guarded.boot_ns + LOST_NS).then_some(told)
    }
}

/// That something took the program off.
pub(super) struct Lost {
    /// The last look at which it was there, and the first at which it was not.
    pub(super) between: (Option<Clocks>, Clocks),
    /// Whether it is there again.
    pub(super) is_back: bool,
}

impl Lost {
    /// What is told of it, as long as it is: what happened and at which hook, and what that meant.
    pub(super) fn told(&self, (what, hook): (&str, &str), meant: &str, now: Clocks) -> Option<String> {
        let Self { between: (last, first), is_back } = self;
        if *is_back && now.boot_ns > first.boot_ns + LOST_NS {
            return None;
        }
        let since = last.map_or_else(String::new, |last| format!("after {:.3} and ", last.wall));
        let now = if *is_back { "it is there again" } else { "it is being attached again" };
        Some(format!("{what} at {hook} {since}before {:.3}; {now}. {meant}", first.wall))
    }
}

/// That another program ran before the guard's.
pub(super) struct Passed {
    /// Which.
    pub(super) programs: String,
    /// How the guard's is attached, and at which hook.
    pub(super) at: (&'static str, &'static str),
    /// The first look that showed it, and the first that did not any more.
    pub(super) first: Clocks,
    pub(super) over: Option<Clocks>,
}

impl Passed {
    /// What is told of it, as long as it is.
    pub(super) fn told(&self, now: Clocks) -> Option<String> {
        let Self { programs, at: (how, hook), first, over } = self;
        match over {
            None => Some(format!(
                "{how} is not the first program at {hook}: {programs} can let packets pass that it never sees"
            )),
            Some(over) if now.boot_ns <= over.boot_ns + LOST_NS => Some(format!(
                "{how} was not the first program at {hook} at {:.3}, until some time before {:.3}: {programs} could let \
                 packets pass that it never saw",
                first.wall, over.wall
            )),
            Some(_) => None,
        }
    }
}

/// What is let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Release {
    /// Nothing.
    #[default]
    Nothing,
    /// After a start: what the config names neither by its present name nor by the one that it was guarded by.
    Strangers,
    /// After a reload: what the config does not name.
    Unnamed,
}

impl Interfaces {
    /// A look is wanted.
    pub(super) fn look(&mut self) {
        self.wanted = true;
    }

    /// Another config is live, by a reload or not; `lets_go`: what it does not name is not guarded any more.
    pub(super) fn config_changed(&mut self, is_reload: bool, lets_go: bool) {
        self.release = match (lets_go, is_reload) {
            (true, _) => Release::Unnamed,
            (false, true) => Release::Nothing,
            (false, false) => Release::Strangers,
        };
        self.tried.clear();
        self.unreleased.clear();
        // What a start found is no news of the first config.
        if is_reload {
            self.came_after.clear();
            self.let_go.clear();
        }
        // A look on its way was begun before.
        self.wanted = true;
    }

    /// What a policy's tables need of the interfaces; `None` before the first look.
    pub(super) fn facts(&self, policy: &Policy) -> Option<Vec<InterfaceFact>> {
        let needs = NeedsInterfaces::of(policy);
        let all = self.observed.as_ref()?.interfaces.iter();
        let stay = self.staying(policy);
        let fact = |it: &ObservedInterface| {
            let names = || self.names_of(it);
            let is_all = needs == NeedsInterfaces::All;
            let loops_back = it.loops_back && needs != NeedsInterfaces::Nothing;
            let leaves_by = &it.leaves_by;
            let is_counted_below =
                !leaves_by.is_empty() && leaves_by.iter().all(|lower| stay.contains(lower));
            (is_all || loops_back || is_counted_below).then(|| InterfaceFact {
                index: it.interface.index,
                names: if is_all { names() } else { Vec::new() },
                loops_back,
                is_counted_below,
            })
        };
        Some(all.filter_map(fact).collect())
    }

    /// The name of an interface and those below it, and what they were called before: whoever renames one does not take it
    /// from a pin.
    fn names_of(&self, it: &ObservedInterface) -> Vec<String> {
        let mut names: Vec<String> = std::iter::once(&it.interface.name).chain(&it.below).cloned().collect();
        // Few ever are renamed.
        for (index, known) in self.known_as.iter().filter(|(_, known)| known.len() > 1) {
            let is_below =
                |(at, name): (u32, &str)| at == *index && it.below.iter().any(|below| below == name);
            if *index == it.interface.index || !it.below.is_empty() && self.names().any(is_below) {
                let before: Vec<String> =
                    known.iter().filter(|known| !names.contains(known)).cloned().collect();
                names.extend(before);
            }
        }
        names
    }

    /// Notes the names of a look.
    pub(super) fn note_names(&mut self) {
        let now: BTreeMap<u32, String> = self.names().map(|(index, name)| (index, name.to_owned())).collect();
        self.known_as.retain(|index, _| now.contains_key(index));
        for (index, name) in now {
            self.known_as.entry(index).or_default().insert(name);
        }
    }

    /// Whether any interface had this name before.
    pub(super) fn was_called(&self, name: &str) -> bool {
        self.known_as.values().any(|names| names.contains(name))
    }

    /// Interfaces that a pin selects by names that they had before alone: index, name now, and the pins.
    pub(super) fn selected_by_earlier_names<'a>(
        &'a self,
        policy: &'a Policy,
    ) -> Vec<(&'a str, &'a str, Vec<&'a str>)> {
        let mut found = Vec::new();
        for (index, name) in self.names() {
            let Some(known) = self.known_as.get(&index) else { continue };
            for earlier in known.iter().filter(|earlier| *earlier != name) {
                let is_lost = |pin: &&Pin| {
                    let by = |name: &str| pin.select.interfaces.iter().any(|it| it.matches(name));
                    by(earlier) && !by(name)
                };
                let pins: Vec<&str> =
                    policy.pins.iter().filter(is_lost).map(|pin| pin.name.as_str()).collect();
                if !pins.is_empty() {
                    found.push((name, earlier.as_str(), pins));
                }
            }
        }
        found
    }

    /// The guarded interfaces by which what leaves by others may leave, as of the last look. One that the policy does not name is
    /// let go when it is live.
    fn staying(&self, policy: &Policy) -> BTreeSet<u32> {
        let all = || self.observed.iter().flat_map(|observed| &observed.interfaces);
        let lower: BTreeSet<u32> = all().flat_map(|it| it.leaves_by.iter().copied()).collect();
        let stays = |it: &&ObservedInterface| {
            lower.contains(&it.interface.index)
                && it.at(Hook::Egress).is_some()
                && policy.guards(&it.interface.name)
        };
        all().filter(stays).map(|it| it.interface.index).collect()
    }

    /// Index and name of every interface.
    pub(super) fn names(&self) -> impl Iterator<Item = (u32, &str)> {
        let all = self.observed.iter().flat_map(|observed| &observed.interfaces);
        all.map(|it| (it.interface.index, it.interface.name.as_str()))
    }

    /// The network namespace in which calls may be refused of which every packet would be dropped.
    ///
    /// # Errors
    /// Why nowhere: a packet might leave by another way than by a program that drops it, or stay on the host.
    pub(super) fn refuse_in(&self) -> Result<u64, String> {
        let Some(observed) = &self.observed else {
            return Err("the interfaces were not looked at yet".into());
        };
        if let Some(blind) = observed.blind.first() {
            return Err(blind.clone());
        }
        if let Some(why) = &observed.addresses_unknown {
            return Err(format!("the host's addresses are not known: {why}"));
        }
        let is_first = |it: &ObservedInterface| it.at(Hook::Egress).is_some_and(|at| at.before.is_empty());
        if let Some(open) = observed.interfaces.iter().find(|it| it.has_route && !is_first(it)) {
            let name = &open.interface.name;
            return Err(format!(
                "packets could leave by {name}, at which no program of the guard is the first"
            ));
        }
        observed.netns.ok_or_else(|| "the kernel does not tell which network namespace this is".into())
    }

    /// Whether the program is on any interface.
    pub(super) fn guard_something(&self) -> bool {
        let guarded = |it: &ObservedInterface| it.at(Hook::Egress).is_some();
        self.observed.as_ref().is_some_and(|observed| observed.interfaces.iter().any(guarded))
    }

    /// Whether this config names any interface of the last look, and the guarded ones that it does not name.
    pub(super) fn by_name_in(&self, policy: &Policy) -> (bool, Vec<String>) {
        let all = self.observed.iter().flat_map(|observed| &observed.interfaces);
        let (named, others): (Vec<_>, Vec<_>) = all.partition(|it| policy.guards(&it.interface.name));
        let released = others.into_iter().filter(|it| !it.attachments.is_empty());
        (!named.is_empty(), released.map(|it| it.interface.name.clone()).collect())
    }

    /// Whether the last look is newer than the config, and nothing is on its way after it.
    pub(super) fn are_settled(&self) -> bool {
        self.observed.is_some()
            && self.release == Release::Nothing
            && !self.wanted
            && self.looking_since.is_none()
            && self.attaching.is_empty()
            && self.releasing.is_empty()
    }

    /// Whether nothing is on its way after the last look, nor wanted.
    pub(super) fn are_looked_at(&self) -> bool {
        !self.wanted && self.looking_since.is_none() && !self.restoring
    }

    pub(super) fn failure(&self, index: u32) -> Option<&str> {
        self.tried.get(&index)?.why.as_deref()
    }

    /// What is told of a hook that something took the program off.
    pub(super) fn lost(&self, index: u32, hook: Hook, now: Clocks) -> Option<String> {
        let lost = self.lost.get(&(index, hook as u8))?;
        lost.told(("something took the program off", hook.name()), "What left meanwhile was not judged", now)
    }

    /// The guard of an interface is there, which had sent packets before: whether that took too long.
    pub(super) fn note_late(&mut self, index: u32, sent: u64, now: Clocks) -> bool {
        let is_soon =
            |after: &Option<Clocks>| after.is_some_and(|after| now.boot_ns <= after.boot_ns + SOON_NS);
        // Another one may have come under the same number.
        let let_go = self.let_go.remove(&index).filter(|_| self.came_after.get(&index) == Some(&None));
        // One that had sent nothing since it was let go has missed nothing.
        let before =
            let_go.as_ref().and_then(|it| it.sent).filter(|before| *before <= sent).unwrap_or_default();
        let after = self.came_after.remove(&index).filter(|after| sent > before && !is_soon(after));
        let is_late =
            after.map(|after| self.late.insert(index, Late { sent, between: (after, now), let_go }));
        is_late.is_some()
    }

    /// Whether it is one of these, and a start found it without a guard that nobody had let go.
    pub(super) fn was_bare_at_start(&self, index: u32) -> bool {
        self.late.get(&index).is_some_and(|late| late.between.0.is_none() && late.let_go.is_none())
    }

    /// What is told of a hook at which another program runs first, or ran a moment ago.
    pub(super) fn passed(&self, index: u32, hook: Hook, now: Clocks) -> Option<String> {
        self.passed.get(&(index, hook as u8))?.told(now)
    }

    /// Notes where other programs run first.
    pub(super) fn note_passed(&mut self, observed: &Observed, now: Clocks) {
        for it in &observed.interfaces {
            for hook in Hook::OF_PACKETS {
                let key = (it.interface.index, hook as u8);
                let first = it.at(hook).filter(|attachment| !attachment.before.is_empty());
                match (first, self.passed.get_mut(&key)) {
                    (Some(attachment), known) => {
                        let programs = attachment.before.join(", ");
                        let is_going_on =
                            known.filter(|known| known.over.is_none() && known.programs == programs);
                        if is_going_on.is_none() {
                            let at = (attachment.how.name(), hook.name());
                            self.passed.insert(key, Passed { programs, at, first: now, over: None });
                        }
                    }
                    (None, Some(known)) if known.over.is_none() => known.over = Some(now),
                    (None, _) => {}
                }
            }
        }
        let is_there = |index: u32| observed.interfaces.iter().any(|it| it.interface.index == index);
        self.passed.retain(|(index, _), passed| is_there(*index) && passed.told(now).is_some());
    }

    /// What is told of an interface whose guard began late.
    pub(super) fn late(&self, index: u32, now: Clocks) -> Option<String> {
        self.late.get(&index)?.told(now)
    }

    pub(super) fn release_failure(&self, index: u32) -> Option<&str> {
        self.unreleased.get(&index)?.why.as_deref()
    }

    pub(super) fn restore_failure(&self) -> Option<&str> {
        self.restore_tried.as_ref()?.why.as_deref()
    }
}

/// How an interface stands to the config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The config names it.
    Named,
    /// It was guarded under a name that the config has, and has another one now.
    Renamed,
    /// Neither.
    None,
}

/// Whether any pin looks at what comes in.
pub(super) fn wants_ingress(policy: &Policy) -> bool {
    policy.pins.iter().any(|pin| pin.ingress != Ingress::Off)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An interface that came later has the number of one that a candidate had let go.
    #[test]
    fn another_interface_of_the_same_number_was_let_go_by_nobody() {
        let wall = "2026-11-26T12:00:00Z".parse().unwrap();
        let at = |seconds: u64| Clocks { wall, boot_ns: seconds * SECOND };
        for (came_after, is_it) in [(None, true), (Some(at(10)), false)] {
            let let_go = BTreeMap::from([(7, LetGo { at: wall, sent: Some(3) })]);
            let came_after = BTreeMap::from([(7, came_after)]);
            let mut all = Interfaces { let_go, came_after, ..Interfaces::default() };
            assert!(all.note_late(7, 5, at(100)));
            let told = all.late(7, at(101)).unwrap();
            assert_eq!(told.contains("had let it go"), is_it, "{told}");
        }
        let let_go = BTreeMap::from([(7, LetGo { at: wall, sent: Some(3) })]);
        let mut all = Interfaces { let_go, ..Interfaces::default() };
        all.config_changed(true, true);
        assert!(all.let_go.is_empty());
    }
}
