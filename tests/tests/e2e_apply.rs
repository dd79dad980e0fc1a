//! `borderguard apply`: a config that cuts its operator off goes by itself, over a restart too, and stays once it is confirmed;
//! judged by what a client elsewhere receives.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::{Duration, Instant};

use guard_tests::bed::{BELGIUM, Bed, PATIENCE, PIN, US};
use guard_tests::proc::retry_until;
use guard_tests::signing::{COMPLIANCE, Signers};
use guard_user::approval::POLICY;
use guard_user::digest::sha256;
use guard_user::health::ProblemCode;
use serde_json::Value;

/// The pin that permits this.
fn pin(permit: &str) -> String {
    PIN.replace("permit = [\"EU\"]", &format!("permit = [{permit}]"))
}

/// A host that permits what `now` has, and the candidate that permits `then`, with `more` in both.
fn host(label: &str, [now, then]: [&str; 2], more: &str) -> (Bed, String) {
    let bed = Bed::new(label).unwrap();
    bed.configure(&(pin(then) + more)).unwrap();
    let new = bed.write("new.toml", fs::read_to_string(bed.config()).unwrap()).unwrap();
    bed.configure(&(pin(now) + more)).unwrap();
    (bed, new)
}

/// Where packets pass: to Belgium, to the United States.
fn passes(bed: &Bed) -> [bool; 2] {
    [BELGIUM, US].map(|to| bed.passes(to).unwrap())
}

/// Records of these kinds in the trail, oldest first.
fn recorded(bed: &Bed, kinds: &[&str]) -> Vec<(String, String)> {
    let records = bed.trail().unwrap().into_iter().filter(|record| kinds.contains(&record.kind.as_str()));
    records.map(|record| (record.kind, record.why)).collect()
}

/// Until the candidate is gone: how long that took.
fn until_gone(bed: &Bed) -> Duration {
    let began = Instant::now();
    let gone = || bed.status().unwrap().unconfirmed.is_none().then_some(());
    retry_until(PATIENCE, "the way back", gone).unwrap();
    began.elapsed()
}

const OF_APPLY: &[&str] = &["apply", "confirm", "roll-back"];

