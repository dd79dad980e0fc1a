//! Closes local sockets of flows that may not go on: `SOCK_DESTROY` of sock_diag(7), as `ss -K` does it.
//!
//! The owner's next call on the socket fails with `ECONNABORTED`, and TCP sends the other end a reset. That
//! reset is a packet of the flow: where the flow is cut already, it is dropped like all others. To have the
//! other end see it, close the sockets while their packets still pass, and once more after the cut for those
//! that were opened in between.
//!
//! The kernel's sockets are listed and matched here, not looked up one by one there: a lookup by addresses
//! falls back to the socket that listens on the port, and would destroy the server; and it does not find
//! sockets that are bound to an interface.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::ControlFlow;

use guard_common::abi::FlowKey;
use guard_common::packet::Addr;
use netlink_packet_core::Parseable as _;
use netlink_packet_sock_diag::constants::{
    AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, SOCK_DESTROY, SOCK_DIAG_BY_FAMILY,
};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::netlink::{Request, emit};

/// `TCPDIAG_GETSOCK` (linux/inet_diag.h), which lists the TCP sockets of every address family.
const TCP_OF_ALL_FAMILIES: u16 = 18;

/// A transport whose sockets can be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP; only connected sockets belong to one flow.
    Udp,
}

impl Transport {
    /// Its IP protocol number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => IPPROTO_TCP,
            Self::Udp => IPPROTO_UDP,
        }
    }
}

/// A flow as its local end sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The transport.
    pub transport: Transport,
    /// This host's end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
}

/// What became of the flows.
#[derive(Debug, Default)]
pub struct Closed {
    /// Sockets that are closed.
    pub closed: usize,
    /// Flows that have no socket in this network namespace: forwarded ones, those of containers, and those
    /// that had ended.
    pub not_found: usize,
    /// Sockets that the kernel would not close, and why.
    pub refused: Vec<(Flow, io::Error)>,
}

/// Why no socket can be closed.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// The kernel was built without it.
    #[error(
        "this kernel can't close sockets (CONFIG_INET_DIAG_DESTROY, CONFIG_INET_TCP_DIAG, CONFIG_INET_UDP_DIAG): \
         what is cut hangs until it times out"
    )]
    Unsupported,
    /// Listing the sockets failed.
    #[error("cannot list the sockets of this host: {0}")]
    List(#[source] io::Error),
}

/// A socket of this host: it, and no other that has its addresses later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    transport: Transport,
    family: u8,
    id: SocketId,
}

/// What became of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destroyed {
    /// It is closed.
    Closed,
    /// It had ended, or was another one by then, which its cookie shows.
    Gone,
}

impl Flow {
    /// The flow of a packet that left this host, by its key in the kernel's tables; `None` for transports that
    /// can't be closed.
    #[must_use]
    pub fn of(key: &FlowKey) -> Option<Self> {
        let transport = match key.proto {
            IPPROTO_TCP => Transport::Tcp,
            IPPROTO_UDP => Transport::Udp,
            _ => return None,
        };
        let local = SocketAddr::new(address(key.src), key.sport);
        let remote = SocketAddr::new(address(key.dst), key.dport);
        Some(Self { transport, local, remote })
    }
}

fn address(address: Addr) -> IpAddr {
    let bits = u128::from(address.hi) << 64 | u128::from(address.lo);
    Ipv6Addr::from_bits(bits).to_canonical()
}

/// Lists the sockets that have a peer, in the network namespace of the calling thread, each with its flow, whose
/// IPv4 addresses are plain.
///
/// # Errors
/// [`CloseError`].
pub fn list() -> Result<Vec<(Flow, Socket)>, CloseError> {
    let mut all = Vec::new();
    // IPv6 sockets can carry IPv4 flows, so both families are looked through for either. A walk through the kernel's
    // table of TCP connections takes a millisecond however few there are: one for both families.
    list_by((TCP_OF_ALL_FAMILIES, &tcp_of_all_families()), Transport::Tcp, &mut all)?;
    for (family, any) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
        let request = bytes(Transport::Udp, family, any);
        list_by((SOCK_DIAG_BY_FAMILY, &request), Transport::Udp, &mut all)?;
    }
    Ok(all)
}

/// Closes one socket. Needs `CAP_NET_ADMIN`.
///
/// # Errors
/// The kernel's answer; `EOPNOTSUPP` where it can't close sockets at all.
pub fn destroy(socket: &Socket) -> io::Result<Destroyed> {
    let Socket { transport, family, ref id } = *socket;
    let request = bytes(transport, family, id.clone());
    match Request::to(NETLINK_SOCK_DIAG, SOCK_DESTROY, &request).send(|_, _| {}) {
        Ok(()) => Ok(Destroyed::Closed),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESTALE)) => {
            Ok(Destroyed::Gone)
        }
        Err(error) => Err(error),
    }
}

