//! By what this host can be reached: its addresses, and the sockets that wait for others, by sock_diag(7).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::ControlFlow;

use netlink_packet_core::Parseable as _;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, SOCK_DIAG_BY_FAMILY};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::addresses::host_addresses;
use super::cgroup;
use super::netlink::{Request, attributes, emit, value};
use super::sockets::Transport;

/// Bytes of `struct inet_diag_msg` (linux/inet_diag.h).
const HEADER: usize = 72;
/// `INET_DIAG_SKV6ONLY` and `INET_DIAG_CGROUP_ID` (linux/inet_diag.h).
const V6_ONLY: u16 = 11;
const CGROUP_ID: u16 = 21;

/// A socket that waits for whoever comes: of TCP one that listens, of UDP one without a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The transport.
    pub transport: Transport,
    /// Its address, plain where it is IPv4-mapped; unspecified where it takes what comes to any.
    pub local: SocketAddr,
    /// Whether it takes IPv6 alone, where its address is `::`.
    pub v6_only: bool,
    /// The user that made it.
    pub uid: u32,
    /// The cgroup that it was made in, by its id (inode); 0 where the kernel does not tell.
    pub cgroup: u64,
}

/// By what a network namespace can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reachable {
    /// Its addresses, but for those of the loopback and of the link's scope.
    pub addresses: BTreeSet<IpAddr>,
    /// Its sockets that wait, but for those that are bound to such an address, and those of UDP at a port that the kernel
    /// chooses (`net.ipv4.ip_local_port_range`): these are clients.
    pub sockets: Vec<Listening>,
    /// What their cgroups are called, by id: paths below the cgroup v2 root, whose own is left out.
    pub cgroups: BTreeMap<u64, String>,
}

/// The ports that the kernel gives to sockets that ask for none, the first and the last: `net.ipv4.ip_local_port_range` of
/// the calling thread's network namespace (Documentation/networking/ip-sysctl).
#[must_use]
pub fn ephemeral_ports() -> Option<(u16, u16)> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ports = text.split_ascii_whitespace().map(str::parse);
    Some((ports.next()?.ok()?, ports.next()?.ok()?))
}

impl Reachable {
    /// By what the network namespace of the calling thread can be reached.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn look() -> io::Result<Self> {
        let plain = |address| Ipv6Addr::from_bits(bits(address)).to_canonical();
        let addresses = host_addresses()?.into_iter().map(plain).filter(|it| leaves_the_link(*it)).collect();
        let mut sockets = Vec::new();
        for transport in [Transport::Tcp, Transport::Udp] {
            for (family, any) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
                list(transport, family, any, &mut sockets)?;
            }
        }
        let ephemeral = ephemeral_ports();
        let is_client = |it: &Listening| {
            let is_chosen = |(first, last): (u16, u16)| (first..=last).contains(&it.local.port());
            it.transport == Transport::Udp && ephemeral.is_some_and(is_chosen)
        };
        // One that is bound to a multicast address answers from another one.
        let is_outside = |it: &Listening| it.local.ip().is_multicast() || leaves_the_link(it.local.ip());
        sockets.retain(|it| is_outside(it) && it.local.port() != 0 && !is_client(it));
        let cgroups = cgroup::paths(&sockets.iter().map(|socket| socket.cgroup).collect());
        Ok(Self { addresses, sockets, cgroups })
    }
}

fn bits(address: guard_common::packet::Addr) -> u128 {
    u128::from(address.hi) << 64 | u128::from(address.lo)
}

/// Whether what has this source can leave the link that it is sent by.
fn leaves_the_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && !v4.is_multicast(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local() && !v6.is_multicast(),
    }
}

fn list(transport: Transport, family: u8, socket_id: SocketId, all: &mut Vec<Listening>) -> io::Result<()> {
    // A socket of UDP without a peer is "closed" (`TCP_CLOSE`).
    let states = match transport {
        Transport::Tcp => StateFlags::LISTEN,
        Transport::Udp => StateFlags::CLOSE,
    };
    let (protocol, extensions) = (transport.number(), ExtensionFlags::empty());
    let request = emit(&InetRequest { family, protocol, extensions, states, socket_id });
    let listed = Request::to(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, &request).dump(|_, payload| {
        all.extend(read(transport, payload));
        ControlFlow::Continue(())
    });
    match listed {
        Ok(_) => Ok(()),
        // A kernel without IPv6 has no such sockets.
        Err(error) if family == AF_INET6 && error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

fn read(transport: Transport, payload: &[u8]) -> Option<Listening> {
    let InetResponseHeader { socket_id, uid, .. } = InetResponseHeader::parse(payload).ok()?;
    let local = SocketAddr::new(socket_id.source_address.to_canonical(), socket_id.source_port);
    let (mut v6_only, mut cgroup) = (false, 0);
    for attribute in attributes(payload.get(HEADER..)?) {
        match (attribute.kind(), value(attribute)) {
            (V6_ONLY, &[flag]) => v6_only = flag != 0,
            (CGROUP_ID, id) => cgroup = id.try_into().map_or(0, u64::from_ne_bytes),
            _ => {}
        }
    }
    Some(Listening { transport, local, v6_only, uid, cgroup })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn what_waits_is_listed_with_its_user_and_what_is_of_the_loopback_is_not() {
        let every = TcpListener::bind("0.0.0.0:0").unwrap();
        let both = TcpListener::bind("[::]:0");
        let (own, client) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("0.0.0.0:0").unwrap());
        let found = Reachable::look().unwrap();
        let at = |local: io::Result<SocketAddr>| {
            let local = local.unwrap();
            found.sockets.iter().find(move |it| it.local == local)
        };
        let listed = at(every.local_addr()).unwrap();
        assert_eq!((listed.transport, listed.uid), (Transport::Tcp, rustix::process::getuid().as_raw()));
        if let Ok(both) = both {
            assert!(!at(both.local_addr()).unwrap().v6_only);
        }
        assert_eq!((at(own.local_addr()), at(client.local_addr())), (None, None));
        assert!(found.addresses.iter().all(|it| leaves_the_link(*it)));
    }
}
