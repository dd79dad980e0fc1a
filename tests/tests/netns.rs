//! The guards' own tests: what they make is there, works, leads nowhere else, and is gone afterwards.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aya::maps::Array;
use guard_tests::bpffs::BpfFs;
use guard_tests::cgroup::Cgroup;
use guard_tests::error::SetupError;
use guard_tests::netns::{HOST_INTERFACE, Host, Lan, Netns};
use guard_tests::packet::{Ipv4, Ipv6, Packet};
use guard_tests::proc::{Process, Transport, retry_until, run_to_end};

const SECONDS: Duration = Duration::from_secs(1);

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

/// Sends a word from the client to the storage host over TCP, which answers with the client's address.
fn asks(lan: &Lan, server: &str) -> IpAddr {
    let address: SocketAddr = server.parse().unwrap();
    let listener = lan.host("dublin").unwrap().run(|| TcpListener::bind(address).unwrap()).unwrap();
    let answering = std::thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"mail");
        stream.write_all(peer.ip().to_string().as_bytes()).unwrap();
    });
    let answer = lan.host("client").unwrap().run(|| {
        let mut stream = TcpStream::connect_timeout(&address, 2 * SECONDS).unwrap();
        stream.write_all(b"mail").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    answering.join().unwrap();
    answer.unwrap().parse().unwrap()
}

#[test]
#[ignore = "needs root and BPF"]
fn hosts_reach_each_other_over_both_families() {
    let lan = two_hosts();
    assert_eq!(asks(&lan, "192.0.2.10:8143"), "203.0.113.30".parse::<IpAddr>().unwrap());
    assert_eq!(asks(&lan, "[2001:db8:1::10]:8143"), "2001:db8:3::30".parse::<IpAddr>().unwrap());
}

#[test]
#[ignore = "needs root and BPF"]
fn two_networks_at_once_do_not_meet() {
    let (one, two) = (two_hosts(), two_hosts());
    std::thread::scope(|scope| {
        for lan in [&one, &two] {
            scope.spawn(|| asks(lan, "192.0.2.10:8143"));
        }
    });
    // Something listens in the first only.
    let _listener =
        one.host("dublin").unwrap().run(|| TcpListener::bind("192.0.2.10:9000").unwrap()).unwrap();
    let connect = || TcpStream::connect_timeout(&"192.0.2.10:9000".parse().unwrap(), SECONDS).map(drop);
    assert!(one.host("client").unwrap().run(connect).unwrap().is_ok());
    let refused = two.host("client").unwrap().run(connect).unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
#[ignore = "needs root and BPF"]
fn everything_is_gone_afterwards() {
    let lan = two_hosts();
    let names: Vec<String> = ["dublin", "client"]
        .iter()
        .map(|label| lan.host(label).unwrap().name().to_owned())
        .chain([lan.router().name().to_owned()])
        .collect();
    assert!(names.iter().all(|name| Netns::exists(name)), "{names:?}");
    drop(lan);
    assert!(!names.iter().any(|name| Netns::exists(name)), "{names:?}");
}

#[test]
#[ignore = "needs root and BPF"]
fn a_panic_inside_cleans_up_too() {
    let mut names = Vec::new();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let lan = two_hosts();
        names.push(lan.host("dublin").unwrap().name().to_owned());
        names.push(lan.router().name().to_owned());
        lan.host("dublin").unwrap().run(|| panic!("on purpose")).unwrap();
    }));
    assert_eq!(panicked.unwrap_err().downcast_ref::<&str>(), Some(&"on purpose"), "the same panic goes on");
    assert_eq!(names.len(), 2);
    assert!(!names.iter().any(|name| Netns::exists(name)), "{names:?}");
}

