//! Interfaces that come, go and come back while the daemon runs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use guard_common::abi::Hook;
use guard_tests::bed::{self, Bed, CLIENT_PORT, PIN, STORE, packets};
use guard_tests::bpffs::{self, BpfFs};
use guard_tests::proc::retry_until;
use guard_user::control::client::ask;
use guard_user::control::protocol::{Request, Response};
use guard_user::control::status::{InterfaceStatus, Status};
use guard_user::health::{Problem, ProblemCode};
use guard_user::kernel::{Interface, Kernel as _, LinuxKernel, View};

/// How soon a new interface must be guarded.
const SOON: Duration = Duration::from_secs(2);

/// The pin, whatever address a new link has.
fn config() -> String {
    PIN.replace("192.0.2.10/32", "192.0.2.0/24")
}

fn interface(status: &Status, name: &str) -> Option<InterfaceStatus> {
    status.interfaces.iter().find(|interface| interface.name == name).cloned()
}

fn guarded(bed: &Bed, name: &str, index_not: Option<u32>) -> InterfaceStatus {
    let found = retry_until(SOON, &format!("{name} to be guarded"), || {
        let found = interface(&bed.status().unwrap(), name)?;
        (found.problem.is_none() && !found.hooks.is_empty() && found.index != index_not).then_some(found)
    });
    found.unwrap_or_else(|error| panic!("{error}: {:?}", bed.status().unwrap().interfaces))
}

/// A link of the storage host to the router beside the first one, and a network of its own on it.
fn add_link(bed: &Bed) {
    let store = bed.host(STORE).unwrap();
    store.link("new0", bed.router(), "new0").unwrap();
    store.ip(&["address", "add", "192.0.2.130/25", "dev", "new0"]).unwrap();
    store.ip(&["route", "add", "203.0.113.77/32", "dev", "new0", "src", "192.0.2.130"]).unwrap();
    store.ip(&["neigh", "add", "203.0.113.77", "lladdr", "02:00:00:00:00:77", "dev", "new0"]).unwrap();
}

/// Sends a datagram of the mailbox to the US over the new interface.
fn send_by(bed: &Bed, source: &str) -> bool {
    let from: SocketAddr = format!("{source}:143").parse().unwrap();
    let to: SocketAddr = format!("203.0.113.77:{CLIENT_PORT}").parse().unwrap();
    let socket = bed.host(STORE).unwrap().run(|| UdpSocket::bind(from).unwrap()).unwrap();
    let before = packets(&bed.status().unwrap(), "egress", "drop", "forbidden");
    bed::send(&socket, to);
    packets(&bed.status().unwrap(), "egress", "drop", "forbidden") == before + 1
}

#[test]
#[ignore = "needs root and BPF"]
fn a_new_interface_is_guarded_as_it_appears() {
    let bed = Bed::new("appears").unwrap();
    bed.configure_for(&["eth0", "new*"], &config()).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    assert_eq!(interface(&bed.status().unwrap(), "new0"), None);
    add_link(&bed);
    let first = guarded(&bed, "new0", None);
    assert!(send_by(&bed, "192.0.2.130"), "dropped on the new interface");

    let store = bed.host(STORE).unwrap();
    store.ip(&["link", "delete", "new0"]).unwrap();
    retry_until(SOON, "the interface to be forgotten", || {
        interface(&bed.status().unwrap(), "new0").is_none().then_some(())
    })
    .unwrap();
    add_link(&bed);
    let second = guarded(&bed, "new0", first.index);
    assert_ne!(second.index, first.index);
    assert!(send_by(&bed, "192.0.2.130"), "dropped on the interface that came back");
    assert_eq!(bed.status().unwrap().problems, Vec::<Problem>::new());
}

