//! Checks of what the daemon says.

use super::*;
use crate::health::Problem;
use State::{Absent, Blocked, Covered, NotCovered, NotKnown};

/// A check, what is other than on a host that is well guarded, and what has to come of it with which evidence.
type Case = (&'static str, fn(&mut Host), State, &'static str);

fn status(host: &mut Host) -> &mut Status {
    host.daemon.as_mut().unwrap()
}

fn problem(host: &mut Host, code: ProblemCode) {
    let status = status(host);
    (status.health, status.problems) = (Health::Degraded, vec![Problem::of(code, "it", "as it is")]);
}

fn without(host: &mut Host) {
    host.daemon = Err(no_daemon());
}

fn with_volume(host: &mut Host) {
    status(host).carriers.volumes = vec![volume("/srv/mail")];
}

fn put(host: &Host, path: &str, text: &str) {
    let path = host.root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn preempting(host: &mut Host, mode: &str) {
    with_volume(host);
    put(host, "sys/kernel/debug/sched/preempt", mode);
}

const CASES: &[Case] = &[
    ("guard", |_| {}, Covered, "the daemon says guarding"),
    ("guard", |host| problem(host, ProblemCode::InterfaceUnguarded), Covered, "degraded"),
    ("guard", |host| problem(host, ProblemCode::TablesBehind), NotCovered, "tables-behind it: as it is"),
    ("guard", |host| status(host).health = Health::Observing, NotCovered, "observing"),
    ("guard", |host| status(host).health = Health::Off, NotCovered, "off"),
    ("guard", without, NotKnown, "the daemon does not answer"),
    (
        "guard",
        |host| {
            let there = host.root.join("proc/9/ns/net");
            make(&there, Link("net:[9]"));
            status(host).pid = 9;
        },
        NotKnown,
        "nsenter --net=/proc/9/ns/net",
    ),
    ("interfaces", |_| {}, Covered, "guarded: eth0 (tcx)"),
    ("interfaces", |host| status(host).unguarded = vec!["eth1".into()], Covered, "a route leads by eth1"),
    (
        "interfaces",
        |host| problem(host, ProblemCode::InterfaceUnguarded),
        NotCovered,
        "interface-unguarded it: as it is",
    ),
    ("interfaces", |host| status(host).interfaces.clear(), NotCovered, "no interface is guarded"),
    ("interfaces", without, NotKnown, "Start the daemon"),
    ("namespaces", |_| {}, Covered, "no device"),
    ("namespaces", |host| problem(host, ProblemCode::NamespaceUnguarded), NotCovered, "namespace-unguarded"),
    ("namespaces", without, NotKnown, "the daemon does not answer"),
    ("other-programs", |_| {}, Covered, "no other XDP program"),
    (
        "other-programs",
        |host| host.with_xdp = Ok(["eth0".to_owned()].into()),
        NotCovered,
        "not the guard's is on eth0",
    ),
    (
        "other-programs",
        |host| {
            host.with_xdp = Ok(["eth0".to_owned()].into());
            status(host).interfaces[0]
                .hooks
                .push(HookStatus { hook: "ingress".into(), mode: "xdp-native".into() });
        },
        Covered,
        "no other XDP program",
    ),
    (
        "other-programs",
        |host| problem(host, ProblemCode::AttachmentNotFirst),
        NotCovered,
        "attachment-not-first",
    ),
    ("other-programs", |host| host.with_xdp = Err("netlink is silent".into()), NotKnown, "netlink is silent"),
    ("bypass", |_| {}, Blocked, "refused to every process"),
    (
        "bypass",
        |host| {
            status(host).bypass.allow = vec![crate::control::status::BypassAllowStatus {
                cgroup: "gen.slice".into(),
                is_there: true,
            }];
        },
        Blocked,
        "but for those of gen.slice",
    ),
    ("bypass", |host| status(host).bypass.refused = false, NotCovered, "are not refused"),
    ("bypass", |host| status(host).bypass.attached = false, NotCovered, "is not attached"),
    ("bypass", |host| status(host).bypass.cgroup = "/mail.slice".into(), NotCovered, "/mail.slice alone"),
    ("bypass", without, NotKnown, "the daemon does not answer"),
    ("sockets", |_| {}, Covered, "for the whole host"),
    ("sockets", |host| status(host).sockets.noted = false, NotCovered, "sockets.note is off"),
    ("sockets", |host| status(host).sockets.attached = false, NotCovered, "are not attached"),
    ("sockets", |host| status(host).sockets.cgroup = "/a".into(), NotCovered, "cgroup /a alone"),
    ("sockets", without, NotKnown, "the daemon does not answer"),
    ("kernel-answers", |_| {}, Covered, "without the host's addresses"),
    (
        "kernel-answers",
        |host| {
            status(host).unpinned =
                Some(UnpinnedStatus { answered: vec!["mail".into()], ..Default::default() });
        },
        NotCovered,
        "a packet of mail with another's source",
    ),
    ("kernel-answers", |host| status(host).unpinned = None, NotKnown, "can't list the host's addresses"),
    ("kernel-answers", without, NotKnown, "the daemon does not answer"),
    ("carriers", |_| {}, Absent, "no pin selects a volume"),
    ("carriers", with_volume, Covered, "carriers of /srv/mail are known: 0"),
    ("carriers", |host| problem(host, ProblemCode::Relay), NotCovered, "relay it"),
    ("carriers", without, NotKnown, "the daemon does not answer"),
    ("kernel-tunnels", |_| {}, Absent, "no pin selects a volume"),
    ("kernel-tunnels", with_volume, Absent, "none of gtp"),
    (
        "kernel-tunnels",
        |host| {
            with_volume(host);
            put(host, "sys/module/gtp/refcnt", "0");
        },
        NotCovered,
        "/sys/module has gtp",
    ),
    (
        "kernel-tunnels",
        |host| {
            with_volume(host);
            make(&host.root.join("sys/module"), Unreadable);
        },
        NotKnown,
        "can't be read",
    ),
    ("interrupted-programs", |_| {}, Absent, "no pin selects a volume"),
    (
        "senders",
        |host| {
            put(host, "sys/kernel/btf/vmlinux", "");
            without(host);
        },
        NotKnown,
        "whether tracing programs can be had",
    ),
    (
        "interrupted-programs",
        |host| {
            put(host, "sys/kernel/security/lsm", "capability,bpf");
            preempting(host, "none voluntary (full)");
        },
        NotCovered,
        "of pages and terminals alone",
    ),
    (
        "interrupted-programs",
        |host| {
            with_volume(host);
            put(host, "proc/version", "Linux version 6.1 #1 SMP");
        },
        Covered,
        "has no PREEMPT",
    ),
    (
        "interfaces",
        |host| {
            status(host).pins[0].action = "observe".into();
            status(host).unguarded = vec!["eth1".into()];
        },
        NotKnown,
        "eth1",
    ),
    ("interrupted-programs", |host| preempting(host, "none (voluntary) full"), Covered, "(voluntary)"),
    ("interrupted-programs", |host| preempting(host, "none voluntary (full)"), NotCovered, "(full)"),
    (
        "interrupted-programs",
        |host| {
            with_volume(host);
            put(host, "proc/version", "Linux version 6.18 #1 SMP PREEMPT_RT");
        },
        NotCovered,
        "PREEMPT_RT",
    ),
    ("interrupted-programs", with_volume, NotKnown, "preempt is not there"),
    (
        "mptcp",
        |host| {
            put(host, "proc/sys/net/mptcp/enabled", "1");
            status(host).sockets.attached = false;
        },
        NotCovered,
        "do not know a path",
    ),
    (
        "mptcp",
        |host| {
            put(host, "proc/sys/net/mptcp/enabled", "1");
            without(host);
        },
        NotKnown,
        "the daemon does not answer",
    ),
    ("forwarding", |host| problem(host, ProblemCode::AddressesUnknown), NotCovered, "addresses-unknown"),
    ("clock", |_| {}, Covered, "wrong by 1 ms at most"),
    (
        "clock",
        |host| host.clock = Ok(WallClock { is_synchronised: false, max_error: 16_000_000 }),
        NotCovered,
        "STA_UNSYNC",
    ),
    ("clock", |host| host.clock = Err("no".into()), NotKnown, "adjtimex(2): no"),
    ("protect", |_| {}, Blocked, "so far 0 times"),
    ("protect", |host| status(host).protect.on = false, NotCovered, "nobody is kept"),
    ("protect", |host| status(host).protect = Default::default(), NotCovered, "protect.lsm is off"),
    ("protect", |host| problem(host, ProblemCode::ChangeDenied), NotCovered, "change-denied it: as it is"),
    ("protect", without, NotKnown, "the daemon does not answer"),
    ("database", |_| {}, Covered, "3 days old"),
    ("database", |host| status(host).database.stale = Some("too old".into()), NotCovered, "too old"),
    ("database", |host| problem(host, ProblemCode::DatabaseRefused), NotCovered, "database-refused"),
    ("database", |host| status(host).database.age_days = None, NotKnown, "when it was made"),
];

/// The states that a check has here.
pub(super) fn states(code: &str) -> impl Iterator<Item = State> {
    CASES.iter().filter(move |(of, ..)| *of == code && *of != "forwarding").map(|(.., state, _)| *state)
}

#[test]
fn each_way_is_as_the_daemon_says() {
    for (code, change, state, part) in CASES {
        let (mut host, _folder) = host(&[]);
        change(&mut host);
        hold(&host, code, *state, part);
    }
}

#[test]
fn every_problem_of_the_daemon_is_in_exactly_one_check() {
    for code in ProblemCode::ALL {
        let of = CHECKS.iter().filter(|check| check.problems.contains(code)).count();
        assert_eq!(of, 1, "{code}");
        let (mut host, _folder) = host(&[]);
        problem(&mut host, *code);
        let report = Report::of(&host, &BTreeSet::new());
        let named =
            |checked: &&Checked| checked.evidence.iter().any(|line| line.contains(&format!(" {code} it: ")));
        let open: Vec<&Checked> = report.checks.iter().filter(named).collect();
        let [checked] = open[..] else { panic!("{code}: {open:?}") };
        assert_eq!(checked.state, NotCovered, "{code}");
        assert!(!report.is_well());
    }
}

/// Of many problems a check names how many there are and the gravest three; the report has them all.
#[test]
fn of_many_problems_the_gravest_three_are_written_out() {
    let (mut host, _folder) = host(&[]);
    let of_guard = CHECKS.iter().find(|check| check.code == "guard").unwrap().problems;
    let of = |host: &Host| {
        let report = Report::of(host, &BTreeSet::new());
        let told = report.problems.len();
        (report.checks.into_iter().find(|it| it.code == "guard").unwrap(), told)
    };
    let named = |checked: &Checked| -> Vec<String> {
        let lines =
            checked.evidence.iter().filter_map(|line| line.strip_prefix("the daemon has the problem "));
        lines.filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
    };
    let mut codes: Vec<ProblemCode> = of_guard.iter().rev().take(7).copied().collect();
    status(&mut host).problems = codes.iter().map(|code| Problem::of(*code, "it", "as it is")).collect();
    codes.sort();
    let (checked, told) = of(&host);
    assert_eq!(told, 7);
    let gravest: Vec<String> = codes.iter().take(3).map(ToString::to_string).collect();
    assert_eq!(named(&checked), gravest);
    assert!(checked.evidence[0].starts_with("of 7 problems") && checked.evidence[0].contains("gravest 3"));
    assert!(checked.evidence[0].contains("`borderguard status`"), "{:?}", checked.evidence);
    assert!(checked.todo.unwrap().ends_with("For the others: `borderguard status`."));
    status(&mut host).problems.truncate(3);
    let (checked, _) = of(&host);
    assert_eq!(named(&checked).len(), 3);
    assert!(checked.evidence.iter().all(|line| !line.contains("gravest")), "{:?}", checked.evidence);
}

#[test]
fn what_is_accepted_stands_last_and_does_not_count() {
    let (mut host, _folder) = host(&[]);
    let open = |host: &Host, accepted: &BTreeSet<String>| {
        let report = Report::of(host, accepted);
        let open = report.checks.iter().filter(|it| it.state.needs_doing() && !it.accepted);
        (open.map(|it| it.code.to_owned()).collect::<BTreeSet<_>>(), report)
    };
    let (accepted, report) = open(&host, &BTreeSet::new());
    assert!(!accepted.is_empty() && !report.is_well());
    assert!(report.checks.is_sorted_by_key(|checked| checked.state));
    let (left, report) = open(&host, &accepted);
    assert!(left.is_empty() && report.is_well());
    assert!(report.checks.last().is_some_and(|checked| checked.accepted && checked.todo.is_some()));
    // What comes anew counts, and what was accepted and is closed is shown as it is.
    problem(&mut host, ProblemCode::InterfaceUnguarded);
    let (left, report) = open(&host, &accepted);
    assert!(left.contains("interfaces") && !report.is_well());
    let all = CHECKS.iter().map(|check| check.code.to_owned()).collect();
    let closed = Report::of(&host, &all).checks.into_iter().find(|it| it.code == "bypass").unwrap();
    assert!(!closed.accepted && closed.state == Blocked);
}