/// The operator works from the US, over the very flow that the candidate drops.
#[test]
#[ignore = "needs root and BPF"]
fn an_operator_who_is_cut_off_is_let_in_again() {
    let (bed, new) = host("apply-cut", ["\"BE\", \"US\"", "\"BE\""], "");
    let _daemon = bed.start(&[]).unwrap();
    let before = fs::read(bed.config()).unwrap();
    let listener = bed.listen(guard_tests::bed::Family::V4).unwrap();
    let operator = bed.connect(&listener, US).unwrap();
    assert_eq!(passes(&bed), [true, true]);
    // Nobody is asked without a terminal, and nothing is done.
    let refused = bed.ask(&["apply", &new, "--max-new-drops", "100%"]).unwrap();
    assert!(refused.status.code() == Some(2) && refused.complaint.contains("--yes"), "{refused:?}");
    assert_eq!(passes(&bed), [true, true]);

    let answer =
        bed.ask(&["apply", &new, "--confirm-within", "20s", "--yes", "--max-new-drops", "100%"]).unwrap();
    assert!(answer.is_done(), "{answer:?}");
    println!("{}", answer.out);
    for says in
        ["nothing opens", "1 change closes", "would newly drop", "borderguard confirm", "is live until"]
    {
        assert!(answer.out.contains(says), "{says}: {}", answer.out);
    }
    let is_wide = |line: &&str| line.chars().count() > 80 && !line.contains('/');
    assert_eq!(answer.out.lines().find(is_wide), None, "{}", answer.out);
    assert_eq!(passes(&bed), [true, false], "cut off");
    let status = bed.status().unwrap();
    let waits = status.unconfirmed.as_ref().unwrap();
    assert!(waits.config == new && (1..=20).contains(&waits.seconds_left), "{waits:?}");
    assert_eq!(waits.sha256, sha256(&fs::read(&new).unwrap()));
    let text = bed.ask(&["status"]).unwrap().out;
    assert!(text.contains("UNCONFIRMED: ") && text.contains("unless `borderguard confirm` comes"), "{text}");
    // What would take another config waits.
    for words in [&["reload"][..], &["reload", "--dry-run"], &["geo", "accept"]] {
        let refused = bed.ask(words).unwrap();
        assert!(
            refused.status.code() == Some(1) && refused.complaint.contains("waits for its confirmation"),
            "{refused:?}"
        );
    }
    // What is live is told as such, though it is not in force before it is confirmed.
    let dropped = bed.event(PATIENCE, "the drop", |it| it["verdict"] == "drop").unwrap();
    let explained = bed.tell(&["explain", "--event", &dropped["id"].to_string()]).unwrap();
    assert!(explained.contains("it was judged so then: drop, forbidden"), "{explained}");
    let simulated = bed.ask(&["simulate", "--json"]).unwrap();
    assert!(
        simulated.status.code().is_some_and(|code| code <= 1) && simulated.complaint.is_empty(),
        "{simulated:?}"
    );
    let took = until_gone(&bed);
    assert!(took < Duration::from_secs(22), "{took:?}");
    assert_eq!(passes(&bed), [true, true], "let in again");
    operator.server.set_nodelay(true).unwrap();
    std::io::Write::write_all(&mut &operator.server, b"again").unwrap();
    let mut received = [0; 5];
    std::io::Read::read_exact(&mut &operator.client, &mut received).unwrap();
    assert_eq!(&received, b"again", "the connection of before goes on");
    assert_eq!(fs::read(bed.config()).unwrap(), before, "the file was never touched");
    let expected = [("apply", ""), ("roll-back", "nobody confirmed it in time")];
    assert_eq!(recorded(&bed, OF_APPLY), expected.map(|(kind, why)| (kind.to_owned(), why.to_owned())));
    // It can be tried again, and is still as it was signed.
    assert!(bed.ask(&["apply", &new, "--yes", "--max-new-drops", "100%"]).unwrap().is_done());
    assert_eq!(passes(&bed), [true, false]);
    let answer = bed.tell(&["confirm", "--roll-back", "--json"]).unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((&answer["confirmed"], passes(&bed)), (&false.into(), [true, true]));
}

/// What releases the only interface takes a word of its own, and the way back guards that again.
#[test]
#[ignore = "needs root and BPF"]
fn one_that_guards_no_interface_takes_a_word_of_its_own_and_the_way_back_guards_again() {
    let bed = Bed::new("apply-nothing").unwrap();
    bed.configure_for(&["none0"], &pin("\"BE\"")).unwrap();
    let new = bed.write("new.toml", fs::read_to_string(bed.config()).unwrap()).unwrap();
    bed.configure(&pin("\"BE\"")).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    assert_eq!(passes(&bed), [true, false]);
    let words = ["apply", &new, "--yes", "--max-new-drops", "100%", "--confirm-within", "6s"];
    let refused = bed.ask(&words).unwrap();
    assert!(refused.status.code() == Some(1), "{refused:?}");
    assert!(refused.out.contains("NOTHING IS GUARDED: "), "{refused:?}");
    assert!(refused.complaint.contains("--guard-nothing"), "{refused:?}");
    assert_eq!((passes(&bed), bed.status().unwrap().unconfirmed), ([true, false], None));

    bed.tell(&[&words[..], &["--guard-nothing"]].concat()).unwrap();
    assert_eq!(passes(&bed), [true, true]);
    let has = |code: ProblemCode| bed.status().unwrap().problems.iter().any(|it| it.code == code);
    assert!(has(ProblemCode::NothingGuarded));
    until_gone(&bed);
    // Some of what is sent may arrive while it is being attached.
    let now = || [BELGIUM, US].map(|to| bed.passes(to).ok());
    let guarded = || (now() == [Some(true), Some(false)]).then_some(());
    retry_until(PATIENCE, "the interface to be guarded again", guarded).unwrap();
    let status = bed.status().unwrap();
    assert!(!has(ProblemCode::NothingGuarded), "{:?}", status.problems);
    assert!(status.interfaces.iter().all(|it| it.problem.is_none() && !it.hooks.is_empty()), "{status:?}");
}