#[test]
#[ignore = "needs root and BPF"]
fn an_interface_that_is_not_there_is_an_alarm() {
    let bed = Bed::new("alarm").unwrap();
    let pin = config().replace("action", "ingress = \"flag\"\naction");
    bed.configure_for(&["eth0", "late0"], &pin).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let status = bed.status().unwrap();
    let missing = interface(&status, "late0").unwrap();
    assert!(missing.problem.is_some_and(|problem| problem.contains("no such interface")));
    assert!(
        status.problems.iter().any(|problem| problem.subject.as_deref() == Some("late0")),
        "{:?}",
        status.problems
    );
    assert!(daemon.stderr().contains("late0 is NOT guarded"), "{}", daemon.log_tail());
    let store = bed.host(STORE).unwrap();
    store.link("late0", bed.router(), "late0").unwrap();
    let found = guarded(&bed, "late0", None);
    assert_eq!(found.hooks.len(), 2, "{found:?}");
    assert_eq!(bed.status().unwrap().problems, Vec::<Problem>::new());
}

#[test]
#[ignore = "needs root and BPF"]
fn an_interface_whose_hook_is_taken_is_an_alarm() {
    let bed = Bed::new("taken").unwrap();
    let store = bed.host(STORE).unwrap();
    store.link("late0", bed.router(), "late0").unwrap();
    let others = BpfFs::new("others").unwrap();
    let _other = store
        .run(|| {
            let mut kernel = LinuxKernel::open(&others.path().join("other")).unwrap();
            kernel.publish(&support::policy(1, "\"IE\""), Some(&support::geo("US"))).unwrap();
            // Its link holds the one place for XDP.
            kernel.attach(&Interface::by_name("late0").unwrap(), true).map(|_| kernel).unwrap()
        })
        .unwrap();
    let pin = config().replace("action", "ingress = \"flag\"\naction");
    bed.configure_for(&["eth0", "late0"], &pin).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let status = bed.status().unwrap();
    let taken = interface(&status, "late0").unwrap();
    assert!(taken.problem.is_some(), "{taken:?}");
    assert_eq!(taken.hooks.len(), 1, "egress is guarded all the same: {taken:?}");
    assert!(
        status.problems.iter().any(|problem| problem.subject.as_deref() == Some("late0")),
        "{:?}",
        status.problems
    );
    assert!(daemon.stderr().contains("late0 is NOT guarded"), "{}", daemon.log_tail());
    assert_eq!(interface(&status, "eth0").unwrap().problem, None);
}

/// Whether the status says that another program runs before ours.
fn is_behind(bed: &Bed) -> bool {
    let Response::Status { status } = ask(&bed.socket(), &Request::Status {}).unwrap() else {
        panic!("no status")
    };
    // That it was is told for a while.
    let is_now = |problem: &Problem| problem.message.contains("is not the first program");
    status.problems.iter().any(|it| it.code == ProblemCode::AttachmentNotFirst && is_now(it))
}

