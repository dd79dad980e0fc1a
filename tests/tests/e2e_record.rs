//! What can be proven afterwards: the audit trail by its own command and by `sha256sum`, and the report against
//! what the kernels of both ends counted.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use guard_tests::bed::{BELGIUM, Bed, Family, MAIL_PORT, OTHER_PORT, PATIENCE, PIN, US, exemption, names};
use guard_tests::proc::Process;
use guard_tests::wire::Received;
use rustix::process::Signal;
use serde_json::Value;

/// A datagram over IPv4 as a frame: Ethernet, IPv4 and UDP headers, and 21 bytes.
const FRAME: u64 = 14 + 20 + 8 + 21;

fn end(daemon: &Process) {
    daemon.signal(Signal::TERM);
    assert!(daemon.wait(PATIENCE).unwrap().success(), "{}", daemon.log_tail());
}

/// A host with something to tell: an exemption's life, refusals, reloads.
fn with_a_past(bed: &Bed) -> Process {
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    bed.exempt("one", &["203.0.113.10/32"], 600, None).unwrap();
    let letters = bed.write("letters.toml", exemption("two", "letters", &["203.0.113.10/32"], 600, None));
    assert!(!bed.ask(&["exemption", "load", &letters.unwrap()]).unwrap().status.success());
    bed.tell(&["exemption", "stay", "one", "--order", "High Court 2026/5512"]).unwrap();
    bed.tell(&["exemption", "resume", "one", "--why", "lifted"]).unwrap();
    bed.tell(&["exemption", "revoke", "one", "--why", "withdrawn \"at once\""]).unwrap();
    assert!(!bed.ask(&["exemption", "resume", "one", "--why", "x"]).unwrap().status.success());
    bed.tell(&["reload"]).unwrap();
    bed.configure(&PIN.replace("\"IE\"", "\"XX\"")).unwrap();
    assert!(!bed.ask(&["reload"]).unwrap().status.success());
    bed.configure(PIN).unwrap();
    daemon
}

#[test]
#[ignore = "needs root and BPF"]
fn the_trail_tells_everything_with_and_without_a_daemon() {
    let bed = Bed::new("trail").unwrap();
    let daemon = with_a_past(&bed);
    let while_it_runs = bed.tell(&["audit", "export"]).unwrap();
    let whole = bed.tell(&["audit", "verify"]).unwrap();
    assert!(whole.contains("whole in themselves"), "{whole}");
    let kinds = |bed: &Bed| -> Vec<String> {
        let told = bed.trail().unwrap().into_iter();
        told.map(|it| if it.subject.is_empty() { it.kind } else { format!("{} {}", it.kind, it.subject) })
            .collect()
    };
    let bad = bed.file("letters.toml").to_string_lossy().into_owned();
    let config = bed.config().to_string_lossy().into_owned();
    let mut expected = vec![
        "load one".to_owned(),
        format!("refusal {bad}"),
        "stay one".to_owned(),
        "resume one".to_owned(),
        "revoke one".to_owned(),
        "refusal one".to_owned(),
        "reload".to_owned(),
        format!("refusal {config}"),
    ];
    let told = kinds(&bed);
    let (begin, rest) = told.split_at(3);
    for first in
        ["start".to_owned(), "attach eth0".to_owned(), format!("attach cgroup /{}", bed.cgroup().name())]
    {
        assert!(begin.contains(&first), "{told:?}");
    }
    assert_eq!(rest, expected);
    let me = rustix::process::getuid().as_raw();
    for record in bed.trail().unwrap() {
        assert_eq!(record.who.uid, me, "{record:?}");
        assert!(record.who.pid.is_some_and(|pid| pid > 0), "{record:?}");
        let daemons = ["start", "attach"].contains(&record.kind.as_str());
        assert_eq!(record.who.pid == Some(daemon.pid()), daemons, "{record:?}");
        let whys =
            [("stay", "High Court 2026/5512"), ("resume", "lifted"), ("revoke", "withdrawn \"at once\"")];
        if let Some((_, why)) = whys.iter().find(|(kind, _)| *kind == record.kind) {
            assert_eq!(record.why, *why);
        }
    }
    // As JSON it is the lines; in words each begins with its number, and what is long goes on below.
    assert_eq!(bed.tell(&["audit", "show", "--json"]).unwrap(), while_it_runs);
    let shown = bed.tell(&["audit", "show", "--from", "3"]).unwrap();
    let is_below = |line: &&str| line.starts_with("        ");
    assert_eq!(shown.lines().filter(|line| !is_below(line)).count(), told.len() - 2);
    assert!(
        shown.lines().all(|line| line.chars().count() <= 80 || !line.trim_start().contains(' ')),
        "{shown}"
    );
    assert!(shown.lines().next().unwrap().trim_start().starts_with("3 "), "{shown}");

    end(&daemon);
    expected.push("end".to_owned());
    assert_eq!(kinds(&bed)[3..], expected, "after the daemon the store has it all");
    assert!(bed.tell(&["audit", "export"]).unwrap().starts_with(&while_it_runs));
    bed.tell(&["audit", "verify"]).unwrap();
    bed.tell(&["detach", "--why", "the host is retired"]).unwrap();
    expected.push("detach".to_owned());
    assert_eq!(kinds(&bed)[3..], expected);
    let last = bed.trail().unwrap().pop().unwrap();
    assert_eq!((last.why.as_str(), last.who.uid), ("the host is retired", me));
    assert!(names(&bed.pin_path()).is_empty());
    let json: Value = serde_json::from_str(&bed.tell(&["audit", "verify", "--json"]).unwrap()).unwrap();
    assert_eq!((&json["whole"], &json["records"]), (&true.into(), &(last.sequence.into())), "{json}");
    // Without a daemon nobody hands out a checkpoint: the trail could not have a record of it.
    assert_eq!(bed.ask(&["audit", "checkpoint"]).unwrap().status.code(), Some(3));
}