impl Socket {
    /// The kernel's number of it (`SO_COOKIE`), which no other socket has until the host starts anew.
    #[must_use]
    pub fn cookie(&self) -> u64 {
        let [a, b, c, d, e, f, g, h] = self.id.cookie;
        // Two words, the lower one first (linux/inet_diag.h).
        let word = |bytes| u64::from(u32::from_ne_bytes(bytes));
        word([a, b, c, d]) | word([e, f, g, h]) << 32
    }
}

/// Closes the sockets of these numbers that have a peer, in the network namespace of the calling thread. Needs
/// `CAP_NET_ADMIN`; without it each socket is among the refused.
///
/// # Errors
/// [`CloseError`].
pub fn close_by_cookie(cookies: &HashSet<u64>) -> Result<Closed, CloseError> {
    let mut listed = list()?;
    listed.retain(|(_, socket)| cookies.contains(&socket.cookie()));
    let flows = listed.iter().map(|(flow, _)| *flow).collect();
    close_listed(&listed, &flows)
}

/// Closes the sockets of these flows in the network namespace of the calling thread. Addresses may be
/// IPv4-mapped or plain; what a socket itself has does not matter. Takes time in proportion to all sockets
/// of the host. Needs `CAP_NET_ADMIN`; without it each socket is among the refused.
///
/// # Errors
/// [`CloseError`]; then nothing is closed.
pub fn close(flows: impl IntoIterator<Item = Flow>) -> Result<Closed, CloseError> {
    let flows: HashSet<Flow> = flows.into_iter().map(plain).collect();
    if flows.is_empty() { Ok(Closed::default()) } else { close_listed(&list()?, &flows) }
}

/// As [`close`], of sockets that were listed before. The flows' addresses are plain.
///
/// # Errors
/// [`CloseError::Unsupported`]; then nothing is closed.
pub fn close_listed(listed: &[(Flow, Socket)], flows: &HashSet<Flow>) -> Result<Closed, CloseError> {
    let mut outcome = Closed::default();
    let mut met = HashSet::new();
    for (flow, socket) in listed.iter().filter(|(flow, _)| flows.contains(flow)) {
        match destroy(socket) {
            Ok(Destroyed::Closed) => outcome.closed += 1,
            Ok(Destroyed::Gone) => continue,
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                return Err(CloseError::Unsupported);
            }
            Err(error) => outcome.refused.push((*flow, error)),
        }
        met.insert(*flow);
    }
    outcome.not_found = flows.len() - met.len();
    Ok(outcome)
}

/// The flow with IPv4-mapped addresses as plain ones, and without what is no part of it (scope, flow label).
fn plain(flow: Flow) -> Flow {
    let plain = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    Flow { local: plain(flow.local), remote: plain(flow.remote), ..flow }
}

fn list_by(
    (kind, request): (u16, &[u8]),
    transport: Transport,
    all: &mut Vec<(Flow, Socket)>,
) -> Result<(), CloseError> {
    let listed = Request::to(NETLINK_SOCK_DIAG, kind, request).dump(|_, payload| {
        // A socket that can't be read keeps nobody from closing the others.
        if let Ok(InetResponseHeader { family, socket_id: id, .. }) = InetResponseHeader::parse(payload) {
            let local = SocketAddr::new(id.source_address, id.source_port);
            let remote = SocketAddr::new(id.destination_address, id.destination_port);
            all.push((plain(Flow { transport, local, remote }), Socket { transport, family, id }));
        }
        ControlFlow::Continue(())
    });
    match listed {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.raw_os_error() {
            Some(libc::ENOENT | libc::EOPNOTSUPP | libc::EPROTONOSUPPORT) => CloseError::Unsupported,
            _ => CloseError::List(error),
        }),
    }
}

/// `struct inet_diag_req` (linux/inet_diag.h) for any TCP socket: four bytes and a `struct inet_diag_sockid` that a dump
/// does not read, states, and which of the tables.
fn tcp_of_all_families() -> Vec<u8> {
    const UNREAD: usize = 4 + 48;
    let mut request = vec![0; UNREAD];
    request.extend(states(Transport::Tcp).bits().to_ne_bytes());
    request.extend(0_u32.to_ne_bytes());
    request
}

fn bytes(transport: Transport, family: u8, socket_id: SocketId) -> Vec<u8> {
    let (protocol, states) = (transport.number(), states(transport));
    let request = InetRequest { family, protocol, extensions: ExtensionFlags::empty(), states, socket_id };
    emit(&request)
}

