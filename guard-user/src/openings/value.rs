//! Values of the dimensions by which flows are known.

use std::fmt;
use std::net::IpAddr;

use guard_common::abi::{Direction, HIDDEN_CLASS, NO_PORT_CLASS, PORT_PROTOCOLS};

use super::cidr::Cidrs;
use crate::config::policy::{Mark, Protocol, SentBy};

/// One value, or one run of values, of a dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Source addresses, both ends included, that are not the host's.
    Source {
        /// The lowest.
        first: IpAddr,
        /// The highest.
        last: IpAddr,
    },
    /// Source addresses, both ends included, of what the host itself makes, or has among its own.
    HostSource {
        /// The lowest.
        first: IpAddr,
        /// The highest.
        last: IpAddr,
    },
    /// Ports of one kind, in host byte order, both ends included.
    Ports {
        /// The upper half of the [`port_key`](guard_common::abi::port_key): from
        /// [`NO_PORT_CLASS`](guard_common::abi::NO_PORT_CLASS) on, no port can be read.
        kind: u32,
        /// The lowest.
        first: u16,
        /// The highest.
        last: u16,
    },
    /// An interface by name or pattern.
    Interface(String),
    /// Packets whose mark is this one under its mask, in host byte order.
    Marked(Mark),
    /// A cgroup or one below it, as a path below the root of cgroup v2.
    Cgroup(String),
    /// A user as the config has it, or the number.
    User(String),
    /// By what a cgroup or a user is known.
    SentBy(SentBy),
    /// Data of the volume that is mounted here.
    Volume(String),
    /// How a process came to carry data of a volume.
    Carries(Carries),
    /// Nothing of what either policy names.
    Other,
    /// Who opened the connection.
    Opened(Direction),
    /// From the first nanosecond of `CLOCK_BOOTTIME` to the last, both included.
    Window {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
}

/// How a process came to carry data of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carries {
    /// It has read it, or its parent has.
    Itself,
    /// Another one of its cgroup has.
    ByCgroup,
    /// It has read a copy elsewhere.
    ACopy,
    /// A carrier has handed it on.
    AsRelay,
}

impl Carries {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Itself, Self::ByCgroup, Self::ACopy, Self::AsRelay];
}

/// Which packets open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packets {
    /// Any.
    Any,
    /// Those that can't be read to their end, whatever their destination is.
    Unreadable,
    /// Those alone that carry a packet or a source route inside.
    Layered,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source { first, last } => write!(f, "{}", Cidrs { first: *first, last: *last }),
            Self::HostSource { first, last } => {
                write!(f, "{} of this host", Cidrs { first: *first, last: *last })
            }
            Self::Ports { kind, first, last } => ports(*kind, (*first, *last), f),
            Self::Interface(name) | Self::Cgroup(name) | Self::User(name) | Self::Volume(name) => {
                f.write_str(name)
            }
            Self::Marked(mark) if mark.mask == 0 => f.write_str("any mark"),
            Self::Marked(mark) => write!(f, "{mark}"),
            Self::SentBy(SentBy::Socket) => f.write_str("by the socket"),
            Self::SentBy(SentBy::Process) => f.write_str("by the process that sends alone"),
            Self::Carries(Carries::Itself) => f.write_str("processes that read it"),
            Self::Carries(Carries::ByCgroup) => f.write_str("processes of a carrier's cgroup"),
            Self::Carries(Carries::ACopy) => f.write_str("processes that read a copy"),
            Self::Carries(Carries::AsRelay) => f.write_str("processes to which a carrier hands it on"),
            Self::Other => f.write_str("any other, or none"),
            Self::Opened(Direction::Unknown) => f.write_str("no known direction"),
            Self::Opened(Direction::Served) => f.write_str("served"),
            Self::Opened(Direction::Opened) => f.write_str("opened"),
            Self::Window { first, last } => write!(f, "{first} to {last} ns"),
        }
    }
}

fn ports(kind: u32, (first, last): (u16, u16), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let number = kind.checked_sub(1).and_then(|at| PORT_PROTOCOLS.get(at as usize).copied());
    let unread = kind.checked_sub(NO_PORT_CLASS + 1).and_then(|at| PORT_PROTOCOLS.get(at as usize).copied());
    let name = |number: u8| {
        Protocol::ALL.into_iter().find(|it| it.number() == number).map_or("unknown", Protocol::name)
    };
    match (number, unread) {
        (Some(number), _) if (first, last) == (0, u16::MAX) => write!(f, "all of {}", name(number)),
        (Some(number), _) if first == last => write!(f, "{}/{first}", name(number)),
        (Some(number), _) => write!(f, "{}/{first}-{last}", name(number)),
        (_, Some(number)) => write!(f, "{} without a port that can be read", name(number)),
        _ if kind == NO_PORT_CLASS + HIDDEN_CLASS => f.write_str("what hides its protocol"),
        _ => f.write_str("protocols without ports"),
    }
}
