//! Pins by who sends: refused with the remedy where the kernel can't tell who does, and held where it can tell enough.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use guard_tests::bed::{self, Bed, CLIENT_PORT, Family, PATIENCE, PIN, STORE, US, address};
use guard_tests::cgroup::{self, Cgroup};
use guard_tests::proc::run_to_end;
use guard_tests::user::as_user;
use guard_user::kernel::senders;

const SENT: u64 = 10;

/// A process in the first cgroup, and what is asked of it by a program of a container in the second: with a cgroup namespace of its
/// own, from which the paths of others lead out of its root.
const CONTAINER: &str = "echo 0 > $1/cgroup.procs; sleep 60 & echo 0 > $2/cgroup.procs; shift 2; \
                         unshare --cgroup \"$@\" --pid $!; code=$?; kill $!; exit $code";

/// A cgroup below the one in which the bed's sockets are noted. It goes with the bed.
fn below(bed: &Bed, name: &str) -> PathBuf {
    let folder = bed.cgroup().path().join(name);
    fs::create_dir(&folder).unwrap();
    folder
}

fn pin(select: &str) -> String {
    format!(
        "[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [\"EU\"]\naction = \"drop\"\n[pin.select]\n{select}\n"
    )
}

/// A socket of the storage host that is made in this cgroup.
fn made_in(bed: &Bed, folder: &Path) -> UdpSocket {
    let from = SocketAddr::new(address(STORE, Family::V4).unwrap(), 0);
    let make = || bed.host(STORE).unwrap().run(|| UdpSocket::bind(from)).unwrap().unwrap();
    cgroup::inside(folder, make).unwrap()
}

/// How many of some datagrams arrive in the US.
fn arrive(bed: &Bed, send: impl Fn(SocketAddr)) -> u64 {
    let before = bed.arrived(US, Family::V4).unwrap();
    (0..SENT).for_each(|_| send(SocketAddr::new(address(US, Family::V4).unwrap(), CLIENT_PORT)));
    std::thread::sleep(std::time::Duration::from_millis(100));
    bed.arrived(US, Family::V4).unwrap() - before
}

#[test]
#[ignore = "needs root and BPF"]
fn a_config_that_goes_by_volumes_is_refused_where_the_kernel_cannot_tell() {
    let Err(why) = senders::carrier_programs() else {
        return println!("this kernel tells who reads what: guest_volumes holds it");
    };
    let bed = Bed::new("volumes").unwrap();
    bed.configure(PIN).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    bed.configure(&pin("volumes = [\"/srv/absent\"]")).unwrap();
    let refused = bed.ask(&["reload"]).unwrap();
    assert!(!refused.status.success(), "{refused:?}");
    assert!(refused.complaint.contains(&why) && refused.complaint.contains("pin by address"), "{refused:?}");
    let mut check = std::process::Command::new(guard_tests::program::borderguard().unwrap());
    check.arg("check").arg(bed.config());
    let (status, out, complaint) = run_to_end("borderguard check", check, PATIENCE).unwrap();
    assert!(!status.success() && (out + &complaint).contains(&why));
}

#[test]
#[ignore = "needs root and BPF"]
fn a_config_that_goes_by_who_sends_is_refused_where_the_kernel_cannot_tell() {
    let bed = Bed::new("senders").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let Err(why) = senders::programs() else {
        return println!("this kernel tells who sends: guest_senders holds it");
    };
    for select in ["users = [\"root\"]", "cgroups = [\"mail.slice\"]"] {
        bed.configure(&pin(select)).unwrap();
        let refused = bed.ask(&["reload"]).unwrap();
        assert!(!refused.status.success(), "{refused:?}");
        let remedy = "sent_by = \"socket\"";
        assert!(refused.complaint.contains(&why) && refused.complaint.contains(remedy), "{refused:?}");
        let mut check = std::process::Command::new(guard_tests::program::borderguard().unwrap());
        check.arg("check").arg(bed.config());
        let (status, out, complaint) = run_to_end("borderguard check", check, PATIENCE).unwrap();
        assert!(!status.success() && (out + &complaint).contains(remedy), "{select}");
    }
    assert!(!bed.passes(US).unwrap(), "the policy before it stays live");
    daemon.kill(PATIENCE).unwrap();
    let started = bed.ask(&["run"]).unwrap();
    assert!(!started.status.success() && started.complaint.contains(&why), "{started:?}");

    // An unknown user is refused on every kernel.
    bed.configure(&pin("sent_by = \"socket\"\nusers = [\"bg-nobody\"]")).unwrap();
    let started = bed.ask(&["run"]).unwrap();
    assert!(started.complaint.contains("there is no user \"bg-nobody\""), "{started:?}");
    // And what the remedy says is taken.
    bed.configure(&pin("sent_by = \"socket\"\nusers = [\"root\"]")).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    assert_eq!(bed.status().unwrap().problems, []);
}

