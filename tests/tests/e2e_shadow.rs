//! `borderguard shadow`: what it says of live packets is what was sent, and nothing else changes: not what arrives, not what is
//! counted, no order that closes, and not what guards where the daemon is killed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use aya::maps::MapInfo;
use aya::programs::{SchedClassifier, TcAttachType};
use guard_tests::bed::{
    self, BELGIUM, Bed, Family, MAIL_PORT, OTHER_PORT, PATIENCE, PIN, STORE, US, address,
};
use guard_tests::cgroup;
use guard_tests::proc::{Process, retry_until};
use serde_json::{Value, json};

const TO_BELGIUM: u64 = 5;
const TO_US: u64 = 7;
/// How long a shadow goes on without its client, and the kernel's programs without the daemon.
const LEASE: Duration = Duration::from_secs(3);

/// The pin that permits this.
fn pin(permit: &str) -> String {
    PIN.replace("permit = [\"EU\"]", &format!("permit = [{permit}]"))
}

/// A host whose pin permits Belgium, and the config by which it permits the US instead.
fn host(label: &str) -> (Bed, String) {
    let bed = Bed::new(label).unwrap();
    bed.configure(&pin("\"US\"")).unwrap();
    let new = bed.write("new.toml", fs::read_to_string(bed.config()).unwrap()).unwrap();
    bed.configure(&pin("\"BE\"")).unwrap();
    (bed, new)
}

/// Bytes on the wire of one datagram of the pin.
fn frame(family: Family) -> u64 {
    let ip = if family == Family::V4 { 20 } else { 40 };
    14 + ip + 8 + "a mail of the mailbox".len() as u64
}

/// What arrives of datagrams of the pin by each family, in Belgium and in the US. Of another service's all does.
fn traffic(bed: &Bed) -> [[u64; 2]; 2] {
    cgroup::inside(bed.cgroup().path(), || {
        Family::ALL.map(|family| {
            assert_eq!(bed.send(2, OTHER_PORT, US, family).unwrap(), 2);
            let belgium = bed.send(TO_BELGIUM, MAIL_PORT, BELGIUM, family).unwrap();
            [belgium, bed.send(TO_US, MAIL_PORT, US, family).unwrap()]
        })
    })
    .unwrap()
}

/// A shadow on the storage host, whose programs are on the interfaces.
fn shadow(bed: &Bed, words: &[&str]) -> Process {
    let mut command = bed.host(STORE).unwrap().command(&bed.program().to_string_lossy()).unwrap();
    command.arg("shadow").args(words).arg("--config").arg(bed.config());
    let client = Process::spawn("borderguard", command).unwrap();
    client
        .wait_for(PATIENCE, "the shadow to begin", || {
            Some(()).filter(|()| client.stderr().contains("shadow: packets are judged by both"))
        })
        .unwrap();
    client
}

/// The exit code of a shadow, and what it said.
fn told(client: &Process) -> (i32, Value) {
    let status = client.wait(PATIENCE).unwrap();
    let told = serde_json::from_str(&client.stdout()).unwrap_or_else(|_| panic!("{}", client.log_tail()));
    (status.code().unwrap(), told)
}

/// The id of the program on the storage host's interface at egress, and whether it is a shadow's.
fn attached(bed: &Bed) -> (u32, bool) {
    let found = bed
        .host(STORE)
        .unwrap()
        .run(|| SchedClassifier::query_tcx("eth0", TcAttachType::Egress).unwrap().1)
        .unwrap();
    let [program] = &found[..] else { panic!("{found:?}") };
    let maps = program.map_ids().unwrap().unwrap_or_default();
    let name = |id: &u32| MapInfo::from_id(*id).unwrap().name_as_str().map(str::to_owned);
    (program.id(), maps.iter().filter_map(name).any(|name| name == "SHADOW_TARGET"))
}

/// Waits until the ordinary program is on the interface.
fn until_ordinary(bed: &Bed, within: Duration) -> u32 {
    let ordinary = || {
        let (id, is_shadow) = attached(bed);
        (!is_shadow).then_some(id)
    };
    retry_until(within, "the ordinary program", ordinary).unwrap()
}

fn amount(told: &Value, kind: &str) -> [u64; 3] {
    ["flows", "packets", "bytes"].map(|key| told["totals"][kind][key].as_u64().unwrap())
}

/// The peers of what differs in this way.
fn peers(told: &Value, kind: &str) -> BTreeSet<String> {
    let changes = told["changes"].as_array().unwrap().iter();
    let of_kind = changes.filter(|it| it["kind"] == kind);
    of_kind.map(|it| it["peer"].as_str().unwrap().to_owned()).collect()
}

fn addresses(host: &str) -> BTreeSet<String> {
    Family::ALL.map(|family| address(host, family).unwrap().to_string()).into()
}

