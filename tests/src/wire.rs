//! What a network received, by the counters that the kernel itself keeps: an oracle that is not ours.
use std::fs;

use anyhow::{Context as _, Result};

use crate::netns::Netns;

/// Bytes of an Ethernet header.
pub const ETHERNET: u64 = 14;

/// IPv4 packets that a network received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// How many; each frame is one where nothing on the way joins them.
    pub packets: u64,
    /// Their bytes, from the IPv4 header on.
    pub octets: u64,
}

impl Received {
    /// What this network ever received: fragments each, and before anything judges them.
    ///
    /// # Errors
    /// Where its kernel can't be asked.
    pub fn by(netns: &Netns) -> Result<Self> {
        netns.run(|| {
            let snmp = fs::read_to_string("/proc/thread-self/net/snmp")?;
            let netstat = fs::read_to_string("/proc/thread-self/net/netstat")?;
            Ok(Self {
                packets: value(&snmp, "Ip: ", "InReceives")?,
                octets: value(&netstat, "IpExt: ", "InOctets")?,
            })
        })?
    }

    /// What was received since.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self { packets: self.packets - earlier.packets, octets: self.octets - earlier.octets }
    }

    /// Their bytes as frames of an Ethernet.
    #[must_use]
    pub fn wire_bytes(self) -> u64 {
        self.octets + self.packets * ETHERNET
    }
}

/// A counter in one of the tables that have a row of names above a row of values.
fn value(text: &str, table: &str, name: &str) -> Result<u64> {
    let mut rows = text.lines().filter_map(|line| line.strip_prefix(table));
    let (names, values) = rows.next().zip(rows.next()).with_context(|| format!("no table {table}"))?;
    let found = names.split(' ').zip(values.split(' ')).find(|(this, _)| *this == name);
    Ok(found.with_context(|| format!("no {name}"))?.1.parse()?)
}
