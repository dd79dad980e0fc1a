//! `borderguard pin promote` and the files of `policy.d`: judged by what clients elsewhere receive.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use guard_tests::bed::{Answer, BELGIUM, Bed, PATIENCE, PIN, STORE, US};
use guard_tests::proc::retry_until;
use guard_tests::signing::{COMPLIANCE, Signers};
use guard_user::approval::POLICY;
use guard_user::digest::sha256;
use guard_user::health::ProblemCode;
use serde_json::Value;

/// The pin that does this with what it forbids.
fn pin(action: &str) -> String {
    PIN.replace("action = \"drop\"", &format!("action = \"{action}\" # for now"))
}

/// Where packets pass: to Belgium, to the United States.
fn passes(bed: &Bed) -> [bool; 2] {
    [BELGIUM, US].map(|to| bed.passes(to).unwrap())
}

/// The action of the pin, as the daemon has it in force.
fn action(bed: &Bed) -> String {
    bed.status().unwrap().pins.into_iter().find(|pin| pin.name == "mail").unwrap().action
}

fn json(answer: &Answer) -> Value {
    let line = answer.out.lines().next().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

fn codes(told: &Value) -> Vec<String> {
    let reasons = told["reasons"].as_array().unwrap().iter();
    reasons.map(|it| it["code"].as_str().unwrap().to_owned()).collect()
}

/// Until events of so many flows with this verdict are there.
fn until_told(bed: &Bed, verdict: &str) {
    bed.event(PATIENCE, verdict, |it| it["verdict"] == verdict).unwrap();
}

fn until_gone(bed: &Bed) {
    let gone = || bed.status().unwrap().unconfirmed.is_none().then_some(());
    retry_until(PATIENCE, "the way back", gone).unwrap();
}

/// What promotes the pin whatever was seen of it.
const MEANT: &[&str] =
    &["pin", "promote", "mail", "--min-seen", "0s", "--max-recent", "9", "--max-new-drops", "100%", "--yes"];

/// From `observe` to `drop`, step by step: each waits for its confirmation, and one that nobody confirmed is gone.
#[test]
#[ignore = "needs root and BPF"]
fn a_pin_is_promoted_step_by_step() {
    let bed = Bed::new("promote").unwrap();
    bed.configure(&pin("observe")).unwrap();
    let before = fs::read_to_string(bed.config()).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(passes(&bed), [true, true], "it observes");
    until_told(&bed, "observe");

    // It was seen for seconds, and not for a week.
    let early = bed.ask(&["pin", "promote", "mail", "--yes"]).unwrap();
    println!("{}{}", early.out, early.complaint);
    assert!(early.status.code() == Some(1) && early.out.contains("NOT READY for flag"), "{early:?}");
    assert!(
        early.complaint.contains("nothing was applied") && early.complaint.contains("--min-seen 0s"),
        "{early:?}"
    );
    for says in ["judged as it is since", "gaps in that time: none", "203.0.113.10", "observe", "forbidden"] {
        assert!(early.out.contains(says), "{says}: {}", early.out);
    }
    let is_wide = |line: &&str| line.chars().count() > 80 && !line.contains('/');
    assert_eq!(early.out.lines().find(is_wide), None, "{}", early.out);
    assert_eq!((action(&bed), bed.status().unwrap().unconfirmed), ("observe".to_owned(), None));

    // A report says the same, and what was forbidden to whom: an event has the rest of a flow's packets once it was swept.
    let all = || {
        let told = json(&bed.ask(&["pin", "report", "mail", "--json"]).unwrap());
        (told["violations"]["total"]["packets"] == 3).then_some(())
    };
    retry_until(PATIENCE, "the packets of the flow", all).unwrap();
    let report = bed.ask(&["pin", "report", "mail", "--json"]).unwrap();
    let told = json(&report);
    assert_eq!((report.status.code(), codes(&told)), (Some(1), vec!["early".to_owned()]), "{told}");
    assert_eq!(
        (&told["action"], &told["to"], &told["ready"]),
        (&"observe".into(), &"flag".into(), &false.into())
    );
    let peers = told["violations"]["peers"].as_array().unwrap();
    assert!(
        peers.len() == 1 && peers[0]["address"] == "203.0.113.10" && peers[0]["service"] == "udp/143 here",
        "{told}"
    );
    assert_eq!((&peers[0]["jurisdiction"], &peers[0]["packets"]), (&"US".into(), &3.into()), "{told}");
    let ready = bed.ask(&["pin", "report", "mail", "--min-seen", "0s"]).unwrap();
    assert!(ready.status.code() == Some(0) && ready.out.contains("\nREADY for flag"), "{ready:?}");

    // To flag what is forbidden takes no packet away.
    let dry = bed.ask(&["pin", "promote", "mail", "--min-seen", "0s", "--dry-run"]).unwrap();
    assert!(dry.is_done() && dry.out.contains("nothing opens"), "{dry:?}");
    assert_eq!(action(&bed), "observe");
    let flagged = bed.tell(&["pin", "promote", "mail", "--min-seen", "0s", "--yes"]).unwrap();
    assert!(flagged.contains("is live until"), "{flagged}");
    assert_eq!((action(&bed), passes(&bed)), ("flag".to_owned(), [true, true]));
    assert_eq!(fs::read_to_string(bed.config()).unwrap(), before, "nobody confirmed it yet");
    let busy = bed.ask(MEANT);
    assert_eq!(busy.unwrap().status.code(), Some(1));
    bed.tell(&["confirm"]).unwrap();
    assert_eq!(
        fs::read_to_string(bed.config()).unwrap(),
        before.replace("\"observe\" # for", "\"flag\" # for")
    );
    until_told(&bed, "flag");

    // What would be dropped of the last day is a reason of its own.
    let refused = bed.ask(&["pin", "promote", "mail", "--min-seen", "0s", "--yes", "--json"]).unwrap();
    let told = json(&refused);
    assert_eq!((refused.status.code(), &told["applied"]), (Some(1), &false.into()), "{refused:?}");
    assert_eq!(codes(&told), ["recent", "new-drops"], "{told}");
    assert!(told["recent"]["flows"].as_u64().unwrap() >= 1, "{told}");
    assert_eq!((action(&bed), passes(&bed)), ("flag".to_owned(), [true, true]));
    bed.tell(&[MEANT, &["--confirm-within", "20s"]].concat()).unwrap();
    assert_eq!((action(&bed), passes(&bed)), ("drop".to_owned(), [true, false]), "dropped");
    until_gone(&bed);
    assert_eq!((action(&bed), passes(&bed)), ("flag".to_owned(), [true, true]), "nobody confirmed it");
    bed.tell(MEANT).unwrap();
    assert_eq!(passes(&bed), [true, false]);
    bed.tell(&["confirm"]).unwrap();
    // The answer does not wait for the disk.
    let recorded = || {
        let kinds = bed.trail().unwrap().into_iter().map(|record| record.kind);
        let kinds: Vec<String> =
            kinds.filter(|kind| ["apply", "confirm", "roll-back"].contains(&kind.as_str())).collect();
        (kinds == ["apply", "confirm", "apply", "roll-back", "apply", "confirm"]).then_some(())
    };
    retry_until(PATIENCE, "the records", recorded).unwrap();
    daemon.kill(PATIENCE).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    assert_eq!((action(&bed), passes(&bed)), ("drop".to_owned(), [true, false]));

    // There is nothing stricter, what is milder opens, and nobody knows another pin.
    for (words, says) in [
        (&["pin", "promote", "mail", "--yes"][..], "has the action drop already"),
        (&["pin", "promote", "mail", "--to", "flag", "--yes"], "policy sign"),
        (&["pin", "report", "post"], "there is no pin \"post\": mail"),
    ] {
        let refused = bed.ask(words).unwrap();
        assert!(
            refused.status.code() == Some(2) && refused.complaint.contains(says),
            "{words:?}: {refused:?}"
        );
    }
}

/// What an exemption lets pass is no reason, what was not guarded is no evidence, and a daemon that observes tries no action.
#[test]
#[ignore = "needs root and BPF"]
fn readiness_goes_by_exemptions_gaps_and_what_counts() {
    let bed = Bed::new("promote-ready").unwrap();
    bed.configure(&pin("flag")).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(passes(&bed), [true, true]);
    until_told(&bed, "flag");
    let report = |more: &[&str]| {
        let answer = bed
            .ask(&[&["pin", "report", "mail", "--json", "--max-new-drops", "100%"], more].concat())
            .unwrap();
        json(&answer)
    };
    let told = report(&["--min-seen", "0s"]);
    assert_eq!((codes(&told), &told["recent"]["flows"]), (vec!["recent".to_owned()], &1.into()), "{told}");
    bed.exempt("one", &["203.0.113.10/32"], 600, None).unwrap();
    let told = report(&["--min-seen", "0s"]);
    assert_eq!((codes(&told), &told["ready"]), (vec![], &true.into()), "{told}");
    assert_eq!(
        (&told["exemptions"][0]["id"], &told["exemptions"][0]["would_let_pass"]["packets"]),
        (&"one".into(), &3.into()),
        "{told}"
    );
    assert_eq!(told["gaps"], Value::Array(vec![]), "{told}");
    // It was judged for a second at least, and then nothing guards for a while.
    std::thread::sleep(Duration::from_secs(2));
    daemon.kill(PATIENCE).unwrap();
    bed.tell(&["detach"]).unwrap();
    std::thread::sleep(Duration::from_secs(4));
    let daemon = bed.start(&[]).unwrap();
    let told = report(&[]);
    assert!(!told["gaps"].as_array().unwrap().is_empty(), "{told}");
    let since: jiff::Timestamp = told["since"].as_str().unwrap().parse().unwrap();
    let all = jiff::Timestamp::now().duration_since(since).as_secs();
    let seen = told["seen_seconds"].as_i64().unwrap();
    assert!(seen > 0 && seen <= all - 4, "{seen} of {all}: {told}");
    daemon.kill(PATIENCE).unwrap();
    let _daemon = bed.start(&["--observe"]).unwrap();
    let told = report(&["--min-seen", "0s"]);
    assert_eq!(codes(&told), ["observes"], "{told}");
    let refused =
        bed.ask(&["pin", "promote", "mail", "--min-seen", "0s", "--max-new-drops", "100%", "--yes"]).unwrap();
    assert!(refused.status.code() == Some(1) && !refused.complaint.contains("it is meant"), "{refused:?}");
}

/// The config in its own file and one of `policy.d`, where Boston has its place; whoever has this role signs what opens.
struct Parts<'b> {
    bed: &'b Bed,
    signers: Signers,
}

