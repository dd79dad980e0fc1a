//! With `sockets.refuse` a call fails at once of which every packet would be dropped, and every other one is left to its
//! packets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::io::{Error, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use guard_tests::bed::{self, BELGIUM, Bed, Family, STORE, US};
use guard_tests::cgroup;
use guard_tests::proc::{Process, retry_until};
use guard_tests::user::as_user;

/// What takes a connection some milliseconds, or for ever.
const SOON: Duration = Duration::from_secs(10);
/// What the storage connects to elsewhere.
const REPLICA: u16 = 5432;

/// A pin that is known by where it connects to alone.
const PUSHES: &str = "[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [\"BE\"]\naction = \"drop\"\n\
     [pin.select]\nremote_ports = [\"tcp/5432\", \"udp/5432\"]\n";

/// A config that has calls of the bed's cgroup refused, with `rest`.
fn configure(bed: &Bed, rest: &str) {
    bed.configure(&format!("{}refuse = true\n{rest}", bed.cgroup().noted())).unwrap();
}

/// Whether calls are refused, and why not.
fn state(bed: &Bed) -> (bool, Option<String>) {
    let sockets = bed.status().unwrap().sockets;
    (sockets.refused, sockets.not_refused)
}

/// Waits until calls are refused.
fn are_refused(bed: &Bed) {
    retry_until(SOON, "calls to be refused", || (state(bed) == (true, None)).then_some(())).unwrap();
}

/// A bed whose daemon refuses calls by this config.
fn refusing(label: &str, rest: &str) -> (Bed, Process) {
    let bed = Bed::new(label).unwrap();
    configure(&bed, rest);
    let daemon = bed.start(&[]).unwrap();
    are_refused(&bed);
    (bed, daemon)
}

fn at(host: &str, family: Family) -> SocketAddr {
    SocketAddr::new(bed::address(host, family).unwrap(), REPLICA)
}

fn listen(bed: &Bed, host: &str, at: SocketAddr) -> TcpListener {
    bed.host(host).unwrap().run(|| TcpListener::bind(at).unwrap()).unwrap()
}

/// What a process of the bed's cgroup in the network of a host comes to.
fn from<T: Send>(bed: &Bed, host: &str, work: impl FnOnce() -> T + Send) -> T {
    cgroup::inside(bed.cgroup().path(), || bed.host(host).unwrap().run(work).unwrap()).unwrap()
}

fn connect(bed: &Bed, to: SocketAddr) -> std::io::Result<TcpStream> {
    from(bed, STORE, || TcpStream::connect_timeout(&to, SOON))
}

/// Calls and packets that were dropped so far, by hook.
fn dropped(bed: &Bed) -> [u64; 3] {
    let status = bed.status().unwrap();
    ["connect", "sendmsg", "egress"].map(|hook| bed::packets(&status, hook, "drop", "forbidden"))
}

fn is_refused(error: &Error) -> bool {
    error.raw_os_error() == Some(libc::EPERM)
}

fn talks(mut client: TcpStream, server: &TcpListener) {
    let (mut served, _) = server.accept().unwrap();
    client.write_all(b"a mail").unwrap();
    let mut word = [0; 6];
    served.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"a mail");
}