/// The kernel tells of filters and queueing disciplines, not of TCX links: by TCX the change of a queueing discipline stands
/// for a filter that comes first where there is no TCX.
#[test]
#[ignore = "needs root and BPF"]
fn another_program_before_ours_is_seen_at_once_where_the_kernel_tells_of_it_and_within_a_look() {
    const ROUNDS: usize = 6;
    // The daemon looks every second by itself.
    const AT_ONCE: Duration = Duration::from_millis(500);
    const A_LOOK: Duration = Duration::from_millis(1_200);
    let bed = Bed::new("first").unwrap();
    bed.configure(&config()).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let store = bed.host(STORE).unwrap();
    let others = BpfFs::new("others").unwrap();
    let quick = store
        .run(|| {
            let mut other = LinuxKernel::open(&others.path().join("other")).unwrap();
            other.publish(&support::policy(1, "\"IE\""), Some(&support::geo("US"))).unwrap();
            let interface = Interface::by_name("eth0").unwrap();
            let seen_after = |limit, expected| {
                let begin = Instant::now();
                retry_until(limit, "the status to say so", || (is_behind(&bed) == expected).then_some(()))
                    .unwrap();
                begin.elapsed()
            };
            // Nobody tells of a TCX link: it is seen at the next look. Of three one may be late on a busy machine.
            let in_time = [(); 3].map(|()| {
                other.attach(&interface, false).unwrap();
                let took = seen_after(SOON, true);
                other.release(&interface).unwrap();
                seen_after(SOON, false);
                took < A_LOOK
            });
            assert!(in_time.into_iter().filter(|it| *it).count() >= 2, "{in_time:?}");
            other.attach(&interface, false).unwrap();
            seen_after(SOON, true);
            let mut quick = 0;
            for _ in 0..ROUNDS {
                other.release(&interface).unwrap();
                // Just after a look, so that the next one is a second away.
                seen_after(SOON, false);
                other.attach(&interface, false).unwrap();
                let mut tc = Command::new("tc");
                tc.args(["qdisc", "replace", "dev", "eth0", "root", "pfifo", "limit", "1000"]);
                assert!(tc.status().unwrap().success());
                quick += usize::from(seen_after(SOON, true) < AT_ONCE);
            }
            quick
        })
        .unwrap();
    assert!(quick + 1 >= ROUNDS, "{quick} of {ROUNDS} were seen at once");
}

