//! A budget of lines for the event log, above which events are summed up.
//!
//! A local process without rights, or SYNs from outside, can make hundreds of thousands of forbidden flows a
//! second. Each makes an event, and a log that took them all would fill a disk in minutes. So each kind of
//! events, which is one pin, hook, verdict and reason, may have [`Limits::per_second`] lines a second; events above
//! that are added up a second, to one [`Summary`] for each source and jurisdiction, of [`GROUPS`] at most and one for the
//! rest; those of phase `resumed`, which tell again what was told, apart. Kinds do not share a budget, so that a flood of one hides no other.
//!
//! Takes the moment from its caller and does no I/O.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Event;
use super::event::Phase;
use super::summary::{Group, Summary};

/// How often what was summed up is written.
pub const EACH: Duration = Duration::from_secs(1);
/// How many groups of one kind are told apart a second. What comes after them is summed up in one.
pub const GROUPS: usize = 16;

/// How many lines of one kind the log takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Lines a second over time.
    pub per_second: u32,
    /// Lines at once, after a pause.
    pub burst: u32,
}

/// 20 lines a second and 50 at once.
///
/// systemd-journald takes 10,000 lines in 30 seconds from a service before it drops the rest (journald.conf(5),
/// `RateLimitBurst=`), 333 a second: 16 kinds may go on at their full rate below that. A line has 500 to 1,100
/// bytes, so one kind writes at most 80 MB an hour. And 50 at once are more than what one person's doing causes.
impl Default for Limits {
    fn default() -> Self {
        Self { per_second: 20, burst: 50 }
    }
}

/// Events that share a budget.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    pin: Option<Arc<str>>,
    hook: u8,
    verdict: u8,
    reason: u8,
}

impl Kind {
    /// Every event has one kind: where several pins forbid, that of the rule that decided.
    fn of(event: &Event) -> Self {
        let decided = event.rule.as_ref().map(|rule| &rule.pin);
        let pin = decided.or(event.pins.first()).or(event.tagged.first()).cloned();
        let Event { hook, verdict, reason, .. } = *event;
        Self { pin, hook: hook as u8, verdict: verdict as u8, reason: reason as u8 }
    }
}

/// The budgets of all kinds.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    kinds: BTreeMap<Kind, State>,
    /// When the next summaries are due; `None` while nothing is summed up.
    due: Option<Instant>,
}

/// One kind's budget, kept as in the generic cell rate algorithm (ITU-T I.371).
#[derive(Debug)]
struct State {
    /// When all of the burst is free again.
    full_at: Instant,
    /// By whether they are of phase `resumed`, which sums by pin or source leave out, and by group.
    sums: HashMap<(bool, Option<Group>), Summary>,
}

impl Budget {
    /// Nothing was written yet.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self { limits, kinds: BTreeMap::new(), due: None }
    }

    /// Whether the event is to be written as a line; where not, it is part of a summary to come.
    #[must_use = "an event that is neither written nor summed up is lost"]
    pub fn take(&mut self, event: &Event, now: Instant) -> bool {
        let a_line = Duration::from_secs(1) / self.limits.per_second.max(1);
        let room = a_line * self.limits.burst;
        let kind = Kind::of(event);
        let pin = kind.pin.clone();
        let state = self.kinds.entry(kind).or_insert(State { full_at: now, sums: HashMap::new() });
        let full_at = state.full_at.max(now) + a_line;
        if full_at <= now + room {
            state.full_at = full_at;
            return true;
        }
        let (is_resumed, group) = (event.phase == Phase::Resumed, Some(Group::of(event)));
        let has_room = state.sums.len() < GROUPS || state.sums.contains_key(&(is_resumed, group));
        let group = group.filter(|_| has_room);
        state.sums.entry((is_resumed, group)).or_insert_with(|| Summary::of(event, pin, group)).add(event);
        self.due.get_or_insert(now + EACH);
        false
    }

    /// When [`due`](Self::due) has something; `None` where nothing is summed up.
    #[must_use]
    pub const fn next_due(&self) -> Option<Instant> {
        self.due
    }

    /// The summaries that are due by now, each once.
    pub fn due(&mut self, now: Instant) -> Vec<Summary> {
        match self.due {
            Some(due) if now >= due => self.rest(now),
            _ => Vec::new(),
        }
    }

    /// Everything that was summed up, due or not: for the end.
    pub fn rest(&mut self, now: Instant) -> Vec<Summary> {
        self.due = None;
        let sums = self.kinds.values_mut().flat_map(|state| std::mem::take(&mut state.sums).into_values());
        let mut sums: Vec<Summary> = sums.collect();
        sums.sort_by(|one, other| (one.first, &one.pin).cmp(&(other.first, &other.pin)));
        // A kind that has all of its budget again is as good as one that was never seen.
        self.kinds.retain(|_, state| state.full_at > now);
        sums
    }
}

#[cfg(test)]
mod tests {
    use guard_common::verdict::{Reason, Verdict};
    use proptest::prelude::*;

    use super::super::event::{Endpoint, Phase, Rule};
    use super::super::tests::dropped;
    use super::*;

    fn event(pin: &str, phase: Phase, packets: u64) -> Event {
        let rule = dropped().rule.map(|rule| Rule { pin: pin.into(), ..rule });
        Event { pins: vec![pin.into()], rule, phase, packets, bytes: packets * 100, ..dropped() }
    }

