//! Permitted flows of pins that record forbidden ones alone: of them the kernel has sums by pin and jurisdiction.

use serde::Serialize;

use crate::config::policy::{Policy, Record};

/// What the kernel counted as permitted, of a pin to a jurisdiction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permitted {
    /// The pin's name.
    pub pin: String,
    /// The jurisdiction's code or mark.
    pub jurisdiction: String,
    /// Packets.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

/// Permitted egress without flow records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unrecorded {
    /// Pins in force whose permitted flows have no records.
    pub pins: Vec<String>,
    /// What of it goes where the candidate's pin of the same name forbids it.
    pub forbidden: Vec<Forbidden>,
}

/// Permitted egress of a pin to a jurisdiction that the candidate's pin of this name forbids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Forbidden {
    /// The pin's name.
    pub pin: String,
    /// The jurisdiction, as the kernel placed it then.
    pub jurisdiction: String,
    /// Packets since the counters began.
    pub packets: u64,
    /// Bytes on the wire since then.
    pub bytes: u64,
}

impl Unrecorded {
    /// What there is of it, by the counters.
    #[must_use]
    pub fn of(now: &Policy, then: &Policy, counted: &[Permitted]) -> Self {
        // One name has several ways, which have all but their selectors in common.
        let mut pins: Vec<String> =
            now.pins.iter().filter(|pin| pin.record != Record::All).map(|pin| pin.name.clone()).collect();
        pins.dedup();
        let forbids = |row: &&Permitted| {
            let Ok(jurisdiction) = row.jurisdiction.parse() else { return false };
            let candidates = then.pins.iter().filter(|pin| pin.name == row.pin);
            row.packets > 0
                && pins.contains(&row.pin)
                && candidates.into_iter().any(|pin| !pin.permitted.contains(jurisdiction))
        };
        let forbidden = counted.iter().filter(forbids).map(|row| Forbidden {
            pin: row.pin.clone(),
            jurisdiction: row.jurisdiction.clone(),
            packets: row.packets,
            bytes: row.bytes,
        });
        let forbidden = forbidden.collect();
        Self { pins, forbidden }
    }
}
