//! The status as people and programs read it.

use super::super::table::WIDTH;
use super::*;
use crate::control::status::{
    BypassAllowStatus, BypassCount, CarrierCgroupStatus, CarrierStatus, DatabaseStatus, HookStatus,
    InterfaceStatus, LossStatus, PinStatus, PlaceStatus, RelayStatus, TotalStatus, UnconfirmedStatus,
    UnpinnedSocketStatus, UnpinnedStatus, UntaggedFlowStatus, UntaggedStatus, VerdictStatus, VolumeStatus,
};
use crate::exemption::summary::{
    AssessmentSummary, ExporterSummary, InstrumentSummary, OrderSummary, RecipientSummary, RequiredSummary,
    RevokedSummary,
};
use crate::exemption::{State, Summary};
use crate::health::{Enforcement, Health, ProblemCode};

fn exemption() -> Summary {
    let at = |text: &str| text.parse().unwrap();
    Summary {
        id: "mlat-1".into(),
        version: 1,
        state: State::Active,
        replaces: None,
        confidential: false,
        instrument: InstrumentSummary { kind: "treaty-request".into(), ..Default::default() },
        hosts: Vec::new(),
        emergency: None,
        purpose: "evidence".into(),
        data_categories: vec!["e-mail".into()],
        exporter: ExporterSummary::default(),
        assessment: Some(AssessmentSummary::default()),
        submitter: None,
        required: vec![RequiredSummary::default()],
        pins: vec!["mail".into()],
        recipients: vec![RecipientSummary { name: "a".into(), ..Default::default() }],
        valid_from: at("2026-11-23T00:00:00Z"),
        valid_until: at("2026-11-24T00:00:00Z"),
        quota_bytes: Some(5 << 30),
        used_bytes: 2048,
        used_packets: 2,
        unattributed_bytes: 0,
        unattributed_packets: 0,
        presumed_bytes: 0,
        slot: Some(0),
        loaded_at: Some(at("2026-11-23T00:00:00Z")),
        loaded_by: Some(0),
        revoked: Some(RevokedSummary { at: at("2026-11-23T00:00:00Z"), why: "x".into(), by: 0 }),
        particulars: vec![Default::default()],
        done: vec![crate::exemption::summary::DoneSummary {
            what: "answer".into(),
            on: jiff::Timestamp::UNIX_EPOCH,
            why: "sent".into(),
            version: 1,
        }],
        due: vec![crate::exemption::summary::DueSummary {
            what: "delete".into(),
            by: at("2026-11-23T00:00:00Z"),
        }],
        sha256: "07".repeat(32),
        stayed: Some(RevokedSummary { at: at("2026-11-23T00:00:00Z"), why: "x".into(), by: 0 }),
        orders: vec![OrderSummary {
            order: "x".into(),
            kind: "stay".into(),
            covers: "pin".into(),
            name: "mail".into(),
            at: at("2026-11-23T00:00:00Z"),
            by: 0,
        }],
        approved_by: vec!["aoife@example.org".into()],
        approved_as: vec!["legal".into()],
    }
}

fn problems() -> Vec<Problem> {
    vec![
        Problem::of(
            ProblemCode::InterfaceMissing,
            "veth9",
            "there is no such interface; it is guarded as soon as it appears, and nothing needs to be done",
        ),
        Problem::of(ProblemCode::InterfaceMissing, "wg0", "there is no such interface"),
        Problem::new(ProblemCode::DatabaseStale, "the geo database is 61 days old"),
    ]
}