#[test]
#[ignore = "needs root and BPF"]
fn there_is_no_way_out() {
    let lan = two_hosts();
    for netns in [lan.host("dublin").unwrap(), lan.host("client").unwrap(), lan.router()] {
        for line in netns.ip(&["-o", "link", "show"]).unwrap().lines() {
            assert!(
                line.contains(" lo: ") || line.contains("@if"),
                "a link that is neither lo nor ours: {line}"
            );
        }
        // An address of the documentation range in no subnet here: the router has no route for it.
        let sent =
            netns.run(|| TcpStream::connect_timeout(&"198.51.100.1:80".parse().unwrap(), SECONDS).map(drop));
        let kind = sent.unwrap().unwrap_err().kind();
        let nowhere = [ErrorKind::NetworkUnreachable, ErrorKind::HostUnreachable];
        assert!(nowhere.contains(&kind), "{}: {kind}", netns.name());
    }
    for family in ["-4", "-6"] {
        assert_eq!(lan.router().ip(&[family, "route", "show", "default"]).unwrap(), "");
    }
    // No interface of the machine itself is the other end of a link.
    let outside = Command::new("ip").args(["-o", "link", "show"]).output().unwrap();
    let outside = String::from_utf8_lossy(&outside.stdout).into_owned();
    assert!(!outside.contains("port0") && !outside.contains("bg-"), "{outside}");
}

#[test]
#[ignore = "needs root and BPF"]
fn addresses_of_others_are_refused() {
    let netns = Netns::new("refuse").unwrap();
    let refused = netns.add_address("lo", "10.1.2.3/24".parse().unwrap()).unwrap_err();
    assert!(matches!(refused, SetupError::NotDocumentation { .. }), "{refused}");
}

#[test]
#[ignore = "needs root and BPF"]
fn an_interface_has_the_address_that_it_shows() {
    let lan = two_hosts();
    let dublin = lan.host("dublin").unwrap();
    let mac = dublin.mac(HOST_INTERFACE).unwrap();
    let written: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(dublin.ip(&["link", "show", "dev", HOST_INTERFACE]).unwrap().contains(&written.join(":")));
    assert!(matches!(dublin.mac("eth9"), Err(SetupError::Command { .. })));
}

#[test]
#[ignore = "needs root and BPF"]
fn the_kernel_takes_built_packets_as_good() {
    let lan = two_hosts();
    let client = lan.host("client").unwrap();
    for (bind, packet) in [
        ("203.0.113.30:5000", Packet::new().with(Ipv4::default()).udp(8143, 5000).payload("a mail")),
        (
            "[2001:db8:3::30]:5000",
            Packet::new().with(Ipv6::default()).destination_options().udp(8143, 5000).payload("a mail"),
        ),
    ] {
        let socket = client.run(|| UdpSocket::bind(bind).unwrap()).unwrap();
        socket.set_read_timeout(Some(2 * SECONDS)).unwrap();
        let packet = packet.build();
        lan.host("dublin").unwrap().run(|| send_raw(&packet)).unwrap();
        let mut received = [0; 64];
        // A wrong length or checksum anywhere, and the kernel would not deliver this.
        let (length, from) = socket.recv_from(&mut received).unwrap();
        assert_eq!((&received[..length], from.port()), (&b"a mail"[..], 8143));
    }
}

