//! Pins by who opened a connection: what clients fetch, or what the storage sends by connections of its own, each without the
//! other; and what nobody can tell it of is both.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::Duration;

use guard_tests::bed::{self, BELGIUM, Bed, CLIENT_PORT, Family, STORE, US, address};
use guard_tests::cgroup;

/// Where the storage serves, and where others serve what it fetches.
const STORAGE_PORT: u16 = 5432;
const UPDATE_PORT: u16 = 443;
const UPDATE: [u8; 6] = *b"update";
const ROWS: [u8; 6] = *b"a row.";
/// Longer than any packet of a test takes, and than the first that TCP sends again.
const SOON: Duration = Duration::from_millis(1500);

fn pin(direction: &str) -> String {
    format!(
        "[[pin]]\nname = \"rows\"\nhome = \"IE\"\npermit = [\"EU\"]\naction = \"drop\"\n[pin.select]\n\
         sources = [\"192.0.2.10/32\", \"2001:db8:1::10/128\"]\ndirection = \"{direction}\"\n"
    )
}

fn other(direction: &str) -> &'static str {
    if direction == "served" { "opened" } else { "served" }
}

fn at(host: &str, family: Family, port: u16) -> SocketAddr {
    SocketAddr::new(address(host, family).unwrap(), port)
}

fn on<T: Send>(bed: &Bed, host: &str, work: impl FnOnce() -> T + Send) -> T {
    bed.host(host).unwrap().run(work).unwrap()
}

/// Work of the storage host whose sockets are noted.
fn noted<T: Send>(bed: &Bed, work: impl FnOnce() -> T + Send) -> T {
    cgroup::inside(bed.cgroup().path(), || on(bed, STORE, work)).unwrap()
}

fn listen(bed: &Bed, host: &str, family: Family, port: u16) -> TcpListener {
    on(bed, host, || TcpListener::bind(at(host, family, port)).unwrap())
}

/// Whether a client gets rows of the storage that it connects to.
fn fetches(bed: &Bed, client: &str, from: &TcpListener, family: Family) -> bool {
    let to = at(STORE, family, from.local_addr().unwrap().port());
    let Ok(mut client) = on(bed, client, || TcpStream::connect_timeout(&to, SOON)) else {
        from.set_nonblocking(true).unwrap();
        assert_eq!(from.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "and yet it is connected");
        from.set_nonblocking(false).unwrap();
        return false;
    };
    let (mut server, _) = from.accept().unwrap();
    let _cut = server.write_all(&ROWS);
    receives(&mut client, &ROWS)
}

/// Whether the storage gets an update from another host by a connection that it opens, its request first.
fn is_updated(bed: &Bed, from: &TcpListener) -> bool {
    let to = from.local_addr().unwrap();
    let connect = || TcpStream::connect_timeout(&to, SOON);
    let Ok(own) = noted(bed, connect) else { return false };
    push(&own, from)
}

/// Whether what the storage sends by its end of a connection arrives, and what comes back.
fn push(mut own: &TcpStream, to: &TcpListener) -> bool {
    let (mut other, _) = to.accept().unwrap();
    let _cut = own.write_all(&ROWS);
    if !receives(&mut other, &ROWS) {
        return false;
    }
    other.write_all(&UPDATE).unwrap();
    let mut own = own;
    receives(&mut own, &UPDATE)
}

fn receives(end: &mut (impl std::io::Read + AsTimed), expected: &[u8]) -> bool {
    end.wait_at_most(SOON);
    let mut word = vec![0; expected.len()];
    match end.read_exact(&mut word) {
        Ok(()) => word == expected,
        Err(_) => false,
    }
}

/// What can be waited for.
trait AsTimed {
    fn wait_at_most(&self, time: Duration);
}

impl AsTimed for TcpStream {
    fn wait_at_most(&self, time: Duration) {
        self.set_read_timeout(Some(time)).unwrap();
    }
}