#[test]
#[ignore = "needs root and BPF"]
fn a_socket_made_elsewhere_and_used_by_a_pinned_cgroup_sends_nothing() {
    let bed = Bed::new("senders").unwrap();
    let (maker, pinned) = (below(&bed, "maker.socket"), below(&bed, "mail.service"));
    let name = format!("{}/mail.service", bed.cgroup().name());
    bed.configure(&pin(&format!("sent_by = \"socket\"\ncgroups = [\"{name}\"]"))).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let socket = made_in(&bed, &maker);
    let by =
        |folder: &Path, socket: &UdpSocket, to| cgroup::inside(folder, || bed::send(socket, to)).unwrap();
    assert_eq!(arrive(&bed, |to| by(&maker, &socket, to)), SENT, "before the pinned service has it");
    assert_eq!(arrive(&bed, |to| by(&pinned, &socket, to)), 0);
    assert_eq!(arrive(&bed, |to| by(&maker, &socket, to)), 0, "it stays the pin's");
    // Another one beside it is none of the pin's.
    assert_eq!(arrive(&bed, |to| by(&maker, &made_in(&bed, &maker), to)), SENT);

    // Explained by the process itself.
    let pid = std::process::id().to_string();
    let words =
        ["explain", "--from", "192.0.2.10:5", "--to", "203.0.113.10:6", "--proto", "udp", "--pid", &pid];
    let explain = || bed.ask(&words).unwrap();
    let explained = cgroup::inside(&pinned, explain).unwrap();
    for part in
        [&format!("({pid}), unit mail.service"), &format!("cgroup {name}"), "by the user root", "drop"]
    {
        assert!(explained.out.contains(part), "{part}: {explained:?}");
    }
    assert!(explain().out.contains("pass"), "{:?}", explain());
    // The first process is one of the test's, for the machine's may not be looked at everywhere.
    let container = Cgroup::new("container").unwrap();
    let mut command = bed.host(STORE).unwrap().command("unshare").unwrap();
    command
        .args(["--pid", "--fork", "--mount-proc", "sh", "-c", CONTAINER, "sh"])
        .arg(&pinned)
        .arg(container.path());
    command.arg(bed.program()).args(&words[..words.len() - 2]).arg("--config").arg(bed.config());
    let (status, out, complaint) = run_to_end("unshare", command, PATIENCE).unwrap();
    assert!(out.contains(&format!("cgroup {name}")) && out.contains("drop"), "{status} {out} {complaint}");

    // With no daemon it is held too.
    daemon.kill(PATIENCE).unwrap();
    let socket = made_in(&bed, &maker);
    assert_eq!(arrive(&bed, |to| by(&pinned, &socket, to)), 0);
}

#[test]
#[ignore = "needs root and BPF"]
fn a_pinned_user_sends_nothing_by_whatever_socket() {
    const USER: u32 = 4711;
    let bed = Bed::new("senders").unwrap();
    let maker = below(&bed, "maker.socket");
    bed.configure(&pin(&format!("sent_by = \"socket\"\nusers = [{USER}]"))).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let socket = made_in(&bed, &maker);
    assert_eq!(arrive(&bed, |to| bed::send(&socket, to)), SENT);
    assert_eq!(arrive(&bed, |to| as_user("mailer", USER, || bed::send(&socket, to))), 0);
    assert_eq!(arrive(&bed, |to| bed::send(&socket, to)), 0, "it stays the pin's");
    let from = SocketAddr::new(address(STORE, Family::V4).unwrap(), 0);
    let make = || as_user("mailer", USER, || UdpSocket::bind(from).unwrap());
    let own = cgroup::inside(&maker, || bed.host(STORE).unwrap().run(make).unwrap()).unwrap();
    assert_eq!(arrive(&bed, |to| bed::send(&own, to)), 0);
}