/// The clock that counts is gone with the daemon: a start goes back at once.
#[test]
#[ignore = "needs root and BPF"]
fn a_daemon_that_is_killed_goes_back_when_it_is_started_anew() {
    let (bed, new) = host("apply-killed", ["\"BE\", \"US\"", "\"BE\""], "");
    let daemon = bed.start(&[]).unwrap();
    bed.tell(&["apply", &new, "--confirm-within", "24h", "--yes", "--max-new-drops", "100%"]).unwrap();
    assert_eq!(passes(&bed), [true, false]);
    daemon.kill(PATIENCE).unwrap();
    assert_eq!(passes(&bed), [true, false], "the kernel goes on by it");
    let daemon = bed.start(&[]).unwrap();
    let status = bed.status().unwrap();
    assert_eq!((status.unconfirmed, status.problems), (None, vec![]));
    assert_eq!(passes(&bed), [true, true]);
    let why = "the daemon was started anew before anybody confirmed it";
    let expected = [("apply", ""), ("roll-back", why)];
    assert_eq!(recorded(&bed, OF_APPLY), expected.map(|(kind, why)| (kind.to_owned(), why.to_owned())));
    let refused = bed.ask(&["confirm"]).unwrap();
    assert!(refused.status.code() == Some(1) && refused.complaint.contains("no config waits"), "{refused:?}");
    // Also one that ends in good order.
    bed.tell(&["apply", &new, "--confirm-within", "24h", "--yes", "--max-new-drops", "100%"]).unwrap();
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait(PATIENCE).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    assert_eq!((passes(&bed), recorded(&bed, OF_APPLY).len()), ([true, true], 4));
}

#[test]
#[ignore = "needs root and BPF"]
fn an_order_that_comes_meanwhile_stands_after_the_way_back() {
    let (bed, new) = host("apply-order", ["\"BE\"", ""], "");
    let _daemon = bed.start(&[]).unwrap();
    bed.exempt("one", &["203.0.113.10/32"], 600, None).unwrap();
    assert_eq!(passes(&bed), [true, true]);
    bed.tell(&["apply", &new, "--confirm-within", "6s", "--yes", "--max-new-drops", "100%"]).unwrap();
    assert_eq!(passes(&bed), [false, true]);
    bed.tell(&["exemption", "stay", "one", "--order", "o-1"]).unwrap();
    assert_eq!(passes(&bed), [false, false]);
    until_gone(&bed);
    assert_eq!(
        passes(&bed),
        [true, false],
        "what the policy permits is back, and what the order stays is not"
    );
}

