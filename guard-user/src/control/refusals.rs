//! Refusals on their way to the audit trail, so few that nobody can fill the disk with them: at most one a
//! second for each user, with the count of those left out.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::access::Peer;
use super::right::Right;

/// How long no second refusal of a user is told.
const WINDOW: Duration = Duration::from_secs(1);
/// Users that have a window of their own. One more shares the last one: whoever has many user ids (user
/// namespaces give 65536) can't tell more either.
const MAX_USERS: usize = 16;

/// A request that was refused because the peer lacks the right to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Who asked.
    pub peer: Peer,
    /// What was asked; `None` where the peer has no right at all, so that its request was not even read.
    pub request: Option<&'static str>,
    /// The right that it takes.
    pub needed: Right,
    /// Refusals before this one that are not told: of this user, or of others where many users are refused
    /// at once.
    pub left_out: u64,
}

/// The windows of the users that were refused just now.
#[derive(Debug, Default)]
pub struct Refusals {
    windows: HashMap<Option<u32>, Window>,
}

#[derive(Debug)]
struct Window {
    until: Instant,
    /// The last one that is not told yet; its `left_out` counts those before it.
    held: Option<Refusal>,
}

/// What is to be done with a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Tell it.
    Tell(Refusal),
    /// Ask at this moment for what is [`held`](Refusals::held) for this key.
    Wait(Instant, Option<u32>),
    /// Nothing: it is counted.
    Counted,
}

impl Refusals {
    /// Takes up a refusal.
    pub fn take(&mut self, mut refusal: Refusal, now: Instant) -> Step {
        let key = self.key(refusal.peer.uid, now);
        let window = self.windows.entry(key).or_insert(Window { until: now, held: None });
        if let Some(held) = &window.held {
            refusal.left_out += held.left_out + 1;
        }
        if now >= window.until {
            *window = Window { until: now + WINDOW, held: None };
            return Step::Tell(refusal);
        }
        match window.held.replace(refusal) {
            None => Step::Wait(window.until, key),
            Some(_) => Step::Counted,
        }
    }

    /// What is held back for this key and may be told now.
    pub fn held(&mut self, key: Option<u32>, now: Instant) -> Option<Refusal> {
        let window = self.windows.get_mut(&key).filter(|window| now >= window.until)?;
        let held = window.held.take()?;
        window.until = now + WINDOW;
        Some(held)
    }

    /// The user's own window, or the one that is shared where there are too many.
    fn key(&mut self, uid: u32, now: Instant) -> Option<u32> {
        if self.windows.contains_key(&Some(uid)) {
            return Some(uid);
        }
        if self.windows.len() >= MAX_USERS {
            self.windows.retain(|_, window| window.held.is_some() || now < window.until);
        }
        (self.windows.len() < MAX_USERS).then_some(uid)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::right::Rights;
    use super::*;

    fn refusal(uid: u32) -> Refusal {
        let peer = Peer { pid: None, uid, user: None, gid: uid, rights: Rights::default(), is_root: false };
        Refusal { peer, request: Some("reload"), needed: Right::Policy, left_out: 0 }
    }

    proptest! {
        /// Any users refused at any times: each second has at most one told refusal for each user and few
        /// in all, and the told ones account for every refusal there was.
        #[test]
        fn few_are_told_and_all_are_counted(
            refused in prop::collection::vec((0_u32..40, 0_u64..700), 1..300),
        ) {
            let begin = Instant::now();
            let (mut refusals, mut now, mut told) = (Refusals::default(), begin, Vec::new());
            let mut waiting: Vec<(Instant, Option<u32>)> = Vec::new();
            let total = refused.len() as u64;
            for (uid, pause) in refused {
                let next = now + Duration::from_millis(pause);
                waiting.sort();
                while let Some(&(at, key)) = waiting.first().filter(|(at, _)| *at <= next) {
                    waiting.remove(0);
                    told.extend(refusals.held(key, at).map(|refusal| (at, key, refusal)));
                }
                now = next;
                match refusals.take(refusal(uid), now) {
                    Step::Tell(refusal) => {
                        let own = refusals.windows.contains_key(&Some(uid));
                        told.push((now, own.then_some(uid), refusal));
                    }
                    Step::Wait(at, key) => waiting.push((at, key)),
                    Step::Counted => {}
                }
            }
            for (at, key) in waiting {
                told.extend(refusals.held(key, at).map(|refusal| (at, key, refusal)));
            }
            prop_assert_eq!(told.iter().map(|(.., refusal)| refusal.left_out + 1).sum::<u64>(), total);
            for (at, key, _) in &told {
                let within = || told.iter().filter(|(other, ..)| other >= at && *other < *at + WINDOW);
                prop_assert_eq!(within().filter(|(_, other, _)| other == key).count(), 1);
                prop_assert!(within().count() <= 2 * (MAX_USERS + 1));
            }
            prop_assert!(refusals.windows.len() <= MAX_USERS + 1);
        }
    }

    #[test]
    fn a_flood_is_one_record_a_second_with_its_count() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        assert_eq!(refusals.take(refusal(7), now), Step::Tell(refusal(7)));
        assert_eq!(refusals.take(refusal(7), now), Step::Wait(now + WINDOW, Some(7)));
        for _ in 0..998 {
            assert_eq!(refusals.take(refusal(7), now), Step::Counted);
        }
        assert_eq!(refusals.held(Some(7), now), None);
        let told = refusals.held(Some(7), now + WINDOW).unwrap();
        assert_eq!(told.left_out, 998);
        assert_eq!(refusals.held(Some(7), now + 2 * WINDOW), None);
    }
}