impl AsTimed for &TcpStream {
    fn wait_at_most(&self, time: Duration) {
        self.set_read_timeout(Some(time)).unwrap();
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn what_is_served_is_held_and_what_is_fetched_comes_and_the_other_way_round() {
    let bed = Bed::new("direction").unwrap();
    for direction in ["served", "opened"] {
        bed.configure(&pin(direction)).unwrap();
        let daemon = bed.start(&[]).unwrap();
        assert_eq!(bed.status().unwrap().problems, []);
        for family in Family::ALL {
            let storage = noted(&bed, || TcpListener::bind(at(STORE, family, STORAGE_PORT)).unwrap());
            let (us, belgium) =
                (listen(&bed, US, family, UPDATE_PORT), listen(&bed, BELGIUM, family, UPDATE_PORT));
            let is_served = direction == "served";
            assert_eq!(fetches(&bed, US, &storage, family), !is_served, "{direction} {family:?}");
            assert_eq!(is_updated(&bed, &us), is_served, "{direction} {family:?}");
            assert!(fetches(&bed, BELGIUM, &storage, family), "{direction} {family:?}");
            assert!(is_updated(&bed, &belgium), "{direction} {family:?}");
        }
        // As explained; where nobody says who opened the connection, it may be the pin's.
        let flow = ["explain", "--from", "192.0.2.10:5432", "--to", "203.0.113.10:443"];
        for (told, verdict) in [(Some(direction), "drop"), (None, "drop"), (Some(other(direction)), "pass")] {
            let option = told.map(|told| ["--direction", told]);
            let words: Vec<&str> = flow.into_iter().chain(option.into_iter().flatten()).collect();
            let explained = bed.tell(&words).unwrap();
            assert!(explained.contains(&format!("verdict    {verdict}")), "{words:?}: {explained}");
            let says =
                if told.is_some() { "the connection is" } else { "not known who opened the connection" };
            assert!(explained.contains(says), "{explained}");
        }
        let udp = ["--proto", "udp", "--direction", direction];
        let refused = bed.ask(&flow.into_iter().chain(udp).collect::<Vec<_>>()).unwrap();
        assert!(!refused.status.success() && refused.complaint.contains("of TCP"), "{refused:?}");
        daemon.kill(bed::PATIENCE).unwrap();
        // With no daemon too, and the sockets of a later one are as well known.
        let family = Family::V4;
        let storage = noted(&bed, || TcpListener::bind(at(STORE, family, STORAGE_PORT)).unwrap());
        assert_eq!(fetches(&bed, US, &storage, family), direction != "served");
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn what_nobody_can_tell_the_direction_of_is_of_both() {
    let bed = Bed::new("direction-unknown").unwrap();
    let family = Family::V4;
    for direction in ["served", "opened"] {
        bed.configure(&pin(direction)).unwrap();
        let daemon = bed.start(&[]).unwrap();
        // Made where nothing is noted.
        let storage = listen(&bed, STORE, family, STORAGE_PORT);
        let (us, belgium) =
            (listen(&bed, US, family, UPDATE_PORT), listen(&bed, BELGIUM, family, UPDATE_PORT));
        let connect = |to: &TcpListener| {
            let to = to.local_addr().unwrap();
            on(&bed, STORE, || TcpStream::connect_timeout(&to, SOON))
        };
        assert!(connect(&us).is_err(), "{direction}");
        assert!(push(&connect(&belgium).unwrap(), &belgium), "{direction}");
        // The answer to a connection is served, whoever makes it; no data is in it.
        assert!(!fetches(&bed, US, &storage, family), "{direction}");
        assert!(fetches(&bed, BELGIUM, &storage, family), "{direction}");
        // UDP, connected or not, and Multipath TCP, whose paths the kernel opens as it likes.
        for is_connected in [false, true] {
            for (host, arrives) in [(US, false), (BELGIUM, true)] {
                let socket = noted(&bed, || UdpSocket::bind(at(STORE, family, 0)).unwrap());
                let before = bed.arrived(host, family).unwrap();
                let to = at(host, family, CLIENT_PORT);
                if is_connected {
                    socket.connect(to).unwrap();
                    let _dropped = socket.send(b"a row");
                } else {
                    bed::send(&socket, to);
                }
                std::thread::sleep(Duration::from_millis(100));
                assert_eq!(bed.arrived(host, family).unwrap() > before, arrives, "{direction} {host}");
            }
        }
        match noted(&bed, || tcp_socket(libc::IPPROTO_MPTCP)) {
            Ok(path) => {
                on(&bed, STORE, || bind_and_listen(&path, at(STORE, family, STORAGE_PORT + 1)));
                let path = TcpListener::from(path);
                assert!(!fetches(&bed, US, &path, family), "{direction}");
                assert!(fetches(&bed, BELGIUM, &path, family), "{direction}");
            }
            Err(error) => println!("no Multipath TCP here: {error}"),
        }
        daemon.kill(bed::PATIENCE).unwrap();
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn no_trick_turns_what_is_served_into_what_is_opened() {
    let bed = Bed::new("direction-served").unwrap();
    let family = Family::V4;
    bed.configure(&pin("served")).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let (us, belgium) = (listen(&bed, US, family, UPDATE_PORT), listen(&bed, BELGIUM, family, UPDATE_PORT));
    // A socket that was connected, lets go of that, and listens.
    let socket = noted(&bed, || tcp_socket(libc::IPPROTO_TCP).unwrap());
    for to in [&us, &belgium] {
        on(&bed, STORE, || connect(&socket, to.local_addr().unwrap()).unwrap());
        let _other_end = to.accept().unwrap();
        disconnect(&socket);
    }
    on(&bed, STORE, || bind_and_listen(&socket, at(STORE, family, STORAGE_PORT)));
    let storage = TcpListener::from(socket);
    assert!(!fetches(&bed, US, &storage, family));
    assert!(fetches(&bed, BELGIUM, &storage, family));
    // A connection that was accepted, is let go and connected elsewhere: a packet of before may still wait.
    let mut client = on(&bed, BELGIUM, || TcpStream::connect(storage.local_addr().unwrap()).unwrap());
    let accepted = OwnedFd::from(storage.accept().unwrap().0);
    assert!(!receives(&mut client, &ROWS), "nothing was sent");
    disconnect(&accepted);
    assert!(on(&bed, STORE, || connect(&accepted, us.local_addr().unwrap())).is_err());
    // A descriptor that is handed on stays what it is, and who sends does not matter.
    let own = noted(&bed, || TcpStream::connect(us.local_addr().unwrap()).unwrap());
    assert!(push(&own.try_clone().unwrap(), &us));
}

#[test]
#[ignore = "needs root and BPF"]
fn no_trick_turns_what_is_opened_into_what_is_served() {
    let bed = Bed::new("direction-opened").unwrap();
    bed.configure(&pin("opened")).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    for family in Family::ALL {
        let us = listen(&bed, US, family, UPDATE_PORT);
        let belgium = listen(&bed, BELGIUM, family, UPDATE_PORT);
        for (to, passes) in [(&us, false), (&belgium, true)] {
            let to_address = to.local_addr().unwrap();
            // From the port at which it serves, and by data that is sent with the opening (`MSG_FASTOPEN`).
            let port = STORAGE_PORT + u16::from(passes);
            let socket = noted(&bed, || socket_of(family, libc::IPPROTO_TCP).unwrap());
            let sent = on(&bed, STORE, || {
                bind(&socket, at(STORE, family, port));
                connect_by(&socket, to_address, Opening::WithData)
            });
            assert_eq!(sent.is_ok(), passes, "{family:?}");
            if passes {
                let (mut other, _) = to.accept().unwrap();
                assert!(receives(&mut other, &ROWS));
            }
        }
        assert!(!is_updated(&bed, &us), "{family:?}");
        assert!(is_updated(&bed, &belgium), "{family:?}");
    }
    // An IPv6 socket that is connected to an IPv4 address.
    let us = listen(&bed, US, Family::V4, UPDATE_PORT);
    let belgium = listen(&bed, BELGIUM, Family::V4, UPDATE_PORT);
    for (to, passes) in [(&us, false), (&belgium, true)] {
        let socket = noted(&bed, || socket_of(Family::V6, libc::IPPROTO_TCP).unwrap());
        let SocketAddr::V4(to) = to.local_addr().unwrap() else { panic!("not IPv4") };
        let mapped = SocketAddr::new(to.ip().to_ipv6_mapped().into(), to.port());
        assert_eq!(on(&bed, STORE, || connect(&socket, mapped)).is_ok(), passes);
    }
}

/// How a connection is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opening {
    Plain,
    WithData,
}

fn tcp_socket(protocol: i32) -> std::io::Result<OwnedFd> {
    socket_of(Family::V4, protocol)
}

fn socket_of(family: Family, protocol: i32) -> std::io::Result<OwnedFd> {
    let family = if family == Family::V4 { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: the call takes numbers, and the descriptor is nobody else's.
    let socket = unsafe {
        let socket = libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, protocol);
        if socket < 0 {
            return Err(std::io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(socket)
    };
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
    // What is dropped is sent again, for some time.
    rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Send, Some(SOON))?;
    Ok(socket)
}

fn bind(socket: &OwnedFd, at: SocketAddr) {
    rustix::net::bind(socket, &at).unwrap();
}

fn bind_and_listen(socket: &OwnedFd, at: SocketAddr) {
    bind(socket, at);
    rustix::net::listen(socket, 8).unwrap();
}

fn connect(socket: &OwnedFd, to: SocketAddr) -> std::io::Result<()> {
    connect_by(socket, to, Opening::Plain)
}

fn connect_by(socket: &OwnedFd, to: SocketAddr, how: Opening) -> std::io::Result<()> {
    match how {
        Opening::Plain => Ok(rustix::net::connect(socket, &to)?),
        Opening::WithData => {
            let flags = rustix::net::SendFlags::from_bits_retain(libc::MSG_FASTOPEN as u32);
            Ok(rustix::net::sendto(socket, &ROWS, flags, &to).map(drop)?)
        }
    }
}

/// Lets a connection go, so that the socket can have another one (connect(2): `AF_UNSPEC`).
fn disconnect(socket: &OwnedFd) {
    // SAFETY: all zeroes are an address of no family, and the call reads it alone.
    let done = unsafe {
        let nowhere: libc::sockaddr = std::mem::zeroed();
        libc::connect(socket.as_raw_fd(), &nowhere, size_of::<libc::sockaddr>() as libc::socklen_t)
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}
