//! To whom carriers hand data on, by whatever way of this host, and what becomes of them: carriers too, or reported. In the
//! guests of `cargo xtask vm` alone, for the programs are on functions of the whole machine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::Duration;

use guard_common::abi::{Place, PlacedBy};
use guard_common::interval::build::GeoImage;
use guard_tests::bed::{self, BELGIUM, Bed, Family, STORE, US};
use guard_tests::cgroup::{self, Cgroup};
use guard_tests::proc::retry_until;
use guard_user::health::ProblemCode;
use guard_user::kernel::{Kernel as _, LinuxKernel};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::net::{AddressFamily, SocketType, socketpair};
use support::volume::*;
use support::{PinPlace, in_own_network};

/// Both ends of a way: by the first a process hands on, by the second another one receives.
type Ends = (OwnedFd, OwnedFd);

fn put(end: BorrowedFd<'_>) {
    assert_eq!(rustix::io::write(end, b"a mail").unwrap(), 6);
}

fn take(end: BorrowedFd<'_>) {
    assert_eq!(rustix::io::read(end, &mut [0; 64]).unwrap(), 6);
}

/// What a Unix or TCP socket has, by pages and a pipe, as proxies do.
fn take_pages(end: BorrowedFd<'_>) {
    let (out, into) = rustix::pipe::pipe().unwrap();
    let flags = rustix::pipe::SpliceFlags::empty();
    assert_eq!(rustix::pipe::splice(end, None, &into, None, 64, flags).unwrap(), 6);
    take(out.as_fd());
}

fn unix(kind: SocketType) -> Ends {
    socketpair(AddressFamily::UNIX, kind, rustix::net::SocketFlags::empty(), None).unwrap()
}

/// Datagrams to a name, by a socket that nobody has connected.
fn unix_by_name() -> Ends {
    use std::os::linux::net::SocketAddrExt as _;
    use std::sync::atomic::{AtomicU32, Ordering};
    // Those before are open still.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("relay-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let name = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
    let far = UnixDatagram::bind_addr(&name).unwrap();
    let near = UnixDatagram::unbound().unwrap();
    near.connect_addr(&name).unwrap();
    (near.into(), far.into())
}

/// A connection that is taken up once data is on it.
fn unix_before_accept(carrier: &dyn Fn(BorrowedFd<'_>)) -> OwnedFd {
    use std::os::linux::net::SocketAddrExt as _;
    let name = std::os::unix::net::SocketAddr::from_abstract_name(b"early").unwrap();
    let listener = UnixListener::bind_addr(&name).unwrap();
    let near = UnixStream::connect_addr(&name).unwrap();
    carrier(near.as_fd());
    listener.accept().unwrap().0.into()
}

fn tcp(address: std::net::IpAddr) -> Ends {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near.into(), listener.accept().unwrap().0.into())
}

fn udp() -> Ends {
    let far = UdpSocket::bind("0.0.0.0:0").unwrap();
    let near = UdpSocket::bind("127.0.0.1:0").unwrap();
    near.connect(("127.0.0.1", far.local_addr().unwrap().port())).unwrap();
    (near.into(), far.into())
}

fn pipe() -> Ends {
    let (out, into) = rustix::pipe::pipe().unwrap();
    (into, out)
}

fn fifo() -> Ends {
    let path = std::env::temp_dir().join(format!("fifo-{}", std::process::id()));
    let _was_there = fs::remove_file(&path);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let open = || File::options().read(true).write(true).open(&path).unwrap();
    (open().into(), open().into())
}