fn status() -> Status {
    let hook = |hook: &str, mode: &str| HookStatus { hook: hook.into(), mode: mode.into() };
    let verdict = |verdict: &str, packets, bytes| VerdictStatus { verdict: verdict.into(), packets, bytes };
    let total = |reason: &str, verdict: &str, packets, bytes| TotalStatus {
        hook: "egress".into(),
        verdict: verdict.into(),
        reason: reason.into(),
        packets,
        bytes,
    };
    Status {
        health: Health::Degraded,
        version: "0.1.0".into(),
        pid: 42,
        kernel: "6.12.1".into(),
        config: "/etc/borderguard/policy.toml".into(),
        fingerprint: "0".repeat(16),
        generation: 3,
        since: "2026-11-23T12:00:00Z".into(),
        observe: false,
        problems: problems(),
        unconfirmed: Some(UnconfirmedStatus {
            config: "/root/new.toml".into(),
            sha256: "07".repeat(32),
            by: "root".into(),
            until: "2026-11-23T12:05:00Z".into(),
            seconds_left: 241,
        }),
        interfaces: vec![
            InterfaceStatus {
                name: "eth0".into(),
                index: Some(2),
                hooks: vec![hook("egress", "tcx"), hook("ingress", "xdp-native")],
                problem: None,
            },
            InterfaceStatus {
                name: "veth9".into(),
                problem: Some("no such device".into()),
                ..Default::default()
            },
        ],
        approval_required: true,
        unguarded: vec!["docker0".into(), "wlan0".into()],
        unpinned: Some(UnpinnedStatus {
            addresses: vec!["198.51.100.7".into()],
            sockets: vec![UnpinnedSocketStatus {
                protocol: "tcp".into(),
                port: 22,
                uid: Some(0),
                ..Default::default()
            }],
            may_be_of: vec!["mail".into()],
            answered: vec!["mail".into()],
        }),
        bypass: BypassStatus {
            refused: true,
            cgroup: "/".into(),
            attached: true,
            allow: vec![
                BypassAllowStatus { cgroup: "dhcp.slice".into(), is_there: true },
                BypassAllowStatus { cgroup: "lab.slice".into(), is_there: false },
            ],
            asked: vec![
                BypassCount { way: "packet-qdisc-bypass".into(), refused: 1_203, allowed: 4 },
                BypassCount { way: "xdp-umem-reg".into(), refused: 0, allowed: 0 },
            ],
        },
        protect: Default::default(),
        sockets: SocketsStatus { noted: true, cgroup: "/".into(), attached: true, ..Default::default() },
        carriers: carriers(),
        unplaced: crate::control::status::UnplacedStatus {
            times: 1,
            milliseconds: 3,
            packets: 40,
            bytes: 6000,
        },
        untagged: UntaggedStatus {
            jurisdictions: vec![
                PlaceStatus { jurisdiction: "US".into(), packets: 900, bytes: 1_234_567 },
                PlaceStatus { jurisdiction: "IE".into(), packets: 3, bytes: 180 },
            ],
            flows: vec![UntaggedFlowStatus {
                peer: "203.0.113.30".into(),
                jurisdiction: "US".into(),
                protocol: "tcp".into(),
                side: "remote".into(),
                port: Some(2380),
                interface: Some("eth0".into()),
                cgroup: Some("system.slice/etcd.service".into()),
                process: Some(crate::control::status::ProcessStatus {
                    pid: 811,
                    command: "etcd".into(),
                    uid: 107,
                    user: Some("etcd".into()),
                    cgroup: Some("system.slice/etcd.service".into()),
                    unit: Some("etcd.service".into()),
                }),
                packets: 900,
                bytes: 1_234_567,
            }],
        },
        pins: vec![PinStatus {
            name: "mail".into(),
            home: "IE".into(),
            action: "drop".into(),
            ingress: "flag".into(),
            line: 12,
            verdicts: vec![verdict("pass", 12_345, 9_000_000), verdict("drop", 7, 420)],
            top: vec![PlaceStatus { jurisdiction: "BE".into(), packets: 12_345, bytes: 9_000_000 }],
        }],
        totals: vec![total("permitted", "pass", 12_345, 9_000_000), total("forbidden", "drop", 7, 420)],
        counters: vec![],
        audit: Default::default(),
        database: DatabaseStatus {
            source: "embedded".into(),
            files: vec![],
            licence: Some("CC BY-SA 4.0".into()),
            generated: Some("2026-09-23T04:35:31Z".into()),
            age_days: Some(61),
            stale: Some("the geo database is 61 days old".into()),
            ranges_v4: 400_123,
            ranges_v6: 305_001,
        },
        exemptions: vec![exemption()],
        holds: vec!["mail".into(), "mlat-1".into()],
        losses: vec![
            LossStatus { kind: "events".into(), count: 0 },
            LossStatus { kind: "log".into(), count: 2 },
        ],
        people: "shown".into(),
        events: 1234,
    }
}