/// The script of docs/audit.md, over these bytes: whether it is content, and what it says.
fn by_script(export: &str) -> (bool, String) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/audit.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, script) = page.split_once("```sh\n").unwrap();
    let (script, _) = script.split_once("```").unwrap();
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    // It stops reading at the first record that does not follow.
    let _stopped = shell.stdin.take().unwrap().write_all(export.as_bytes());
    let output = shell.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

#[test]
#[ignore = "needs root and BPF"]
fn an_export_that_was_tampered_with_is_found_and_named() {
    let bed = Bed::new("export").unwrap();
    let _daemon = with_a_past(&bed);
    let file = bed.file("trail.jsonl");
    bed.tell(&["audit", "export", "--out", &file.to_string_lossy()]).unwrap();
    let again = bed.ask(&["audit", "export", "--out", &file.to_string_lossy()]).unwrap();
    assert!(!again.status.success(), "nothing is written over: {again:?}");
    let export = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = export.lines().collect();
    let verify = |name: &str, text: &str| {
        let file = bed.write(name, text).unwrap();
        let answer = bed.ask(&["audit", "verify", &file, "--json"]).unwrap();
        (answer.status.code(), serde_json::from_str::<Value>(&answer.out).unwrap())
    };
    let joined = |lines: &[&str]| lines.join("\n") + "\n";
    let (code, whole) = verify("same.jsonl", &export);
    assert_eq!((code, &whole["records"]), (Some(0), &lines.len().into()));
    let (is_content, said) = by_script(&export);
    let hash = whole["hash"].as_str().unwrap();
    assert!(
        is_content && said.contains(&format!("{} records", lines.len())) && said.contains(hash),
        "{said}"
    );

    for (at, line) in lines.iter().enumerate() {
        let number = at + 1;
        let is_last = number == lines.len();
        // Who did it is somebody else; the line is still a record.
        let altered = line.replacen("\"uid\":0", "\"uid\":1", 1);
        assert_ne!(&altered, line);
        let mut with_altered = lines.clone();
        with_altered[at] = &altered;
        let (code, found) = verify("altered.jsonl", &joined(&with_altered));
        match is_last {
            // Nothing is bound to it: only a checkpoint shows it.
            true => assert_eq!(code, Some(0), "{found}"),
            false => {
                assert_eq!(code, Some(1), "{found}");
                assert_eq!(found["record"], number, "{found}");
                let (is_content, said) = by_script(&joined(&with_altered));
                assert!(!is_content && said.starts_with(&format!("record {} does", number + 1)), "{said}");
            }
        }
        let mut without = lines.clone();
        without.remove(at);
        let (code, found) = verify("removed.jsonl", &joined(&without));
        if !is_last {
            assert_eq!(
                (code, &found["record"], &found["fault"]),
                (Some(1), &number.into(), &"removed".into())
            );
            assert!(!by_script(&joined(&without)).0);
            let mut swapped = lines.clone();
            swapped.swap(at, at + 1);
            let (code, found) = verify("swapped.jsonl", &joined(&swapped));
            assert_eq!((code, &found["whole"]), (Some(1), &false.into()), "{found}");
            assert!(!by_script(&joined(&swapped)).0);
        }
    }
}

