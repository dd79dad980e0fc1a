//! Whoever uses a socket of which the kernel drops every packet learns it at once, and nobody else is disturbed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use guard_tests::bed::{self, BELGIUM, Bed, Family, PIN, STORE, US};
use guard_tests::user::as_user;
use rustix::net::{AddressFamily, SocketType};

/// Long before TCP gives up by itself, which takes it minutes.
const SOON: Duration = Duration::from_secs(5);
/// What the storage connects to elsewhere.
const REPLICA: u16 = 5432;

const PUSHES: &str = "[[pin]]\nname = \"replica\"\nhome = \"IE\"\npermit = [\"BE\"]\naction = \"drop\"\n\
     [pin.select]\nremote_ports = [\"tcp/5432\", \"udp/5432\"]\n";

fn replica(bed: &Bed, host: &str, family: Family) -> TcpListener {
    let at = SocketAddr::new(bed::address(host, family).unwrap(), REPLICA);
    bed.host(host).unwrap().run(|| TcpListener::bind(at).unwrap()).unwrap()
}

#[test]
#[ignore = "needs root and BPF"]
fn a_connection_that_may_not_be_fails_at_once_and_its_twin_stands() {
    let bed = Bed::new("dropped").unwrap();
    bed.configure(PUSHES).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    for family in Family::ALL {
        let there = replica(&bed, US, family);
        let at = there.local_addr().unwrap();
        let begin = Instant::now();
        let refused = bed.host(STORE).unwrap().run(|| TcpStream::connect(at).map(drop)).unwrap();
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionAborted, "{family:?}");
        assert!(begin.elapsed() < SOON, "it took {:?}", begin.elapsed());
        there.set_nonblocking(true).unwrap();
        assert_eq!(there.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nobody came");
        let twin = replica(&bed, BELGIUM, family);
        let at = twin.local_addr().unwrap();
        let mut stands = bed.host(STORE).unwrap().run(|| TcpStream::connect(at).unwrap()).unwrap();
        let (mut served, _) = twin.accept().unwrap();
        stands.write_all(b"a mail").unwrap();
        let mut word = [0; 6];
        served.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"a mail");
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn a_reload_that_forbids_more_ends_the_connections_that_it_cuts_and_no_others() {
    let bed = Bed::new("dropped-reload").unwrap();
    let more = PIN.replace("[\"EU\"]", "[\"EU\", \"US\"]");
    bed.configure(&more).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    for family in Family::ALL {
        bed.configure(&more).unwrap();
        bed.tell(&["reload"]).unwrap();
        let listener = bed.listen(family).unwrap();
        let (us, belgium) = (bed.connect(&listener, US).unwrap(), bed.connect(&listener, BELGIUM).unwrap());
        us.passes().unwrap();
        belgium.passes().unwrap();
        bed.configure(PIN).unwrap();
        bed.tell(&["reload"]).unwrap();
        let begin = Instant::now();
        let end = loop {
            match (&us.server).write_all(b"a mail") {
                Ok(()) => std::thread::sleep(Duration::from_millis(20)),
                Err(error) => break error.kind(),
            }
            assert!(begin.elapsed() < SOON, "it hangs");
        };
        assert_eq!(end, ErrorKind::ConnectionAborted, "{family:?}");
        belgium.passes().unwrap();
        let another = bed.connect(&listener, BELGIUM).unwrap();
        another.passes().unwrap();
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn a_socket_that_sends_to_many_is_left_alone_and_one_that_sends_to_one_learns_it() {
    let bed = Bed::new("dropped-udp").unwrap();
    bed.configure(PUSHES).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let at = |host: &str| SocketAddr::new(bed::address(host, Family::V4).unwrap(), REPLICA);
    let twin = bed.host(BELGIUM).unwrap().run(|| UdpSocket::bind(at(BELGIUM)).unwrap()).unwrap();
    twin.set_read_timeout(Some(SOON)).unwrap();
    let socket = || bed.host(STORE).unwrap().run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    let (connected, many) = (socket(), socket());
    connected.connect(at(US)).unwrap();
    let begin = Instant::now();
    let end = loop {
        many.send_to(b"a mail", at(US)).unwrap();
        match connected.send(b"a mail") {
            Ok(_) => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => break error.raw_os_error(),
        }
        assert!(begin.elapsed() < SOON, "it goes on");
    };
    // The first call after the end has the reason, and a later one finds a socket that is not connected.
    assert!([libc::ECONNABORTED, libc::EDESTADDRREQ].map(Some).contains(&end), "{end:?}");
    many.send_to(b"a mail", at(BELGIUM)).unwrap();
    let mut word = [0; 16];
    assert_eq!(twin.recv(&mut word).unwrap(), 6);
}

/// A pinned user's, by whatever port.
const USER: u32 = 64_001;
const BY_USER: &str = "[[pin]]\nname = \"private\"\nhome = \"IE\"\npermit = [\"BE\"]\naction = \"drop\"\n\
     [pin.select]\nusers = [64001]\nsent_by = \"socket\"\n";

#[test]
#[ignore = "needs root and BPF"]
fn a_socket_of_the_same_addresses_that_is_not_pinned_goes_on() {
    let bed = Bed::new("dropped-twin").unwrap();
    bed.configure(BY_USER).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let (port, to) = (7300, SocketAddr::new(bed::address(US, Family::V4).unwrap(), REPLICA));
    let there = bed.host(US).unwrap().run(|| UdpSocket::bind(to).unwrap()).unwrap();
    there.set_read_timeout(Some(SOON)).unwrap();
    let store = bed.host(STORE).unwrap();
    let at = SocketAddr::new(bed::address(STORE, Family::V4).unwrap(), port);
    // Both may have it, as each has said so before.
    let shared = || {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
        rustix::net::sockopt::set_socket_reuseaddr(&socket, true).unwrap();
        rustix::net::bind(&socket, &at).unwrap();
        UdpSocket::from(socket)
    };
    let innocent = store.run(shared).unwrap();
    innocent.connect(to).unwrap();
    let word = &mut [0; 16];
    innocent.send(b"a word").unwrap();
    assert_eq!(there.recv(word).unwrap(), 6);
    let pinned = store.run(|| as_user("private", USER, shared)).unwrap();
    for _ in 0..3 {
        let _dropped = as_user("private", USER, || pinned.send_to(b"a mail", to));
    }
    bed.event(SOON, "an event", |event| event["pins"][0] == "private").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    for _ in 0..3 {
        innocent.send(b"a word").unwrap();
        assert_eq!(there.recv(word).unwrap(), 6, "it arrives");
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn an_event_of_before_the_daemon_closes_nothing_that_may_pass_by_now() {
    let bed = Bed::new("dropped-old").unwrap();
    bed.configure(PUSHES).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let there = replica(&bed, US, Family::V4);
    let at = there.local_addr().unwrap();
    // Nobody reads events now: the handshake is dropped, and goes on when its next try passes.
    daemon.kill(bed::PATIENCE).unwrap();
    let connecting = std::thread::scope(|scope| {
        let client =
            scope.spawn(|| bed.host(STORE).unwrap().run(|| TcpStream::connect(at).map(drop)).unwrap());
        std::thread::sleep(Duration::from_millis(200));
        bed.configure(&PUSHES.replace("[\"BE\"]", "[\"BE\", \"US\"]")).unwrap();
        let daemon = bed.start(&[]).unwrap();
        (client.join().unwrap(), daemon)
    });
    connecting.0.unwrap();
}
