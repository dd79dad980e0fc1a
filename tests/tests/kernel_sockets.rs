//! Sockets of cut flows are closed, and no others.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use guard_tests::netns::{Host, Lan};
use guard_user::kernel::sockets::{Closed, Flow, Transport, close};

const SECONDS: Duration = Duration::from_secs(1);
const V4: &str = "192.0.2.10:8143";
const V6: &str = "[2001:db8:1::10]:8143";

fn two_hosts() -> Lan {
    Lan::new(&[
        Host::new("dublin")
            .address("192.0.2.10/24".parse().unwrap())
            .address("2001:db8:1::10/64".parse().unwrap()),
        Host::new("client")
            .address("203.0.113.30/24".parse().unwrap())
            .address("2001:db8:3::30/64".parse().unwrap()),
    ])
    .unwrap()
}

/// A connection's end at the storage host, and at the client.
struct Connection {
    server: TcpStream,
    client: TcpStream,
}

impl Connection {
    fn new(lan: &Lan, listener: &TcpListener, address: &str) -> Self {
        let address: SocketAddr = address.parse().unwrap();
        let client = lan.host("client").unwrap();
        let client = client.run(|| TcpStream::connect_timeout(&address, 2 * SECONDS).unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        for end in [&server, &client] {
            end.set_read_timeout(Some(2 * SECONDS)).unwrap();
        }
        let connection = Self { server, client };
        connection.lives();
        connection
    }

    fn lives(&self) {
        let mut word = [0; 4];
        (&self.server).write_all(b"mail").unwrap();
        (&self.client).read_exact(&mut word).unwrap();
        assert_eq!(&word, b"mail");
    }

    fn is_closed(&self) {
        let mut word = [0; 4];
        let server = (&self.server).read(&mut word).unwrap_err();
        assert_eq!(server.kind(), ErrorKind::ConnectionAborted, "{server}");
        let client = (&self.client).read(&mut word).unwrap_err();
        assert_eq!(client.kind(), ErrorKind::ConnectionReset, "{client}");
    }

    fn flow(&self) -> Flow {
        let (local, remote) = (self.server.local_addr().unwrap(), self.server.peer_addr().unwrap());
        Flow { transport: Transport::Tcp, local, remote }
    }
}

/// As events and flow records name them: IPv4 plainly, whatever the socket is.
fn as_told(flow: Flow) -> Flow {
    let plain = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    Flow { local: plain(flow.local), remote: plain(flow.remote), ..flow }
}

fn close_at_dublin(lan: &Lan, flows: &[Flow]) -> Closed {
    lan.host("dublin").unwrap().run(|| close(flows.iter().copied()).unwrap()).unwrap()
}

fn counts(closed: &Closed) -> (usize, usize, usize) {
    (closed.closed, closed.not_found, closed.refused.len())
}

fn listen(lan: &Lan, address: &str) -> TcpListener {
    lan.host("dublin").unwrap().run(|| TcpListener::bind(address).unwrap()).unwrap()
}

fn one_of_three_is_closed(listen_on: &str, address: &str) {
    let lan = two_hosts();
    let listener = listen(&lan, listen_on);
    let [before, cut, after] = [(); 3].map(|()| Connection::new(&lan, &listener, address));
    let flow = as_told(cut.flow());
    assert_eq!(counts(&close_at_dublin(&lan, &[flow])), (1, 0, 0));
    cut.is_closed();
    before.lives();
    after.lives();
    // The server itself goes on, and a second time there is nothing to close.
    Connection::new(&lan, &listener, address).lives();
    assert_eq!(counts(&close_at_dublin(&lan, &[flow])), (0, 1, 0));
    Connection::new(&lan, &listener, address).lives();
}

#[test]
#[ignore = "needs root and BPF"]
fn the_server_is_told_and_the_client_sees_a_reset_over_ipv4() {
    one_of_three_is_closed(V4, V4);
}

#[test]
#[ignore = "needs root and BPF"]
fn the_server_is_told_and_the_client_sees_a_reset_over_ipv6() {
    one_of_three_is_closed(V6, V6);
}

#[test]
#[ignore = "needs root and BPF"]
fn an_ipv4_flow_of_a_server_that_listens_on_both_families_is_closed() {
    one_of_three_is_closed("[::]:8143", V4);
}

#[test]
#[ignore = "needs root and BPF"]
fn many_flows_are_closed_at_once_also_where_the_local_end_is_the_client() {
    let lan = two_hosts();
    let (four, six) = (listen(&lan, V4), listen(&lan, V6));
    let connections: Vec<Connection> = (0..40)
        .map(|index| match index % 2 {
            0 => Connection::new(&lan, &four, V4),
            _ => Connection::new(&lan, &six, V6),
        })
        .collect();
    let flows: Vec<Flow> = connections.iter().map(Connection::flow).collect();
    let seen_by_the_client: Vec<Flow> =
        flows.iter().map(|flow| Flow { local: flow.remote, remote: flow.local, ..*flow }).collect();
    let client = lan.host("client").unwrap();
    let closed = client.run(|| close(seen_by_the_client.iter().copied().take(10)).unwrap()).unwrap();
    assert_eq!(counts(&closed), (10, 0, 0));
    // Ten of them ended by the client's reset.
    assert_eq!(counts(&close_at_dublin(&lan, &flows)), (30, 10, 0));
    connections.iter().skip(10).for_each(Connection::is_closed);
    for connection in connections.iter().take(10) {
        let error = (&connection.client).read(&mut [0; 4]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted, "{error}");
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn a_connected_udp_socket_is_closed_and_one_that_serves_many_is_not() {
    let lan = two_hosts();
    let dublin = lan.host("dublin").unwrap();
    let (connected, open) = dublin
        .run(|| (UdpSocket::bind("192.0.2.10:5000").unwrap(), UdpSocket::bind("192.0.2.10:5001").unwrap()))
        .unwrap();
    let remote: SocketAddr = "203.0.113.30:6000".parse().unwrap();
    connected.connect(remote).unwrap();
    let flow =
        |socket: &UdpSocket| Flow { transport: Transport::Udp, local: socket.local_addr().unwrap(), remote };
    let closed = close_at_dublin(&lan, &[flow(&connected), flow(&open)]);
    assert_eq!(counts(&closed), (1, 1, 0));
    connected.set_read_timeout(Some(2 * SECONDS)).unwrap();
    let error = connected.recv(&mut [0; 4]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted, "{error}");
    assert_eq!(open.local_addr().unwrap().port(), 5001);
}

#[test]
#[ignore = "needs root and BPF"]
fn the_transport_is_part_of_the_flow() {
    let lan = two_hosts();
    let listener = listen(&lan, V4);
    let connection = Connection::new(&lan, &listener, V4);
    let flow = Flow { transport: Transport::Udp, ..connection.flow() };
    assert_eq!(counts(&close_at_dublin(&lan, &[flow])), (0, 1, 0));
    connection.lives();
}