fn keygen(arguments: &[&str]) {
    let output = Command::new("ssh-keygen").args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

#[test]
#[ignore = "needs root and BPF"]
fn a_signed_checkpoint_shows_an_end_that_was_cut_off() {
    let bed = Bed::new("checkpoint").unwrap();
    let daemon = with_a_past(&bed);
    let (key, checkpoint) = (bed.file("key"), bed.file("checkpoint"));
    let (key, checkpoint) = (key.to_string_lossy(), checkpoint.to_string_lossy());
    bed.tell(&["audit", "checkpoint", "--out", &checkpoint]).unwrap();
    let known = bed.trail().unwrap().len();
    bed.tell(&["reload"]).unwrap();
    let export = bed.tell(&["audit", "export"]).unwrap();
    end(&daemon);

    keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "officer", "-f", &key]);
    keygen(&["-Y", "sign", "-n", "borderguard-audit", "-f", &key, &checkpoint]);
    let public = fs::read_to_string(format!("{key}.pub")).unwrap();
    let option = "namespaces=\"borderguard-audit\"";
    let signers = bed.write("allowed_signers", format!("officer@example.org {option} {public}")).unwrap();
    bed.configure(&format!(
        "[approval]\nallowed_signers = {signers:?}\n[[approval.signer]]\nidentity = \"officer@example.org\"\n\
         roles = [\"legal\"]\n[[approval.rule]]\nrequired = [{{ role = \"legal\", count = 1 }}]\n{PIN}"
    ))
    .unwrap();
    let lines: Vec<&str> = export.lines().collect();
    let verify = |lines: &[&str]| {
        let file = bed.write("trail.jsonl", lines.join("\n") + "\n").unwrap();
        let answer = bed.ask(&["audit", "verify", &file, "--checkpoint", &checkpoint, "--json"]).unwrap();
        (answer.status.code(), answer.out + &answer.complaint)
    };
    // What was cut off behind it, it can't know of.
    for kept in known..=lines.len() {
        assert_eq!(verify(&lines[..kept]).0, Some(0), "{kept} of {}", lines.len());
    }
    for kept in [0, 1, known / 2, known - 1] {
        let (code, said) = verify(&lines[..kept]);
        assert!(code == Some(1) && said.contains("\"cut-off\""), "{kept} of {known} are kept: {said}");
        if kept > 0 {
            // Which the chain alone does not show.
            assert!(by_script(&(lines[..kept].join("\n") + "\n")).0);
        }
    }
    // The store that the daemon left is held against it, too.
    let stored = bed.tell(&["audit", "verify", "--checkpoint", &checkpoint, "--json"]).unwrap();
    let stored: Value = serde_json::from_str(&stored).unwrap();
    assert_eq!((&stored["whole"], &stored["checkpoints"]), (&true.into(), &1.into()), "{stored}");

    // One of another host's trail says nothing of this one, whoever signed it.
    let own = host_of(&fs::read_to_string(&*checkpoint).unwrap());
    for (words, is_taken) in [(["--host", own.as_str()], true), (["--host", "other.example.org"], false)] {
        let answer =
            bed.ask(&[&["audit", "verify", "--checkpoint", &checkpoint], &words[..]].concat()).unwrap();
        assert_eq!(answer.is_done(), is_taken, "{answer:?}");
        assert!(is_taken || answer.complaint.contains("is of the host"), "{answer:?}");
    }
    // Each has a name of its own where the timer puts them.
    let folder = bed.file("checkpoints");
    fs::create_dir(&folder).unwrap();
    let daemon = bed.start(&[]).unwrap();
    for _ in 0..2 {
        bed.tell(&["audit", "checkpoint", "--into", &folder.to_string_lossy()]).unwrap();
    }
    drop(daemon);
    let names = guard_tests::bed::names(&folder);
    assert!(names.len() == 2 && names.iter().all(|name| name.starts_with(&format!("{own}-0"))), "{names:?}");

    // A checkpoint that was changed, or signed for something else, or by nobody, is none.
    let text = fs::read_to_string(&*checkpoint).unwrap();
    fs::write(&*checkpoint, text.replace("sequence", "sequence ")).unwrap();
    assert_eq!(verify(&lines).0, Some(2));
    fs::write(&*checkpoint, &text).unwrap();
    fs::remove_file(format!("{checkpoint}.sig")).unwrap();
    let (code, said) = verify(&lines);
    assert!(code != Some(0) && said.contains("--unsigned"), "{said}");
    keygen(&["-Y", "sign", "-n", "borderguard-exemption", "-f", &key, &checkpoint]);
    assert_eq!(verify(&lines).0, Some(2));
    // Nor is one whose key is revoked, though it was signed before that: of this trail, and of one without its end.
    fs::remove_file(format!("{checkpoint}.sig")).unwrap();
    keygen(&["-Y", "sign", "-n", "borderguard-audit", "-f", &key, &checkpoint]);
    assert_eq!(verify(&lines).0, Some(0));
    let shown = Command::new("ssh-keygen").args(["-lf", &format!("{key}.pub")]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let fingerprint = shown.split_whitespace().nth(1).unwrap();
    let daemon = bed.start(&[]).unwrap();
    bed.tell(&["approval", "revoke", fingerprint, "--why", "the laptop was stolen"]).unwrap();
    let export = bed.tell(&["audit", "export"]).unwrap();
    let is_refused = |(code, said): (Option<i32>, String), whose: &str| {
        let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(code == Some(2) && words.contains(fingerprint) && words.contains(whose), "{code:?}: {said}");
    };
    let stored = || {
        let answer = bed.ask(&["audit", "verify", "--checkpoint", &checkpoint]).unwrap();
        (answer.status.code(), answer.out + &answer.complaint)
    };
    is_refused(stored(), "of the trail, since");
    is_refused(verify(&lines), "of this host's own trail, since");
    end(&daemon);
    is_refused(stored(), "of the trail, since");
    is_refused(verify(&lines), "of this host's own trail, since");
    is_refused(verify(&export.lines().collect::<Vec<_>>()), "of the trail, since");
}