    #[test]
    fn a_burst_is_written_and_what_is_above_it_summed_up() {
        let (mut budget, now) = (Budget::new(Limits::default()), Instant::now());
        let one = event("mail", Phase::New, 2);
        let written = (0..1000).filter(|_| budget.take(&one, now)).count();
        assert_eq!(written, 50);
        assert_eq!(budget.due(now + EACH - Duration::from_millis(1)), []);
        let [sum] = &budget.due(now + EACH)[..] else { panic!("one kind") };
        assert_eq!((sum.events, sum.flows, sum.packets, sum.bytes), (950, 950, 1900, 190_000));
        assert_eq!((sum.pin.as_deref(), sum.reason, sum.verdict), (Some("mail"), one.reason, one.verdict));
        // A second later 20 lines are free.
        let written = (0..1000).filter(|_| budget.take(&one, now + EACH)).count();
        assert_eq!(written, 20);
        assert!(budget.kinds.len() == 1 && !budget.rest(now + EACH).is_empty());
        assert!(budget.rest(now + Duration::from_secs(60)).is_empty() && budget.kinds.is_empty());
    }

    #[test]
    fn a_flood_of_one_kind_takes_no_line_of_another() {
        let (mut budget, now) = (Budget::new(Limits::default()), Instant::now());
        let flood = event("mail", Phase::New, 1);
        assert!((0..1000).any(|_| !budget.take(&flood, now)));
        for other in [
            event("backup", Phase::New, 1),
            Event { verdict: Verdict::Flag, ..flood.clone() },
            Event { reason: Reason::PlaceUnknown, ..flood.clone() },
            Event { rule: None, pins: vec![], tagged: vec![], ..flood },
        ] {
            assert!(budget.take(&other, now), "{other:?}");
        }
    }

    #[test]
    fn sources_and_places_are_told_apart_as_far_as_there_is_room() {
        let (mut budget, now) = (Budget::new(Limits { per_second: 1, burst: 1 }), Instant::now());
        let from = |number: u8| {
            let source = Endpoint { ip: [192, 0, 2, number].into(), port: Some(143) };
            Event { source: Some(source), ..event("mail", Phase::New, 1) }
        };
        assert!(budget.take(&from(1), now));
        let elsewhere = Event { jurisdiction: "BR".parse().unwrap(), ..from(1) };
        for event in (1..=100).map(from).chain([elsewhere, from(1)]) {
            assert!(!budget.take(&event, now));
        }
        let sums = budget.due(now + EACH);
        assert_eq!(sums.len(), GROUPS + 1);
        assert_eq!(sums.iter().map(|sum| sum.events).sum::<u64>(), 102);
        let of = |group| sums.iter().find(|sum| sum.group == group).unwrap();
        assert_eq!(of(Some(Group::of(&from(1)))).events, 2);
        assert_eq!(of(None).events, 102 - GROUPS as u64 - 1);
        assert_eq!(of(None).peers.top()[0].1.packets, of(None).packets);
    }

    proptest! {
        /// Every event is written or in exactly one summary, and no kind has more lines than its budget.
        #[test]
        fn nothing_is_lost_and_the_budget_is_kept(
            events in prop::collection::vec((0_usize..3, 0_usize..3, 0_u64..9, 0_u64..40), 1..400),
            per_second in 1_u32..50,
            burst in 1_u32..20,
        ) {
            let begin = Instant::now();
            let mut budget = Budget::new(Limits { per_second, burst });
            let (mut now, mut written, mut sums) = (begin, Vec::new(), Vec::new());
            let mut all = [(0_u64, 0, 0, 0); 3];
            let mut resumed = 0;
            for (pin, phase, packets, pause) in events {
                now += Duration::from_millis(pause);
                sums.extend(budget.due(now));
                let phase = [Phase::New, Phase::Continued, Phase::Resumed][phase];
                let is_new = phase != Phase::Continued;
                let event = event(["a", "b", "c"][pin], phase, packets);
                let it = (1, u64::from(is_new), packets, packets * 100);
                let add = |to: &mut (u64, u64, u64, u64)| {
                    *to = (to.0 + it.0, to.1 + it.1, to.2 + it.2, to.3 + it.3);
                };
                add(&mut all[pin]);
                if budget.take(&event, now) {
                    written.push((pin, now, it));
                } else {
                    resumed += u64::from(phase == Phase::Resumed);
                    prop_assert!(budget.next_due().is_some_and(|due| due <= now + EACH));
                }
            }
            sums.extend(budget.rest(now));
            // What leaves out events of phase `resumed` leaves out their sums, and nothing else.
            let of_resumed: u64 = sums.iter().filter(|sum| sum.is_resumed).map(|sum| sum.events).sum();
            prop_assert_eq!(of_resumed, resumed);
            for (pin, name) in ["a", "b", "c"].into_iter().enumerate() {
                let own = written.iter().filter(|(of, ..)| *of == pin);
                let lines = own.clone().map(|(.., it)| *it);
                let summed = sums.iter().filter(|sum| sum.pin.as_deref() == Some(name));
                let summed = summed.map(|sum| (sum.events, sum.flows, sum.packets, sum.bytes));
                let total = lines.chain(summed).fold((0, 0, 0, 0), |sum, it| {
                    (sum.0 + it.0, sum.1 + it.1, sum.2 + it.2, sum.3 + it.3)
                });
                prop_assert_eq!(total, all[pin]);
                let times: Vec<Instant> = own.map(|(_, at, _)| *at).collect();
                for (at, from) in times.iter().enumerate() {
                    let within = |to: &Instant| (*to - *from).as_secs_f64() * f64::from(per_second);
                    for (count, to) in times.iter().skip(at).enumerate() {
                        // One millionth for the rounding of a line's share to nanoseconds.
                        let most = f64::from(burst) + within(to) + 1e-6 * (1.0 + within(to));
                        prop_assert!((count + 1) as f64 <= most, "{} lines, {most} allowed", count + 1);
                    }
                }
            }
        }
    }
}
