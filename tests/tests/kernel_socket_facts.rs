//! Who makes and who uses a socket is kept with it: from the moment it is made, with the copy that an accepted one has,
//! and of sockets that were there before.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;

use guard_common::abi::{Direction, Event, Process, SocketFacts};
use guard_tests::bpffs;
use guard_tests::cgroup::{self, Cgroup};
use guard_user::kernel::{CgroupHook, CgroupTarget, Interface, Kernel as _, LinuxKernel, NamedSockets, View};
use rustix::net::{AddressFamily, SocketType};
use support::{PinPlace, geo, in_own_network, policy};

fn target(on: &Cgroup) -> CgroupTarget {
    CgroupTarget { cgroup: on.path().to_owned(), id: on.id().unwrap(), senders: false, volumes: None }
}

/// A kernel that notes sockets of this cgroup.
fn noting(pins: &PinPlace, on: &Cgroup) -> LinuxKernel {
    let mut kernel = pins.open();
    kernel.note_sockets(Some(&target(on))).unwrap();
    kernel
}

fn facts(view: &View, socket: impl AsFd) -> Option<SocketFacts> {
    view.socket_facts(socket).unwrap()
}

/// This thread, in this cgroup.
fn own(cgroup: &Cgroup) -> Process {
    let mut command = [0; 16];
    let name = std::fs::read("/proc/thread-self/comm").unwrap();
    let name = name.strip_suffix(b"\n").unwrap();
    command[..name.len()].copy_from_slice(name);
    Process {
        cgroup: cgroup.id().unwrap(),
        pid: std::process::id(),
        thread: u32::try_from(rustix::thread::gettid().as_raw_nonzero().get()).unwrap(),
        uid: rustix::process::getuid().as_raw(),
        pad: 0,
        command,
    }
}

/// The kernel's number of a socket.
fn cookie(socket: impl AsFd) -> u64 {
    rustix::net::sockopt::socket_cookie(socket).unwrap()
}

/// Who opened the connection of a socket of these facts.
fn direction(facts: &SocketFacts, socket: impl AsFd) -> Direction {
    Direction::of_socket(facts.original, facts.connected, cookie(socket))
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Brings the loopback of a test's own network up.
fn in_network_with_loopback<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    in_own_network(|| {
        support::set_up("lo");
        test()
    })
}