#[test]
#[ignore = "needs root and BPF"]
fn a_connection_to_a_forbidden_place_is_refused_and_its_twin_stands() {
    let (bed, _daemon) = refusing("refused", PUSHES);
    for (number, family) in (1_u64..).zip(Family::ALL) {
        let there = listen(&bed, US, at(US, family));
        let refused = connect(&bed, at(US, family)).unwrap_err();
        assert!(is_refused(&refused), "{family:?}: {refused}");
        there.set_nonblocking(true).unwrap();
        assert_eq!(there.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nobody came");
        assert_eq!(dropped(&bed), [number, 0, 0], "it is counted once, and no packet is");
        let twin = listen(&bed, BELGIUM, at(BELGIUM, family));
        talks(connect(&bed, at(BELGIUM, family)).unwrap(), &twin);
        let event = bed.event(SOON, "an event", |event| {
            event["destination"]["ip"] == at(US, family).ip().to_string() && event["hook"] == "connect"
        });
        let event = event.unwrap();
        assert_eq!((&event["action"], &event["verdict"]), (&"refused".into(), &"drop".into()), "{event}");
        assert_eq!(
            (&event["reason"], &event["jurisdiction"]),
            (&"forbidden".into(), &"US".into()),
            "{event}"
        );
        assert_eq!((&event["pins"][0], &event["source"]), (&"mail".into(), &serde_json::Value::Null));
        assert_eq!(event["destination"]["port"], REPLICA, "{event}");
        assert_eq!(event["process"]["pid"], std::process::id(), "{event}");
    }
    // An IPv4 address in its IPv6 form, as a server for both families writes it.
    let IpAddr::V4(v4) = at(US, Family::V4).ip() else { panic!() };
    let mapped = SocketAddr::new(v4.to_ipv6_mapped().into(), REPLICA);
    assert!(is_refused(&connect(&bed, mapped).unwrap_err()));
    let report = bed.tell(&["report", "--format", "csv"]).unwrap();
    let of_us = |row: &&str| row.starts_with("\"traffic\"") && row.contains("US") && row.contains("refused");
    assert!(report.lines().any(|row| of_us(&row)), "{report}");
}

#[test]
#[ignore = "needs root and BPF"]
fn a_datagram_to_a_forbidden_place_is_refused_and_its_socket_goes_on() {
    let (bed, _daemon) = refusing("refused-udp", PUSHES);
    for family in Family::ALL {
        let there = bed.host(BELGIUM).unwrap().run(|| UdpSocket::bind(at(BELGIUM, family)).unwrap()).unwrap();
        there.set_read_timeout(Some(SOON)).unwrap();
        let any = if family == Family::V4 { "0.0.0.0:0" } else { "[::]:0" };
        let before = dropped(&bed);
        let arrived = bed.arrived(US, family).unwrap();
        let socket = from(&bed, STORE, || {
            let socket = UdpSocket::bind(any).unwrap();
            for _ in 0..3 {
                assert!(is_refused(&socket.send_to(b"a mail", at(US, family)).unwrap_err()));
            }
            assert!(is_refused(&socket.connect(at(US, family)).unwrap_err()));
            socket.send_to(b"a mail", at(BELGIUM, family)).unwrap();
            socket
        });
        assert_eq!(there.recv(&mut [0; 16]).unwrap(), 6, "{family:?}");
        let event = |hook: &str| bed.event(SOON, "an event", |event| event["hook"] == hook).unwrap();
        assert_eq!([event("sendmsg"), event("connect")].map(|it| it["protocol"].clone()), ["udp", "udp"]);
        assert_eq!(dropped(&bed), [before[0] + 1, before[1] + 3, 0]);
        // The events close no socket.
        std::thread::sleep(Duration::from_millis(300));
        from(&bed, STORE, || socket.send_to(b"a mail", at(BELGIUM, family)).unwrap());
        assert_eq!(there.recv(&mut [0; 16]).unwrap(), 6, "{family:?}");
        assert_eq!(bed.arrived(US, family).unwrap(), arrived, "{family:?}");
    }
}

/// A pinned user's, by whatever port, and a pinned cgroup's; and what the host makes itself, to one port.
const USER: u32 = 64_001;

#[test]
#[ignore = "needs root and BPF"]
fn who_calls_is_known_by_user_and_cgroup() {
    let bed = Bed::new("refused-who").unwrap();
    let slice = bed.cgroup().path().join("mail.slice");
    std::fs::create_dir(&slice).unwrap();
    let pin = |name: &str, select: &str| {
        format!(
            "[[pin]]\nname = \"{name}\"\nhome = \"IE\"\npermit = [\"BE\"]\naction = \"drop\"\n[pin.select]\n{select}\n"
        )
    };
    let by_user = pin("private", &format!("users = [{USER}]\nsent_by = \"socket\""));
    let path = format!("{}/mail.slice", bed.cgroup().name());
    let by_cgroup = pin("mail", &format!("cgroups = [{path:?}]\nsent_by = \"socket\""));
    let by_host = pin("host", "sources = [\"host\"]\nremote_ports = [\"tcp/25\"]");
    configure(&bed, &format!("{by_user}{by_cgroup}{by_host}"));
    let _daemon = bed.start(&[]).unwrap();
    are_refused(&bed);
    let to = at(US, Family::V4);
    let there = listen(&bed, US, to);
    let twin = listen(&bed, BELGIUM, at(BELGIUM, Family::V4));
    let connect_as = |user: u32, to: SocketAddr| {
        from(&bed, STORE, || as_user("client", user, || TcpStream::connect_timeout(&to, SOON)))
    };
    assert!(is_refused(&connect_as(USER, to).unwrap_err()));
    talks(connect_as(USER, twin.local_addr().unwrap()).unwrap(), &twin);
    talks(connect_as(USER + 1, to).unwrap(), &there);
    talks(connect(&bed, to).unwrap(), &there);
    let in_slice = |to: SocketAddr| {
        let connect = || TcpStream::connect_timeout(&to, SOON);
        cgroup::inside(&slice, || bed.host(STORE).unwrap().run(connect).unwrap()).unwrap()
    };
    assert!(is_refused(&in_slice(to).unwrap_err()));
    talks(in_slice(twin.local_addr().unwrap()).unwrap(), &twin);
    let mail = SocketAddr::new(to.ip(), 25);
    assert!(is_refused(&connect(&bed, mail).unwrap_err()));
    assert_eq!(dropped(&bed)[2], 0, "no packet was");
}

#[test]
#[ignore = "needs root and BPF"]
fn what_may_pass_is_left_to_its_packets() {
    let mail = "[[pin]]\nname = \"by-port\"\nhome = \"IE\"\npermit = [\"BE\"]\naction = \"drop\"\n\
                [pin.select]\nports = [\"tcp/143\"]\n";
    let failsafe = "[[failsafe]]\nname = \"peer\"\npeers = [\"203.0.113.11/32\"]\n\
                    local_ports = [\"tcp/9\"]\n";
    let (bed, _daemon) = refusing("refused-left", &format!("{failsafe}{mail}{PUSHES}"));
    let (to, store) = (at(US, Family::V4), bed.host(STORE).unwrap());
    assert!(is_refused(&connect(&bed, to).unwrap_err()));

    // A failsafe rule by local ports, which are not known at the call.
    let peer = SocketAddr::new("203.0.113.11".parse().unwrap(), REPLICA);
    bed.host(US).unwrap().ip(&["address", "add", "203.0.113.11/24", "dev", "eth0"]).unwrap();
    let learnt = connect(&bed, peer).unwrap_err();
    assert_eq!(learnt.kind(), ErrorKind::ConnectionAborted, "by its packet: {learnt}");

    // A pin by source ports.
    let by_port = from(&bed, STORE, || {
        let socket =
            rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None);
        let socket = socket.unwrap();
        rustix::net::bind(&socket, &SocketAddr::new("0.0.0.0".parse().unwrap(), 143)).unwrap();
        rustix::net::connect(&socket, &SocketAddr::new(to.ip(), 5000)).unwrap_err()
    });
    assert_eq!(by_port, rustix::io::Errno::CONNABORTED, "by its packet");

    // The host's own addresses, wherever they are placed, and the loopback.
    store.ip(&["address", "add", "203.0.113.99/32", "dev", "lo"]).unwrap();
    for own in ["203.0.113.99", "127.0.0.1"] {
        let own = SocketAddr::new(own.parse().unwrap(), REPLICA);
        let here = listen(&bed, STORE, own);
        talks(retry_until(SOON, "the address to be known", || connect(&bed, own).ok()).unwrap(), &here);
    }

    // Another network namespace, which nobody guards.
    let there = listen(&bed, US, to);
    talks(from(&bed, BELGIUM, || TcpStream::connect_timeout(&to, SOON)).unwrap(), &there);

    // A process outside the cgroup of `[sockets]`.
    let outside = store.run(|| TcpStream::connect_timeout(&to, SOON)).unwrap();
    assert_eq!(outside.unwrap_err().kind(), ErrorKind::ConnectionAborted);

    // What is exempt, and still refused beside it.
    bed.exempt("mlat-1", &["203.0.113.10/32"], 3600, None).unwrap();
    talks(connect(&bed, to).unwrap(), &there);
    let beside = SocketAddr::new("203.0.113.12".parse().unwrap(), REPLICA);
    assert!(is_refused(&connect(&bed, beside).unwrap_err()));
    bed.tell(&["exemption", "revoke", "mlat-1", "--why", "a test"]).unwrap();
    assert!(is_refused(&connect(&bed, to).unwrap_err()));
}

