//! Relays: processes to which carriers hand data of volumes on the same host, by a socket or a pipe.

use super::COMMAND_LEN;

/// Ways by which carriers have handed data on and that are known at once, but for Unix sockets, which know it themselves.
/// A new one takes the place of the one that was used longest ago.
pub const MAX_WAYS: usize = 65_536;
/// Relays that are known at once, likewise.
pub const MAX_RELAYS: usize = 4_096;

/// What kind of way it is, [`WayKey::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum WayKind {
    /// A pipe or a FIFO, by the number of its inode and of the device in `from`.
    Pipe = 1,
    /// A connection, as who receives sees it.
    Connection = 2,
    /// Datagrams to a port of UDP, whatever the address: who receives them need not know to which they were sent.
    Datagrams = 3,
    /// What is written to a terminal (`pts`), for who has the other end of it: by a number of that end in `from` that means
    /// nothing else.
    Terminal = 4,
}

/// A way from one process of the host to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct WayKey {
    /// The sender's address: the two halves of an IPv6 address in network byte order, an IPv4 address in its mapped form.
    pub from: [u64; 2],
    /// The receiver's, likewise.
    pub to: [u64; 2],
    /// The network namespace, as a number that means nothing else, where addresses are of one alone; else 0.
    pub network: u64,
    /// The sender's port, in host byte order.
    pub from_port: u16,
    /// The receiver's.
    pub to_port: u16,
    /// A [`WayKind`].
    pub kind: u32,
}

/// What was handed on by a way. With no volumes it says who waits at a pipe for pages that others put there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Handed {
    /// Slots of the volumes whose data it was, a bit each.
    pub volumes: u64,
    /// The id of the cgroup of who did so last.
    pub cgroup: u64,
    /// Its process.
    pub process: u32,
    /// Zero.
    pub pad: u32,
}

/// A relay: not by its process, for a service may make one for each client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct RelayKey {
    /// The id of its cgroup.
    pub cgroup: u64,
    /// The name of its command, or of its thread; zeroes follow.
    pub command: [u8; COMMAND_LEN],
}

/// What a relay was handed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Relay {
    /// Slots of the volumes whose data it was, a bit each.
    pub volumes: u64,
    /// When it got some first, nanoseconds of `CLOCK_BOOTTIME`.
    pub since_ns: u64,
    /// When it got some last, to a second.
    pub last_ns: u64,
    /// The id of the cgroup of who handed it over first.
    pub from_cgroup: u64,
    /// The process that received last.
    pub process: u32,
    /// The process that handed over last.
    pub from: u32,
}

const _: () = {
    assert!(size_of::<WayKey>() == 48 && size_of::<Handed>() == 24);
    assert!(size_of::<RelayKey>() == 24 && size_of::<Relay>() == 40);
};
