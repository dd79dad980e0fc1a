//! Events and status name who sent: the process, its command, its user and its unit, also of sockets that were open
//! before the guard.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use guard_tests::bed::{self, Bed, CLIENT_PORT, Family, MAIL_PORT, PATIENCE, PIN, STORE, US, address};
use guard_tests::bpffs;
use guard_tests::cgroup;
use guard_tests::proc::retry_until;
use guard_tests::user::as_user;
use guard_user::audit::Stored;
use guard_user::health::ProblemCode;

/// `BPF_PROG_TYPE_CGROUP_SOCK_ADDR` and `BPF_CGROUP_UDP4_SENDMSG` (linux/bpf.h).
const CGROUP_SOCK_ADDR: u32 = 18;
const CGROUP_UDP4_SENDMSG: u32 = 14;

/// A unit's cgroup below the one in which the bed's sockets are noted. It goes with the bed.
fn unit(bed: &Bed, name: &str) -> PathBuf {
    let folder = bed.cgroup().path().join(name);
    fs::create_dir(&folder).unwrap();
    folder
}

fn path_of(bed: &Bed, unit: &str) -> String {
    format!("{}/{unit}", bed.cgroup().name())
}

/// A socket of the storage host at this port.
fn bind(bed: &Bed, port: u16) -> UdpSocket {
    let from = SocketAddr::new(address(STORE, Family::V4).unwrap(), port);
    bed.host(STORE).unwrap().run(|| UdpSocket::bind(from)).unwrap().unwrap()
}

fn to(host: &str) -> SocketAddr {
    SocketAddr::new(address(host, Family::V4).unwrap(), CLIENT_PORT)
}

/// A user of this host that is not root, with its name.
fn somebody() -> (u32, String) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let user = |line: &str| {
        let mut fields = line.split(':');
        let (name, uid) = (fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?);
        (uid != 0).then_some((uid, name))
    };
    users.lines().find_map(user).unwrap()
}

#[test]
#[ignore = "needs root and BPF"]
fn an_event_names_process_command_user_and_unit() {
    let bed = Bed::new("process").unwrap();
    bed.configure(PIN).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    assert_eq!((bed.status().unwrap().problems, bed.status().unwrap().sockets.attached), (vec![], true));
    let (uid, name) = somebody();
    let folder = unit(&bed, "mailer.service");
    cgroup::inside(&folder, || {
        let socket = bind(&bed, MAIL_PORT);
        as_user("pusher", uid, || bed::send(&socket, to(US)));
    })
    .unwrap();
    let event = bed.event(Duration::from_secs(5), "an event", |event| event["jurisdiction"] == "US").unwrap();
    let process = &event["process"];
    assert_eq!(
        (&process["pid"], &process["command"]),
        (&std::process::id().into(), &"pusher".into()),
        "{event}"
    );
    assert_eq!((&process["uid"], &process["user"]), (&uid.into(), &name.as_str().into()), "{event}");
    assert_eq!(process["cgroup"], path_of(&bed, "mailer.service"), "{event}");
    assert_eq!(process["unit"], "mailer.service", "{event}");
    assert_eq!(event["cgroup"], process["cgroup"], "{event}");
    let text = bed.ask(&["events"]).unwrap().out;
    let by = format!("by pusher ({})", std::process::id());
    assert!(text.contains(&by) && text.contains(&format!(" user={name} unit=mailer.service")), "{text}");

    // Made in one unit and used by another: the event names who uses it, and where the socket is from.
    let (made, used) = (unit(&bed, "made.socket"), unit(&bed, "used.service"));
    let socket = cgroup::inside(&made, || bind(&bed, MAIL_PORT)).unwrap();
    cgroup::inside(&used, || bed::send(&socket, to(US))).unwrap();
    let is_used = |event: &serde_json::Value| event["process"]["unit"] == "used.service";
    // The same flow: it is told again a second later.
    let send_on = || {
        cgroup::inside(&used, || bed::send(&socket, to(US))).unwrap();
        bed.event(Duration::from_millis(200), "an event", is_used).ok()
    };
    let event = retry_until(Duration::from_secs(20), "an event of the user", send_on).unwrap();
    assert_eq!(event["process"]["user"], "root", "{event}");
}

