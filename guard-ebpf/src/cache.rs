//! What was looked up last, and what it came to: a transfer is many packets of one flow.

use guard_common::abi::ExemptionSet;
#[cfg(doc)]
use guard_common::decide;
use guard_common::packet::Addr;
use guard_common::tables::Recipient;

/// What the last address that was looked up came to, in one generation.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LastLookup {
    /// The address.
    pub address: Addr,
    /// Number of the generation; 0 before the first, which no generation has.
    pub generation: u64,
    /// What it came to.
    pub value: u64,
}

impl LastLookup {
    /// Whether this is the answer for the address in this generation.
    #[inline(always)]
    pub(crate) fn answers(&self, address: Addr, generation: u64) -> bool {
        // One branch: addresses of a flow are all the same or not at all.
        let other =
            (self.address.hi ^ address.hi) | (self.address.lo ^ address.lo) | (self.generation ^ generation);
        other == 0
    }
}

/// The candidates of the last recipient, in one generation.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LastRecipient {
    /// The recipient.
    pub recipient: Recipient,
    /// Number of the generation; 0 before the first, which no generation has.
    pub generation: u64,
    /// The exemptions that have it.
    pub candidates: ExemptionSet,
    /// The pins that were open when the first of them was looked for; 0 where none was.
    pub open: u64,
    /// The slot of the first of them for the lowest open pin, [`decide::first_candidate`].
    pub first: u32,
    /// Padding up to 8 bytes.
    pub pad: u32,
}

impl LastRecipient {
    /// Whether these are the candidates for this recipient in this generation.
    #[inline(always)]
    pub(crate) fn answers(&self, recipient: &Recipient, generation: u64) -> bool {
        let (own, other) = (&self.recipient, recipient);
        let ports =
            u64::from(own.port_key ^ other.port_key) | u64::from(own.jurisdiction ^ other.jurisdiction);
        let addresses = (own.address.hi ^ other.address.hi) | (own.address.lo ^ other.address.lo);
        addresses | ports | (self.generation ^ generation) == 0
    }
}

/// The pins that a user lets match, in one generation.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LastUser {
    /// Number of the generation; 0 before the first, which no generation has.
    pub generation: u64,
    /// The pins, [`decide::user_pins`].
    pub pins: u64,
    /// The user.
    pub uid: u32,
    /// Padding up to 8 bytes.
    pub pad: u32,
}

impl LastUser {
    /// Whether this is the answer for the user in this generation.
    #[inline(always)]
    pub(crate) fn answers(&self, uid: u32, generation: u64) -> bool {
        u64::from(self.uid ^ uid) | (self.generation ^ generation) == 0
    }
}

/// What the facts of a socket let match, in one generation.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LastFacts {
    /// Number of the generation; 0 before the first, which no generation has.
    pub generation: u64,
    /// Number of the facts, [`SocketFacts::noted`](guard_common::abi::SocketFacts::noted).
    pub noted: u64,
    /// Which parties are written, and who owns the socket, as [`key`](Self::key) has them.
    pub key: u64,
    /// The pins that cgroups let match.
    pub cgroup_pins: u64,
    /// Those that select a cgroup which may be one of them.
    pub unplaced: u64,
    /// The pins that users let match.
    pub user_pins: u64,
}

impl LastFacts {
    /// Facts that are remembered at once. Accepted sockets have their listener's number until somebody else uses them, so
    /// that a service is one of them.
    pub const COUNT: usize = 64;

    /// Which parties are written, two bits each, and the owner, as one number.
    #[inline(always)]
    pub(crate) const fn key(states: u64, owner: u32) -> u64 {
        states << 32 | owner as u64
    }

    /// Whether this is the answer for these facts in this generation.
    #[inline(always)]
    pub(crate) fn answers(&self, noted: u64, key: u64, generation: u64) -> bool {
        (self.noted ^ noted) | (self.key ^ key) | (self.generation ^ generation) == 0
    }
}

/// The pins that a cgroup lets match, in one generation. The cgroups above it are always the same: a cgroup can't be moved
/// below another one, and no id is given twice.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LastCgroup {
    /// Number of the generation; 0 before the first, which no generation has.
    pub generation: u64,
    /// Its id; 0 for none.
    pub id: u64,
    /// The pins, [`decide::cgroup_pins`].
    pub pins: u64,
    /// Those that select a cgroup which may be this one, [`decide::unplaced_pins`].
    pub unplaced: u64,
}

impl LastCgroup {
    /// Whether this is the answer for the cgroup in this generation.
    #[inline(always)]
    pub(crate) fn answers(&self, id: u64, generation: u64) -> bool {
        (self.id ^ id) | (self.generation ^ generation) == 0
    }
}