#[test]
#[ignore = "needs root and BPF"]
fn what_arrives_is_unchanged_and_what_would_differ_is_told_to_the_byte() {
    let (bed, new) = host("shadow");
    let _daemon = bed.start(&[]).unwrap();
    let before = attached(&bed);
    let client = shadow(&bed, &["--json", "--for", "10s", &new]);
    assert!(attached(&bed).1);
    let refused = bed.ask(&["trace"]).unwrap();
    assert!(
        refused.status.code() == Some(1) && refused.complaint.contains("one trace or shadow runs at a time"),
        "{refused:?}"
    );
    let refused = bed.ask(&["shadow", &new, "--for", "1s"]).unwrap();
    assert!(
        refused.status.code() == Some(1) && refused.complaint.contains("has a shadow now"),
        "{refused:?}"
    );
    assert_eq!(traffic(&bed), [[TO_BELGIUM, 0]; 2]);
    let (code, told) = told(&client);
    assert_eq!((code, &told["differs"]), (1, &true.into()), "{told}");
    let bytes: u64 = Family::ALL.into_iter().map(frame).sum();
    assert_eq!(amount(&told, "drops"), [2, 2 * TO_BELGIUM, TO_BELGIUM * bytes], "{told}");
    assert_eq!(amount(&told, "opens"), [2, 2 * TO_US, TO_US * bytes], "{told}");
    assert_eq!((amount(&told, "flags"), amount(&told, "unflags")), ([0; 3], [0; 3]), "{told}");
    assert_eq!((peers(&told, "drops"), peers(&told, "opens")), (addresses(BELGIUM), addresses(US)));
    let none = json!({ "packets": 0, "bytes": 0 });
    for key in ["lost", "not_kept", "other_reason"] {
        assert_eq!(told[key], none, "{key}: {told}");
    }
    assert!(told["same"]["packets"].as_u64().unwrap() >= 4, "another service's: {told}");
    let command = bed.events().unwrap()[0]["process"]["command"].as_str().unwrap().to_owned();
    for change in told["changes"].as_array().unwrap() {
        assert_eq!(change["pins"], json!(["mail"]));
        assert!(change["process"].as_str().unwrap().starts_with(&command), "{change}");
        let place = if change["kind"] == "drops" { "BE" } else { "US" };
        assert_eq!((&change["then"]["jurisdiction"], &change["hook"]), (&place.into(), &"egress".into()));
    }
    // What is live was counted as ever, and once.
    let status = bed.status().unwrap();
    assert_eq!(bed::packets(&status, "egress", "drop", "forbidden"), 2 * TO_US);
    assert_eq!(bed::packets(&status, "egress", "pass", "permitted"), 2 * TO_BELGIUM);
    assert_eq!(until_ordinary(&bed, LEASE), before.0, "the program of before, and no other one");
    assert_eq!(status.problems.iter().filter(|it| it.code.as_str() == "trace-left").count(), 0);

    // For people.
    let client = shadow(&bed, &["--for", "8s", &new]);
    assert_eq!(traffic(&bed), [[TO_BELGIUM, 0]; 2]);
    assert_eq!(client.wait(PATIENCE).unwrap().code(), Some(1));
    let text = client.stdout();
    println!("{text}");
    let says = |words: &str| assert!(text.contains(words), "{words}: {text}");
    says("would newly drop: 2 flows, 10 packets, 730 B\n");
    says("would open: 2 flows, 14 packets, 1022 B\n");
    says("would newly be flagged: nothing\n");
    let is_wide = |line: &&str| line.chars().count() > 80 && !line.contains('/');
    assert_eq!(text.lines().find(is_wide), None, "{text}");

    // The file as a reload would read it, by which nothing differs.
    let client = shadow(&bed, &["--json", "--for", "6s"]);
    assert_eq!(traffic(&bed), [[TO_BELGIUM, 0]; 2]);
    let (code, told) = self::told(&client);
    assert_eq!((code, &told["differs"], &told["changes"]), (0, &false.into(), &json!([])), "{told}");
    let same = told["same"]["packets"].as_u64().unwrap();
    assert!(same >= 2 * (2 + TO_BELGIUM + TO_US), "{told}");
}

