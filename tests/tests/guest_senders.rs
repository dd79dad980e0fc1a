//! Who sends is noted at the moment at which it does: by whatever call, by whatever socket, whoever made and connected it.
//! In the guests of `cargo xtask vm` alone, for the programs are on functions of the whole machine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use guard_common::abi::PolicyTable;
use guard_common::verdict::{Reason, Verdict};
use guard_tests::bed::{self, Bed, CLIENT_PORT, Family, STORE, US};
use guard_tests::cgroup::{self, Cgroup};
use guard_tests::proc::retry_until;
use guard_tests::user::as_user;
use guard_user::compile::{CgroupFact, HostFacts, policy_table};
use guard_user::config::{self, Surroundings};
use guard_user::health::{Problem, ProblemCode};
use guard_user::kernel::{CgroupTarget, Interface, Kernel as _, LinuxKernel, ObservedSenders, View, senders};
use support::{PinPlace, geo, in_own_network};

const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
/// Where the pin may not send: placed in the US.
const CLIENT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 30);
const USER: u32 = 4711;
/// How long it takes to be sure that nothing arrives.
const SILENCE: Duration = Duration::from_millis(300);

/// A pin with these selectors, which goes by who sends.
fn policy(select: &str, cgroups: &[&Cgroup]) -> Box<PolicyTable> {
    let text = format!(
        "approval = \"none\"\n[host]\ninterfaces = [\"lo\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n\
         [pin.select]\n{select}\n"
    );
    let checked = config::parse(Path::new("test.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap();
    assert!(checked.policy.pins[0].select.asks_for_senders());
    let fact = |cgroup: &&Cgroup| CgroupFact {
        path: cgroup.name(),
        id: Some(cgroup.id().unwrap()),
        level: u32::try_from(cgroup.name().split('/').count()).unwrap(),
    };
    let facts = HostFacts { cgroups: cgroups.iter().map(fact).collect(), ..HostFacts::default() };
    policy_table(&checked.policy, &[], &facts, 1).unwrap()
}

fn target(on: &Cgroup) -> CgroupTarget {
    CgroupTarget { cgroup: on.path().to_owned(), id: on.id().unwrap(), senders: true, volumes: None }
}

/// Both ends on a guarded loopback, in a network of their own.
fn guarded(pins: &PinPlace, on: &Cgroup, policy: &PolicyTable) -> LinuxKernel {
    assert!(
        std::env::var_os("BORDERGUARD_GUEST").is_some(),
        "this would look at all of this machine's processes"
    );
    let mut kernel = pins.open();
    kernel.note_sockets(Some(&target(on))).unwrap();
    let observed = kernel.observe().unwrap();
    assert_eq!(observed.senders, ObservedSenders { is_any: true, is_whole: true }, "{observed:?}");
    // What was open before: nothing of this test's.
    assert_eq!(kernel.name_open_sockets(on.path()).refused, None);
    kernel.publish(policy, Some(&geo("US"))).unwrap();
    support::set_up("lo");
    for address in [HOST, CLIENT] {
        support::add_address("lo", address, 32);
    }
    kernel.attach(&Interface::by_name("lo").unwrap(), false).unwrap();
    kernel
}

fn dropped(view: &View) -> u64 {
    let totals = view.totals().unwrap();
    let forbidden =
        totals.iter().filter(|row| (row.reason, row.verdict) == (Reason::Forbidden, Verdict::Drop));
    forbidden.map(|row| row.count.packets).sum()
}

/// A connection from the host to the client that processes of this cgroup made, and the client's end.
fn connection(by: &Cgroup) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((CLIENT, 0)).unwrap();
    let socket = cgroup::inside(by.path(), || {
        let socket =
            rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None)
                .unwrap();
        rustix::net::bind(&socket, &SocketAddr::from((HOST, 0))).unwrap();
        rustix::net::connect(&socket, &listener.local_addr().unwrap()).unwrap();
        TcpStream::from(socket)
    });
    let (far, _) = listener.accept().unwrap();
    far.set_read_timeout(Some(SILENCE)).unwrap();
    (socket.unwrap(), far)
}

