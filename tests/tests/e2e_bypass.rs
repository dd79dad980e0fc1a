//! Ways past the guard, with the real daemon: refused to all but those that the config allows, told while they can't be,
//! and, without the hook, a way by which a mail reaches the US.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use guard_tests::bed::{self, Bed, CLIENT_PORT, Family, MAIL_PORT, PATIENCE, PIN, STORE, US};
use guard_tests::bpffs;
use guard_tests::cgroup::{self, Cgroup};
use guard_tests::netns::HOST_INTERFACE;
use guard_tests::packet::{Ethernet, Ipv4, Packet};
use guard_tests::proc::retry_until;
use guard_tests::sockopt;
use guard_user::control::status::BypassStatus;
use guard_user::health::ProblemCode;

/// Frames of each try.
const COUNT: u64 = 5;

fn v4(host: &str) -> Ipv4Addr {
    match bed::address(host, Family::V4).unwrap() {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => panic!("IPv4 was asked for"),
    }
}

/// A mail for the US, as a whole frame.
fn mail(bed: &Bed) -> Vec<u8> {
    let from = bed.host(STORE).unwrap().mac(HOST_INTERFACE).unwrap();
    let to = bed.router().mac("port0").unwrap();
    let ip = Ipv4::to(v4(US)).from(v4(STORE));
    Packet::new()
        .with(Ethernet::new(from, to))
        .with(ip)
        .udp(MAIL_PORT, CLIENT_PORT)
        .payload("a mail of the mailbox")
        .build()
}

/// What a process of this cgroup is told that asks for sending past TC, and how many of its mails reach the US.
fn try_to_bypass(bed: &Bed, from: &Cgroup) -> (Result<(), Option<i32>>, u64) {
    let frame = mail(bed);
    let before = bed.arrived(US, Family::V4).unwrap();
    let open = || {
        let socket = sockopt::packet_socket().unwrap();
        let told = sockopt::bypass_qdisc(&socket, 1).map_err(|error| error.raw_os_error());
        (socket, told)
    };
    let (socket, told) = cgroup::inside(from.path(), || bed.host(STORE).unwrap().run(open)).unwrap().unwrap();
    for _ in 0..COUNT {
        let send = || sockopt::send_frame(&socket, HOST_INTERFACE, &frame);
        bed.host(STORE).unwrap().run(send).unwrap().unwrap();
    }
    std::thread::sleep(std::time::Duration::from_millis(200));
    (told, bed.arrived(US, Family::V4).unwrap() - before)
}

/// What a process of this cgroup is told that asks for memory for XDP, or for the same where there is no AF_XDP.
fn ask_for_umem(from: &Cgroup) -> Result<(), Option<i32>> {
    let ask = || -> io::Result<()> {
        match sockopt::xdp_socket() {
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
                match sockopt::register_umem(sockopt::packet_socket()?) {
                    Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
                    told => told,
                }
            }
            socket => sockopt::register_umem(socket?),
        }
    };
    cgroup::inside(from.path(), ask).unwrap().map_err(|error| error.raw_os_error())
}

const REFUSED: Result<(), Option<i32>> = Err(Some(libc::EPERM));

fn status(bed: &Bed) -> BypassStatus {
    bed.status().unwrap().bypass
}

fn counts(status: &BypassStatus) -> Vec<(&str, u64, u64)> {
    status.asked.iter().map(|it| (it.way.as_str(), it.refused, it.allowed)).collect()
}

fn entry(bed: &Bed) -> PathBuf {
    let id = bed.cgroup().id().unwrap();
    bed.pin_path().join(format!("links/cgroup-{id}-setsockopt"))
}