/// Nobody tells of a link, neither of TCX nor of XDP: that one is gone is seen at the next look, and it is attached again.
#[test]
#[ignore = "needs root and BPF"]
fn a_link_that_somebody_takes_off_is_back_within_a_look() {
    // The daemon looks every second by itself; of three one may be late on a busy machine.
    const A_LOOK: Duration = Duration::from_millis(1_200);
    let bed = Bed::new("off").unwrap();
    bed.configure(&config().replace("action", "ingress = \"drop\"\naction")).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let store = bed.host(STORE).unwrap();
    for hook in Hook::OF_PACKETS {
        let link = || {
            let view = View::open(&bed.pin_path()).ok()?;
            let all = view.interfaces().ok()?.into_iter().find(|it| it.interface.name == "eth0")?.attachments;
            all.into_iter().find(|it| it.hook == hook).map(|it| it.link)
        };
        let rounds = [(); 3].map(|()| {
            let (link, took) = store
                .run(|| {
                    let before = retry_until(SOON, "the link", link).unwrap();
                    let index = Interface::by_name("eth0").unwrap().index;
                    let entry = bed.pin_path().join(format!("links/{index}-eth0-{}", hook.name()));
                    bpffs::detach(&entry).unwrap();
                    let begin = Instant::now();
                    let is_back = || link().filter(|now| *now != before && *now != 0);
                    (retry_until(SOON * 2, "another link", is_back).unwrap(), begin.elapsed())
                })
                .unwrap();
            assert_ne!(link, 0);
            took
        });
        let in_time = rounds.iter().filter(|took| **took < A_LOOK).count();
        assert!(in_time >= 2, "{}: {rounds:?}", hook.name());
        let lost = |problem: &Problem| problem.code == ProblemCode::AttachmentLost;
        assert!(bed.status().unwrap().problems.iter().any(lost), "and it is told");
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn a_new_interface_that_nothing_names_is_shown_once_a_route_leads_by_it() {
    let bed = Bed::new("unnamed").unwrap();
    bed.configure(&config()).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    assert_eq!(bed.status().unwrap().unguarded, Vec::<String>::new());
    add_link(&bed);
    let shown = |expected: &[&str]| {
        retry_until(SOON, "the status to show it", || {
            (bed.status().unwrap().unguarded == expected).then_some(())
        })
    };
    shown(&["new0"]).unwrap();
    bed.host(STORE).unwrap().ip(&["link", "delete", "new0"]).unwrap();
    shown(&[]).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn a_tunnel_device_of_bare_packets_is_guarded() {
    let bed = Bed::new("tun").unwrap();
    bed.configure_for(&["eth0", "tun*"], &config()).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let store = bed.host(STORE).unwrap();
    store.ip(&["tuntap", "add", "dev", "tun7", "mode", "tun"]).unwrap();
    store.ip(&["link", "set", "tun7", "up"]).unwrap();
    store.ip(&["address", "add", "192.0.2.130/25", "dev", "tun7"]).unwrap();
    store.ip(&["route", "add", "203.0.113.77/32", "dev", "tun7", "src", "192.0.2.130"]).unwrap();
    guarded(&bed, "tun7", None);
    // Nobody holds the device's other end, so it has no carrier; the hook is before that is asked.
    assert!(send_by(&bed, "192.0.2.130"), "read as a bare IP packet, and dropped");
}

/// Events name an interface as it is called when they are told, though no generation is made of a new name.
#[test]
#[ignore = "needs root and BPF"]
fn events_have_the_name_that_an_interface_was_given_since() {
    let bed = Bed::new("renamed").unwrap();
    bed.configure_for(&["eth0", "new*"], &config()).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    add_link(&bed);
    let before = guarded(&bed, "new0", None);
    let generation = bed.status().unwrap().generation;
    assert!(send_by(&bed, "192.0.2.130"));
    let store = bed.host(STORE).unwrap();
    store.ip(&["link", "set", "new0", "down"]).unwrap();
    store.ip(&["link", "set", "new0", "name", "new9"]).unwrap();
    store.ip(&["link", "set", "new9", "up"]).unwrap();
    store.ip(&["route", "add", "203.0.113.77/32", "dev", "new9", "src", "192.0.2.130"]).unwrap();
    store.ip(&["neigh", "replace", "203.0.113.77", "lladdr", "02:00:00:00:00:77", "dev", "new9"]).unwrap();
    assert_eq!(guarded(&bed, "new9", None).index, before.index);
    assert!(send_by(&bed, "192.0.2.130"));
    assert_eq!(bed.status().unwrap().generation, generation);
    let names = || -> Vec<String> {
        let text = bed.tell(&["events", "--json", "--since", "-10m"]).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let events = lines.filter(|line| line["kind"] == "event");
        events.map(|line| line["interface"].as_str().unwrap_or_default().to_owned()).collect()
    };
    retry_until(Duration::from_secs(10), "an event by the new name", || {
        names().contains(&"new9".to_owned()).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {:?}", names()));
}

/// Whether it is not there yet, has another name, or is gone.
#[test]
#[ignore = "needs root and BPF"]
fn an_interface_that_a_pin_names_and_that_is_not_there_is_told() {
    let bed = Bed::new("pin-names").unwrap();
    let by_interface =
        PIN.replace("sources = [\"192.0.2.10/32\", \"2001:db8:1::10/128\"]", "interfaces = [\"new0\"]");
    assert_ne!(by_interface, PIN);
    bed.configure_for(&["eth0", "new*"], &by_interface).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let codes = || -> Vec<(ProblemCode, String)> {
        let problems = bed.status().unwrap().problems.into_iter();
        problems.map(|it| (it.code, it.subject.unwrap_or_default())).collect()
    };
    let told = |wanted: &[(ProblemCode, String)]| {
        retry_until(Duration::from_secs(10), "the problem", || (codes() == wanted).then_some(()))
            .unwrap_or_else(|error| panic!("{error}: {:?}", codes()));
    };
    let missing = [(ProblemCode::PinInterfaceMissing, "new0".to_owned())];
    told(&missing);
    add_link(&bed);
    told(&[]);
    let store = bed.host(STORE).unwrap();
    store.ip(&["link", "set", "new0", "down"]).unwrap();
    store.ip(&["link", "set", "new0", "name", "new9"]).unwrap();
    told(&[(ProblemCode::InterfaceRenamed, "new9".to_owned())]);
    store.ip(&["link", "delete", "new9"]).unwrap();
    told(&missing);
}