/// The states in which a socket has a flow.
fn states(transport: Transport) -> StateFlags {
    match transport {
        // Those that listen, were never connected, or only wait for old packets belong to no live flow.
        Transport::Tcp => {
            StateFlags::all().difference(StateFlags::LISTEN | StateFlags::CLOSE | StateFlags::TIME_WAIT)
        }
        Transport::Udp => StateFlags::ESTABLISHED,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn flow(local: &str, remote: &str) -> Flow {
        let end = |text: &str| text.parse().unwrap();
        Flow { transport: Transport::Tcp, local: end(local), remote: end(remote) }
    }

    #[test]
    fn the_flow_of_a_key_is_its_socket_s() {
        let key = FlowKey {
            src: Addr::from_v4_octets([192, 0, 2, 1]),
            dst: Addr::from_v4_octets([198, 51, 100, 2]),
            sport: 80,
            dport: 4000,
            proto: 6,
            ..FlowKey::default()
        };
        assert_eq!(Flow::of(&key), Some(flow("192.0.2.1:80", "198.51.100.2:4000")));
        let v6 = Addr { hi: 0x2001_0db8_0000_0000, lo: 1 };
        let udp = Flow::of(&FlowKey { src: v6, proto: 17, ..key }).unwrap();
        assert_eq!((udp.transport, udp.local), (Transport::Udp, "[2001:db8::1]:80".parse().unwrap()));
        assert_eq!(Flow::of(&FlowKey { proto: 47, ..key }), None);
    }

    #[test]
    fn a_connection_is_listed_from_both_ends_whatever_its_families_are() {
        // The last is an IPv4 flow whose server's socket is an IPv6 one.
        for (at, to) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "127.0.0.1")] {
            let listener = TcpListener::bind(at).unwrap();
            let to = SocketAddr::new(to.parse().unwrap(), listener.local_addr().unwrap().port());
            let client = std::net::TcpStream::connect(to).unwrap();
            let (local, remote) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
            match list() {
                Ok(all) => {
                    for (local, remote) in [(local, remote), (remote, local)] {
                        let flow = Flow { transport: Transport::Tcp, local, remote };
                        assert_eq!(all.iter().filter(|(found, _)| *found == flow).count(), 1, "{flow:?}");
                    }
                }
                Err(error) => assert!(matches!(error, CloseError::Unsupported), "{error}"),
            }
        }
    }

    #[test]
    fn mapped_and_plain_addresses_are_one_flow() {
        let mapped = flow("[::ffff:192.0.2.1]:80", "[::ffff:198.51.100.2]:4000");
        assert_eq!(plain(mapped), flow("192.0.2.1:80", "198.51.100.2:4000"));
        let v6 = flow("[2001:db8::1]:80", "[2001:db8::2]:4000");
        assert_eq!(plain(v6), v6);
    }

    /// struct inet_diag_req_v2 (linux/inet_diag.h): family, protocol, extensions, pad, states, then ports in
    /// network order, addresses, interface and cookie.
    #[test]
    fn a_request_is_as_the_kernel_reads_it() {
        let mut socket = SocketId::new_v4();
        (socket.source_port, socket.destination_port) = (0x1234, 0x5678);
        (socket.source_address, socket.destination_address) =
            ("192.0.2.1".parse().unwrap(), "198.51.100.2".parse().unwrap());
        (socket.interface_id, socket.cookie) = (7, *b"cookie12");
        let read = bytes(Transport::Tcp, AF_INET, socket);
        assert_eq!(read.len(), 56);
        assert_eq!(read[..4], [2, 6, 0, 0]);
        let states = u32::from_ne_bytes(read[4..8].try_into().unwrap());
        assert_eq!((states & 1 << 1, states & 1 << 10, states & 1 << 7), (1 << 1, 0, 0));
        assert_eq!(read[8..12], [0x12, 0x34, 0x56, 0x78]);
        assert_eq!((&read[12..16], &read[28..32]), (&[192, 0, 2, 1][..], &[198, 51, 100, 2][..]));
        assert_eq!((&read[44..48], &read[48..]), (&7_u32.to_ne_bytes()[..], &b"cookie12"[..]));
    }

    #[test]
    fn what_has_no_socket_is_not_found_and_a_listener_is_no_flow() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let flow = Flow { transport: Transport::Tcp, local, remote: "198.51.100.2:4000".parse().unwrap() };
        match close([flow]) {
            Ok(outcome) => {
                assert_eq!((outcome.closed, outcome.not_found, outcome.refused.len()), (0, 1, 0));
            }
            Err(error) => assert!(matches!(error, CloseError::Unsupported), "{error}"),
        }
        std::net::TcpStream::connect(local).unwrap();
        listener.accept().unwrap();
    }
}
