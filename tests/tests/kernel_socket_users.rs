//! Pins by cgroup and user: a socket is theirs that a process of theirs made, connected or sent datagrams by, whoever made
//! it, and it stays theirs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use guard_common::abi::{PolicyTable, SocketFacts};
use guard_common::verdict::{Reason, Verdict};
use guard_tests::cgroup::{self, Cgroup};
use guard_tests::user::as_user;
use guard_user::compile::{CgroupFact, HostFacts, policy_table};
use guard_user::config::{self, Surroundings};
use guard_user::kernel::{CgroupTarget, Interface, Kernel as _, LinuxKernel, View};
use rustix::fs::Uid;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};
use support::{PinPlace, geo, in_own_network};

const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
/// Where nobody's data is pinned: it is placed, and forbidden to the pin.
const CLIENT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 30);
/// A user that is not root.
const USER: u32 = 4711;

/// A pin with these selectors, which may not send to the client.
fn policy(select: &str, cgroups: &[&Cgroup], generation: u64) -> Box<PolicyTable> {
    let text = format!(
        "approval = \"none\"\n[host]\ninterfaces = [\"bgk0\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n\
         [pin.select]\nsent_by = \"socket\"\n{select}\n"
    );
    let checked = config::parse(Path::new("test.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap();
    let fact = |cgroup: &&Cgroup| CgroupFact {
        path: cgroup.name(),
        id: Some(cgroup.id().unwrap()),
        level: u32::try_from(cgroup.name().split('/').count()).unwrap(),
    };
    let facts = HostFacts { cgroups: cgroups.iter().map(fact).collect(), ..HostFacts::default() };
    policy_table(&checked.policy, &[], &facts, generation).unwrap()
}

/// The storage host's end of a link to the client, guarded, with sockets of a cgroup noted.
struct Host {
    kernel: LinuxKernel,
    generation: u64,
}

impl Host {
    fn new(pins: &PinPlace, on: &Cgroup, policy: &PolicyTable) -> Self {
        let mut kernel = pins.open();
        let target = CgroupTarget {
            cgroup: on.path().to_owned(),
            id: on.id().unwrap(),
            senders: false,
            volumes: None,
        };
        kernel.note_sockets(Some(&target)).unwrap();
        kernel.publish(policy, Some(&geo("US"))).unwrap();
        support::add_address("bgk0", HOST, 1);
        support::add_neighbour("bgk0", CLIENT);
        kernel.attach(&Interface::by_name("bgk0").unwrap(), false).unwrap();
        Self { kernel, generation: 1 }
    }

    fn publish(&mut self, policy: impl FnOnce(u64) -> Box<PolicyTable>) {
        self.generation += 1;
        self.kernel.publish(&policy(self.generation), None).unwrap();
    }

    /// Packets that were judged as pinned and dropped.
    fn dropped(&self) -> u64 {
        let totals = self.kernel.totals().unwrap();
        let of_pin = [Reason::Forbidden, Reason::PlaceUnknown];
        let forbidden =
            totals.iter().filter(|row| row.verdict == Verdict::Drop && of_pin.contains(&row.reason));
        forbidden.map(|row| row.count.packets).sum()
    }

    /// Whether what `send` sends is dropped, all of it; and none of it otherwise.
    fn drops(&self, mut send: impl FnMut()) -> bool {
        let before = self.dropped();
        (0..5).for_each(|_| send());
        match self.dropped() - before {
            0 => false,
            5 => true,
            some => panic!("{some} of 5 were dropped"),
        }
    }
}

fn bind() -> UdpSocket {
    UdpSocket::bind((HOST, 0)).unwrap()
}

fn send_to(socket: &UdpSocket) {
    // What the guard drops may be an error to the sender.
    let _dropped = socket.send_to(b"a mail", SocketAddr::from((CLIENT, 50_000)));
}

fn within<T>(cgroup: &Cgroup, work: impl FnOnce() -> T) -> T {
    cgroup::inside(cgroup.path(), work).unwrap()
}

#[test]
#[ignore = "needs root and BPF"]
fn a_socket_that_a_pinned_cgroup_uses_is_pinned_and_stays_so() {
    let pins = PinPlace::new("users");
    let on = Cgroup::new("users").unwrap();
    let (pinned, maker, other) =
        (on.child("pinned").unwrap(), on.child("maker").unwrap(), on.child("other").unwrap());
    let worker = pinned.child("worker").unwrap();
    let by = |generation| policy(&format!("cgroups = [{:?}]", pinned.name()), &[&pinned], generation);
    in_own_network(|| {
        let mut host = Host::new(&pins, &on, &by(1));
        let made = within(&pinned, bind);
        assert!(host.drops(|| within(&other, || send_to(&made))), "made by it");

        // By sendto: by the pinned cgroup and one below it.
        for user in [&pinned, &worker] {
            let socket = within(&maker, bind);
            assert!(!host.drops(|| within(&other, || send_to(&socket))));
            assert!(host.drops(|| within(user, || send_to(&socket))));
            assert!(host.drops(|| within(&other, || send_to(&socket))), "it stays pinned");
        }
        // By connect; what is sent then asks no hook.
        let socket = within(&maker, bind);
        within(&pinned, || socket.connect((CLIENT, 50_000)).unwrap());
        assert!(host.drops(|| within(&other, || drop(socket.send(b"a mail")))));
        let socket = within(&maker, bind);
        within(&other, || socket.connect((CLIENT, 50_000)).unwrap());
        assert!(!host.drops(|| within(&other, || drop(socket.send(b"a mail")))));

        // A generation that comes later knows it too, and one that names another cgroup does not.
        let socket = within(&maker, bind);
        within(&pinned, || send_to(&socket));
        host.publish(|number| policy(&format!("cgroups = [{:?}]", other.name()), &[&other], number));
        assert!(!host.drops(|| within(&maker, || send_to(&socket))));
        host.publish(by);
        assert!(host.drops(|| within(&maker, || send_to(&socket))));
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn a_socket_that_a_pinned_user_uses_is_pinned_whoever_made_it() {
    let pins = PinPlace::new("uids");
    let on = Cgroup::new("uids").unwrap();
    let by = |generation| policy(&format!("users = [{USER}]"), &[], generation);
    in_own_network(|| {
        let host = Host::new(&pins, &on, &by(1));
        // Its owner is told by the kernel itself, also where no hook is.
        let before = as_user("mailer", USER, bind);
        assert!(host.drops(|| send_to(&before)), "made by the user");
        within(&on, || {
            let socket = bind();
            assert!(!host.drops(|| send_to(&socket)), "root's");
            assert!(!host.drops(|| as_user("other", USER + 1, || send_to(&socket))));
            assert!(host.drops(|| as_user("mailer", USER, || send_to(&socket))));
            assert!(host.drops(|| send_to(&socket)), "it stays pinned");
            let socket = bind();
            as_user("mailer", USER, || socket.connect((CLIENT, 50_000)).unwrap());
            assert!(host.drops(|| drop(socket.send(b"a mail"))));
        });
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn both_selectors_of_one_pin_must_match() {
    let pins = PinPlace::new("both");
    let on = Cgroup::new("both").unwrap();
    let (pinned, other) = (on.child("pinned").unwrap(), on.child("other").unwrap());
    in_own_network(|| {
        let select = format!("cgroups = [{:?}]\nusers = [{USER}]", pinned.name());
        let host = Host::new(&pins, &on, &policy(&select, &[&pinned], 1));
        assert!(!host.drops(|| send_to(&within(&pinned, bind))), "of root");
        let socket = within(&other, || as_user("mailer", USER, bind));
        assert!(!host.drops(|| send_to(&socket)), "elsewhere");
        let socket = within(&pinned, || as_user("mailer", USER, bind));
        assert!(host.drops(|| send_to(&socket)));
    });
}

/// What the last user and the last cgroup let match is remembered: never for another one's packet.
#[test]
#[ignore = "needs root and BPF"]
fn sockets_that_send_by_turns_are_each_judged_by_their_own_user_and_cgroup() {
    let pins = PinPlace::new("turns");
    let on = Cgroup::new("turns").unwrap();
    let (pinned, other) = (on.child("pinned").unwrap(), on.child("other").unwrap());
    in_own_network(|| {
        let by_user = |generation| policy(&format!("users = [{USER}]"), &[], generation);
        let mut host = Host::new(&pins, &on, &by_user(1));
        let in_pinned = within(&pinned, bind);
        let of_user = within(&other, || as_user("mailer", USER, bind));
        let of_nobody = within(&other, bind);
        let handed_on = within(&other, bind);
        within(&other, || as_user("mailer", USER, || send_to(&handed_on)));
        let sockets = [&in_pinned, &of_user, &of_nobody, &handed_on];
        let dropped = |host: &Host| {
            let mut each = [0; 4];
            for _ in 0..3 {
                for (socket, dropped) in sockets.iter().zip(&mut each) {
                    let before = host.dropped();
                    socket.send_to(b"a mail", SocketAddr::from((CLIENT, 50_000))).ok();
                    *dropped += host.dropped() - before;
                }
            }
            each
        };
        assert_eq!(within(&other, || dropped(&host)), [0, 3, 0, 3]);
        let select = format!("cgroups = [{:?}]", pinned.name());
        host.publish(|generation| policy(&select, &[&pinned], generation));
        assert_eq!(within(&other, || dropped(&host)), [3, 0, 0, 0]);
        host.publish(by_user);
        assert_eq!(within(&other, || dropped(&host)), [0, 3, 0, 3]);
    });
}

/// A connection of the host's to itself: who listens, who connected, who was accepted. `accept` accepts it.
fn connection(listener: &TcpListener, accept: impl FnOnce() -> TcpStream) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, accept())
}

/// The owner of a TCP socket is read by each packet, whatever is remembered of its facts.
#[test]
#[ignore = "needs root and BPF"]
fn a_socket_that_another_user_gets_is_that_users() {
    let pins = PinPlace::new("owners");
    let on = Cgroup::new("owners").unwrap();
    in_own_network(|| {
        support::set_up("lo");
        let mut host = Host::new(&pins, &on, &policy(&format!("users = [{USER}]"), &[], 1));
        host.kernel.attach(&Interface::by_name("lo").unwrap(), false).unwrap();
        let listener = within(&on, || TcpListener::bind((HOST, 0)).unwrap());
        for _ in 0..2 {
            let (mut client, mut by_root) = connection(&listener, || listener.accept().unwrap().0);
            assert!(!host.drops(|| by_root.write_all(b"a mail").unwrap()));
            // Packets of the handshake were the listener's owner's. Once it is accepted, they are this user's.
            let (mut other_client, mut by_user) =
                connection(&listener, || as_user("mailer", USER, || listener.accept().unwrap().0));
            let before = host.dropped();
            by_user.write_all(b"a mail").unwrap();
            assert!(host.dropped() > before, "accepted by the pinned user");
            assert!(!host.drops(|| client.write_all(b"a question").unwrap()));
            assert!(!host.drops(|| by_root.write_all(b"a mail").unwrap()), "beside it");
            drop((other_client.write_all(b"a question"), by_user));
        }
        // Root gives it away (fchown(2)).
        for socket in [OwnedFd::from(within(&on, bind)), within(&on, connects)] {
            let send = || rustix::net::send(&socket, b"a mail", SendFlags::DONTWAIT).ok();
            rustix::net::connect(&socket, &SocketAddr::from((CLIENT, 50_000))).ok();
            let before = host.dropped();
            send();
            assert_eq!(host.dropped(), before);
            rustix::fs::fchown(&socket, Some(Uid::from_raw(USER)), None).unwrap();
            // TCP sends its first packet anew, when it was not answered.
            let until = Instant::now() + Duration::from_secs(5);
            while host.dropped() == before {
                assert!(Instant::now() < until, "it was given to the pinned user");
                send();
                thread::sleep(Duration::from_millis(50));
            }
        }
    });
}

/// A TCP socket that is not connected yet, and does not wait for that.
fn connects() -> OwnedFd {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap()
}

/// What a listener accepts has its facts, and what is remembered of them, until somebody else uses it.
#[test]
#[ignore = "needs root and BPF"]
fn accepted_sockets_of_one_listener_are_each_judged_by_who_used_them() {
    let pins = PinPlace::new("accepted");
    let on = Cgroup::new("accepted").unwrap();
    let (pinned, other) = (on.child("pinned").unwrap(), on.child("other").unwrap());
    in_own_network(|| {
        support::set_up("lo");
        let select = format!("cgroups = [{:?}]", pinned.name());
        let mut host = Host::new(&pins, &on, &policy(&select, &[&pinned], 1));
        host.kernel.attach(&Interface::by_name("lo").unwrap(), false).unwrap();
        let nobody = within(&on, || UdpSocket::bind((HOST, 0)).unwrap());
        let to = nobody.local_addr().unwrap();
        let tcp = within(&on, || TcpListener::bind((HOST, 0)).unwrap());
        let accept = || tcp.accept().unwrap().0;
        let (_clients, mut served): (Vec<_>, Vec<_>) = (0..3).map(|_| connection(&tcp, accept)).unzip();
        assert!(served.iter_mut().all(|served| !host.drops(|| served.write_all(b"a mail").unwrap())));
        // What was accepted is connected elsewhere by others, as any process may that has it open.
        let again = |of: &Cgroup, served: &TcpStream| {
            within(of, || {
                rustix::net::connect_unspec(served).unwrap();
                rustix::net::connect(served, &to).ok();
            });
        };
        again(&pinned, &served[0]);
        let of_pinned = host.dropped();
        assert!(of_pinned > 0, "the pinned cgroup has used it");
        again(&other, &served[1]);
        assert_eq!(host.dropped(), of_pinned, "another one has used this");
        assert!(!host.drops(|| served[2].write_all(b"a mail").unwrap()), "nobody has");
        again(&other, &served[0]);
        assert!(host.dropped() > of_pinned, "it stays pinned");
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn a_socket_that_many_use_counts_as_anybodys() {
    let pins = PinPlace::new("many");
    let on = Cgroup::new("many").unwrap();
    let pinned = on.child("pinned").unwrap();
    let users: Vec<Cgroup> = (0..4).map(|_| on.child("user").unwrap()).collect();
    in_own_network(|| {
        let select = format!("cgroups = [{:?}]", pinned.name());
        let host = Host::new(&pins, &on, &policy(&select, &[&pinned], 1));
        let socket = within(&users[0], bind);
        let facts = || View::socket_facts(&host.kernel, &socket).unwrap().unwrap();
        for user in &users[..3] {
            assert!(!host.drops(|| within(user, || send_to(&socket))));
            // Each is noted once, however often it sends.
            assert!(!host.drops(|| within(&users[0], || send_to(&socket))));
        }
        let SocketFacts { parties, everybody, .. } = facts();
        let noted: Vec<u64> = parties.iter().map(|party| party.cgroup).collect();
        assert_eq!((noted, everybody), (vec![users[1].id().unwrap(), users[2].id().unwrap()], 0));
        assert!(host.drops(|| within(&users[3], || send_to(&socket))), "one more than is told apart");
        assert!(host.drops(|| within(&users[0], || send_to(&socket))));
        assert_eq!(facts().everybody, 1);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn whoever_has_a_socket_open_that_was_there_before_may_have_used_it() {
    let pins = PinPlace::new("holders");
    let on = Cgroup::new("holders").unwrap();
    let (pinned, other) = (on.child("pinned").unwrap(), on.child("other").unwrap());
    in_own_network(|| {
        let socket = within(&other, bind);
        let select = format!("cgroups = [{:?}]", pinned.name());
        let host = Host::new(&pins, &on, &policy(&select, &[&pinned], 1));
        assert!(!host.drops(|| send_to(&socket)));
        let named = within(&pinned, || host.kernel.name_open_sockets(on.path()));
        assert!(named.named >= 1 && named.refused.is_none(), "{named:?}");
        assert!(host.drops(|| within(&other, || send_to(&socket))), "this process is in the pinned cgroup");
    });
}