type Take = fn(BorrowedFd<'_>);
type Make = fn() -> Ends;

/// The ways, each with how it is made and received by.
fn ways() -> [(&'static str, Make, Take); 12] {
    [
        ("stream", || unix(SocketType::STREAM), take),
        ("stream by pages", || unix(SocketType::STREAM), take_pages),
        ("datagrams", || unix(SocketType::DGRAM), take),
        ("packets", || unix(SocketType::SEQPACKET), take),
        ("datagrams by name", unix_by_name, take),
        ("TCP", || tcp([127, 0, 0, 1].into()), take),
        ("TCP by an address of the host", || tcp(HOST.into()), take),
        ("TCP by pages", || tcp([127, 0, 0, 1].into()), take_pages),
        ("TCP over IPv6", || tcp(Ipv6Addr::LOCALHOST.into()), take),
        ("UDP", udp, take),
        ("pipe", pipe, take),
        ("FIFO", fifo, take),
    ]
}

/// Whether what a process sends arrives, after it has received by `end`. It waits for that before anybody hands over, where
/// `waits` is true in the second of the two results.
fn leaves_by_relay(end: &OwnedFd, take: Take, hand: &dyn Fn()) -> [bool; 2] {
    [false, true].map(|waits| {
        let (socket, far) = connection();
        let receive = || {
            take(end.as_fd());
            send(&socket);
        };
        if waits {
            let child = begin_process(receive);
            // It is in the call by then, or just before: either must do.
            std::thread::sleep(SILENCE);
            hand();
            assert_eq!(wait_for(child), 0);
        } else {
            hand();
            in_a_process(receive);
        }
        arrives(&far)
    })
}

/// Geo tables in which all is in Ireland but the client: this host's own network is guarded here.
fn at_home() -> GeoImage {
    let place = |code: &str| Place::new(code.parse().unwrap(), PlacedBy::Database);
    let client = u32::from(CLIENT);
    let runs = [(0, place("IE")), (client, place("US")), (client + 1, place("IE"))];
    GeoImage::build(runs.into_iter(), [(0, place("IE"))].into_iter()).unwrap()
}

fn set_tagged(kernel: &mut LinuxKernel, on: &Cgroup, volume: &Volume, tagged: u64) {
    let mut target = target(on, volume, "process");
    target.volumes.as_mut().unwrap().tagged = tagged;
    kernel.note_sockets(Some(&target)).unwrap();
}

fn relays_are_seen(label: &str) {
    let (pins, on) = (PinPlace::new(label), Cgroup::new(label).unwrap());
    let volume = Volume::new(label);
    in_own_network(|| {
        let mut kernel = guarded(&pins, &on, &volume, "process");
        let mut later = policy(&volume, "process");
        later.generation = 2;
        kernel.publish(&later, Some(&at_home())).unwrap();
        let count = |kernel: &mut LinuxKernel| kernel.observe().unwrap().volumes.unwrap().relays.len();
        // Who has received is known by its command and cgroup, and those are the same for each way.
        let last = |kernel: &mut LinuxKernel| {
            let volumes = kernel.observe().unwrap().volumes.unwrap();
            volumes.relays.iter().map(|it| it.relay.last_ns).max()
        };
        for (name, make, take) in ways() {
            let before = last(&mut kernel);
            let by_carrier = |end: &OwnedFd| {
                in_a_process(|| {
                    read_of(&volume.mail());
                    put(end.as_fd());
                })
            };
            // Who talks with one that carries nothing is never a relay.
            let (near, far) = make();
            let seen = leaves_by_relay(&far, take, &|| in_a_process(|| put(near.as_fd())));
            assert_eq!((seen, last(&mut kernel)), ([true, true], before), "{name} of nobody");
            // What is only told leaves. When that was last is kept to a second.
            std::thread::sleep(Duration::from_secs(1));
            let (near, far) = make();
            let seen = leaves_by_relay(&far, take, &|| by_carrier(&near));
            assert_eq!((seen, count(&mut kernel)), ([true, true], 1), "{name}, told");
            assert!(last(&mut kernel) > before, "{name}, told");
            set_tagged(&mut kernel, &on, &volume, 1);
            let (near, far) = make();
            let seen = leaves_by_relay(&far, take, &|| by_carrier(&near));
            assert_eq!(seen, [false, false], "{name}, tagged");
            set_tagged(&mut kernel, &on, &volume, 0);
        }
        // All is forgotten with the volume.
        kernel.note_sockets(None).unwrap();
        assert_eq!(count(&mut kernel), 0);
        set_tagged(&mut kernel, &on, &volume, 1);
        let end = unix_before_accept(&|near| {
            in_a_process(|| {
                read_of(&volume.mail());
                put(near);
            })
        });
        let (socket, far) = connection();
        in_a_process(|| {
            take(end.as_fd());
            send(&socket);
        });
        assert!(!arrives(&far), "data that came before it was accepted");
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn who_is_handed_data_by_a_carrier_is_seen_whatever_the_way() {
    relays_are_seen("relays");
}

#[test]
#[ignore = "needs root and BPF"]
fn without_bpf_lsm_they_are_seen_by_tracing_programs() {
    unmount("/sys/kernel/security", UnmountFlags::empty()).unwrap();
    relays_are_seen("relays-fentry");
    mount("securityfs", "/sys/kernel/security", "securityfs", MountFlags::empty(), None).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn the_daemon_tells_of_a_relay_or_makes_it_a_carrier() {
    let bed = Bed::new("relays").unwrap();
    let path = std::env::temp_dir().join(format!("volume-relays-{}", std::process::id()));
    let volume = Volume::at(path.clone());
    let on = Cgroup::new("relays-daemon").unwrap();
    let proxy = on.child("proxy").unwrap();
    let pin = |relays: &str| {
        format!(
            "[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [\"EU\"]\naction = \"drop\"\n[pin.select]\n\
             volumes = [{path:?}]\nspread = \"process\"\n{relays}\n"
        )
    };
    bed.configure(&pin("")).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let told = || bed.status().unwrap().problems.into_iter().find(|it| it.code == ProblemCode::Relay);
    // A mail by a proxy in a cgroup of its own, which has it from a carrier by a Unix socket, to a client in this place.
    let by_proxy = |place: &str| {
        let from = std::net::SocketAddr::new(bed::address(STORE, Family::V4).unwrap(), 0);
        let to = std::net::SocketAddr::new(bed::address(place, Family::V4).unwrap(), bed::CLIENT_PORT);
        let socket = bed.host(STORE).unwrap().run(|| UdpSocket::bind(from)).unwrap().unwrap();
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let before = bed.arrived(place, Family::V4).unwrap();
        let child = begin_process(|| {
            cgroup::inside(proxy.path(), || {
                assert!(far.read(&mut [0; 64]).unwrap() > 0);
                (0..10).for_each(|_| drop(socket.send_to(b"a mail", to)));
            })
            .unwrap();
        });
        in_a_process(|| {
            read_of(&volume.mail());
            near.write_all(b"a mail").unwrap();
        });
        assert_eq!(wait_for(child), 0);
        std::thread::sleep(SILENCE);
        bed.arrived(place, Family::V4).unwrap() - before
    };
    assert_eq!(told(), None);
    assert_eq!(by_proxy(US), 10, "what is told leaves");
    let problem = retry_until(bed::PATIENCE, "the relay to be told of", told).unwrap();
    let at = proxy.path().strip_prefix(guard_user::kernel::cgroup::root()).unwrap().to_str().unwrap();
    for part in [at, path.to_str().unwrap()] {
        assert!(problem.message.contains(part), "{problem}");
    }
    let relays = bed.status().unwrap().carriers.relays;
    let [relay] = &relays[..] else { panic!("{relays:?}") };
    assert_eq!((relay.state.as_str(), relay.cgroup.as_deref()), ("reported", Some(at)));
    // Accepted.
    bed.configure(&pin(&format!("accept_relays = [{at:?}]"))).unwrap();
    bed.tell(&["reload"]).unwrap();
    assert_eq!((told(), by_proxy(US)), (None, 10));
    assert_eq!(bed.status().unwrap().carriers.relays[0].state, "accepted");
    // A carrier.
    bed.configure(&pin("relays = \"tag\"")).unwrap();
    bed.tell(&["reload"]).unwrap();
    retry_until(bed::PATIENCE, "relays to be carriers", || (by_proxy(US) == 0).then_some(())).unwrap();
    assert_eq!(by_proxy(BELGIUM), 10, "where it may go");
    assert_eq!(told(), None);
    // The daemon looks at them once a second.
    let is_carrier = || bed.status().unwrap().carriers.relays.iter().any(|relay| relay.state == "carrier");
    retry_until(bed::PATIENCE, "a relay to be told as a carrier", || is_carrier().then_some(())).unwrap();
    let is_told = |event: &serde_json::Value| event["volumes"][0] == path.to_str().unwrap();
    let event = bed.event(bed::PATIENCE, "an event", is_told).unwrap();
    assert_eq!(
        (event["verdict"].as_str(), event["pins"][0].as_str()),
        (Some("drop"), Some("mail")),
        "{event}"
    );
}
