//! What events add up to: who sends most of what is forbidden, and where to. Bounded, whatever comes.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use super::event::Event;
use super::rates::Amount;

/// Events that are kept whole.
const LATEST: usize = 500;
/// Keys of one kind that are told apart; the ones with most packets stay.
const KEYS: usize = 1000;

/// A peer to which something forbidden was sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violator {
    /// The peer's address; empty where it can't be read.
    pub peer: String,
    /// Its jurisdiction.
    pub jurisdiction: String,
    /// The pins that forbid it.
    pub pins: String,
    /// The verdict's name.
    pub verdict: String,
    /// The reason's name.
    pub reason: String,
}

/// A process that sent something forbidden.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sender {
    /// The name of its command.
    pub command: String,
    /// The unit that it is of; empty where it is of none.
    pub unit: String,
    /// Its user by name, else by number.
    pub user: String,
    /// The verdict's name.
    pub verdict: String,
}

/// What came of one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Packets and bytes.
    pub amount: Amount,
    /// Events.
    pub events: u64,
    /// When the last of them was.
    pub last: Timestamp,
}

/// Sums by key, of those with most packets.
#[derive(Clone, Debug)]
pub struct Ranking<K> {
    sums: BTreeMap<K, Sum>,
    /// Keys that were given up for others, and may have come again.
    given_up: u64,
}

impl<K> Default for Ranking<K> {
    fn default() -> Self {
        Self { sums: BTreeMap::new(), given_up: 0 }
    }
}

impl<K: Ord> Ranking<K> {
    fn add(&mut self, key: K, event: &Event) {
        let sum = self.sums.entry(key).or_default();
        sum.amount = sum.amount.and(Amount { packets: event.packets, bytes: event.bytes });
        sum.events = sum.events.saturating_add(1);
        sum.last = sum.last.max(event.time);
        if self.sums.len() > 2 * KEYS {
            let mut counts: Vec<u64> = self.sums.values().map(|sum| sum.amount.packets).collect();
            counts.sort_unstable_by(|one, other| other.cmp(one));
            let least = counts.get(KEYS).copied().unwrap_or(0);
            let before = self.sums.len();
            let mut at_least = KEYS - counts.iter().take(KEYS).filter(|count| **count > least).count();
            self.sums.retain(|_, sum| {
                let stays = sum.amount.packets > least || (sum.amount.packets == least && at_least > 0);
                if sum.amount.packets == least && stays {
                    at_least -= 1;
                }
                stays
            });
            self.given_up = self.given_up.saturating_add((before - self.sums.len()) as u64);
        }
    }

    /// Each key with its sum, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Sum)> {
        self.sums.iter()
    }

    /// Keys that were given up for others.
    #[must_use]
    pub const fn given_up(&self) -> u64 {
        self.given_up
    }
}

/// What the events since the beginning add up to.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    /// By peer.
    pub violators: Ranking<Violator>,
    /// By process; events without one are in none.
    pub senders: Ranking<Sender>,
    /// The latest violations, the oldest first.
    pub latest: VecDeque<Event>,
    /// Events that were not sent, because this reader was too slow.
    pub missed: u64,
    /// Events that the daemon has told in sums alone.
    pub summed: u64,
    last: Option<(String, u64)>,
}

impl Sums {
    /// Takes an event up. One that was taken up before, as after the connection was lost, counts once. An event of a flow
    /// that was resumed has packets that another event had, and counts in no sum.
    pub fn add(&mut self, event: Event) {
        if let Some((session, id)) = &self.last
            && *session == event.session
            && *id >= event.id
        {
            return;
        }
        self.last = Some((event.session.clone(), event.id));
        if !event.is_violation() {
            return;
        }
        if event.phase != "resumed" {
            let peer = event.destination.as_ref().map(|end| end.ip.clone()).unwrap_or_default();
            let violator = Violator {
                peer,
                jurisdiction: event.jurisdiction.clone(),
                pins: event.concerned(),
                verdict: event.verdict.clone(),
                reason: event.reason.clone(),
            };
            self.violators.add(violator, &event);
            if let Some(process) = &event.process {
                let number = process.uid.map(|uid| uid.to_string());
                let sender = Sender {
                    command: process.command.clone(),
                    unit: process.unit.clone().unwrap_or_default(),
                    user: process.user.clone().or(number).unwrap_or_default(),
                    verdict: event.verdict.clone(),
                };
                self.senders.add(sender, &event);
            }
        }
        if self.latest.len() == LATEST {
            self.latest.pop_front();
        }
        self.latest.push_back(event);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The documented event with this number and these packets.
    pub(crate) fn event(id: u64, packets: u64) -> Event {
        let docs = include_str!("../../../docs/logs.md");
        let line = docs.lines().find(|line| line.starts_with("{\"kind\":\"event\",")).unwrap();
        let event: Event = serde_json::from_str(line).unwrap();
        Event { id, packets, bytes: packets.saturating_mul(60), ..event }
    }

    #[test]
    fn events_add_up_by_peer_and_by_process_and_count_once() {
        let mut sums = Sums::default();
        for id in [1, 2, 2, 1, 3] {
            sums.add(event(id, 10));
        }
        sums.add(Event { phase: "resumed".into(), ..event(4, 1000) });
        sums.add(Event { verdict: "pass".into(), ..event(5, 1000) });
        sums.add(Event { session: "another".into(), ..event(1, 5) });
        let (violator, sum) = sums.violators.iter().next().unwrap();
        assert_eq!((violator.peer.as_str(), violator.pins.as_str()), ("198.51.100.7", "mail"));
        assert_eq!((sum.amount, sum.events), (Amount { packets: 35, bytes: 2100 }, 4));
        let (sender, sum) = sums.senders.iter().next().unwrap();
        assert_eq!((sender.command.as_str(), sender.user.as_str()), ("imap", "dovecot"));
        assert_eq!(sum.amount.packets, 35);
        assert_eq!(sums.latest.len(), 5);
    }

    #[test]
    fn of_many_peers_those_with_most_packets_stay() {
        let mut sums = Sums::default();
        for id in 1..=5000 {
            let mut one = event(id, id);
            if let Some(end) = &mut one.destination {
                end.ip = format!("2001:db8::{id:x}");
            }
            sums.add(one);
        }
        let kept = sums.violators.iter().count();
        assert!((KEYS..=2 * KEYS).contains(&kept), "{kept}");
        let least = sums.violators.iter().map(|(_, sum)| sum.amount.packets).min().unwrap();
        assert!(least > 2500, "{least}");
        assert_eq!(sums.violators.given_up() + kept as u64, 5000);
        assert_eq!((sums.latest.len(), sums.senders.iter().count()), (LATEST, 1));
        // As many of each as there is room for where all are alike.
        let mut alike = Sums::default();
        for id in 1..=5000 {
            let mut one = event(id, 1);
            if let Some(end) = &mut one.destination {
                end.ip = format!("2001:db8::{id:x}");
            }
            alike.add(one);
        }
        let kept = alike.violators.iter().count();
        assert!((KEYS..=2 * KEYS).contains(&kept), "{kept}");
    }
}