#[test]
#[ignore = "needs root and BPF"]
fn a_socket_has_who_made_it_and_who_used_it() {
    let pins = PinPlace::new("facts");
    let (on, away) = (Cgroup::new("facts").unwrap(), Cgroup::new("beside").unwrap());
    let (inside, user) = (on.child("maker").unwrap(), on.child("user").unwrap());
    let mut kernel = pins.open();
    in_network_with_loopback(|| {
        let bind = || UdpSocket::bind(loopback(0)).unwrap();
        let before = cgroup::inside(inside.path(), bind).unwrap();
        kernel.note_sockets(Some(&target(&on))).unwrap();
        assert_eq!(facts(&kernel, &before), None, "made before there was a hook");
        cgroup::inside(user.path(), || before.send_to(b"x", loopback(9)).unwrap()).unwrap();
        assert_eq!(facts(&kernel, &before), None, "whoever has it open is still to be noted");
        // No process of this one's is below that cgroup.
        assert_eq!(kernel.name_open_sockets(away.path()), NamedSockets::default());
        let socket = cgroup::inside(inside.path(), || UdpSocket::bind(loopback(0)).unwrap()).unwrap();
        let made = |socket: &UdpSocket| {
            Some(SocketFacts { maker: own(&inside), noted: cookie(socket), ..SocketFacts::default() })
        };
        assert_eq!(facts(&kernel, &socket), made(&socket));

        // Another process uses it, and one made elsewhere.
        let mut numbers = BTreeSet::from([cookie(&socket)]);
        for (socket, maker) in [(&socket, own(&inside)), (&before, Process::default())] {
            cgroup::inside(user.path(), || socket.send_to(b"x", loopback(9)).unwrap()).unwrap();
            let found = facts(&kernel, socket).unwrap();
            assert_eq!((found.maker, found.sender), (maker, own(&user)));
            assert!(found.noted >= SocketFacts::FIRST_OF_CHANGES && numbers.insert(found.noted));
            cgroup::inside(user.path(), || socket.send_to(b"x", loopback(9)).unwrap()).unwrap();
            assert_eq!(facts(&kernel, socket).unwrap().noted, found.noted, "nothing has changed");
        }
        cgroup::inside(inside.path(), || socket.connect(loopback(9)).unwrap()).unwrap();
        assert_eq!(facts(&kernel, &socket).unwrap().sender, own(&inside));

        // The kernel asks the hooks of the cgroup in which the socket was made.
        let beside = cgroup::inside(away.path(), bind).unwrap();
        cgroup::inside(user.path(), || beside.send_to(b"x", loopback(9)).unwrap()).unwrap();
        assert_eq!(facts(&kernel, &beside), None);

        // By IPv6 too.
        let six = cgroup::inside(inside.path(), || UdpSocket::bind("[::1]:0").unwrap()).unwrap();
        assert_eq!(facts(&kernel, &six), made(&six));
        cgroup::inside(user.path(), || six.send_to(b"x", "[::1]:9").unwrap()).unwrap();
        assert_eq!(facts(&kernel, &six).unwrap().sender, own(&user));
        cgroup::inside(inside.path(), || six.connect("[::1]:9").unwrap()).unwrap();
        assert_eq!(facts(&kernel, &six).unwrap().sender, own(&inside));
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn an_accepted_socket_has_its_listeners_facts() {
    let pins = PinPlace::new("accept");
    let (on, away) = (Cgroup::new("accept").unwrap(), Cgroup::new("away").unwrap());
    let kernel = noting(&pins, &on);
    in_network_with_loopback(|| {
        let listener = cgroup::inside(on.path(), || TcpListener::bind(loopback(0)).unwrap()).unwrap();
        let to = listener.local_addr().unwrap();
        let client = cgroup::inside(away.path(), || TcpStream::connect(to).unwrap()).unwrap();
        let (served, _) = listener.accept().unwrap();
        let (original, noted) = (cookie(&listener), cookie(&listener));
        let made = SocketFacts { maker: own(&on), original, noted, ..SocketFacts::default() };
        assert_eq!(facts(&kernel, &served), Some(made));
        assert_eq!(direction(&made, &served), Direction::Served);
        assert_eq!(facts(&kernel, &client), None);
        let client = cgroup::inside(on.path(), || TcpStream::connect(to).unwrap()).unwrap();
        let (original, connected) = (cookie(&client), cookie(&client));
        let (maker, sender, noted) = (own(&on), own(&on), cookie(&client));
        let expected = SocketFacts { maker, sender, original, connected, noted, ..SocketFacts::default() };
        assert_eq!(facts(&kernel, &client), Some(expected), "its maker alone has used it");
        assert_eq!(direction(&expected, &client), Direction::Opened);
        // Of what is not plain TCP nobody can tell.
        let raw =
            |protocol| rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(protocol)).unwrap();
        let raw = cgroup::inside(on.path(), || raw(rustix::net::ipproto::TCP)).unwrap();
        let udp = cgroup::inside(on.path(), || UdpSocket::bind(loopback(0)).unwrap()).unwrap();
        udp.connect(loopback(9)).unwrap();
        for socket in [raw.as_fd(), udp.as_fd()] {
            let found = facts(&kernel, socket).unwrap();
            assert_eq!((found.original, direction(&found, socket)), (0, Direction::Unknown));
        }
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn sockets_that_were_there_before_are_named_once_and_no_others() {
    let pins = PinPlace::new("before");
    let (on, away) = (Cgroup::new("before").unwrap(), Cgroup::new("elsewhere").unwrap());
    let mut kernel = pins.open();
    in_network_with_loopback(|| {
        let sockets = [UdpSocket::bind(loopback(0)).unwrap(), UdpSocket::bind("[::1]:0").unwrap()];
        let listener = TcpListener::bind(loopback(0)).unwrap();
        let opened = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (served, _) = listener.accept().unwrap();
        kernel.note_sockets(Some(&target(&on))).unwrap();
        // No process of this one's is below that cgroup.
        assert_eq!(kernel.name_open_sockets(away.path()), NamedSockets::default());
        let named = cgroup::inside(away.path(), || kernel.name_open_sockets(away.path())).unwrap();
        assert!(named.named >= 3 && named.refused.is_none() && !named.is_cut_off, "{named:?}");
        for socket in [sockets[0].as_fd(), sockets[1].as_fd(), listener.as_fd()] {
            let found = facts(&kernel, socket).unwrap();
            assert_eq!((found.maker.pid, found.maker.cgroup), (std::process::id(), away.id().unwrap()));
            assert!(found.maker.uid == 0 && !found.sender.is_known(), "{found:?}");
        }
        // What the listener accepts from now on is served; whether a connection of before was, nobody can tell.
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(direction(&facts(&kernel, &accepted).unwrap(), &accepted), Direction::Served);
        assert_eq!(facts(&kernel, &client), None, "made elsewhere");
        drop(client);
        for end in [&opened, &served] {
            assert_eq!(direction(&facts(&kernel, end).unwrap(), end), Direction::Unknown);
        }
        // What is known already is not written over.
        let made = cgroup::inside(on.path(), || UdpSocket::bind(loopback(0)).unwrap()).unwrap();
        let before = facts(&kernel, &made);
        let again = cgroup::inside(away.path(), || kernel.name_open_sockets(away.path())).unwrap();
        assert_eq!((again.named, facts(&kernel, &made)), (0, before));
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn an_event_has_the_process_whose_packet_was_judged() {
    const STORAGE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
    let client = Ipv4Addr::from(support::CLIENT);
    let pins = PinPlace::new("event");
    let on = Cgroup::new("event").unwrap();
    let mut kernel = noting(&pins, &on);
    kernel.publish(&policy(1, "\"IE\""), Some(&geo("US"))).unwrap();
    in_own_network(|| {
        // On one link with the client, who is known without being asked for.
        support::add_address("bgk0", STORAGE, 1);
        support::add_neighbour("bgk0", client);
        kernel.attach(&Interface::by_name("bgk0").unwrap(), false).unwrap();
        let mut events = kernel.events().unwrap();
        let socket = cgroup::inside(on.path(), || UdpSocket::bind((STORAGE, 0)).unwrap()).unwrap();
        let sent = cgroup::inside(on.path(), || socket.send_to(b"a mail", (client, 50_000))).unwrap();
        println!("the kernel said {sent:?}");
        let event: Event = events.next().unwrap();
        assert_eq!(event.record.process, own(&on), "{event:?}");
        // A frame of no such socket is nobody's.
        let raw = support::FrameSocket::on("bgk0");
        raw.send(&support::frame(support::STORAGE));
        let event = events.next().unwrap();
        assert_eq!(event.record.process, Process::default());
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn the_hooks_outlive_their_process_are_taken_over_and_taken_off() {
    let pins = PinPlace::new("stay");
    let (on, other) = (Cgroup::new("stay").unwrap(), Cgroup::new("other").unwrap());
    let kernel = noting(&pins, &on);
    drop(kernel);
    let make = |on: &Cgroup| cgroup::inside(on.path(), || UdpSocket::bind("[::]:0").unwrap()).unwrap();
    let socket = make(&on);

    let mut kernel = pins.open();
    assert_eq!(facts(&kernel, &socket).map(|it| it.maker), Some(own(&on)), "without a daemon");
    let seen = |kernel: &mut LinuxKernel| kernel.observe().unwrap().sockets.unwrap();
    let adopted = seen(&mut kernel);
    let hooks: Vec<CgroupHook> = adopted.iter().map(|it| it.hook).collect();
    assert_eq!((hooks.len(), adopted.iter().any(|it| it.is_current)), (CgroupHook::OF_SOCKETS.len(), false));
    kernel.note_sockets(Some(&target(&on))).unwrap();
    let renewed = seen(&mut kernel);
    assert!(renewed.iter().all(|it| it.is_current && it.is_kept), "{renewed:?}");
    let links =
        |all: &[guard_user::kernel::CgroupAttachment]| all.iter().map(|it| it.link).collect::<Vec<_>>();
    assert_eq!(links(&renewed), links(&adopted));

    // Somebody detaches one, and it is seen and put back.
    let entry = pins.path().join(format!("links/cgroup-{}-sock_create", on.id().unwrap()));
    bpffs::detach(&entry).unwrap();
    assert_eq!(seen(&mut kernel).iter().filter(|it| it.cgroup == 0).count(), 1);
    assert_eq!(facts(&kernel, make(&on)), None);
    kernel.note_sockets(Some(&target(&on))).unwrap();
    assert!(facts(&kernel, make(&on)).is_some());

    kernel.note_sockets(Some(&target(&other))).unwrap();
    assert_eq!((facts(&kernel, make(&on)), facts(&kernel, make(&other)).is_some()), (None, true));
    assert_eq!(seen(&mut kernel).len(), CgroupHook::OF_SOCKETS.len());
    drop(kernel);
    let removed = LinuxKernel::detach(&pins.path()).unwrap();
    assert_eq!((removed.links.len(), removed.left), (CgroupHook::OF_SOCKETS.len(), None));
    assert!(removed.links.contains(&"cgroup sock_create".to_owned()), "{:?}", removed.links);
}