#[test]
#[ignore = "needs root and BPF"]
fn a_stay_takes_effect_at_once_and_the_candidate_follows() {
    let (bed, _) = host("shadow-stay");
    let _daemon = bed.start(&[]).unwrap();
    bed.exempt("one", &["203.0.113.10/32"], 600, Some(1_000_000)).unwrap();
    let client = shadow(&bed, &["--json", "--for", "12s", "--without", "one"]);
    let send = |count| bed.send(count, MAIL_PORT, US, Family::V4).unwrap();
    assert_eq!(send(3), 3, "exempt, whatever the candidate says");
    let began = Instant::now();
    bed.tell(&["exemption", "stay", "one", "--order", "o-1"]).unwrap();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(send(4), 0, "stayed");
    let (code, told) = told(&client);
    assert_eq!(code, 1, "it went on: {told}");
    let frame = frame(Family::V4);
    // Dropped by both since the stay.
    assert_eq!((amount(&told, "drops"), amount(&told, "opens")), ([1, 3, 3 * frame], [0; 3]), "{told}");
    assert_eq!(told["changes"][0]["now"]["exemption"], "one", "{told}");
    assert!(told["same"]["packets"].as_u64().unwrap() >= 4, "{told}");
    let exemption = bed.exemption("one").unwrap();
    assert_eq!(exemption.used_bytes, 3 * frame, "charged once: {exemption:?}");
}

#[test]
#[ignore = "needs root and BPF"]
fn an_exemption_is_tried_before_it_is_loaded() {
    let (bed, _) = host("shadow-exempt");
    let _daemon = bed.start(&[]).unwrap();
    let text = bed::exemption("tried", "mail", &["203.0.113.10/32"], 600, Some(2 * frame(Family::V4)));
    let file = bed.write("tried.toml", text).unwrap();
    let client = shadow(&bed, &["--json", "--for", "8s", "--exemption", &file]);
    assert_eq!(bed.send(5, MAIL_PORT, US, Family::V4).unwrap(), 0, "it is not loaded");
    let (code, told) = told(&client);
    let frame = frame(Family::V4);
    // What its quota lets pass, and no more.
    assert_eq!((code, amount(&told, "opens")), (1, [1, 2, 2 * frame]), "{told}");
    assert_eq!(told["changes"][0]["then"]["exemption"], "tried", "{told}");
    assert_eq!(told["other_reason"]["packets"], 3, "exhausted, in the place of forbidden: {told}");
    assert!(bed.exemptions().unwrap().is_empty());
}

#[test]
#[ignore = "needs root and BPF"]
fn what_can_not_be_used_is_told_and_changes_nothing() {
    let (bed, new) = host("shadow-input");
    let _daemon = bed.start(&[]).unwrap();
    let before = attached(&bed);
    let bad = bed.write("bad.toml", "approval = \"none\"\n[host]\n").unwrap();
    let absent = bed.file("absent.mmdb").to_string_lossy().into_owned();
    for (words, says) in [
        (&[bad.as_str()][..], "bad.toml"),
        (&[&new, "--geo", &absent], "absent.mmdb"),
        (&[&new, "--geo", "/dev"], "not a regular file"),
        (&[&new, "--without", "nobody"], "no exemption of this id is open"),
        (&[&new, "--for", "2h"], "from 1s to 1h"),
    ] {
        let answer = bed.ask(&[&["shadow"], words].concat()).unwrap();
        assert!(answer.status.code() == Some(2) && answer.complaint.contains(says), "{says}: {answer:?}");
    }
    assert_eq!(attached(&bed), before);
}

#[test]
#[ignore = "needs root and BPF"]
fn a_client_or_a_daemon_that_is_killed_ends_its_shadow_and_the_guard_goes_on() {
    let (bed, new) = host("shadow-killed");
    let daemon = bed.start(&[]).unwrap();
    let before = attached(&bed).0;
    let client = shadow(&bed, &["--for", "5m", &new]);
    client.kill(PATIENCE).unwrap();
    // The lease, and a second until the daemon looks.
    assert_eq!(until_ordinary(&bed, LEASE + Duration::from_secs(7)), before);

    let client = shadow(&bed, &["--for", "5m", &new]);
    daemon.kill(PATIENCE).unwrap();
    assert!(!client.wait(PATIENCE).unwrap().success(), "{}", client.log_tail());
    assert!(attached(&bed).1, "nobody swaps it back");
    assert_eq!(bed.send(3, MAIL_PORT, US, Family::V4).unwrap(), 0, "it judges");
    assert_eq!(bed.send(3, MAIL_PORT, BELGIUM, Family::V4).unwrap(), 3);
    let daemon = bed.start(&[]).unwrap();
    assert_ne!(until_ordinary(&bed, PATIENCE), before, "of the daemon that runs");
    assert_eq!(bed::packets(&bed.status().unwrap(), "egress", "drop", "forbidden"), 3);
    // A daemon that ends puts the ordinary programs back itself.
    let _client = shadow(&bed, &["--for", "5m", &new]);
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait(PATIENCE).unwrap();
    assert!(!attached(&bed).1);
    assert_eq!(bed.send(3, MAIL_PORT, US, Family::V4).unwrap(), 0);
}