/// The host that a checkpoint names.
fn host_of(checkpoint: &str) -> String {
    checkpoint.lines().nth(1).unwrap().strip_prefix("host ").unwrap().to_owned()
}

/// The rows of one section of the table, by the names of its columns.
fn section(table: &str, section: &str) -> Vec<BTreeMap<String, String>> {
    let cells = |line: &str| -> Vec<String> {
        line.split(',').map(|cell| cell.trim_matches('"').to_owned()).collect()
    };
    let mut lines = table.split("\r\n");
    let names = cells(lines.next().unwrap());
    let rows = lines.map(|line| names.iter().cloned().zip(cells(line)).collect::<BTreeMap<_, _>>());
    rows.filter(|row| row.get("section").is_some_and(|it| it == section)).collect()
}

#[test]
#[ignore = "needs root and BPF"]
fn the_report_has_what_crossed_and_what_was_refused() {
    let bed = Bed::new("report").unwrap();
    let backup = PIN.replace("mail", "backup").replace("/143", "/389").replace("[\"EU\"]", "[]");
    bed.configure(&format!("{PIN}{backup}")).unwrap();
    let daemon = bed.start(&[]).unwrap();
    bed.exempt("one", &["203.0.113.10/32"], 3600, Some(1_000_000)).unwrap();
    let us = bed.host(US).unwrap();
    let before = Received::by(us).unwrap();
    assert_eq!(bed.send(40, MAIL_PORT, US, Family::V4).unwrap(), 40, "by the exemption");
    assert_eq!(bed.send(30, MAIL_PORT, BELGIUM, Family::V4).unwrap(), 30, "permitted");
    assert_eq!(bed.send(7, OTHER_PORT, US, Family::V4).unwrap(), 0, "no exemption of this pin");
    assert_eq!(bed.send(5, OTHER_PORT, BELGIUM, Family::V4).unwrap(), 0, "not permitted to this pin");
    assert_eq!(bed.send(3, MAIL_PORT, US, Family::V6).unwrap(), 0, "not its recipient");
    let crossed = Received::by(us).unwrap().since(before).wire_bytes();
    assert_eq!(crossed, 40 * FRAME);
    let expected = [
        ("mail", "US", "pass", "exempt", 40, 40 * FRAME),
        ("mail", "BE", "pass", "permitted", 30, 30 * FRAME),
        ("backup", "US", "drop", "forbidden", 7, 7 * FRAME),
        ("backup", "BE", "drop", "forbidden", 5, 5 * FRAME),
        ("mail", "US", "drop", "forbidden", 3, 3 * (FRAME + 20)),
    ];
    let shown = bed.exemption("one").unwrap();
    assert_eq!((shown.used_packets, shown.used_bytes), (40, crossed));
    holds(&bed, &expected, crossed);
    let status = bed.status().unwrap();
    for (pin, place, verdict, reason, packets, bytes) in expected {
        let row = status.counters.iter().find(|row| {
            (row.pin.as_deref(), row.jurisdiction.as_deref()) == (Some(pin), Some(place))
                && (row.hook.as_str(), row.verdict.as_str(), row.reason.as_str())
                    == ("egress", verdict, reason)
        });
        assert_eq!(row.map(|row| (row.packets, row.bytes)), Some((packets, bytes)), "{:?}", status.counters);
    }

    // The record goes on over a restart, and over counters that begin anew; what passed while no daemon
    // ran is in it.
    end(&daemon);
    assert_eq!(bed.send(2, MAIL_PORT, US, Family::V4).unwrap(), 2);
    let daemon = bed.start(&[]).unwrap();
    let with = |more: u64| {
        let mut rows = expected;
        (rows[0].4, rows[0].5) = (40 + more, (40 + more) * FRAME);
        rows
    };
    holds(&bed, &with(2), 42 * FRAME);
    end(&daemon);
    assert_eq!(bed.send(1, MAIL_PORT, US, Family::V4).unwrap(), 1);
    bed.tell(&["detach"]).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    assert_eq!(bed.send(4, MAIL_PORT, US, Family::V4).unwrap(), 4);
    holds(&bed, &with(7), 47 * FRAME);
    assert_eq!(Received::by(us).unwrap().since(before).wire_bytes(), 47 * FRAME);
    // Days that are not asked for are not in it.
    let earlier = bed.tell(&["report", "--format", "json", "--until", "2020-01-01"]).unwrap();
    let earlier: Value = serde_json::from_str(&earlier).unwrap();
    assert_eq!(earlier["traffic"], serde_json::json!([]));
    let wrong = bed.ask(&["report", "--from", "yesterday"]).unwrap();
    assert!(wrong.status.code() == Some(2) && wrong.complaint.contains("yesterday"), "{wrong:?}");
}

