//! A quota is spent to its last bytes by senders on all CPUs, and never passed. The bytes are those that the
//! far side's kernel counted.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use guard_tests::bed::{
    self, BELGIUM, Bed, CLIENT_PORT, Connection, Family, MAIL_PORT, PATIENCE, PIN, STORE, US, exemption,
};
use guard_tests::netns::{HOST_INTERFACE, Netns};
use guard_tests::proc::{Process, retry_until};
use guard_tests::resources::stay_on;
use guard_tests::wire::Received;
use guard_user::exemption::State;
use guard_user::health::{Problem, ProblemCode};
use rustix::process::Signal;

/// The largest frame of an Ethernet, without its checksum.
const FULL: u64 = 1514;
/// Bytes of the one datagram that is sent over IPv6, as a frame.
const FRAME_V6: u64 = 14 + 40 + 8 + 21;
/// How long a test may flood: far more than any of them needs.
const LONG: Duration = Duration::from_secs(300);

fn cpus() -> usize {
    std::thread::available_parallelism().unwrap().get()
}

/// Sends to these addresses from several threads on each CPU, datagrams of many sizes over IPv4 and of one over
/// IPv6, until `until` gives something.
fn flood<T: Send>(bed: &Bed, to: &[SocketAddr], until: impl FnMut() -> Option<T>) -> T {
    const THREADS_ON_EACH: usize = 4;
    let done = AtomicBool::new(false);
    let sockets: Vec<(UdpSocket, SocketAddr)> = to.iter().map(|to| (sender(bed, to.ip()), *to)).collect();
    std::thread::scope(|scope| {
        for number in 0..THREADS_ON_EACH * cpus() {
            let (done, sockets) = (&done, &sockets);
            scope.spawn(move || {
                stay_on(number % cpus()).unwrap();
                let payload = [b'm'; 4000];
                let mut size = 37 * number;
                while !done.load(Ordering::Relaxed) {
                    for (socket, to) in sockets {
                        size = (size + 211) % 2600;
                        // The largest ones go in fragments.
                        let len = if to.is_ipv6() { 21 } else { size };
                        let _refused = socket.send_to(&payload[..len], to);
                    }
                }
            });
        }
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            retry_until(LONG, "the end of the quota", until).unwrap()
        }));
        done.store(true, Ordering::Relaxed);
        found.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A socket of the pin that other sockets of it can be beside.
fn sender(bed: &Bed, to: IpAddr) -> UdpSocket {
    bed.sender(MAIL_PORT, if to.is_ipv4() { Family::V4 } else { Family::V6 }).unwrap()
}

/// Waits for the daemon to see that an exemption is exhausted, and returns the bytes that it says were used.
fn exhausted(bed: &Bed, id: &str) -> Option<u64> {
    let shown = bed.exemption(id).unwrap();
    (shown.state == State::Exhausted && shown.slot.is_none()).then_some(shown.used_bytes)
}

