//! What the kernel counted, as rows.

use std::net::IpAddr;

use guard_common::abi::{BYPASS_COUNTS, Bypass, Count, Hook, Loss, Place, Process, Side, bypass_index};
use guard_common::jurisdiction::Jurisdiction;
use guard_common::verdict::{Reason, Verdict};

/// All packets of one hook with one verdict for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TotalCount {
    /// The hook.
    pub hook: Hook,
    /// The verdict.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// Packets and bytes on the wire.
    pub count: Count,
}

/// Egress of one pin to a jurisdiction that it permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PermittedCount {
    /// The pin's number.
    pub pin: u8,
    /// Where the packets went.
    pub jurisdiction: Jurisdiction,
    /// Packets and bytes on the wire.
    pub count: Count,
}

/// Packets of one pin with any other outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutcomeCount {
    /// The pin's number.
    pub pin: u8,
    /// The peer's jurisdiction.
    pub jurisdiction: Jurisdiction,
    /// The hook.
    pub hook: Hook,
    /// The verdict.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// Packets and bytes on the wire.
    pub count: Count,
}

/// Egress that no pin tags to one jurisdiction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UntaggedCount {
    /// Where it went.
    pub jurisdiction: Jurisdiction,
    /// Packets and bytes on the wire.
    pub count: Count,
}

/// Egress that no pin tags, of one cgroup, to one peer's service or of one service of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UntaggedFlow {
    /// The peer.
    pub peer: IpAddr,
    /// Where the peer is.
    pub place: Place,
    /// IP protocol number.
    pub protocol: u8,
    /// Whose port [`port`](Self::port) is.
    pub side: Side,
    /// The service's port.
    pub port: u16,
    /// Index of the interface that it left.
    pub ifindex: u32,
    /// Id of the sending socket's cgroup; 0 where there is none.
    pub cgroup: u64,
    /// Who used or made the socket of the first packet; nobody where that is not known.
    pub process: Process,
    /// Packets and bytes on the wire.
    pub count: Count,
}

/// What was counted since the maps were made, over generations and daemon restarts. Rows of zero are left
/// out; the rest are sorted by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Every packet is in exactly one row.
    pub totals: Vec<TotalCount>,
    /// Every packet of pinned egress that its pins permit, once for each pin.
    pub permitted: Vec<PermittedCount>,
    /// Every other pinned packet: once for each pin that forbids it, or for each of its pins where none
    /// does.
    pub outcomes: Vec<OutcomeCount>,
    /// What could not be kept, by [`Loss`].
    pub lost: [u64; Loss::COUNT],
    /// Packets that were tagged because their cgroup was newer than the tables, once for each pin.
    pub unplaced: Count,
    /// Egress that no pin tags, by jurisdiction.
    pub untagged: Vec<UntaggedCount>,
    /// How often a process asked for a way past the hooks, by [`bypass_index`].
    pub bypasses: [u64; BYPASS_COUNTS],
}

impl Counters {
    /// How often this way past the hooks was refused or allowed.
    #[must_use]
    pub fn bypasses_of(&self, bypass: Bypass, allowed: bool) -> u64 {
        self.bypasses.get(bypass_index(bypass, allowed) as usize).copied().unwrap_or_default()
    }
}