/// Waits until status is so.
fn wait(bed: &Bed, what: &str, is_so: impl Fn(&BypassStatus) -> bool) {
    retry_until(PATIENCE, what, || is_so(&status(bed)).then_some(())).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn a_mail_that_would_go_past_the_guard_does_not_leave_unless_its_process_is_allowed() {
    let bed = Bed::new("bypass").unwrap();
    let (mailer, allowed) = (bed.cgroup().child("mailer").unwrap(), bed.cgroup().child("dhcp").unwrap());
    let with = |rest: &str| {
        let section = format!("[bypass]\ncgroup = {:?}\n{rest}\n{PIN}", bed.cgroup().name());
        bed.configure(&section).unwrap();
    };
    // Without the hook it arrives: so the test can fail.
    with("refuse = false");
    let _daemon = bed.start(&[]).unwrap();
    assert!(!bed.passes(US).unwrap(), "the guard judges what goes by TC");
    assert_eq!(try_to_bypass(&bed, &mailer), (Ok(()), COUNT));
    assert_eq!(ask_for_umem(&mailer), Ok(()));
    let off = status(&bed);
    assert_eq!(
        (off.refused, off.attached, off.asked.iter().map(|it| it.refused).sum::<u64>()),
        (false, false, 0)
    );

    with(&format!("allow = [{:?}, \"absent.slice\"]", allowed.name()));
    bed.tell(&["reload"]).unwrap();
    wait(&bed, "the hook", |status| status.attached);
    assert_eq!(bed.status().unwrap().problems, []);
    assert_eq!(try_to_bypass(&bed, &mailer), (REFUSED, 0), "its frames go by TC, and are dropped there");
    assert_eq!(ask_for_umem(&mailer), REFUSED);
    assert_eq!(try_to_bypass(&bed, &allowed), (Ok(()), COUNT));
    assert_eq!(ask_for_umem(&allowed), Ok(()));
    let on = status(&bed);
    assert_eq!((on.refused, on.cgroup.clone()), (true, format!("/{}", bed.cgroup().name())));
    assert_eq!(
        counts(&on),
        [
            ("packet-qdisc-bypass", 1, 1),
            ("xdp-umem-reg", 1, 1),
            ("packet-tx-ring", 0, 0),
            ("packet-vnet-hdr", 0, 0)
        ]
    );
    let there: Vec<bool> = on.allow.iter().map(|it| it.is_there).collect();
    assert_eq!(there, [true, false]);
    let text = bed.ask(&["status"]).unwrap().out;
    assert!(text.contains("packet-qdisc-bypass") && text.contains("xdp-umem-reg"), "{text}");

    // Nothing of it is refused where the host is only observed.
    with("refuse = true");
    let observing =
        std::fs::read_to_string(bed.config()).unwrap().replacen("[host]", "[host]\nobserve = true", 1);
    std::fs::write(bed.config(), observing).unwrap();
    bed.tell(&["reload"]).unwrap();
    wait(&bed, "no hook", |status| !status.attached);
    assert_eq!(try_to_bypass(&bed, &mailer), (Ok(()), COUNT));
}

#[test]
#[ignore = "needs root and BPF"]
fn the_hook_outlives_a_killed_daemon_and_ends_with_detach() {
    let bed = Bed::new("bypass-killed").unwrap();
    let mailer = bed.cgroup().child("mailer").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(try_to_bypass(&bed, &mailer), (REFUSED, 0));
    daemon.kill(PATIENCE).unwrap();
    assert_eq!(try_to_bypass(&bed, &mailer), (REFUSED, 0), "with no daemon");
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(bed.status().unwrap().problems, []);
    assert_eq!(counts(&status(&bed))[0], ("packet-qdisc-bypass", 2, 0), "the counts go on");
    let told: Vec<String> =
        bed.trail().unwrap().iter().map(|it| format!("{} {}", it.kind, it.subject)).collect();
    let attach = format!("attach cgroup /{}", bed.cgroup().name());
    assert_eq!(told.iter().filter(|it| **it == attach).count(), 1, "taking it over is no news: {told:?}");
    daemon.kill(PATIENCE).unwrap();
    bed.tell(&["detach"]).unwrap();
    let last = bed.trail().unwrap().pop().unwrap();
    assert!(last.detail["links"].to_string().contains("cgroup setsockopt"), "{last:?}");
    assert_eq!(try_to_bypass(&bed, &mailer), (Ok(()), COUNT));
}

#[test]
#[ignore = "needs root and BPF"]
fn a_hook_that_somebody_takes_off_is_told_and_attached_again() {
    let bed = Bed::new("bypass-lost").unwrap();
    bed.configure(PIN).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let mailer = bed.cgroup().child("mailer").unwrap();
    bpffs::detach(&entry(&bed)).unwrap();
    let lost = || {
        let problems = bed.status().ok()?.problems;
        problems.into_iter().find(|it| it.code == ProblemCode::AttachmentLost)
    };
    let lost = retry_until(PATIENCE, "the loss to be told", lost).unwrap();
    assert_eq!(lost.subject, Some(format!("cgroup /{}", bed.cgroup().name())));
    wait(&bed, "the hook again", |status| status.attached);
    assert_eq!(try_to_bypass(&bed, &mailer), (REFUSED, 0));
    // The entry alone: the daemon keeps the link, and makes the entry anew.
    std::fs::remove_file(entry(&bed)).unwrap();
    assert_eq!(try_to_bypass(&bed, &mailer), (REFUSED, 0));
    retry_until(PATIENCE, "the entry again", || entry(&bed).exists().then_some(())).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn a_hook_that_cannot_be_attached_is_a_problem_until_it_is() {
    let bed = Bed::new("bypass-absent").unwrap();
    let folder = bed.cgroup().path().join("late");
    bed.configure(&format!("[bypass]\ncgroup = \"{}/late\"\n{PIN}", bed.cgroup().name())).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let status = bed.status().unwrap();
    let codes: Vec<ProblemCode> = status.problems.iter().map(|it| it.code).collect();
    assert_eq!((codes, status.bypass.attached), (vec![ProblemCode::BypassOpen], false));
    assert!(status.problems[0].message.contains(&*folder.to_string_lossy()), "{}", status.problems[0]);
    assert!(!bed.passes(US).unwrap(), "and the rest guards");
    std::fs::create_dir(&folder).unwrap();
    retry_until(PATIENCE, "no problem", || bed.status().ok()?.problems.is_empty().then_some(())).unwrap();
}