/// Every form of the report has these rows of traffic and no others, and these bytes by the exemption.
fn holds(bed: &Bed, expected: &[(&str, &str, &str, &str, u64, u64)], crossed: u64) {
    // The interface of the host itself sends neighbour solicitations, which are of no pin.
    let sum = |rows: Vec<([String; 4], u64, u64)>| {
        let mut sums: BTreeMap<[String; 4], (u64, u64)> = BTreeMap::new();
        for (key, packets, bytes) in rows {
            let sum = sums.entry(key).or_default();
            *sum = (sum.0 + packets, sum.1 + bytes);
        }
        sums
    };
    let key = |words: [&str; 4]| words.map(str::to_owned);
    let wanted = sum(expected.iter().map(|row| (key([row.0, row.1, row.2, row.3]), row.4, row.5)).collect());

    let json: Value = serde_json::from_str(&bed.tell(&["report", "--format", "json"]).unwrap()).unwrap();
    let rows = json["traffic"].as_array().unwrap().iter().map(|row| {
        let word = |name: &str| row[name].as_str().unwrap();
        assert!(word("day").starts_with("20"), "{row}");
        let number = |name: &str| row[name].as_u64().unwrap();
        (
            key([word("pin"), word("jurisdiction"), word("verdict"), word("reason")]),
            number("packets"),
            number("bytes"),
        )
    });
    assert_eq!(sum(rows.collect()), wanted);
    let use_by_day = json["exemptions"][0]["use_by_day"].as_array().unwrap();
    assert_eq!(use_by_day.iter().map(|day| day["bytes"].as_u64().unwrap()).sum::<u64>(), crossed, "{json}");
    assert_eq!(json["exemptions"][0]["id"], "one");

    let csv = bed.tell(&["report", "--format", "csv"]).unwrap();
    let number = |row: &BTreeMap<String, String>, name: &str| row[name].parse::<u64>().unwrap();
    let rows = section(&csv, "traffic").into_iter().map(|row| {
        let names = ["pin", "jurisdiction", "verdict", "reason"].map(|name| row[name].clone());
        (names, number(&row, "packets"), number(&row, "bytes"))
    });
    assert_eq!(sum(rows.collect()), wanted);
    let used: u64 = section(&csv, "use").iter().map(|row| number(row, "bytes")).sum();
    assert_eq!(used, crossed);

    let page = bed.file("report.html");
    let _first = fs::remove_file(&page);
    bed.tell(&["report", "--format", "html", "--out", &page.to_string_lossy()]).unwrap();
    let page = fs::read_to_string(&page).unwrap();
    for (.., packets, bytes) in expected {
        for number in [packets, bytes] {
            assert!(page.contains(&format!("<data value=\"{number}\">")), "{number} is not in {page}");
        }
    }
    assert!(page.contains(&format!("<data value=\"{crossed}\">")));
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"), "{page}");
}