#[test]
#[ignore = "needs root and BPF"]
fn while_a_packet_could_leave_by_another_way_no_call_is_refused() {
    let (bed, daemon) = refusing("refused-ways", PUSHES);
    let (to, store) = (at(US, Family::V4), bed.host(STORE).unwrap());
    store.ip(&["tuntap", "add", "dev", "tun7", "mode", "tun"]).unwrap();
    store.ip(&["link", "set", "tun7", "up"]).unwrap();
    store.ip(&["address", "add", "192.0.2.130/25", "dev", "tun7"]).unwrap();
    store.ip(&["route", "add", "203.0.113.77/32", "dev", "tun7"]).unwrap();
    let why = retry_until(SOON, "no call to be refused", || match state(&bed) {
        (false, Some(why)) => Some(why),
        _ => None,
    });
    let why = why.unwrap();
    assert!(why.contains("tun7"), "{why}");
    let text = bed.ask(&["status"]).unwrap().out;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("left to their packets, for packets could leave by tun7"), "{text}");
    let learnt = connect(&bed, to).unwrap_err();
    assert_eq!(learnt.kind(), ErrorKind::ConnectionAborted, "by its packet: {learnt}");
    store.ip(&["link", "delete", "tun7"]).unwrap();
    are_refused(&bed);
    assert!(is_refused(&connect(&bed, to).unwrap_err()));

    // Without a daemon the kernel goes on.
    daemon.kill(bed::PATIENCE).unwrap();
    assert!(is_refused(&connect(&bed, to).unwrap_err()));
    let there = listen(&bed, US, to);
    let daemon = bed.start(&["--observe"]).unwrap();
    talks(connect(&bed, to).unwrap(), &there);
    let (_, why) = state(&bed);
    assert!(why.is_some_and(|why| why.contains("host.observe")));
    daemon.kill(bed::PATIENCE).unwrap();

    // Without the key a process learns it by its packet.
    bed.configure(PUSHES).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    assert_eq!(state(&bed), (false, None));
    assert_eq!(connect(&bed, to).unwrap_err().kind(), ErrorKind::ConnectionAborted);
}
