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
use std::net::SocketAddr;
use std::ops::ControlFlow;

use netlink_packet_core::Parseable as _;
use netlink_packet_sock_diag::constants::{
    AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, SOCK_DESTROY, SOCK_DIAG_BY_FAMILY,
};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::netlink::{Request, emit};

/// A transport whose sockets can be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP; only connected sockets belong to one flow.
    Udp,
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

/// Closes the sockets of these flows in the network namespace of the calling thread. Addresses may be
/// IPv4-mapped or plain; what a socket itself has does not matter. Takes time in proportion to all sockets
/// of the host. Needs `CAP_NET_ADMIN`; without it each socket is among the refused.
///
/// # Errors
/// [`CloseError`]; then nothing is closed.
pub fn close(flows: impl IntoIterator<Item = Flow>) -> Result<Closed, CloseError> {
    let wanted: HashSet<Flow> = flows.into_iter().map(plain).collect();
    let mut outcome = Closed::default();
    let mut met = HashSet::new();
    for transport in [Transport::Tcp, Transport::Udp] {
        if !wanted.iter().any(|flow| flow.transport == transport) {
            continue;
        }
        // IPv6 sockets can carry IPv4 flows, so both families are looked through for either.
        for family in [AF_INET, AF_INET6] {
            for (flow, socket) in list(transport, family)? {
                if !wanted.contains(&flow) {
                    continue;
                }
                match destroy(transport, family, socket) {
                    Ok(()) => outcome.closed += 1,
                    // It ended meanwhile, or was another one by then, which its cookie tells.
                    Err(error) if is_gone(&error) => continue,
                    Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                        return Err(CloseError::Unsupported);
                    }
                    Err(error) => outcome.refused.push((flow, error)),
                }
                met.insert(flow);
            }
        }
    }
    outcome.not_found = wanted.len() - met.len();
    Ok(outcome)
}

/// The flow with IPv4-mapped addresses as plain ones, and without what is no part of it (scope, flow label).
fn plain(flow: Flow) -> Flow {
    let plain = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    Flow { local: plain(flow.local), remote: plain(flow.remote), ..flow }
}

/// Every socket that has a peer, with its flow.
fn list(transport: Transport, family: u8) -> Result<Vec<(Flow, SocketId)>, CloseError> {
    let any = if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
    let request = bytes(transport, family, any);
    let mut sockets = Vec::new();
    let listed = Request::to(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, &request).dump(|_, payload| {
        // A socket that can't be read keeps nobody from closing the others.
        if let Ok(InetResponseHeader { socket_id, .. }) = InetResponseHeader::parse(payload) {
            let local = SocketAddr::new(socket_id.source_address, socket_id.source_port);
            let remote = SocketAddr::new(socket_id.destination_address, socket_id.destination_port);
            sockets.push((plain(Flow { transport, local, remote }), socket_id));
        }
        ControlFlow::Continue(())
    });
    match listed {
        Ok(_) => Ok(sockets),
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ENOENT | libc::EOPNOTSUPP | libc::EPROTONOSUPPORT)
            ) =>
        {
            Err(CloseError::Unsupported)
        }
        Err(error) => Err(CloseError::List(error)),
    }
}

fn destroy(transport: Transport, family: u8, socket: SocketId) -> io::Result<()> {
    Request::to(NETLINK_SOCK_DIAG, SOCK_DESTROY, &bytes(transport, family, socket)).send(|_, _| {})
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESTALE))
}

fn bytes(transport: Transport, family: u8, socket_id: SocketId) -> Vec<u8> {
    let (protocol, states) = match transport {
        // Those that listen, were never connected, or only wait for old packets belong to no live flow.
        Transport::Tcp => {
            let none = StateFlags::LISTEN | StateFlags::CLOSE | StateFlags::TIME_WAIT;
            (IPPROTO_TCP, StateFlags::all().difference(none))
        }
        Transport::Udp => (IPPROTO_UDP, StateFlags::ESTABLISHED),
    };
    let request = InetRequest { family, protocol, extensions: ExtensionFlags::empty(), states, socket_id };
    emit(&request)
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