#[test]
fn the_text_is_as_people_read_it() {
    let mut out = Vec::new();
    write_text(&status(), &mut out).unwrap();
    let expected = "\
degraded: 3 problems
  PROBLEM interface-missing: veth9
    there is no such interface; it is guarded as soon as it appears, and nothing
    needs to be done
  PROBLEM interface-missing: wg0
    there is no such interface
    To do: Nothing, if it is still to appear. Otherwise correct
    `host.interfaces` and reload.
  PROBLEM database-stale
    the geo database is 61 days old
    To do: Bring a newer one (`geo.files`) and reload, or raise `geo.max_age`.
borderguard 0.1.0, process 42, Linux 6.12.1
generation 3 since 2026-11-23T12:00:00Z, config /etc/borderguard/policy.toml
UNCONFIRMED: /root/new.toml, applied by root, goes at 2026-11-23T12:05:00Z (in
    241 s) unless `borderguard confirm` comes

interfaces
  name   egress  ingress     state
  eth0   tcx     xdp-native  guarded
  veth9  -       -           no such device
    not guarded, and a route leads by: docker0, wlan0

ways past the guard
    refused to cgroup /, but for dhcp.slice, lab.slice (absent);
    packet-qdisc-bypass: 1,203 refused, 4 allowed

carriers of volumes
    /srv/mail-ie, by cgroup
    /srv/old, by process, NOT mounted
  who                                  volume        since
  cgroup system.slice/dovecot.service  /srv/mail-ie  2026-11-23T11:59:00Z
  imap (4711), dovecot.service         /srv/mail-ie  2026-11-23T11:59:00Z
    and 11 more processes
    1,234 files elsewhere have data of them
    writes elsewhere that were reported: 56
    handed on: /srv/mail-ie to nginx (812) of nginx.service, by 4711 of
    dovecot.service, last 2026-11-23T11:59:30Z: reported

pins, packets
  name  home  action  ingress    pass  observe  flag  drop  most bytes judged
  mail  IE    drop    flag     12,345        0     0     7  BE 8.6 MiB
    cgroups made again: 1, in the tables after 3 ms altogether; packets that
    counted as pinned meanwhile: 40

egress without a pin: US 1.2 MiB, IE 180 B
  peer          place  service      interface    bytes  process
  203.0.113.30  US     to tcp/2380  eth0       1.2 MiB  etcd (811) of etcd
      cgroup: system.slice/etcd.service

addresses that no pin has among its sources: 198.51.100.7
served, and known to no pin: tcp/22 (user 0)
what else is served may be of mail, by volumes, interfaces or marks: it is not
    listed
what the kernel itself answers (pings, errors) to a packet of mail with
    another's source is of no pin: add a [[pin.select]] with sources = [\"host\"],
    or see docs/limits.md

totals
  hook    verdict  reason     packets    bytes
  egress  pass     permitted   12,345  8.6 MiB
  egress  drop     forbidden        7    420 B

geo database: embedded
  licence CC BY-SA 4.0
  made 2026-09-23T04:35:31Z, 61 days ago
  400,123 IPv4 and 305,001 IPv6 ranges
  STALE: the geo database is 61 days old

exemptions
  id      state   pins  from                  until
  mlat-1  active  mail  2026-11-23T00:00:00Z  2026-11-24T00:00:00Z
      used: 2.0 KiB of 5.0 GiB

legal holds: mail, mlat-1
lost: 2 log; events reported: 1,234
";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn nothing_passes_80_columns() {
    let mut status = status();
    let long = "one-word-or-another ".repeat(12);
    for text in [
        &mut status.config,
        &mut status.database.source,
        &mut status.pins[0].home,
        &mut status.exemptions[0].id,
    ] {
        *text = long.trim_end().to_owned();
    }
    status.interfaces[1].problem = Some(long.clone());
    status.database.licence = Some(long.clone());
    status.database.stale = Some(long.clone());
    status.pins[0].top = vec![PlaceStatus { jurisdiction: "BE".into(), packets: 1, bytes: u64::MAX }; 30];
    status.exemptions[0].pins = vec!["pin".into(); 4];
    status.untagged.flows[0].cgroup = Some("system.slice/etcd.service/and/below".into());
    status.losses = vec![LossStatus { kind: "events-of-a-kind".into(), count: u64::MAX }; 3];
    // A name that is as long as one can be stands by itself.
    status.pins[0].home = "unknown".into();
    status.exemptions[0].id = "i".repeat(64);
    let mut out = Vec::new();
    write_text(&status, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > WIDTH).collect();
    assert_eq!(wide, Vec::<&str>::new(), "{text}");
    assert!(text.contains("used: 2.0 KiB of 5.0 GiB"), "{text}");
}

#[test]
fn the_first_line_is_the_state_and_nothing_of_problems_passes_80_columns() {
    let mut status = status();
    let long =
        "a problem whose message goes on and on, as those of the kernel and the verifier do ".repeat(9);
    status.problems = ProblemCode::ALL.iter().map(|code| Problem::of(*code, "eth0", &*long)).collect();
    status.health = Health::of(Enforcement::Enforces, &status.problems);
    let mut out = Vec::new();
    write_health(&status, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.lines().next(), Some(&*format!("off: {} problems", ProblemCode::ALL.len())));
    assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    status.problems = vec![Problem::of(ProblemCode::InterfaceMissing, "veth0", "gone"); 500];
    let mut out = Vec::new();
    write_health(&status, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.matches("PROBLEM").count() == 8 && text.contains("    and 492 more: "), "{text}");
}

#[test]
fn without_a_problem_one_line_has_it_all() {
    for health in [Health::Guarding, Health::Observing] {
        let mut out = Vec::new();
        write_health(&Status { health, ..Status::default() }, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), format!("{health}: no problems\n"));
    }
}

