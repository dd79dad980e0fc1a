//! The flow history: asked over a kill and a restart, on a disk that is full or does not answer, and by who may not see who sent.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use guard_tests::bed::{
    self, Answer, BELGIUM, Bed, CLIENT_PORT, Family, MAIL_PORT, PATIENCE, PIN, US, address,
};
use guard_tests::cgroup;
use guard_tests::cleanup;
use guard_tests::proc::{retry_until, run_to_end};
use guard_tests::slow::{self, Part};
use guard_user::health::ProblemCode;
use rustix::mount::{MountFlags, UnmountFlags};
use serde_json::Value;

/// A socket of the storage host, of which the kernel notes who made it.
fn sender(bed: &Bed, port: u16) -> UdpSocket {
    cgroup::inside(bed.cgroup().path(), || bed.sender(port, Family::V4).unwrap()).unwrap()
}

/// The addresses that events are of.
fn destinations(events: &[Value]) -> BTreeSet<&str> {
    events.iter().filter_map(|event| event["destination"]["ip"].as_str()).collect()
}

/// One datagram of the pin's to each of so many addresses in the US.
fn denied(bed: &Bed, flows: u8) {
    denied_from(bed, 20, flows);
}

/// As [`denied`], from this address on.
fn denied_from(bed: &Bed, first: u8, flows: u8) {
    let socket = sender(bed, MAIL_PORT);
    (first..first + flows).for_each(|host| {
        let to = [203, 0, 113, host];
        bed::send(&socket, SocketAddr::from((to, CLIENT_PORT)));
    });
}