/// Once nothing is in the kernel, the store alone says what is left of a quota.
#[test]
#[ignore = "needs root and BPF"]
fn after_a_detach_a_quota_is_explained_as_the_store_has_it() {
    let bed = Bed::new("quota-store").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let to = bed::address(US, Family::V4).unwrap();
    bed.exempt("a", &[&format!("{to}/32")], 600, Some(1_000_000)).unwrap();
    assert_eq!(bed.send(5, MAIL_PORT, US, Family::V4).unwrap(), 5);
    let (from, to) =
        (bed.sender(MAIL_PORT, Family::V4).unwrap().local_addr().unwrap(), SocketAddr::new(to, 9));
    let explained = || {
        let (from, to) = (from.to_string(), to.to_string());
        bed.tell(&["explain", "--proto", "udp", "--from", &from, "--to", &to]).unwrap()
    };
    let said = "no daemon was asked: of each quota is left what the store last recorded";
    let live = explained();
    assert!(live.contains("verdict    pass, exempt") && !live.contains(said), "{live}");
    daemon.signal(Signal::TERM);
    assert!(daemon.wait(PATIENCE).unwrap().success(), "{}", daemon.log_tail());
    for pinned in [true, false] {
        if !pinned {
            bed.tell(&["detach"]).unwrap();
        }
        let stored = explained();
        assert!(stored.contains("verdict    pass, exempt") && stored.contains(said), "{pinned}: {stored}");
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn senders_on_all_cpus_spend_one_quota_and_not_a_byte_more() {
    const QUOTA: u64 = 8_000_000;
    let bed = Bed::new("quota").unwrap();
    bed.configure(PIN).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    bed.exempt("one", &["203.0.113.10/32", "2001:db8:3::10/128"], 3600, Some(QUOTA)).unwrap();
    let us = bed.host(US).unwrap();
    let before = (Received::by(us).unwrap(), bed.arrived(US, Family::V6).unwrap());
    let to = Family::ALL.map(|family| SocketAddr::new(bed::address(US, family).unwrap(), CLIENT_PORT));
    let used = flood(&bed, &to, || exhausted(&bed, "one"));

    std::thread::sleep(Duration::from_millis(500));
    let v4 = Received::by(us).unwrap().since(before.0);
    let v6 = bed.arrived(US, Family::V6).unwrap() - before.1;
    let passed = v4.wire_bytes() + v6 * FRAME_V6;
    assert_eq!(passed, used, "what the far side received is what was charged: {v4:?}, {v6} of IPv6");
    assert!(v6 > 100 && v4.packets > 1000, "both families were sent: {v4:?}, {v6} of IPv6");
    assert!(passed <= QUOTA, "{passed} passed");
    let least = QUOTA - cpus() as u64 * FULL;
    assert!(passed >= least, "{passed} passed, and at least {least} should have");

    // What was refused is told as such, and what comes after the end is forbidden like anything else.
    let status = bed.status().unwrap();
    assert!(bed::packets(&status, "egress", "drop", "exemption-exhausted") > 0, "{:?}", status.totals);
    let by_another = |it: &Problem| it.code == ProblemCode::TablesChanged;
    assert!(
        !status.problems.iter().any(by_another),
        "the kernel's own charges and refunds are no other hand's"
    );
    let told = |reason: &str| bed.event(PATIENCE, reason, |it| it["reason"] == reason).unwrap();
    assert_eq!(told("exemption-exhausted")["verdict"], "drop");
    for family in Family::ALL {
        assert_eq!(bed.send(5, MAIL_PORT, US, family).unwrap(), 0, "{family:?}");
    }
    let ends: Vec<_> = bed.trail().unwrap().into_iter().filter(|it| it.kind == "exhaust").collect();
    assert_eq!(ends.len(), 1, "{ends:?}");
    assert_eq!((ends[0].subject.as_str(), ends[0].detail["version"].as_u64()), ("one", Some(1)));
}

#[test]
#[ignore = "needs root and BPF"]
fn recipients_with_other_ports_share_the_quota() {
    const QUOTA: u64 = 2_000_000;
    let bed = Bed::new("shared").unwrap();
    bed.configure(PIN).unwrap();
    let us = bed.host(US).unwrap();
    us.add_address(HOST_INTERFACE, "203.0.113.11/24".parse().unwrap()).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let document = exemption("both", "mail", &["203.0.113.10/32"], 3600, Some(QUOTA));
    let other = "ports = [\"udp/40000\"]\n[[recipient]]\nname = \"Another office\"\njurisdiction = \"US\"\n\
        cidrs = [\"203.0.113.11/32\"]\nports = [\"udp/40001\"]\n";
    bed.load("both.toml", &(document + other)).unwrap();
    let before = Received::by(us).unwrap();
    let to: [SocketAddr; 2] =
        ["203.0.113.10:40000", "203.0.113.11:40001"].map(|address| address.parse().unwrap());
    // Each has its own port alone.
    let socket = sender(&bed, to[0].ip());
    for (to, port) in [(to[0], 40_001), (to[1], 40_000)] {
        bed::send(&socket, SocketAddr::new(to.ip(), port));
    }
    assert_eq!(Received::by(us).unwrap().since(before).packets, 0);

    // Later fragments have no port, and so nobody's here: whole datagrams alone.
    let done = AtomicBool::new(false);
    let used = std::thread::scope(|scope| {
        for number in 0..2 * cpus() {
            let (done, socket) = (&done, &socket);
            scope.spawn(move || {
                stay_on(number % cpus()).unwrap();
                let mut size = number;
                while !done.load(Ordering::Relaxed) {
                    size = (size + 211) % 1472;
                    let _refused = socket.send_to(&[b'm'; 1472][..size], to[number % 2]);
                }
            });
        }
        let used = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            retry_until(LONG, "the end of the quota", || exhausted(&bed, "both")).unwrap()
        }));
        done.store(true, Ordering::Relaxed);
        used.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    std::thread::sleep(Duration::from_millis(500));
    let passed = Received::by(us).unwrap().since(before).wire_bytes();
    assert_eq!(passed, used);
    assert!(passed <= QUOTA && passed >= QUOTA - cpus() as u64 * FULL, "{passed} passed");
}

#[test]
#[ignore = "needs root and BPF"]
fn large_tcp_segments_are_counted_as_the_packets_that_they_become() {
    // More than is granted to the kernel at once, so that grants follow the use.
    const QUOTA: u64 = 400_000_000;
    const STREAMS: usize = 4;
    // 64 KiB, and the headers of each packet in them.
    const LARGEST: u64 = 70_000;
    let bed = Bed::new("gso").unwrap();
    bed.configure(PIN).unwrap();
    // The router sends every segment as a packet of its own, and the far side joins none.
    bed.router().ip(&["link", "set", "port2", "gso_max_segs", "1"]).unwrap();
    // The far side's kernel drops what finds a thousand packets waiting, which were charged for all that: its
    // windows are so small that all streams together have fewer on the way.
    bed.host(US).unwrap().sysctl("ipv4/tcp_rmem", "4096 65536 200000").unwrap();
    let daemon = bed.start(&[]).unwrap();
    bed.exempt("tcp", &["203.0.113.10/32"], 3600, Some(QUOTA)).unwrap();
    let us = bed.host(US).unwrap();
    let before = Received::by(us).unwrap();
    let listener = bed.listen(Family::V4).unwrap();
    let connections: Vec<Connection> = (0..STREAMS).map(|_| bed.connect(&listener, US).unwrap()).collect();
    let (ends, used) = std::thread::scope(|scope| {
        for connection in &connections {
            scope.spawn(move || {
                let mut bytes = vec![0; 1 << 20];
                while matches!((&connection.client).read(&mut bytes), Ok(1..)) {}
            });
        }
        let servers: Vec<_> = connections
            .iter()
            .enumerate()
            .map(|(number, connection)| {
                connection.server.set_write_timeout(Some(LONG)).unwrap();
                scope.spawn(move || {
                    stay_on(number % cpus()).unwrap();
                    let bytes = vec![b'm'; 1 << 20];
                    loop {
                        if let Err(error) = (&connection.server).write_all(&bytes) {
                            return error.kind();
                        }
                    }
                })
            })
            .collect();
        let used = retry_until(LONG, "the end of the quota", || exhausted(&bed, "tcp"));
        // Ended by the daemon; the timeouts of TCP itself are longer than this test may take.
        let ended = retry_until(PATIENCE, "the end of each stream", || {
            servers.iter().all(std::thread::ScopedJoinHandle::is_finished).then_some(())
        });
        for connection in &connections {
            let _ended = connection.server.shutdown(std::net::Shutdown::Both);
            let _ended = connection.client.shutdown(std::net::Shutdown::Both);
        }
        let ends: Vec<_> = servers.into_iter().map(|server| server.join().unwrap()).collect();
        used.as_ref().unwrap_or_else(|error| panic!("{error}: {:?}", bed.exemption("tcp")));
        ended.unwrap_or_else(|error| panic!("{error}: {ends:?}\n{}", daemon.log_tail()));
        (ends, used.unwrap())
    });
    for end in ends {
        assert_eq!(end, std::io::ErrorKind::ConnectionAborted, "the server's socket is closed");
    }
    let received = Received::by(us).unwrap().since(before);
    let shown = bed.exemption("tcp").unwrap();
    assert_eq!(received.wire_bytes(), used, "{received:?} of {shown:?}");
    assert!(used <= QUOTA && used >= QUOTA - cpus() as u64 * LARGEST, "{used} passed");
    let joined = shown.used_packets;
    assert!(joined * 4 < received.packets, "{joined} judged packets were {} on the wire", received.packets);
}

#[test]
#[ignore = "needs root and BPF"]
fn a_window_that_ends_closes_the_sockets_of_its_live_flows() {
    let bed = Bed::new("window-end").unwrap();
    bed.configure(PIN).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    bed.exempt("short", &["203.0.113.10/32"], 6, None).unwrap();
    let listener = bed.listen(Family::V4).unwrap();
    let connection = bed.connect(&listener, US).unwrap();
    connection.passes().unwrap();
    connection.client.set_nonblocking(true).unwrap();
    // It goes on sending, so that it meets the end before the daemon sees it.
    let end = loop {
        match (&connection.server).write_all(b"a mail") {
            Ok(()) => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => break error.kind(),
        }
        let _none_by_now = (&connection.client).read(&mut [0; 64]);
    };
    assert_eq!(end, std::io::ErrorKind::ConnectionAborted, "closed by the daemon");
    assert_eq!(bed.exemption("short").unwrap().state, State::Expired);
}

/// The storage host with a macvlan device above its interface, both guarded, by which packets to the clients go.
fn with_macvlan(label: &str, mode: &str) -> (Bed, Process) {
    let bed = Bed::new(label).unwrap();
    let store = bed.host(STORE).unwrap();
    store.ip(&["link", "add", "mv0", "link", HOST_INTERFACE, "type", "macvlan", "mode", mode]).unwrap();
    store.ip(&["link", "set", "mv0", "up"]).unwrap();
    for host in ["203.0.113.10/32", "198.51.100.10/32"] {
        store.ip(&["route", "add", host, "via", "192.0.2.1", "dev", "mv0", "onlink"]).unwrap();
    }
    bed.configure_for(&[HOST_INTERFACE, "mv0"], PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    (bed, daemon)
}

/// What the exemption says was used, once it says so.
fn used(bed: &Bed, id: &str) -> u64 {
    let shown = retry_until(PATIENCE, "what was used", || {
        Some(bed.exemption(id).unwrap()).filter(|shown| shown.used_bytes > 0)
    });
    shown.unwrap().used_bytes
}

/// A packet passes two guarded interfaces, one above the other, and is one.
#[test]
#[ignore = "needs root and BPF"]
fn a_packet_is_counted_and_charged_once_however_interfaces_are_stacked() {
    const COUNT: u64 = 20;
    let (bed, _daemon) = with_macvlan("stacked", "private");
    bed.exempt("once", &["203.0.113.10/32"], 3600, Some(1_000_000)).unwrap();
    let us = bed.host(US).unwrap();
    let before = Received::by(us).unwrap();
    assert_eq!(bed.send(COUNT, MAIL_PORT, US, Family::V4).unwrap(), COUNT);
    assert_eq!(bed.send(COUNT, MAIL_PORT, BELGIUM, Family::V4).unwrap(), COUNT);
    let status = bed.status().unwrap();
    let counted = |reason| bed::packets(&status, "egress", "pass", reason);
    assert_eq!((counted("exempt"), counted("permitted")), (COUNT, COUNT), "{:?}", status.totals);
    let received = Received::by(us).unwrap().since(before);
    assert_eq!(used(&bed, "once"), received.wire_bytes());
    assert_eq!(bed.exemption("once").unwrap().used_packets, COUNT);
    // What is dropped at the upper one is counted there, for it never comes to the lower one.
    bed.tell(&["exemption", "revoke", "once", "--why", "over"]).unwrap();
    assert_eq!(bed.send(COUNT, MAIL_PORT, US, Family::V4).unwrap(), 0);
    assert_eq!(bed::packets(&bed.status().unwrap(), "egress", "drop", "forbidden"), COUNT);
}

/// What goes from one macvlan device to another on the same interface does not pass that.
#[test]
#[ignore = "needs root and BPF"]
fn what_never_passes_the_lower_interface_is_charged_at_the_upper_one() {
    const COUNT: u64 = 20;
    let (bed, _daemon) = with_macvlan("sibling", "bridge");
    let (store, sibling) = (bed.host(STORE).unwrap(), Netns::new("sibling").unwrap());
    store.ip(&["link", "add", "mv1", "link", HOST_INTERFACE, "type", "macvlan", "mode", "bridge"]).unwrap();
    store.ip(&["link", "set", "mv1", "netns", sibling.name()]).unwrap();
    sibling.ip(&["link", "set", "mv1", "up"]).unwrap();
    for address in ["192.0.2.30/24", "203.0.113.77/32"] {
        sibling.ip(&["address", "add", address, "dev", "mv1"]).unwrap();
    }
    store.ip(&["route", "add", "203.0.113.77/32", "via", "192.0.2.30", "dev", "mv0", "onlink"]).unwrap();
    bed.exempt("sibling", &["203.0.113.77/32"], 3600, Some(1_000_000)).unwrap();
    let before = Received::by(&sibling).unwrap();
    let socket = bed.sender(MAIL_PORT, Family::V4).unwrap();
    (0..COUNT).for_each(|_| bed::send(&socket, "203.0.113.77:40000".parse().unwrap()));
    std::thread::sleep(Duration::from_millis(200));
    let received = Received::by(&sibling).unwrap().since(before);
    assert!(received.packets >= COUNT, "{received:?}");
    assert_eq!(used(&bed, "sibling"), received.wire_bytes());
}