/// Whether bytes arrive.
fn arrives(mut far: &TcpStream) -> bool {
    matches!(far.read(&mut [0; 64]), Ok(1..))
}

fn within<T>(cgroup: &Cgroup, work: impl FnOnce() -> T) -> T {
    cgroup::inside(cgroup.path(), work).unwrap()
}

/// A file that is sent from.
fn mail() -> File {
    let path = std::env::temp_dir().join(format!("mail-{}", std::process::id()));
    std::fs::write(&path, "a mail of some bytes").unwrap();
    File::open(path).unwrap()
}

fn sendfile(to: &TcpStream) {
    let sent = rustix::fs::sendfile(to, mail(), None, 20).unwrap();
    assert!(sent > 0);
}

fn splice(to: &TcpStream) {
    let (read, write) = rustix::pipe::pipe().unwrap();
    assert_eq!(rustix::io::write(&write, b"a mail").unwrap(), 6);
    let flags = rustix::pipe::SpliceFlags::empty();
    assert_eq!(rustix::pipe::splice(read.as_fd(), None, to.as_fd(), None, 6, flags).unwrap(), 6);
}

type Send = fn(&TcpStream);

/// Each way to send by a connected socket.
const WAYS: [(&str, Send); 4] = [
    ("write", |mut to| to.write_all(b"a mail").unwrap()),
    ("send", |to| assert_eq!(rustix::net::send(to, b"a mail", rustix::net::SendFlags::empty()).unwrap(), 6)),
    ("sendfile", sendfile),
    ("splice", splice),
];