impl<'b> Parts<'b> {
    fn new(bed: &'b Bed) -> Self {
        Self { bed, signers: Signers::new(&bed.file("")).unwrap() }
    }

    fn folder(&self) -> PathBuf {
        self.bed.file("policy.d")
    }

    fn write(&self) {
        let asked = "[approval.policy]\nrequired = [{ role = \"compliance\", count = 1 }]\n";
        self.bed.configure(&format!("{PIN}{}{asked}", self.signers.config())).unwrap();
        let text = fs::read_to_string(self.bed.config()).unwrap();
        let (before, site) = text.split_once("[[site]]\nname = \"boston\"").unwrap();
        let (_, after) = site.split_once("cidrs = ").unwrap();
        let (_, after) = after.split_once('\n').unwrap();
        fs::write(self.bed.config(), format!("{before}{after}")).unwrap();
        fs::create_dir(self.folder()).unwrap();
        self.boston("US", "");
    }

    /// Where the file of Boston says that it is, behind a comment.
    fn boston(&self, place: &str, comment: &str) {
        let text = format!(
            "# {comment}\n[[site]]\nname = \"boston\"\njurisdiction = \"{place}\"\ncidrs = [\"203.0.113.0/24\", \"2001:db8:3::/64\"]\n"
        );
        // As a tool does that has one file after the other in its place.
        let new = self.bed.file("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.folder().join("boston.toml")).unwrap();
    }

    /// Has compliance sign the whole, as who has nothing but `ssh-keygen` beside the text.
    fn sign(&self) {
        let text = run(self.bed, &["policy", "text", &self.bed.config().to_string_lossy()]).out;
        let whole = self.bed.write("whole.txt", &text).unwrap();
        self.signers.sign(COMPLIANCE, POLICY, Path::new(&whole)).unwrap();
        fs::rename(self.bed.file("whole.txt.sig"), self.bed.file("policy.toml.sig")).unwrap();
    }
}

fn refused(bed: &Bed) -> Option<String> {
    let problems = bed.status().unwrap().problems;
    problems.into_iter().find(|it| it.code == ProblemCode::ConfigRefused).map(|it| it.message)
}

/// A site of such a file is judged by, what it opens takes signatures over the whole, and an older one that is put back is seen.
#[test]
#[ignore = "needs root and BPF"]
fn a_file_of_policy_d_is_the_policy() {
    let bed = Bed::new("promote-parts").unwrap();
    let parts = Parts::new(&bed);
    parts.write();
    let config = bed.config().to_string_lossy().into_owned();
    let checked = run(&bed, &["check", &config, "--json"]);
    assert_eq!((checked.status.code(), &json(&checked)["sites"]), (Some(0), &3.into()), "{checked:?}");
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(passes(&bed), [true, false]);

    // Boston in Ireland: nothing in the config's own file has changed.
    parts.boston("IE", "");
    let planned = bed.ask(&["reload", "--dry-run"]).unwrap();
    assert!(planned.status.code() == Some(2) && planned.out.contains("pin mail: site"), "{planned:?}");
    let answer = bed.ask(&["reload"]).unwrap();
    assert!(!answer.is_done(), "{answer:?}");
    let told = refused(&bed).unwrap();
    assert!(told.contains("newly lets pass") && told.contains("1 as \"compliance\""), "{told}");
    assert_eq!(passes(&bed), [true, false]);
    // Over the file alone a signature counts for nothing.
    parts.signers.sign(COMPLIANCE, POLICY, &bed.config()).unwrap();
    assert!(!bed.ask(&["reload"]).unwrap().is_done());
    fs::create_dir(bed.file("old")).unwrap();
    let old = bed.tell(&["audit", "config", &in_force(&bed)]).unwrap();
    let old = bed.write("old/policy.toml", old).unwrap();
    let verified = verify(&bed, &old);
    assert!(verified.status.code() == Some(1), "{verified:?}");
    parts.sign();
    let verified = verify(&bed, &old);
    assert!(verified.is_done(), "{verified:?}");
    bed.tell(&["reload"]).unwrap();
    assert_eq!((refused(&bed), passes(&bed)), (None, [true, true]));
    let text = run(&bed, &["policy", "text", &config]).out;
    assert_eq!((in_force(&bed), text.contains("#= policy.d/boston.toml\n")), (sha256(text.as_bytes()), true));
    let signed_text = fs::read(parts.folder().join("boston.toml")).unwrap();

    // What closes asks nobody. Then the older file is put back, with what was signed of it.
    parts.boston("US", "closed");
    bed.tell(&["reload"]).unwrap();
    assert_eq!(passes(&bed), [true, false]);
    fs::write(parts.folder().join("boston.toml"), &signed_text).unwrap();
    let answer = bed.ask(&["reload"]).unwrap();
    let told = format!("{answer:?}");
    assert!(!answer.is_done() && told.contains("was in force before and was replaced since"), "{told}");
    assert_eq!(passes(&bed), [true, false]);
    // Over a start too, which goes on by what is in force.
    daemon.kill(PATIENCE).unwrap();
    bed.tell(&["detach"]).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert!(refused(&bed).unwrap().contains("was in force before"), "{:?}", refused(&bed));
    assert_eq!(passes(&bed), [true, false]);

    // What can't be read of it names its file and line, and what was live goes on.
    fs::write(parts.folder().join("cork.toml"), "[[site]]\nname = \"cork\"\n[host]\n").unwrap();
    let answer = bed.ask(&["reload"]).unwrap();
    assert!(
        answer.status.code() == Some(2) && answer.complaint.contains("policy.d/cork.toml:3:2: error: host"),
        "{answer:?}"
    );
    fs::write(
        parts.folder().join("cork.toml"),
        "[[site]]\nname = \"boston\"\njurisdiction = \"US\"\ncidrs = [\"203.0.114.0/24\"]\n",
    )
    .unwrap();
    let answer = run(&bed, &["check", &config]);
    assert!(
        answer.out.contains("policy.d/cork.toml:2:8: error")
            && answer.out.contains("on line 3 of policy.d/boston.toml"),
        "{answer:?}"
    );
    fs::remove_file(parts.folder().join("cork.toml")).unwrap();
    let (pipe, mode) = (parts.folder().join("pipe.toml"), rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let answer = bed.ask(&["reload"]).unwrap();
    assert!(answer.status.code() == Some(2) && answer.complaint.contains("not a regular file"), "{answer:?}");
    fs::remove_file(pipe).unwrap();
    parts.boston("US", "closed");
    bed.tell(&["reload"]).unwrap();
    assert_eq!((refused(&bed), passes(&bed)), (None, [true, false]));
    drop(daemon);
}

fn in_force(bed: &Bed) -> String {
    let records = bed.trail().unwrap();
    let last = records.iter().rev().find(|it| ["start", "reload"].contains(&it.kind.as_str())).unwrap();
    last.detail["config_sha256"].as_str().unwrap().to_owned()
}

/// `policy verify` of the daemon's file against this config.
fn verify(bed: &Bed, in_force: &str) -> Answer {
    run(bed, &["policy", "verify", &bed.config().to_string_lossy(), "--config", in_force])
}

/// A command that asks no daemon.
fn run(bed: &Bed, words: &[&str]) -> Answer {
    let mut command = bed.host(STORE).unwrap().command(&bed.program().to_string_lossy()).unwrap();
    command.args(words);
    let (status, out, complaint) = guard_tests::proc::run_to_end("borderguard", command, PATIENCE).unwrap();
    Answer { status, out, complaint }
}

/// `apply` and `promote` keep the files of `policy.d`, and take no other ones.
#[test]
#[ignore = "needs root and BPF"]
fn a_candidate_has_the_files_that_are_there() {
    let bed = Bed::new("promote-apply").unwrap();
    let parts = Parts::new(&bed);
    parts.write();
    let text = fs::read_to_string(bed.config()).unwrap();
    fs::write(bed.config(), text.replace("action = \"drop\"", "action = \"flag\"")).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    assert_eq!(passes(&bed), [true, true]);
    let boston = fs::read(parts.folder().join("boston.toml")).unwrap();
    // Elsewhere, without the files beside it.
    fs::create_dir(bed.file("elsewhere")).unwrap();
    let elsewhere = bed.write("elsewhere/new.toml", fs::read(bed.config()).unwrap()).unwrap();
    let refused = bed.ask(&["apply", &elsewhere, "--yes", "--max-new-drops", "100%"]).unwrap();
    assert!(
        refused.status.code() == Some(2) && refused.complaint.contains("other files in policy.d"),
        "{refused:?}"
    );
    bed.tell(MEANT).unwrap();
    assert_eq!(passes(&bed), [true, false]);
    // Somebody adds a file meanwhile: what is confirmed would be another config.
    let cork = parts.folder().join("cork.toml");
    fs::write(&cork, "[[site]]\nname = \"cork\"\njurisdiction = \"IE\"\ncidrs = [\"203.0.114.0/24\"]\n")
        .unwrap();
    let refused = bed.ask(&["confirm"]).unwrap();
    assert!(refused.status.code() == Some(2) && refused.complaint.contains("policy.d"), "{refused:?}");
    fs::remove_file(&cork).unwrap();
    bed.tell(&["confirm"]).unwrap();
    assert_eq!(fs::read_to_string(bed.config()).unwrap(), text, "the action alone has changed");
    assert_eq!(fs::read(parts.folder().join("boston.toml")).unwrap(), boston);
    bed.tell(&["reload"]).unwrap();
    assert_eq!((passes(&bed), refused_code(&bed)), ([true, false], None));
    // A copy in the same folder has them beside it.
    let beside = bed.write("new.toml", format!("# a copy\n{text}")).unwrap();
    bed.tell(&["apply", &beside, "--yes"]).unwrap();
    bed.tell(&["confirm"]).unwrap();
    assert!(fs::read_to_string(bed.config()).unwrap().starts_with("# a copy\n"));
    assert_eq!(passes(&bed), [true, false]);
}

fn refused_code(bed: &Bed) -> Option<ProblemCode> {
    refused(bed).map(|_| ProblemCode::ConfigRefused)
}