#[test]
#[ignore = "needs root and BPF"]
fn status_names_who_sends_without_a_pin() {
    let bed = Bed::new("process").unwrap();
    bed.configure(PIN).unwrap();
    let _daemon = bed.start(&["--observe"]).unwrap();
    let folder = unit(&bed, "replica.service");
    cgroup::inside(&folder, || bed::send(&bind(&bed, 50_000), to(US))).unwrap();
    let untagged = bed.status().unwrap().untagged;
    let [flow] = &untagged.flows[..] else { panic!("{untagged:?}") };
    let process = flow.process.as_ref().unwrap();
    assert_eq!((process.pid, process.uid), (std::process::id(), 0), "{flow:?}");
    assert_eq!(process.unit.as_deref(), Some("replica.service"), "{flow:?}");
    assert_eq!(process.cgroup, Some(path_of(&bed, "replica.service")), "{flow:?}");
    // The name service is not waited for.
    let user = || bed.status().ok()?.untagged.flows.first()?.process.clone()?.user;
    assert_eq!(retry_until(PATIENCE, "the user's name", user).unwrap(), "root");
    let text = bed.ask(&["status"]).unwrap().out;
    assert!(text.contains(&format!("({}) of root", std::process::id())), "{text}");
}

#[test]
#[ignore = "needs root and BPF"]
fn a_socket_that_was_open_before_the_guard_is_its_holders() {
    let bed = Bed::new("process").unwrap();
    bed.configure(PIN).unwrap();
    let folder = unit(&bed, "early.service");
    // A connected socket: what it sends asks no hook.
    let socket = bind(&bed, MAIL_PORT);
    bed.host(STORE).unwrap().run(|| socket.connect(to(US))).unwrap().unwrap();
    cgroup::inside(&folder, || {
        let daemon = bed.start(&[]).unwrap();
        let named = || daemon.stderr().contains("sockets open that were there before").then_some(());
        retry_until(PATIENCE, "open sockets to be named", named).unwrap();
        // The kernel's answer to what the guard drops is no matter here.
        let _dropped = socket.send(b"a mail");
        let event =
            bed.event(Duration::from_secs(5), "an event", |event| event["jurisdiction"] == "US").unwrap();
        let process = &event["process"];
        assert_eq!(
            (&process["pid"], &process["user"]),
            (&std::process::id().into(), &"root".into()),
            "{event}"
        );
        assert_eq!(process["unit"], "early.service", "{event}");
        daemon.kill(PATIENCE).unwrap();
    })
    .unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn a_hook_that_somebody_takes_off_is_told_and_attached_again() {
    let bed = Bed::new("process").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let id = bed.cgroup().id().unwrap();
    bpffs::detach(&bed.pin_path().join(format!("links/cgroup-{id}-sendmsg4"))).unwrap();
    let told = || daemon.stderr().contains("which note who uses sockets").then_some(());
    retry_until(PATIENCE, "the loss to be told", told).unwrap();
    let is_back = || {
        let status = bed.status().ok()?;
        let codes: Vec<ProblemCode> = status.problems.iter().map(|it| it.code).collect();
        (status.sockets.attached && codes.is_empty()).then_some(())
    };
    retry_until(PATIENCE, "the hook again", is_back).unwrap();

    // The link stays where it is, and another's program runs by it.
    let entry = bed.pin_path().join(format!("links/cgroup-{id}-sendmsg4"));
    bpffs::exchange(&entry, CGROUP_SOCK_ADDR, CGROUP_UDP4_SENDMSG).unwrap();
    let words =
        "something has put other programs in the place of Border Guard's, which note who uses sockets";
    let told = || daemon.stderr().contains(words).then_some(());
    retry_until(PATIENCE, "the exchange to be told", told).unwrap();
    let is_set_back = || {
        let problems = bed.status().ok()?.problems;
        let lost = problems.into_iter().find(|it| it.code == ProblemCode::AttachmentLost)?;
        lost.message.contains("it is there again").then_some(())
    };
    retry_until(PATIENCE, "the hook to be set back", is_set_back).unwrap();
    let is_of_it = |it: &Stored| it.kind == "detach" && it.why.contains("by another program");
    let records = bed.trail().unwrap().into_iter().filter(is_of_it);
    let hooks: Vec<_> = records.filter_map(|it| it.detail.get("hooks").cloned()).collect();
    assert_eq!(hooks.last(), Some(&"sockets".into()), "{hooks:?}");
    retry_until(Duration::from_secs(90), "nothing to be told any more", is_back).unwrap();

    // Without noting nothing is attached, and events name nobody.
    bed.configure(&format!("[sockets]\nnote = false\n{PIN}")).unwrap();
    bed.tell(&["reload"]).unwrap();
    let entries = || {
        let links = fs::read_dir(bed.pin_path().join("links")).unwrap();
        links.filter(|it| !it.as_ref().unwrap().file_name().to_string_lossy().ends_with("egress")).count()
    };
    retry_until(PATIENCE, "the hooks to go", || (entries() == 1).then_some(())).unwrap();
    let socket = cgroup::inside(bed.cgroup().path(), || bind(&bed, MAIL_PORT)).unwrap();
    bed::send(&socket, to(US));
    let event = bed.event(Duration::from_secs(5), "an event", |event| event["jurisdiction"] == "US").unwrap();
    assert_eq!(event["process"], serde_json::Value::Null, "{event}");
}