/// What is confirmed is the daemon's file, is what the next one is held against, and outlives a restart.
#[test]
#[ignore = "needs root and BPF"]
fn what_is_confirmed_takes_the_place_of_the_file() {
    let (bed, new) = host("apply-confirm", ["\"BE\", \"US\"", "\"BE\""], "");
    fs::set_permissions(bed.config(), fs::Permissions::from_mode(0o640)).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let before = sha256(&fs::read(bed.config()).unwrap());
    let answer = bed
        .tell(&["apply", &new, "--confirm-within", "60s", "--yes", "--max-new-drops", "100%", "--json"])
        .unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((&answer["applied"], &answer["diff"]["opens"]), (&true.into(), &false.into()), "{answer}");
    assert_eq!(answer["new_drops"]["max"], "100%");
    // Somebody else wrote the file meanwhile: that is not written over.
    let text = fs::read_to_string(bed.config()).unwrap();
    fs::write(bed.config(), format!("{text}# mine\n")).unwrap();
    let refused = bed.ask(&["confirm"]).unwrap();
    assert!(
        refused.status.code() == Some(2) && refused.complaint.contains("was changed since"),
        "{refused:?}"
    );
    fs::write(bed.config(), text).unwrap();
    let told = bed.tell(&["confirm"]).unwrap();
    println!("{told}");
    assert!(told.contains("is confirmed"), "{told}");
    assert_eq!(fs::read(bed.config()).unwrap(), fs::read(&new).unwrap());
    assert_eq!(fs::metadata(bed.config()).unwrap().mode() & 0o777, 0o640);
    assert_eq!((passes(&bed), bed.status().unwrap().unconfirmed), ([true, false], None));
    daemon.kill(PATIENCE).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    assert_eq!(passes(&bed), [true, false]);
    let kinds: Vec<String> = recorded(&bed, &["apply", "confirm", "roll-back", "reload", "refusal"])
        .into_iter()
        .map(|(kind, _)| kind)
        .collect();
    assert_eq!(kinds, ["apply", "refusal", "confirm", "reload"]);
    for hash in [before, sha256(&fs::read(&new).unwrap())] {
        assert!(bed.tell(&["audit", "config", &hash]).unwrap().contains("[[pin]]"), "{hash}");
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn what_opens_needs_its_signatures_at_once_and_brings_them_along() {
    let bed = Bed::new("apply-signed").unwrap();
    let signers = Signers::new(&bed.file("")).unwrap();
    let asked = "[approval.policy]\nrequired = [{ role = \"compliance\", count = 1 }]\n";
    let more = format!("{}{asked}", signers.config());
    bed.configure(&(pin("\"BE\", \"US\"") + &more)).unwrap();
    let new = bed.write("new.toml", fs::read_to_string(bed.config()).unwrap()).unwrap();
    bed.configure(&(pin("\"BE\"") + &more)).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let refused = bed.ask(&["apply", &new, "--yes"]).unwrap();
    assert!(
        refused.status.code() == Some(2) && refused.complaint.contains("1 as \"compliance\""),
        "{refused:?}"
    );
    assert_eq!((passes(&bed), bed.status().unwrap().problems), ([true, false], vec![]));
    // The dry run of a reload says the same of the daemon's own file, and changes nothing.
    let text = fs::read(bed.config()).unwrap();
    fs::copy(&new, bed.config()).unwrap();
    let planned = bed.ask(&["reload", "--dry-run"]).unwrap();
    println!("{}{}", planned.out, planned.complaint);
    assert!(
        planned.status.code() == Some(2) && planned.complaint.contains("1 as \"compliance\""),
        "{planned:?}"
    );
    assert!(planned.out.contains("1 change opens") && planned.out.contains("permit"), "{planned:?}");
    let edited = bed.ask(&["apply", &new, "--yes"]).unwrap();
    assert!(edited.status.code() == Some(2) && edited.complaint.contains("apply the copy"), "{edited:?}");
    fs::write(bed.config(), &text).unwrap();
    let planned: Value =
        serde_json::from_str(&bed.tell(&["reload", "--dry-run", "--json"]).unwrap()).unwrap();
    assert_eq!(
        (&planned["would_reload"], &planned["diff"]["opens"]),
        (&true.into(), &false.into()),
        "{planned}"
    );
    assert_eq!((passes(&bed), bed.status().unwrap().problems), ([true, false], vec![]));

    signers.sign(COMPLIANCE, POLICY, std::path::Path::new(&new)).unwrap();
    bed.tell(&["apply", &new, "--confirm-within", "6s", "--yes"]).unwrap();
    assert_eq!(passes(&bed), [true, true]);
    until_gone(&bed);
    assert_eq!(passes(&bed), [true, false]);
    // It was never in force, so that its signature still counts; a key that is revoked meanwhile does not.
    bed.tell(&["apply", &new, "--confirm-within", "60s", "--yes"]).unwrap();
    bed.tell(&["confirm"]).unwrap();
    assert_eq!(passes(&bed), [true, true]);
    assert!(bed.file("policy.toml.sig").exists());
    daemon.kill(PATIENCE).unwrap();
    fs::remove_file(bed.file("state/policy.last")).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(
        (passes(&bed), bed.status().unwrap().problems),
        ([true, true], vec![]),
        "it is signed where it lies now"
    );
    drop(daemon);
}

/// A key that is revoked while the candidate waits confirms nothing.
#[test]
#[ignore = "needs root and BPF"]
fn a_key_that_is_revoked_meanwhile_confirms_nothing() {
    let bed = Bed::new("apply-revoked").unwrap();
    let signers = Signers::new(&bed.file("")).unwrap();
    let asked = "[approval.policy]\nrequired = [{ role = \"compliance\", count = 1 }]\n";
    let more = format!("{}{asked}", signers.config());
    bed.configure(&(pin("\"BE\", \"US\"") + &more)).unwrap();
    let new = bed.write("new.toml", fs::read_to_string(bed.config()).unwrap()).unwrap();
    bed.configure(&(pin("\"BE\"") + &more)).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    signers.sign(COMPLIANCE, POLICY, std::path::Path::new(&new)).unwrap();
    bed.tell(&["apply", &new, "--confirm-within", "10m", "--yes"]).unwrap();
    assert_eq!(passes(&bed), [true, true]);
    let key = signers.fingerprint(COMPLIANCE).unwrap();
    let said = bed.tell(&["approval", "revoke", &key, "--why", "it was lost"]).unwrap();
    assert!(said.contains("goes back to the one before it"), "{said}");
    // At once, and not when its time is over.
    until_gone(&bed);
    assert_eq!(passes(&bed), [true, false]);
    let refused = bed.ask(&["confirm"]).unwrap();
    assert!(refused.status.code() == Some(1) && refused.complaint.contains("no config waits"), "{refused:?}");
    let refused = bed.ask(&["apply", &new, "--yes"]).unwrap();
    assert!(refused.status.code() == Some(2) && refused.complaint.contains("is revoked"), "{refused:?}");
}

/// A candidate that drops more of what was seen than goes is refused before the daemon is asked.
#[test]
#[ignore = "needs root and BPF"]
fn more_new_drops_than_go_are_refused() {
    let record = "record = \"all\"\n";
    let with =
        |permit: &str| pin(permit).replace("action = \"drop\"\n", &format!("action = \"drop\"\n{record}"));
    let bed = Bed::new("apply-drops").unwrap();
    bed.configure(&with("\"BE\"")).unwrap();
    let new = bed.write("new.toml", fs::read_to_string(bed.config()).unwrap()).unwrap();
    bed.configure(&with("\"BE\", \"US\"")).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    assert_eq!(passes(&bed), [true, true]);
    let refused = bed.ask(&["apply", &new, "--yes", "--max-new-drops", "10%", "--json"]).unwrap();
    assert!(
        refused.status.code() == Some(1) && refused.complaint.contains("nothing was applied"),
        "{refused:?}"
    );
    let told: Value = serde_json::from_str(refused.out.lines().next().unwrap()).unwrap();
    let (flows, of) =
        (told["new_drops"]["flows"].as_u64().unwrap(), told["new_drops"]["of_flows"].as_u64().unwrap());
    assert!(told["applied"] == false && flows >= 1 && of >= 2 * flows, "{told}");
    assert_eq!(passes(&bed), [true, true]);
    bed.tell(&["apply", &new, "--yes", "--max-new-drops", "100%"]).unwrap();
    assert_eq!(passes(&bed), [true, false]);
}
