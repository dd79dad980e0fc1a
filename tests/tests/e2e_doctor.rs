//! `borderguard doctor` with the real daemon: what is guarded is covered, an uplink that nothing guards is not, and an ordinary
//! user reads nothing into what it can't read.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use guard_tests::bed::{Bed, PATIENCE, PIN, STORE};
use guard_tests::proc::{retry_until, run_to_end};
use guard_tests::user::as_user;
use serde_json::Value;

/// How soon the daemon knows of a new interface and its routes.
const SOON: Duration = Duration::from_secs(20);

/// A user that owns nothing.
const NOBODY: u32 = 65_534;

/// What `doctor` says of each check, by code, and its exit code.
struct Told {
    checks: BTreeMap<String, Value>,
    whole: Value,
    exit: i32,
}

impl Told {
    fn read(out: &str, exit: Option<i32>) -> Self {
        let whole: Value = serde_json::from_str(out).unwrap_or_else(|error| panic!("{error}: {out}"));
        let checks = whole["checks"].as_array().unwrap().iter();
        let checks = checks.map(|it| (it["code"].as_str().unwrap().to_owned(), it.clone())).collect();
        assert_eq!(whole["schema"], 1);
        Self { checks, whole, exit: exit.unwrap() }
    }

    fn state(&self, code: &str) -> &str {
        self.checks[code]["state"].as_str().unwrap()
    }

    fn evidence(&self, code: &str) -> String {
        self.checks[code]["evidence"].to_string()
    }
}

/// What it says where every check but these two is accepted: what else is open on the machine is not this test's.
fn told(bed: &Bed) -> Told {
    let first = bed.ask(&["doctor", "--json"]).unwrap();
    let all = Told::read(&first.out, first.status.code());
    let others = all.checks.into_keys().filter(|code| !["guard", "interfaces"].contains(&code.as_str()));
    let answer = bed.ask(&["doctor", "--json", "--accept", &others.collect::<Vec<_>>().join(",")]).unwrap();
    Told::read(&answer.out, answer.status.code())
}

/// A second uplink with the default route, which the config does not name.
fn add_uplink(bed: &Bed) {
    let store = bed.host(STORE).unwrap();
    store.link("lan0", bed.router(), "up1").unwrap();
    store.ip(&["address", "add", "198.51.100.130/25", "dev", "lan0"]).unwrap();
    store.ip(&["route", "replace", "default", "via", "198.51.100.129", "dev", "lan0"]).unwrap();
}

fn wait_for(bed: &Bed, state: &str, exit: i32) -> Told {
    retry_until(SOON, &format!("interfaces to be {state}"), || {
        let told = told(bed);
        (told.state("interfaces") == state && told.exit == exit).then_some(told)
    })
    .unwrap_or_else(|error| panic!("{error}: {}", told(bed).whole))
}

#[test]
#[ignore = "needs root and BPF"]
fn an_uplink_that_nothing_guards_is_not_covered_until_it_is_named() {
    let bed = Bed::new("doctor").unwrap();
    bed.configure(PIN).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let well = wait_for(&bed, "covered", 0);
    assert_eq!((well.state("guard"), &well.whole["no_daemon"]), ("covered", &Value::Null));
    assert!(well.evidence("interfaces").contains("guarded: eth0 ("), "{}", well.whole);
    // The bed has only its own cgroup refused, and that is told.
    assert_eq!(well.state("bypass"), "not-covered");
    assert_eq!(well.checks["bypass"]["accepted"], true);
    add_uplink(&bed);
    let open = wait_for(&bed, "not-covered", 5);
    assert!(open.evidence("interfaces").contains("interface-unguarded lan0"), "{}", open.whole);
    assert!(open.checks["interfaces"]["todo"].as_str().unwrap().contains("host.unguarded"), "{}", open.whole);
    assert_eq!(open.whole["problems"][0]["code"], "interface-unguarded");
    // Its own problem has a check of its own.
    assert_eq!(open.state("guard"), "covered");
    let text = bed.ask(&["doctor"]).unwrap();
    assert_eq!(text.status.code(), Some(5));
    assert!(text.out.contains("\n  NOT COVERED interfaces: "), "{}", text.out);
    let is_narrow = |line: &str| line.chars().count() <= 80 || line.trim_start().split(' ').count() == 1;
    assert!(text.out.lines().all(is_narrow), "{}", text.out);
    let config = std::fs::read_to_string(bed.config()).unwrap();
    let accepted = config.replace("[host]\n", "[host]\nunguarded = [\"lan0\"]\n");
    std::fs::write(bed.config(), accepted).unwrap();
    bed.tell(&["reload"]).unwrap();
    let accepted = wait_for(&bed, "covered", 0);
    assert!(accepted.evidence("interfaces").contains("a route leads by lan0"), "{}", accepted.whole);
    bed.configure_for(&["eth0", "lan0"], PIN).unwrap();
    bed.tell(&["reload"]).unwrap();
    let named = wait_for(&bed, "covered", 0);
    assert!(named.evidence("interfaces").contains("lan0 ("), "{}", named.whole);
}

#[test]
#[ignore = "needs root and BPF"]
fn without_a_daemon_and_as_an_ordinary_user_nothing_is_covered_that_was_not_read() {
    let bed = Bed::new("doctor").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let answer = bed.ask(&["doctor", "--json"]).unwrap();
    let root = Told::read(&answer.out, answer.status.code());
    let program = bed.program().to_owned();
    let config = bed.config();
    let ask = || {
        as_user("nobody", NOBODY, || {
            let mut command = Command::new(&program);
            command.args(["doctor", "--json", "--config"]).arg(&config);
            run_to_end("borderguard", command, PATIENCE).unwrap()
        })
    };
    let (status, out, complaint) = bed.host(STORE).unwrap().run(ask).unwrap();
    assert!(!out.is_empty(), "{status:?} {complaint}");
    let user = Told::read(&out, status.code());
    assert_eq!(user.exit, 5);
    assert!(user.whole["no_daemon"].as_str().unwrap().contains("ermi"), "{}", user.whole);
    for code in ["guard", "interfaces", "bypass", "sockets", "database"] {
        assert_eq!(user.state(code), "not-known", "{code}");
        assert!(user.checks[code]["todo"].as_str().unwrap().contains("as root"), "{}", user.checks[code]);
    }
    // It is never better than what root reads.
    for (code, its) in &user.checks {
        let is_open = matches!(user.state(code), "not-known" | "not-covered");
        assert!(is_open || user.state(code) == root.state(code), "{its} {}", root.checks[code]);
    }
    drop(daemon);
    let answer = bed.ask(&["doctor", "--json"]).unwrap();
    let alone = Told::read(&answer.out, answer.status.code());
    assert_eq!((alone.exit, alone.state("interfaces")), (5, "not-known"));
    assert!(alone.whole["no_daemon"].as_str().unwrap().contains("no daemon answers"), "{}", alone.whole);
    assert!(
        alone.checks["interfaces"]["todo"].as_str().unwrap().contains("Start the daemon"),
        "{}",
        alone.whole
    );
    // What files say is known all the same.
    assert_eq!(alone.state("unprivileged-bpf"), root.state("unprivileged-bpf"));
}
