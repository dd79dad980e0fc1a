//! What the decision reads: the tables of the live generation and where the packet comes from.
//!
//! Both traits have two real implementations: BPF maps and the socket buffer in the kernel program,
//! boxed tables and plain values on the host.

use crate::abi::{Hook, MAX_CGROUP_LEVELS, Place, PolicyTable, Provenance};
use crate::decide::{Recipient, Trace, Transfer};
use crate::interval::GeoTables;
use crate::packet::Addr;
use crate::search::at;

/// The tables of one generation.
pub trait Tables: GeoTables {
    /// The policy table.
    fn policy(&self) -> Option<&PolicyTable>;

    /// Where an address is: [`decide::place`](crate::decide::place). The kernel program puts it into a
    /// function that the verifier judges once and not again for every destination of a packet, and
    /// remembers the last answer of this generation: a transfer is many packets to one destination.
    #[inline(always)]
    fn place(&self, _policy: &PolicyTable, address: Addr) -> Option<Place>
    where
        Self: Sized,
    {
        crate::decide::place(self, address)
    }

    /// The pins that a source address lets match. The kernel program remembers the last answer: what a
    /// storage host sends comes from few addresses.
    #[inline(always)]
    fn source_pins(&self, policy: &PolicyTable, address: Addr) -> u64 {
        crate::decide::source_pins(policy, address)
    }

    /// [`decide::find_exemption`](crate::decide::find_exemption) among the candidates for this recipient. The
    /// kernel program puts it into a function of its own likewise, and remembers the last recipient's
    /// candidates.
    #[inline(always)]
    fn find_exemption<R: Trace>(
        &self,
        hook: Hook,
        policy: &PolicyTable,
        recipient: &Recipient,
        transfer: &Transfer,
        open: u64,
        trace: &mut R,
    ) -> u32
    where
        Self: Sized,
    {
        let candidates = crate::decide::candidates(policy, recipient);
        crate::decide::find_exemption(hook, self, &candidates, transfer, open, trace)
    }

    /// Charges an exemption with these bytes on the wire unless that would take it past `quota`.
    /// True where the bytes were charged. Exact under concurrency: what all true answers charged
    /// never exceeds the quota.
    fn charge(&self, slot: u16, bytes: u64, quota: u64) -> bool;

    /// Takes a charge back whose packet does not go after all.
    fn refund(&self, slot: u16, bytes: u64);

    /// Books a charge whose packet goes. What is booked is never taken back, so that whoever reads it
    /// meanwhile reads what has passed and no more.
    fn book(&self, slot: u16, bytes: u64);
}

/// What is known of a packet beside its bytes.
pub trait Origin {
    /// Interface that it leaves (egress) or came in by (ingress).
    fn ifindex(&self) -> u32;
    /// Interface that a forwarded packet came in by; 0 for one of this host.
    fn ingress_ifindex(&self) -> u32;
    /// Firewall mark.
    fn mark(&self) -> u32;
    /// Bytes on the wire: of a GSO packet, all its segments with their headers.
    fn wire_len(&self) -> u64;
    /// Id of the sending socket's cgroup on this level below the cgroup v2 root (1 is the first);
    /// 0 where there is no socket or no such level. What is asked for level 0 has no meaning.
    fn ancestor_cgroup(&self, level: u32) -> u64;

    /// The pins that select a cgroup which may be the packet's, made anew since the daemon looked:
    /// [`decide::unplaced_pins`](crate::decide::unplaced_pins). The kernel program calls that in a function which the
    /// verifier judges by itself, and has the answer here.
    #[inline(always)]
    fn unplaced_pins(&self, policy: &PolicyTable) -> u64
    where
        Self: Sized,
    {
        crate::decide::unplaced_pins(policy, self)
    }
}

impl Origin for Provenance {
    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.ifindex
    }
    #[inline(always)]
    fn ingress_ifindex(&self) -> u32 {
        self.ingress_ifindex
    }
    #[inline(always)]
    fn mark(&self) -> u32 {
        self.mark
    }
    #[inline(always)]
    fn wire_len(&self) -> u64 {
        self.wire_len
    }
    #[inline(always)]
    fn ancestor_cgroup(&self, level: u32) -> u64 {
        const { assert!(MAX_CGROUP_LEVELS == 8) };
        at(&self.cgroups, level.wrapping_sub(1))
    }
    #[inline(always)]
    fn unplaced_pins(&self, _policy: &PolicyTable) -> u64 {
        self.unplaced
    }
}
