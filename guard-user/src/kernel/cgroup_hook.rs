//! The hooks on cgroups.

/// A hook on cgroups: what processes of it ask of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CgroupHook {
    /// They set an option: ways past the hooks of interfaces are refused.
    Setsockopt,
    /// They make a socket: who does is noted.
    SockCreate,
    /// They connect an IPv4 socket: likewise.
    Connect4,
    /// They connect an IPv6 socket: likewise.
    Connect6,
    /// They send an IPv4 datagram to an address: likewise.
    Sendmsg4,
    /// They send an IPv6 datagram to an address: likewise.
    Sendmsg6,
}

impl CgroupHook {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Setsockopt, Self::SockCreate, Self::Connect4, Self::Connect6, Self::Sendmsg4, Self::Sendmsg6];
    /// Those that note who makes and who uses a socket.
    pub const OF_SOCKETS: [Self; 5] =
        [Self::SockCreate, Self::Connect4, Self::Connect6, Self::Sendmsg4, Self::Sendmsg6];

    /// Its name in entries and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Setsockopt => "setsockopt",
            Self::SockCreate => "sock_create",
            Self::Connect4 => "connect4",
            Self::Connect6 => "connect6",
            Self::Sendmsg4 => "sendmsg4",
            Self::Sendmsg6 => "sendmsg6",
        }
    }

    /// The name of its program in the embedded object.
    pub(super) const fn program(self, calls: Calls) -> &'static str {
        match (calls, self) {
            (Calls::Judged, Self::Connect4) => "refuse_connect4",
            (Calls::Judged, Self::Connect6) => "refuse_connect6",
            (Calls::Judged, Self::Sendmsg4) => "refuse_sendmsg4",
            (Calls::Judged, Self::Sendmsg6) => "refuse_sendmsg6",
            _ => self.name(),
        }
    }

    /// Its `enum bpf_attach_type`.
    pub(super) const fn attach_type(self) -> u32 {
        match self {
            Self::Setsockopt => 22,
            Self::SockCreate => 2,
            Self::Connect4 => 10,
            Self::Connect6 => 11,
            Self::Sendmsg4 => 14,
            Self::Sendmsg6 => 15,
        }
    }

    /// The hook of this attach type.
    pub(super) fn of_attach_type(attach_type: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.attach_type() == attach_type)
    }
}

/// What the programs at `connect` and `sendmsg` do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// They note who calls.
    Noted,
    /// They refuse what the live policy wants refused, too: some 150,000 verified instructions each.
    Judged,
}