fn shown(bed: &Bed, words: &[&str]) -> Vec<Value> {
    let text = bed.tell(&[&["events", "--json"], words].concat()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The first event of each flow: those of a sweep, which tell the rest of a flow or what an earlier daemon may have told of, are
/// there or not by when it was.
fn asked(bed: &Bed, words: &[&str]) -> Vec<Value> {
    shown(bed, words).into_iter().filter(|event| event["phase"] == "new").collect()
}

/// Waits until so many events are shown for these words.
fn wait_for_events(bed: &Bed, words: &[&str], count: usize) -> Vec<Value> {
    let found = || Some(asked(bed, words)).filter(|found| found.len() >= count);
    let found = retry_until(PATIENCE, "the events", found).unwrap();
    assert_eq!(found.len(), count, "{words:?}: {found:?}");
    found
}

fn wait_for_destinations(bed: &Bed, count: usize) {
    let found = || (destinations(&asked(bed, &["--verdict", "drop"])).len() == count).then_some(());
    retry_until(PATIENCE, "an event of each flow", found).unwrap();
}

fn has(bed: &Bed, code: ProblemCode) -> bool {
    bed.status().unwrap().problems.iter().any(|problem| problem.code == code)
}

fn wait_for_problem(bed: &Bed, code: ProblemCode, is_there: bool) {
    let what = format!("{code}: {is_there}");
    retry_until(PATIENCE, &what, || (has(bed, code) == is_there).then_some(())).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn events_are_found_over_a_kill_and_a_restart() {
    let bed = Bed::new("history").unwrap();
    bed.configure(PIN).unwrap();
    let first = bed.start(&[]).unwrap();
    denied(&bed, 5);
    let before = wait_for_events(&bed, &["--verdict", "drop"], 5);
    // What is in memory is on its way to the disk, and needs no more than a moment.
    let folder = bed.file("state/history");
    let is_there = || (lines_below(&folder) >= 5).then_some(());
    retry_until(PATIENCE, "the events to be on the disk", is_there).unwrap();
    first.kill(PATIENCE).unwrap();
    let answer = bed.ask(&["events", "--since", "-1h"]).unwrap();
    assert!(answer.complaint.contains("no daemon answers on"), "{answer:?}");

    let _second = bed.start(&[]).unwrap();
    // What changes within a second of an event may have been before it: no more is said of those from here on.
    std::thread::sleep(Duration::from_secs(2));
    bed.exempt("one", &["203.0.113.10/32"], 600, None).unwrap();
    assert_eq!(bed.send(3, MAIL_PORT, US, Family::V4).unwrap(), 3);
    denied_from(&bed, 30, 2);
    let all = wait_for_events(&bed, &[], 8);
    assert_eq!(all[..5], before, "they are shown as they were");
    let sessions: Vec<&Value> = all.iter().map(|event| &event["session"]).collect();
    assert!(sessions[0] == sessions[4] && sessions[5] == sessions[7] && sessions[4] != sessions[5]);
    for (words, count) in [
        (&["--verdict", "drop"][..], 7),
        (&["--verdict", "pass", "--reason", "exempt"], 1),
        (&["--pin", "mail", "--to", "US"], 8),
        (&["--to", "BE"], 0),
        (&["--process", &std::process::id().to_string()], 7),
        (&["--process", "init"], 0),
        (&["--since", "-1h"], 8),
        (&["--until", "-1h"], 0),
        (&["-n", "0"], 0),
    ] {
        assert_eq!(asked(&bed, words).len(), count, "{words:?}");
    }
    let are_last = |last: &[Value]| last.len() == 4 && shown(&bed, &[]).ends_with(last);
    let last = || are_last(&shown(&bed, &["-n", "4"])).then_some(());
    retry_until(PATIENCE, "the last four events", last).unwrap();
    let middle = all[5]["time"].as_str().unwrap();
    assert_eq!(asked(&bed, &["--since", middle]).len() + asked(&bed, &["--until", middle]).len(), 8);
    for (words, says) in [
        (["--pin", "mial"], "there is no pin \"mial\", and nothing was seen of one: mail"),
        (["--verdict", "denied"], "there is no verdict \"denied\": pass, observe, flag, drop"),
    ] {
        let answer = bed.ask(&[&["events"][..], &words].concat()).unwrap();
        assert_eq!(answer.status.code(), Some(2), "{answer:?}");
        assert!(answer.complaint.contains(says), "{answer:?}");
    }
    names_an_event_of_the_run_before(&bed, &before[2]);
    explains_it(&bed, &before[2]);
    let passed = all.iter().find(|event| event["verdict"] == "pass").unwrap();
    explains_what_passed_by_an_exemption_that_is_closed(&bed, passed);
    export(&bed);
}

/// Lines with an event in the segments of a folder.
fn lines_below(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let texts = entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap_or_default());
    texts.map(|text| text.matches("{\"event\":").count()).sum()
}

fn names_an_event_of_the_run_before(bed: &Bed, event: &Value) {
    let id = format!("{}/{}", event["session"].as_str().unwrap(), event["id"]);
    let text = bed.tell(&["events"]).unwrap();
    assert!(text.contains(&format!(" id={id} ")), "{text}");
    let file = bed.file("asked.toml").to_string_lossy().into_owned();
    let answer = bed.ask(&["exemption", "new", &file, "--from-event", &id, "--set", "id=asked"]).unwrap();
    let document = fs::read_to_string(&file).unwrap_or_else(|_| panic!("{answer:?}"));
    assert!(document.contains(event["destination"]["ip"].as_str().unwrap()), "{document}");
    let answer = bed.ask(&["exemption", "new", "x", "--from-event", "2020-01-01T00:00:00Z/1"]).unwrap();
    assert!(answer.complaint.contains("has no event 2020-01-01T00:00:00Z/1"), "{answer:?}");
}

/// By what was live then, and what has changed since is said to be of now.
fn explains_it(bed: &Bed, event: &Value) {
    let id = format!("{}/{}", event["session"].as_str().unwrap(), event["id"]);
    let explained = || -> Value {
        serde_json::from_str(&bed.tell(&["explain", "--event", &id, "--json"]).unwrap()).unwrap()
    };
    let steps = |explained: &Value, step: &str| -> String {
        let all = explained["steps"].as_array().unwrap().iter().filter(|it| it["step"] == step);
        all.map(|it| it["says"].as_str().unwrap()).collect::<Vec<_>>().join("\n")
    };
    let first = explained();
    assert_eq!((&first["verdict"], &first["reason"]), (&"drop".into(), &"forbidden".into()), "{first}");
    assert_eq!(
        (&first["event"]["policy"], &first["event"]["database"]),
        (&"then".into(), &"then".into()),
        "{first}"
    );
    // An exemption was loaded since: then none was open.
    assert_eq!(first["event"]["exemptions"], "then", "{first}");
    assert!(steps(&first, "then").contains("open was none"), "{first}");
    assert_eq!(steps(&first, "exemption"), "no exemption is open", "{first}");
    assert!(steps(&first, "event").starts_with("it was judged so then: drop, forbidden, in US"), "{first}");
    // Another config permits it by now: what was live then forbids it all the same.
    bed.configure(&PIN.replace("\"EU\"", "\"EU\", \"US\"")).unwrap();
    bed.tell(&["reload"]).unwrap();
    assert!(bed.passes(US).unwrap());
    let later = explained();
    assert_eq!((&later["verdict"], &later["event"]["policy"]), (&"drop".into(), &"then".into()), "{later}");
    assert!(steps(&later, "policy").contains("the pin \"mail\""), "{later}");
    let answer = bed.ask(&["explain", "--event", "99999"]).unwrap();
    assert!(answer.status.code() == Some(2) && answer.complaint.contains("has no event"), "{answer:?}");
    bed.configure(PIN).unwrap();
    bed.tell(&["reload"]).unwrap();
}

fn explains_what_passed_by_an_exemption_that_is_closed(bed: &Bed, event: &Value) {
    bed.tell(&["exemption", "revoke", "one", "--why", "a test"]).unwrap();
    assert!(!bed.passes(US).unwrap());
    let id = format!("{}/{}", event["session"].as_str().unwrap(), event["id"]);
    let said = bed.tell(&["explain", "--event", &id]).unwrap();
    assert!(said.contains("open was one version 1; what was left of quotas then is NOT KNOWN"), "{said}");
    assert!(said.contains("\nverdict    pass, exempt: "), "{said}");
    assert!(said.contains("it was judged so then: pass, exempt, in US"), "{said}");
}

fn export(bed: &Bed) {
    let known = shown(bed, &["--pin", "mail"]);
    let file = bed.file("export.jsonl");
    let path = file.to_string_lossy().into_owned();
    let said = bed.tell(&["events", "export", "--to-file", &path, "--pin", "mail"]).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let sum = Command::new("sha256sum").arg(&file).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    assert!(said.contains(sum.split(' ').next().unwrap()), "{said} {sum}");
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let time = |event: &Value| event["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(lines.is_sorted_by_key(time), "{lines:?}");
    let missing: Vec<&Value> = known.iter().filter(|event| !lines.contains(event)).collect();
    assert!(missing.is_empty() && known.len() >= 8, "{missing:?}");
    let again = bed.ask(&["events", "export", "--to-file", &path]).unwrap();
    assert!(again.status.code() == Some(2) && again.complaint.contains("is there already"), "{again:?}");
    let other = bed.file("small.jsonl");
    let small = ["events", "export", "--to-file", &other.to_string_lossy(), "--max-size", "1000"];
    let answer = bed.ask(&small).unwrap();
    assert!(answer.status.code() == Some(2) && !other.exists(), "{answer:?}");
}

#[test]
#[ignore = "needs root and BPF"]
fn a_full_disk_holds_nothing_up_and_is_told_until_there_is_room() {
    let bed = Bed::new("history-full").unwrap();
    let mounted = bed.file("small");
    fs::create_dir(&mounted).unwrap();
    let at = mounted.clone();
    let ((), _undo) = cleanup::make(|| {
        rustix::mount::mount("tmpfs", &mounted, "tmpfs", MountFlags::empty(), c"size=256k")?;
        Ok::<_, rustix::io::Errno>(((), move || {
            let _gone = rustix::mount::unmount(&at, UnmountFlags::DETACH);
        }))
    })
    .unwrap();
    let filler = mounted.join("filler");
    fs::write(&filler, vec![0; 512 << 10]).unwrap_err();
    bed.configure(&format!("[history]\ndirectory = {:?}\n{PIN}", mounted.join("history"))).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    denied(&bed, 20);
    wait_for_problem(&bed, ProblemCode::HistoryUnwritable, true);
    let lost = || {
        let losses = bed.status().ok()?.losses;
        losses.into_iter().find(|loss| loss.kind == "history" && loss.count >= 20).map(drop)
    };
    retry_until(PATIENCE, "the loss to be counted", lost).unwrap();
    assert!(has(&bed, ProblemCode::HistoryLost));
    // Nothing else waits or fails: not a change, not what is enforced, not the events of now.
    assert!(!bed.passes(US).unwrap());
    bed.exempt("one", &["203.0.113.10/32"], 600, None).unwrap();
    assert!(bed.passes(US).unwrap());
    wait_for_destinations(&bed, 21);

    fs::remove_file(&filler).unwrap();
    wait_for_problem(&bed, ProblemCode::HistoryUnwritable, false);
    denied(&bed, 3);
    let folder = mounted.join("history");
    retry_until(PATIENCE, "events on the disk", || (lines_below(&folder) >= 1).then_some(())).unwrap();
    let text: String = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    assert!(text.contains("{\"lost\":"), "the history says what it lacks: {text}");
}

#[test]
#[ignore = "needs root and BPF"]
fn a_disk_that_hangs_holds_up_the_history_alone() {
    let bed = Bed::new("history-slow").unwrap();
    bed.configure(&format!("[history]\nhold = [\"mail\"]\n{PIN}")).unwrap();
    let _daemon = slow::start(&bed).unwrap();
    denied(&bed, 1);
    slow::hang(&bed, Part::Disk).unwrap();
    denied(&bed, 2);
    wait_for_problem(&bed, ProblemCode::WorkerStuck, true);
    let problems = bed.status().unwrap().problems;
    let stuck = problems.iter().find(|it| it.subject.as_deref() == Some("flow-history"));
    assert!(stuck.is_some_and(|it| it.message.contains("the disk has held up")), "{problems:?}");
    assert!(!bed.passes(US).unwrap() && bed.passes(BELGIUM).unwrap());
    denied(&bed, 50);
    wait_for_destinations(&bed, 51);
    slow::go_on(&bed, Part::Disk).unwrap();
    wait_for_problem(&bed, ProblemCode::WorkerStuck, false);
    let folder = bed.file("state/history");
    retry_until(PATIENCE, "what was waiting", || (lines_below(&folder) >= 51).then_some(())).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn what_is_under_a_legal_hold_is_copied_and_never_more_than_its_bound() {
    let bed = Bed::new("history-hold").unwrap();
    let hold = "[history]\nhold = [\"one\"]\nhold_size = \"1MiB\"\n";
    bed.configure(&format!("{hold}{PIN}")).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    denied(&bed, 1);
    let folder = bed.file("state/history-hold");
    let copied = || -> Vec<Value> {
        let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
        let texts = entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
        texts
            .flat_map(|text| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>())
            .collect()
    };
    let wait_for = |count: usize| {
        retry_until(PATIENCE, "the copies", || Some(copied()).filter(|all| all.len() >= count)).unwrap()
    };
    wait_for_problem(&bed, ProblemCode::HoldUnknown, true);
    bed.exempt("one", &["203.0.113.10/32"], 600, None).unwrap();
    wait_for_problem(&bed, ProblemCode::HoldUnknown, false);
    assert_eq!(bed.status().unwrap().holds, ["one"]);
    assert_eq!(bed.send(3, MAIL_PORT, US, Family::V4).unwrap(), 3);
    let copies = wait_for(1);
    assert_eq!((&copies[0]["exemption"], &copies[0]["people"]), (&"one".into(), &"shown".into()));
    // What is denied to its recipient once it is over is about it too; what goes elsewhere is not.
    bed.tell(&["exemption", "revoke", "one", "--why", "over"]).unwrap();
    denied(&bed, 3);
    assert_eq!(bed.send(3, MAIL_PORT, US, Family::V4).unwrap(), 0);
    let copies = wait_for(2);
    let us = address(US, Family::V4).unwrap().to_string();
    assert!(copies.iter().all(|copy| copy["destination"]["ip"] == us.as_str()), "{copies:?}");
    assert!(copies.iter().any(|copy| copy["verdict"] == "drop"), "{copies:?}");

    fs::write(folder.join("old.jsonl"), vec![b'\n'; 1 << 20]).unwrap();
    bed.configure(&format!("{}{PIN}", hold.replace("\"one\"", "\"one\", \"mail\""))).unwrap();
    bed.tell(&["reload"]).unwrap();
    denied(&bed, 2);
    wait_for_problem(&bed, ProblemCode::HoldFull, true);
    assert!(!bed.passes(US).unwrap() && bed.passes(BELGIUM).unwrap());
    assert_eq!(fs::metadata(folder.join("old.jsonl")).unwrap().len(), 1 << 20, "nothing is removed");
    fs::remove_file(folder.join("old.jsonl")).unwrap();
    bed.configure(&format!("{}{PIN}", hold.replace("\"1MiB\"", "\"2MiB\"").replace("\"one\"", "\"mail\"")))
        .unwrap();
    bed.tell(&["reload"]).unwrap();
    wait_for_problem(&bed, ProblemCode::HoldFull, false);
}

#[test]
#[ignore = "needs root and BPF"]
fn what_left_without_a_pin_is_suggested_as_one_and_then_known() {
    let bed = Bed::new("suggest").unwrap();
    bed.configure(PIN).unwrap();
    let _daemon = bed.start(&["--observe"]).unwrap();
    for to in [US, BELGIUM] {
        assert_eq!(bed.send(10, bed::OTHER_PORT, to, Family::V4).unwrap(), 10);
    }
    let suggested = bed.tell(&["suggest"]).unwrap();
    assert!(suggested.contains("[[pin]]") && suggested.contains("ports = [\"udp/389\"]"), "{suggested}");
    assert!(suggested.contains("in US") && suggested.contains("in BE"), "{suggested}");
    let mut config = fs::read_to_string(bed.config()).unwrap();
    config += &suggested;
    fs::write(bed.config(), config).unwrap();
    bed.tell(&["reload"]).unwrap();
    let before = bed.status().unwrap().untagged.flows;
    assert_eq!(bed.send(10, bed::OTHER_PORT, US, Family::V4).unwrap(), 10, "it observes");
    let seen = |event: &Value| event["tagged"][0].as_str().is_some_and(|pin| pin.starts_with("seen-"));
    let event = bed.event(PATIENCE, "an event of the suggested pin", seen).unwrap();
    assert_eq!((&event["verdict"], &event["jurisdiction"]), (&"observe".into(), &"US".into()), "{event}");
    assert_eq!(bed.status().unwrap().untagged.flows, before, "no more of it is without a pin");
    let again = bed.tell(&["suggest"]).unwrap();
    assert!(!again.contains("name = \"seen-udp-389\"\n"), "a name is taken once: {again}");
}

/// The command line as a user of this group.
fn ask_as(bed: &Bed, program: &str, gid: u32, words: &[&str]) -> Answer {
    let mut command = Command::new("setpriv");
    let own = ["--reuid=61100", "--regid=61100"];
    command
        .args(own)
        .arg(format!("--groups={gid}"))
        .arg(program)
        .args(words)
        .arg("--socket")
        .arg(bed.socket());
    let (status, out, complaint) = run_to_end("borderguard", command, PATIENCE).unwrap();
    Answer { status, out, complaint }
}

#[test]
#[ignore = "needs root and BPF"]
fn who_sent_is_seen_by_those_who_may_and_by_nobody_after_its_time() {
    let bed = Bed::new("history-people").unwrap();
    let groups = fs::read_to_string("/etc/group").unwrap();
    let groups: Vec<(String, u32)> = groups
        .lines()
        .filter_map(|line| Some((line.split(':').next()?.to_owned(), line.split(':').nth(2)?.parse().ok()?)))
        .filter(|(_, gid)| *gid != 0)
        .take(2)
        .collect();
    let [(view, viewer), (people, sees_people)] = &groups[..] else { panic!("{groups:?}") };
    let config = |history: &str| {
        format!("[control.groups]\nview = [{view:?}]\npeople = [{people:?}]\n[history]\n{history}{PIN}")
    };
    bed.configure(&config("")).unwrap();
    fs::set_permissions(bed.file(""), fs::Permissions::from_mode(0o755)).unwrap();
    let program = bed.file("program");
    fs::copy(bed.program(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let program = program.to_string_lossy().into_owned();
    let daemon = bed.start(&["--observe"]).unwrap();
    denied(&bed, 1);
    bed::send(&sender(&bed, bed::OTHER_PORT), SocketAddr::new(address(US, Family::V4).unwrap(), CLIENT_PORT));
    wait_for_events(&bed, &[], 1);
    let own = std::process::id().to_string();
    let lines = |answer: &Answer| -> Vec<Value> {
        answer.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let events = ["events", "--json"];
    let known = || ask_as(&bed, &program, *viewer, &events).status.success().then_some(());
    retry_until(PATIENCE, "the groups to be known", known).unwrap();
    let [seen] = &lines(&ask_as(&bed, &program, *sees_people, &events))[..] else { panic!() };
    assert_eq!((seen["process"]["pid"].to_string(), &seen["people"]), (own.clone(), &"shown".into()));
    let hidden = ask_as(&bed, &program, *viewer, &events);
    let [event] = &lines(&hidden)[..] else { panic!("{hidden:?}") };
    assert_eq!(event["people"], "hidden");
    let of_people = |event: &Value| event["process"].is_null() && event["cgroup"].is_null();
    assert!(of_people(event) && event["destination"] == seen["destination"]);
    for format in ["text", "ocsf", "ecs", "json"] {
        let hidden = ask_as(&bed, &program, *viewer, &["events", "--format", format]).out;
        let named =
            ["\"pid\":", " pid=", "\"cgroup\":\"", " cgroup="].iter().find(|it| hidden.contains(**it));
        assert!(named.is_none() && hidden.contains("hidden"), "{named:?} {hidden}");
    }
    // Nor can it be asked for each process whether it was there.
    let refused = ask_as(&bed, &program, *viewer, &["events", "--process", &own]);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(refused.complaint.contains("the right `people`"), "{refused:?}");
    let found = ask_as(&bed, &program, *sees_people, &["events", "--json", "--process", &own]);
    assert_eq!(lines(&found).len(), 1);

    let untagged = |gid| -> Value {
        let status: Value =
            serde_json::from_str(&ask_as(&bed, &program, gid, &["status", "--json"]).out).unwrap();
        status["untagged"]["flows"][0].clone()
    };
    assert_eq!(untagged(*sees_people)["process"]["pid"].to_string(), own);
    assert!(of_people(&untagged(*viewer)) && !untagged(*viewer)["peer"].is_null());
    daemon.kill(PATIENCE).unwrap();

    // After its time nobody sees it, root neither.
    bed.configure(&config("people_age = \"1s\"\n")).unwrap();
    let _next = bed.start(&["--observe"]).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let all = asked(&bed, &[]);
    assert!(all.iter().any(|event| event["people"] == "removed" && of_people(event)), "{all:?}");
    let gone = || {
        let entries = fs::read_dir(bed.file("state/history")).unwrap();
        let mut texts = entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap_or_default());
        (!texts.any(|text| text.contains(&format!("\"pid\":{own}")))).then_some(())
    };
    retry_until(PATIENCE, "who sent to be gone from the disk", gone).unwrap();
}
