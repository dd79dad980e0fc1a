//! The peers of events that were summed up, in bounded memory.

use std::collections::HashMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// How many peers of one sum are told apart. What comes after them counts as of others.
pub const MOST: usize = 64;
/// How many of them a line names.
pub const SHOWN: usize = 5;

/// What was summed up of one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Events.
    pub events: u64,
    /// Packets.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, packets: u64, bytes: u64) {
        self.events += 1;
        self.packets = self.packets.saturating_add(packets);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// The peers of one sum: the first [`MOST`], each with its whole amount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Named", into = "Named")]
pub struct Peers {
    known: HashMap<IpAddr, Amount>,
    /// How many more were told apart, of which it is not known any more which.
    unnamed: usize,
    others: u64,
}

/// What the flow history has of them: those that a line names.
#[derive(Serialize, Deserialize)]
struct Named {
    top: Vec<(IpAddr, Amount)>,
    unnamed: usize,
    others: u64,
}

impl From<Peers> for Named {
    fn from(peers: Peers) -> Self {
        let top = peers.top();
        let unnamed = peers.counts().0.saturating_sub(top.len());
        Self { top, unnamed, others: peers.others }
    }
}

impl From<Named> for Peers {
    fn from(Named { top, unnamed, others }: Named) -> Self {
        Self { known: top.into_iter().collect(), unnamed, others }
    }
}

impl Peers {
    /// Takes up an event.
    pub(super) fn add(&mut self, peer: Option<IpAddr>, packets: u64, bytes: u64) {
        let room = self.known.len() < MOST;
        match peer {
            Some(peer) if room || self.known.contains_key(&peer) => {
                self.known.entry(peer).or_default().add(packets, bytes);
            }
            _ => self.others += 1,
        }
    }

    /// Those with the most packets, the most first.
    #[must_use]
    pub fn top(&self) -> Vec<(IpAddr, Amount)> {
        let mut all: Vec<(IpAddr, Amount)> = self.known.iter().map(|(ip, amount)| (*ip, *amount)).collect();
        all.sort_by_key(|(ip, amount)| (std::cmp::Reverse((amount.packets, amount.bytes)), *ip));
        all.truncate(SHOWN);
        all
    }

    /// How many peers are told apart, and how many events are of others or of none that could be read.
    #[must_use]
    pub fn counts(&self) -> (usize, u64) {
        (self.known.len().saturating_add(self.unnamed), self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(number: u32) -> IpAddr {
        IpAddr::from((0xc633_6400 + number).to_be_bytes())
    }

    #[test]
    fn the_greatest_come_first_and_memory_is_bounded() {
        let mut peers = Peers::default();
        for number in 0..1000 {
            peers.add(Some(ip(number)), 1, 60);
        }
        peers.add(Some(ip(7)), 9, 540);
        peers.add(None, 1, 60);
        assert_eq!(peers.counts(), (MOST, 1000 - MOST as u64 + 1));
        let top = peers.top();
        assert_eq!((top.len(), top[0]), (SHOWN, (ip(7), Amount { events: 2, packets: 10, bytes: 600 })));
        assert_eq!(top[1].0, ip(0), "of equals the lowest address");
    }
}