#[test]
fn kinds_of_which_nothing_was_lost_are_left_out() {
    let mut out = Vec::new();
    write_text(&Status { losses: Vec::new(), ..status() }, &mut out).unwrap();
    assert!(String::from_utf8(out).unwrap().ends_with("lost: nothing; events reported: 1,234\n"));
}

#[test]
fn it_says_where_one_person_may_open() {
    for approval_required in [true, false] {
        let mut out = Vec::new();
        write_text(&Status { approval_required, ..status() }, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let says = text.contains("\nEXEMPTIONS: no approval is required: one person may open\n");
        assert_eq!(says, !approval_required, "{text}");
    }
}

#[test]
fn json_reads_back() {
    let status = status();
    let text = serde_json::to_string(&status).unwrap();
    assert!(!text.contains('\n'));
    assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
}

#[test]
fn the_docs_have_every_key() {
    fn keys(value: &serde_json::Value, path: &str, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(object) => {
                for (key, value) in object {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    found.push(path.clone());
                    keys(value, &path, found);
                }
            }
            serde_json::Value::Array(items) => items.iter().take(1).for_each(|item| keys(item, path, found)),
            _ => {}
        }
    }
    let mut status = status();
    status.counters.push(Default::default());
    let mut found = Vec::new();
    keys(&serde_json::to_value(&status).unwrap(), "", &mut found);
    let docs = include_str!("../../../../docs/status.md");
    let mut documented: Vec<String> = docs
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_owned))
        .collect();
    found.sort();
    documented.sort();
    assert_eq!(documented, found);
}

#[test]
fn ways_past_the_guard_that_are_open_are_told() {
    for (refused, attached, expected) in [
        (false, false, "not refused"),
        (true, false, "NOT refused to cgroup /a, and to be"),
        (true, true, "refused to cgroup /a"),
        (false, true, "still refused to cgroup /a"),
    ] {
        let bypass = BypassStatus { refused, attached, cgroup: "/a".into(), ..BypassStatus::default() };
        let mut out = Vec::new();
        write_bypass(&bypass, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), format!("\nways past the guard\n    {expected}\n"));
    }
}

#[test]
fn bytes_are_scaled() {
    let shown = [0, 1023, 1024, 1_048_575, 1 << 40, u64::MAX].map(bytes);
    assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.0 MiB", "1.0 TiB", "16.0 EiB"]);
}

fn carriers() -> CarriersStatus {
    let process = ProcessStatus {
        pid: 4711,
        command: "imap".into(),
        uid: 97,
        user: Some("dovecot".into()),
        cgroup: Some("system.slice/dovecot.service".into()),
        unit: Some("dovecot.service".into()),
    };
    let volumes = vec!["/srv/mail-ie".to_owned()];
    let since = "2026-11-23T11:59:00Z".to_owned();
    CarriersStatus {
        volumes: vec![
            VolumeStatus { path: "/srv/mail-ie".into(), spread: "cgroup".into(), mounted: true },
            VolumeStatus { path: "/srv/old".into(), spread: "process".into(), mounted: false },
        ],
        count: 12,
        copies: 1234,
        copy_events: 56,
        processes: vec![CarrierStatus { volumes: volumes.clone(), since: since.clone(), process }],
        cgroups: vec![CarrierCgroupStatus {
            volumes,
            since,
            cgroup: Some("system.slice/dovecot.service".into()),
            unit: Some("dovecot.service".into()),
        }],
        relays: vec![RelayStatus {
            volumes: vec!["/srv/mail-ie".into()],
            state: "reported".into(),
            since: "2026-11-23T11:59:00Z".into(),
            last: "2026-11-23T11:59:30Z".into(),
            pid: 812,
            command: "nginx".into(),
            cgroup: Some("system.slice/nginx.service".into()),
            unit: Some("nginx.service".into()),
            from_pid: 4711,
            from_cgroup: Some("system.slice/dovecot.service".into()),
            from_unit: Some("dovecot.service".into()),
        }],
    }
}

#[test]
fn carriers_are_shown_where_pins_select_volumes() {
    let mut shown = Vec::new();
    write_text(&status(), &mut shown).unwrap();
    let text = String::from_utf8(shown).unwrap();
    for part in [
        "/srv/mail-ie, by cgroup\n",
        "/srv/old, by process, NOT mounted",
        "imap (4711), dovecot.service",
        "and 11 more",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    let mut without = Vec::new();
    write_text(&Status { carriers: CarriersStatus::default(), ..status() }, &mut without).unwrap();
    assert!(!String::from_utf8(without).unwrap().contains("carriers of volumes"));
}