fn a_handed_connection_is_held(label: &str) {
    let pins = PinPlace::new(label);
    let on = Cgroup::new(label).unwrap();
    let (pinned, other) = (on.child("pinned").unwrap(), on.child("other").unwrap());
    let select = format!("cgroups = [{:?}]", pinned.name());
    in_own_network(|| {
        let kernel = guarded(&pins, &on, &policy(&select, &[&pinned]));
        for (way, send) in WAYS {
            let (socket, far) = connection(&other);
            within(&other, || send(&socket));
            assert!(arrives(&far), "{way} of another cgroup");
            let before = dropped(&kernel);
            within(&pinned, || send(&socket));
            assert!(!arrives(&far), "{way} of the pinned cgroup");
            assert!(dropped(&kernel) > before, "{way}");
            // It stays the pin's, and another connection of the same maker is not.
            within(&other, || send(&socket));
            assert!(!arrives(&far), "{way} once it was used");
            let (beside, far) = connection(&other);
            within(&other, || send(&beside));
            assert!(arrives(&far), "{way} beside it");
        }
        // A connected datagram socket asks no other hook either.
        let far = UdpSocket::bind((CLIENT, 0)).unwrap();
        far.set_read_timeout(Some(SILENCE)).unwrap();
        let socket = within(&other, || UdpSocket::bind((HOST, 0)).unwrap());
        within(&other, || socket.connect(far.local_addr().unwrap()).unwrap());
        within(&other, || drop(socket.send(b"a mail")));
        assert!(far.recv(&mut [0; 9]).is_ok());
        within(&pinned, || drop(socket.send(b"a mail")));
        assert!(far.recv(&mut [0; 9]).is_err());
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn a_connection_that_a_pinned_process_was_handed_sends_nothing() {
    let programs = senders::programs().unwrap();
    println!("noted by {programs:?}");
    assert_eq!(programs[0].name(), "lsm_sendmsg", "as Debian's kernels are shipped");
    a_handed_connection_is_held("lsm");
}

#[test]
#[ignore = "needs root and BPF"]
fn without_bpf_lsm_it_is_held_by_a_tracing_program() {
    rustix::mount::unmount("/sys/kernel/security", rustix::mount::UnmountFlags::empty()).unwrap();
    let programs = senders::programs().unwrap();
    assert_eq!(programs[0].name(), "fentry_sendmsg", "{programs:?}");
    a_handed_connection_is_held("fentry");
    rustix::mount::mount(
        "securityfs",
        "/sys/kernel/security",
        "securityfs",
        rustix::mount::MountFlags::empty(),
        None,
    )
    .unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn a_pinned_user_sends_nothing_by_a_connection_of_root() {
    let pins = PinPlace::new("user");
    let on = Cgroup::new("user").unwrap();
    in_own_network(|| {
        let _kernel = guarded(&pins, &on, &policy(&format!("users = [{USER}]"), &[]));
        let (socket, far) = connection(&on);
        let write = || (&socket).write_all(b"a mail").unwrap();
        within(&on, write);
        assert!(arrives(&far));
        within(&on, || as_user("other", USER + 1, write));
        assert!(arrives(&far));
        within(&on, || as_user("mailer", USER, write));
        assert!(!arrives(&far));
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn the_programs_outlive_their_process_and_are_taken_over_and_off() {
    let pins = PinPlace::new("stay");
    let on = Cgroup::new("stay").unwrap();
    let (pinned, other) = (on.child("pinned").unwrap(), on.child("other").unwrap());
    let select = format!("cgroups = [{:?}]", pinned.name());
    let entries = || {
        let links = std::fs::read_dir(pins.path().join("links")).unwrap();
        links.filter(|it| it.as_ref().unwrap().file_name().to_string_lossy().starts_with("sender-")).count()
    };
    in_own_network(|| {
        let kernel = guarded(&pins, &on, &policy(&select, &[&pinned]));
        let count = entries();
        assert_eq!(count, senders::programs().unwrap().len());
        let (socket, far) = connection(&other);
        drop(kernel);
        within(&pinned, || (&socket).write_all(b"a mail").unwrap());
        assert!(!arrives(&far), "without a daemon");

        let mut kernel = pins.open();
        let seen = |kernel: &mut LinuxKernel| kernel.observe().unwrap().senders;
        assert_eq!(seen(&mut kernel), ObservedSenders { is_any: true, is_whole: false });
        kernel.note_sockets(Some(&target(&on))).unwrap();
        assert_eq!(seen(&mut kernel), ObservedSenders { is_any: true, is_whole: true });
        // Somebody removes an entry: this process keeps the link, and puts it back.
        let name = format!("links/sender-{}", senders::programs().unwrap()[0].name());
        std::fs::remove_file(pins.path().join(&name)).unwrap();
        assert!(!seen(&mut kernel).is_whole);
        let (socket, far) = connection(&other);
        within(&pinned, || (&socket).write_all(b"a mail").unwrap());
        assert!(!arrives(&far));
        kernel.note_sockets(Some(&target(&on))).unwrap();
        assert!(seen(&mut kernel).is_whole && entries() == count);

        // No pin goes by it any more.
        kernel.note_sockets(Some(&CgroupTarget { senders: false, ..target(&on) })).unwrap();
        assert_eq!((seen(&mut kernel), entries()), (ObservedSenders::default(), 0));
        let (socket, far) = connection(&other);
        within(&pinned, || (&socket).write_all(b"a mail").unwrap());
        assert!(arrives(&far), "by a connection of another");
        kernel.note_sockets(Some(&target(&on))).unwrap();
        drop(kernel);
        let removed = LinuxKernel::detach(&pins.path()).unwrap();
        assert!(removed.left.is_none(), "{removed:?}");
        assert!(removed.links.iter().any(|link| link.starts_with("sender ")), "{:?}", removed.links);
    });
}

/// What it costs each call that sends: for the record, and bounded where every other thing of the host goes on.
#[test]
#[ignore = "needs root and BPF"]
fn a_process_of_no_pin_sends_as_it_did() {
    let pins = PinPlace::new("cost");
    let on = Cgroup::new("cost").unwrap();
    let pinned = on.child("pinned").unwrap();
    let select = format!("cgroups = [{:?}]", pinned.name());
    in_own_network(|| {
        let mut kernel = guarded(&pins, &on, &policy(&select, &[&pinned]));
        let far = UdpSocket::bind((CLIENT, 0)).unwrap();
        let socket = within(&on, || UdpSocket::bind((HOST, 0)).unwrap());
        socket.connect(far.local_addr().unwrap()).unwrap();
        let time = || {
            let begin = Instant::now();
            (0..20_000).for_each(|_| drop(socket.send(b"a mail")));
            begin.elapsed() / 20_000
        };
        let with = time();
        kernel.note_sockets(Some(&CgroupTarget { senders: false, ..target(&on) })).unwrap();
        println!("a call that sends takes {with:?}, and {:?} without", time());
        assert_eq!(dropped(&kernel), 0);
    });
}

/// What is wrong, but for what an emulated machine is too slow for.
fn problems(bed: &Bed) -> Vec<Problem> {
    let mut problems = bed.status().unwrap().problems;
    problems.retain(|problem| problem.code != ProblemCode::LoopSlow);
    problems
}

#[test]
#[ignore = "needs root and BPF"]
fn the_daemon_takes_a_config_that_goes_by_who_sends_and_holds_it() {
    let bed = Bed::new("senders").unwrap();
    let pin = format!(
        "[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [\"EU\"]\naction = \"drop\"\n[pin.select]\nusers = [{USER}]\n"
    );
    bed.configure(&pin).unwrap();
    let daemon = bed.start(&[]).unwrap();
    // A store that emulation makes slow is opened beside the start.
    retry_until(bed::PATIENCE, "no problems", || problems(&bed).is_empty().then_some(())).unwrap();
    let from = SocketAddr::new(bed::address(STORE, Family::V4).unwrap(), 0);
    let to = SocketAddr::new(bed::address(US, Family::V4).unwrap(), CLIENT_PORT);
    let connected = || {
        let make = || {
            let socket = UdpSocket::bind(from).unwrap();
            socket.connect(to).unwrap();
            socket
        };
        within(bed.cgroup(), || bed.host(STORE).unwrap().run(make)).unwrap()
    };
    // Nobody listens there: of a connected socket's every second call tells that, and sends nothing.
    let arrive = |send: &dyn Fn()| {
        let before = bed.arrived(US, Family::V4).unwrap();
        (0..10).for_each(|_| send());
        std::thread::sleep(SILENCE);
        bed.arrived(US, Family::V4).unwrap() - before
    };
    let socket = connected();
    let send = || drop(socket.send(b"a mail"));
    assert!(arrive(&send) > 0);
    assert_eq!(arrive(&|| as_user("mailer", USER, send)), 0);
    let event =
        bed.event(Duration::from_secs(5), "an event", |event| event["process"]["uid"] == USER).unwrap();
    assert_eq!(event["process"]["command"], "mailer", "who sent, and not who connected: {event}");
    // Its successor goes on with it.
    daemon.kill(bed::PATIENCE).unwrap();
    let socket = connected();
    assert_eq!(arrive(&|| as_user("mailer", USER, || drop(socket.send(b"a mail")))), 0, "without a daemon");
    let _daemon = bed.start(&[]).unwrap();
    assert_eq!(problems(&bed), []);
    bed.configure(&pin.replace("users", "sent_by = \"socket\"\nusers")).unwrap();
    bed.tell(&["reload"]).unwrap();
    let entries = || {
        let links = std::fs::read_dir(bed.pin_path().join("links")).unwrap();
        links.filter(|it| it.as_ref().unwrap().file_name().to_string_lossy().starts_with("sender-")).count()
    };
    retry_until(bed::PATIENCE, "the programs to be taken off", || (entries() == 0).then_some(())).unwrap();
    let socket = connected();
    assert!(arrive(&|| as_user("mailer", USER, || drop(socket.send(b"a mail")))) > 0, "as documented");
}
