//! Packets in plain words.

use std::net::IpAddr;

use guard_common::abi::{Direction, Hook};
use guard_common::packet::Fault;

use crate::config::policy::Protocol;

/// An IP packet as a person would describe it.
#[derive(Clone, Debug)]
pub(crate) struct PlainLayer {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    /// IANA protocol number.
    pub(crate) proto: u8,
    /// Source and destination port, where the protocol has ports and they are in this fragment.
    pub(crate) ports: Option<(u16, u16)>,
    pub(crate) later_fragment: bool,
    /// Whether the connection may have begun at other ports.
    pub(crate) other_ports: bool,
    /// Whether it may be a tunnel's, which nobody can tell from something else.
    pub(crate) may_be_tunnel: bool,
}

impl PlainLayer {
    /// The protocols of ports that may be the packet's although nobody can read them. `None`: those of any.
    pub(crate) fn unreadable(&self) -> Option<Vec<Protocol>> {
        /// ICMP, IGMP, RSVP, ICMPv6, no next header, OSPF and VRRP.
        const PORTLESS: [u8; 7] = [1, 2, 46, 58, 59, 89, 112];
        /// IPv4, IPv6 and Ethernet in IP, and GRE: what is inside is read.
        const TUNNELS: [u8; 4] = [4, 41, 143, 47];
        let own = Protocol::ALL.into_iter().find(|protocol| protocol.number() == self.proto);
        if self.may_be_tunnel {
            return None;
        }
        match (self.later_fragment, self.src.is_ipv6(), own) {
            // Which protocol it is the first fragment alone says; over IPv4 a UDP datagram may be a tunnel's.
            (true, true, _) | (true, false, Some(Protocol::Udp)) => None,
            (true, false, Some(own)) => Some(vec![own]),
            (false, _, Some(own)) => Some(if self.other_ports { vec![own] } else { Vec::new() }),
            (_, _, None) if PORTLESS.contains(&self.proto) => Some(Vec::new()),
            (false, _, None) if TUNNELS.contains(&self.proto) => Some(Vec::new()),
            (_, _, None) => None,
        }
    }
}

/// What a frame holds.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    NotIp,
    Broken(Fault),
    Ip { layers: Vec<PlainLayer>, hops: Vec<IpAddr> },
}

/// A frame and what is known of it beside its bytes.
#[derive(Clone, Debug)]
pub(crate) struct PlainPacket {
    pub(crate) hook: Hook,
    pub(crate) content: Content,
    pub(crate) interface: u32,
    /// 0 for a packet of this host.
    pub(crate) came_in_by: u32,
    pub(crate) mark: u32,
    /// Ids of the cgroup and of those above it, from the first level on.
    pub(crate) cgroups: Vec<u64>,
    /// Likewise of processes that used its socket.
    pub(crate) parties: Vec<Vec<u64>>,
    pub(crate) users: Vec<u32>,
    /// Whether the socket may be anybody's.
    pub(crate) everybody: bool,
    /// Slots of the volumes whose data its socket may carry.
    pub(crate) volumes: Vec<u32>,
    /// Who opened its connection.
    pub(crate) direction: Direction,
    pub(crate) wire_len: u64,
    pub(crate) now: u64,
}

impl PlainPacket {
    /// Nanoseconds of each step of `now`, for what goes by the minute.
    pub(crate) const TICK_NS: u64 = 2_000_000_000;
}