/// Sends a packet with its own IP header, unchanged.
fn send_raw(packet: &[u8]) {
    use rustix::net::{
        AddressFamily, RawProtocol, SendFlags, SocketAddrV4, SocketAddrV6, SocketType, sendto, socket,
    };
    let raw = rustix::net::Protocol::from_raw(RawProtocol::new(255).unwrap()); // IPPROTO_RAW
    if packet[0] >> 4 == 4 {
        let socket = socket(AddressFamily::INET, SocketType::RAW, Some(raw)).unwrap();
        let to = SocketAddrV4::new([203, 0, 113, 30].into(), 0);
        assert_eq!(sendto(&socket, packet, SendFlags::empty(), &to).unwrap(), packet.len());
    } else {
        let socket = socket(AddressFamily::INET6, SocketType::RAW, Some(raw)).unwrap();
        let to = SocketAddrV6::new("2001:db8:3::30".parse().unwrap(), 0, 0, 0);
        assert_eq!(sendto(&socket, packet, SendFlags::empty(), &to).unwrap(), packet.len());
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn programs_run_inside_and_end_with_their_guard() {
    let netns = Netns::new("server").unwrap();
    let mut command = netns.command("rsync").unwrap();
    command.args(["--daemon", "--no-detach", "--config=/dev/null", "--address=127.0.0.1", "--port=8143"]);
    let server = Process::spawn("server", command).unwrap();
    server.wait_for_port(&netns, Transport::Tcp, 8143, 10 * SECONDS).unwrap();
    let outside = Netns::new("elsewhere").unwrap();
    assert!(!outside.run(|| guard_tests::proc::is_listening(Transport::Tcp, 8143)).unwrap());
    let pid = server.pid();
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    drop(server);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
#[ignore = "needs root and BPF"]
fn a_server_that_dies_is_told_with_its_log() {
    let netns = Netns::new("server").unwrap();
    let mut command = netns.command("sh").unwrap();
    command.args(["-c", "echo the disk is full >&2; exit 3"]);
    let server = Process::spawn("the server", command).unwrap();
    let error = server.wait_for_port(&netns, Transport::Tcp, 1, 5 * SECONDS).unwrap_err();
    assert!(matches!(&error, SetupError::Ended { log, .. } if log.contains("the disk is full")), "{error}");
    assert!(error.to_string().contains("exit status: 3"), "{error}");
}

#[test]
#[ignore = "needs root and BPF"]
fn what_a_program_started_ends_with_it() {
    let netns = Netns::new("family").unwrap();
    let mut command = netns.command("sh").unwrap();
    command.args(["-c", "sleep 60 & echo $!; wait"]);
    let parent = Process::spawn("parent", command).unwrap();
    let child =
        retry_until(5 * SECONDS, "the child's pid", || parent.stdout().trim().parse::<u32>().ok()).unwrap();
    drop(parent);
    let state = || std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    // Whoever adopted it may take a moment to reap it: a zombie has ended.
    retry_until(2 * SECONDS, "the child's end", || {
        (state().is_empty() || state().contains(") Z ")).then_some(())
    })
    .unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn a_missing_program_says_what_to_install() {
    let netns = Netns::new("missing").unwrap();
    let error = Process::spawn("nothing", netns.command("no-such-program").unwrap()).unwrap_err();
    assert!(matches!(error, SetupError::ToolMissing { .. }), "{error}");
}

#[test]
#[ignore = "needs root and BPF"]
fn a_cgroup_holds_its_processes_and_goes() {
    let group = Cgroup::new("unit").unwrap();
    let below = group.child("below").unwrap();
    assert_ne!(group.id().unwrap(), below.id().unwrap());
    let mut command = Command::new("cat");
    command.arg("/proc/self/cgroup");
    below.contain(&mut command).unwrap();
    let (status, seen, _) = run_to_end("cat", command, 5 * SECONDS).unwrap();
    let name = below.path().file_name().unwrap().to_str().unwrap();
    assert!(status.success() && seen.contains(name), "{seen}");
    let mut sleeper = Command::new("sleep");
    sleeper.arg("60");
    below.contain(&mut sleeper).unwrap();
    let sleeper = Process::spawn("sleep", sleeper).unwrap();
    let (path, path_below) = (group.path().to_owned(), below.path().to_owned());
    drop(group);
    assert!(!path.exists() && !path_below.exists());
    assert!(!sleeper.wait(2 * SECONDS).unwrap().success(), "killed with its group");
}

#[test]
#[ignore = "needs root and BPF"]
fn pins_go_with_their_file_system() {
    let bpffs = BpfFs::new("pins").unwrap();
    let path = bpffs.path().to_owned();
    std::fs::create_dir(path.join("generation")).unwrap();
    let map = Array::<_, u32>::create(1, 0).unwrap();
    map.pin(path.join("generation/pin")).unwrap();
    assert!(path.join("generation/pin").exists());
    drop(bpffs);
    assert!(!path.exists());
}
