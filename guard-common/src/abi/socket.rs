//! What the kernel keeps with a socket: who made it, and who uses it.

use super::MAX_CGROUP_LEVELS;

/// Bytes of a command's name, as `TASK_COMM_LEN` has them.
pub const COMMAND_LEN: usize = 16;

/// A process, as it was when it made or used a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Process {
    /// Id of its cgroup.
    pub cgroup: u64,
    /// Its id, as every thread of it has; 0 where no process is known.
    pub pid: u32,
    /// The thread that did it.
    pub thread: u32,
    /// Its real user, by the number outside of user namespaces.
    pub uid: u32,
    /// Padding up to 8 bytes, zero.
    pub pad: u32,
    /// The thread's name, which is the command's unless the process gave it another one; zeroes behind it.
    pub command: [u8; COMMAND_LEN],
}

impl Process {
    /// Whether any process is known.
    #[inline(always)]
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.pid != 0
    }
}

/// Cgroups and users that use a socket beside its maker's and are told apart.
pub const MAX_PARTIES: usize = 2;

/// The uid of nobody: no user has it (setuid(2) takes it for "unchanged").
pub const NO_USER: u32 = u32::MAX;

/// A cgroup and a user whose processes use a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Party {
    /// Whether anything is written here: [`FREE`](Self::FREE), [`FILLING`](Self::FILLING) or [`READY`](Self::READY).
    pub state: u64,
    /// Id of the cgroup.
    pub cgroup: u64,
    /// The real user.
    pub uid: u32,
    /// Padding up to 8 bytes, zero.
    pub pad: u32,
    /// Ids of the cgroup and of those above it, from level 1 on; 0 where it is less deep.
    pub cgroups: [u64; MAX_CGROUP_LEVELS],
}

impl Party {
    /// Nobody has it.
    pub const FREE: u64 = 0;
    /// It is being written: whoever it is may match anything.
    pub const FILLING: u64 = 1;
    /// It is written, and stays.
    pub const READY: u64 = 2;
}

/// Who opened the connection that a packet is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Direction {
    /// Nobody can tell: it may be either.
    #[default]
    Unknown = 0,
    /// The other end: a socket of this host listened, and accepts or accepted it.
    Served = 1,
    /// This host.
    Opened = 2,
}

impl Direction {
    /// Numbers that tables have a place for: a power of two. Those of no direction are as [`Unknown`](Self::Unknown).
    pub const NUMBERS: usize = 4;

    /// That of a packet by what is kept with its socket, [`SocketFacts::original`] and [`SocketFacts::connected`], and by
    /// the socket's own number (`SO_COOKIE`).
    ///
    /// An accepted socket has another number than the listener whose facts it has a copy of. So a listener that was
    /// connected once opens none of those that it accepts, and a socket that is no copy and of which no connect is noted
    /// is no accepted one. One that was accepted, and is connected elsewhere later, may be either: a packet from before may
    /// still wait for its way out.
    #[inline(always)]
    #[must_use]
    pub const fn of_socket(original: u64, connected: u64, cookie: u64) -> Self {
        if original == 0 {
            return Self::Unknown;
        }
        match (original != cookie, connected == cookie) {
            (true, false) => Self::Served,
            (false, true) => Self::Opened,
            _ => Self::Unknown,
        }
    }

    /// The direction of this number; of one that none has, that nobody can tell.
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Served,
            2 => Self::Opened,
            _ => Self::Unknown,
        }
    }
}

/// What is kept with a socket. An accepted socket has a copy of its listener's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SocketFacts {
    /// Who made it. Of a socket that was there before the hooks: who has it open, of several the one with the lowest
    /// number.
    pub maker: Process,
    /// Who connected it last, or sent a datagram by it to an address. What is sent by a connected socket asks no hook.
    pub sender: Process,
    /// Whose processes used it, beside the maker's: nothing that was once here goes away. Who used a socket may hold
    /// it still, and what a connected socket sends asks no hook.
    pub parties: [Party; MAX_PARTIES],
    /// 1 where there were more of them than have room: then it may be anybody's.
    pub everybody: u64,
    /// The number (`SO_COOKIE`) of the TCP socket that these facts were first written for: this one's, or that of the
    /// listener whose copy it is. 0 where it is no TCP socket of a process, or was not there to be noted.
    pub original: u64,
    /// The number of the socket that was connected last: likewise this one's or its listener's. 0 where none was.
    pub connected: u64,
    /// The number of what is written here that pins go by: facts with the same one, and as many parties that are written,
    /// have the same maker and parties, and sockets of the same cgroup. It is the cookie of the socket for which they were
    /// first written, and from the first party that is added on a new number, [`FIRST_OF_CHANGES`](Self::FIRST_OF_CHANGES)
    /// or higher, which no others ever have. 0 where there is none: then nothing is remembered of them.
    pub noted: u64,
}

impl SocketFacts {
    /// The lowest [`noted`](Self::noted) of facts that were changed: past all cookies, which count from 1.
    pub const FIRST_OF_CHANGES: u64 = 1 << 63;

    /// The process that a packet of the socket is told with.
    #[inline(always)]
    #[must_use]
    pub const fn process(&self) -> &Process {
        if self.sender.is_known() { &self.sender } else { &self.maker }
    }
}

const _: () = {
    assert!(size_of::<Process>() == 40);
    assert!(core::mem::offset_of!(Process, command) == 24);
    assert!(size_of::<Party>() == 88);
    assert!(core::mem::offset_of!(Party, cgroups) == 24);
    assert!(size_of::<SocketFacts>() == 288);
    assert!(core::mem::offset_of!(SocketFacts, parties) == 80);
    assert!(core::mem::offset_of!(SocketFacts, original) == 264);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_told_with_who_used_its_socket_else_with_who_made_it() {
        let maker = Process { pid: 7, ..Process::default() };
        let sender = Process { pid: 9, ..Process::default() };
        let made = SocketFacts { maker, ..SocketFacts::default() };
        assert_eq!(made.process(), &maker);
        assert_eq!(SocketFacts { sender, ..made }.process(), &sender);
        assert!(!SocketFacts::default().process().is_known());
    }

    #[test]
    fn who_opened_a_connection_is_known_of_copies_and_of_sockets_whose_connect_was_noted() {
        let of = Direction::of_socket;
        assert_eq!(
            (of(0, 0, 7), of(0, 7, 7)),
            (Direction::Unknown, Direction::Unknown),
            "it was not seen being made"
        );
        assert_eq!(of(7, 0, 7), Direction::Unknown, "its connect was not noted");
        assert_eq!(of(7, 7, 7), Direction::Opened);
        assert_eq!(of(7, 0, 8), Direction::Served);
        assert_eq!(of(7, 7, 8), Direction::Served, "its listener was connected once");
        assert_eq!(of(7, 8, 8), Direction::Unknown, "it was accepted, and is connected elsewhere");
        for direction in [Direction::Unknown, Direction::Served, Direction::Opened] {
            assert_eq!(Direction::from_number(direction as u32), direction);
        }
        assert_eq!(Direction::from_number(3), Direction::Unknown);
    }
}
