//! Who may do what over the control socket: users of each group against the real daemon, what the audit trail
//! keeps of refusals, and what of a confidential exemption those see who may only look.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use guard_tests::bed::{Answer, Bed, Family, MAIL_PORT, PATIENCE, PIN, US, exemption};
use guard_tests::proc::{Process, retry_until, run_to_end};
use guard_tests::program;
use guard_user::control::client::{ClientError, ask};
use guard_user::control::protocol::{ErrorKind, Request};
use guard_user::control::right::Right;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// What stands in every text of the confidential exemption, and nowhere else.
/// The fingerprint of a key that approved nothing.
const KEY: &str = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
const SECRET: &str = "zqxjk";

/// Somebody with one right, or none.
#[derive(Clone, Copy, Debug)]
struct User {
    uid: u32,
    gid: u32,
    right: Option<Right>,
}

struct Running {
    bed: Bed,
    program: String,
    users: Vec<User>,
    _daemon: Process,
}

impl Running {
    /// A daemon whose config gives a right to each of four groups of this host.
    fn new(label: &str) -> Self {
        let bed = Bed::new(label).unwrap();
        let groups = fs::read_to_string("/etc/group").unwrap();
        let groups = groups.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            Some((fields[0].to_owned(), fields.get(2)?.parse::<u32>().ok()?))
        });
        let groups: Vec<(String, u32)> = groups.filter(|(_, gid)| *gid != 0).take(4).collect();
        assert_eq!(groups.len(), 4, "{groups:?}");
        let mut config = "[control.groups]\n".to_owned();
        let mut users = vec![User { uid: 61_100, gid: 61_100, right: None }];
        for ((name, gid), right) in groups.into_iter().zip(Right::ALL) {
            config += &format!("{right} = [{name:?}]\n");
            users.push(User { uid: 61_101 + right as u32, gid, right: Some(right) });
        }
        // The bed's sections come first, and a table can't be opened twice.
        bed.configure(&format!("{config}{PIN}")).unwrap();
        let folder = bed.file("");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let program = bed.file("program");
        fs::copy(program::borderguard().unwrap(), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let daemon = bed.start(&[]).unwrap();
        Self { program: program.to_string_lossy().into_owned(), bed, users, _daemon: daemon }
    }

    fn of(&self, right: Right) -> User {
        *self.users.iter().find(|user| user.right == Some(right)).unwrap()
    }

    /// The command line as this user runs it, who has the group as one beside the own.
    fn ask_as(&self, user: User, words: &[&str]) -> Answer {
        let mut command = Command::new("setpriv");
        command
            .arg(format!("--reuid={}", user.uid))
            .arg(format!("--regid={}", user.uid))
            .arg(format!("--groups={}", user.gid))
            .arg(&self.program)
            .args(words)
            .arg("--socket")
            .arg(self.bed.socket());
        let (status, out, complaint) = run_to_end("borderguard", command, PATIENCE).unwrap();
        Answer { status, out, complaint }
    }

    /// Does something as this user. Credentials are a thread's own to the kernel (credentials(7)).
    fn as_user<T: Send>(&self, user: User, action: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                set_thread_groups(&[Gid::from_raw(user.gid)]).unwrap();
                let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.uid));
                set_thread_res_gid(gid, gid, gid).unwrap();
                set_thread_res_uid(uid, uid, uid).unwrap();
                action()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Refusals that the trail has of a user: records, and how many they tell of.
    fn refusals(&self, uid: u32) -> (usize, u64) {
        let trail = self.bed.trail().unwrap();
        let of = trail.iter().filter(|it| it.kind == "not-permitted" && it.who.uid == uid);
        let counts: Vec<u64> = of.map(|it| 1 + it.detail["left_out"].as_u64().unwrap()).collect();
        (counts.len(), counts.iter().sum())
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn each_group_may_do_its_part_and_refusals_are_kept() {
    let running = Running::new("roles");
    let bed = &running.bed;
    bed.exempt("one", &["203.0.113.10/32"], 600, None).unwrap();
    let other = bed.write("other.toml", exemption("other", "mail", &["203.0.113.11/32"], 600, None)).unwrap();
    // Those who may load documents may read them.
    fs::set_permissions(&other, fs::Permissions::from_mode(0o644)).unwrap();
    let dry = "--dry-run";
    let table: Vec<(Vec<&str>, Right, &str)> = vec![
        (vec!["status"], Right::View, "status"),
        (vec!["events"], Right::View, "events"),
        (vec!["exemption", "list"], Right::View, "exemption-list"),
        (vec!["exemption", "show", "one"], Right::View, "exemption-show"),
        (vec!["audit", "show"], Right::View, "audit"),
        (vec!["report", "--format", "json"], Right::View, "report"),
        (vec!["audit", "checkpoint"], Right::Exemptions, "audit-checkpoint"),
        (vec!["exemption", "load", &other, dry], Right::Exemptions, "exemption-load"),
        (vec!["exemption", "stay", "one", "--order", "x", dry], Right::Exemptions, "exemption-stay"),
        (vec!["exemption", "revoke", "one", "--why", "x", dry], Right::Exemptions, "exemption-revoke"),
        (
            vec!["instrument", "invalidate", "US-Ireland MLAT 2001", "--why", "x", dry],
            Right::Exemptions,
            "instrument-invalidate",
        ),
        (
            vec!["approval", "revoke", KEY, "--unknown", "--why", "x", dry],
            Right::Exemptions,
            "approval-revoke",
        ),
        (vec!["reload"], Right::Policy, "reload"),
    ];
    for user in running.users.clone() {
        let mut refused = 0;
        for (words, needed, request) in &table {
            let answer = running.ask_as(user, words);
            if user.right.is_some_and(|right| right.includes(*needed)) {
                assert!(answer.is_done(), "{user:?} {words:?}: {answer:?}");
                continue;
            }
            refused += 1;
            assert_eq!(answer.status.code(), Some(4), "{user:?} {words:?}: {answer:?}");
            match words.contains(&"json") {
                true => assert!(answer.out.contains(r#""kind":"not-permitted""#), "{answer:?}"),
                false => assert!(answer.out.is_empty(), "{answer:?}"),
            }
            let who = format!("the user {} may not use", user.uid);
            let right = format!("the right `{}`", if user.right.is_some() { *needed } else { Right::View });
            for part in [who.as_str(), &right] {
                assert!(answer.complaint.contains(part), "{user:?} {words:?}: {answer:?}");
            }
            if user.right.is_some() {
                assert!(answer.complaint.contains(request), "{words:?}: {answer:?}");
            }
        }
        retry_until(PATIENCE, "every refusal to be told", || {
            (running.refusals(user.uid).1 == refused).then_some(())
        })
        .unwrap_or_else(|error| panic!("{user:?}: {error}: {:?} of {refused}", running.refusals(user.uid)));
    }
    let trail = bed.trail().unwrap();
    let refusals: Vec<_> = trail.iter().filter(|it| it.kind == "not-permitted").collect();
    assert!(
        refusals.iter().any(|it| it.who.uid == running.of(Right::View).uid
            && it.subject == "audit-checkpoint"
            && it.detail["needed"] == "exemptions"
            && it.detail["rights"] == "view"
            && it.who.pid.is_some()),
        "{refusals:?}"
    );
    // A change is on record with the user who made it, and the daemon refused nothing else.
    let officer = running.of(Right::Exemptions);
    let stayed = running.ask_as(officer, &["exemption", "stay", "one", "--order", "an order"]);
    assert!(stayed.status.success(), "{stayed:?}");
    let trail = bed.trail().unwrap();
    let stay = trail.iter().find(|it| it.kind == "stay").unwrap();
    assert_eq!((stay.who.uid, stay.why.as_str(), stay.subject.as_str()), (officer.uid, "an order", "one"));
    let shown = bed.exemption("one").unwrap();
    assert_eq!(shown.stayed.unwrap().by, officer.uid);
}

#[test]
#[ignore = "needs root and BPF"]
fn a_flood_of_refusals_does_not_fill_the_trail() {
    const EACH: u64 = 400;
    let running = Running::new("flood");
    let (nobody, viewer) = (running.users[0], running.of(Right::View));
    let begin = Instant::now();
    for user in [nobody, viewer] {
        let socket = running.bed.socket();
        running.as_user(user, || {
            for _ in 0..EACH {
                let refusal = ask(&socket, &Request::Reload {}).unwrap_err();
                let kind = matches!(refusal, ClientError::Refused { kind: ErrorKind::NotPermitted, .. });
                assert!(kind, "{refusal}");
            }
        });
        retry_until(PATIENCE, "all of them to be counted", || {
            (running.refusals(user.uid).1 == EACH).then_some(())
        })
        .unwrap_or_else(|error| panic!("{user:?}: {error}: {:?}", running.refusals(user.uid)));
    }
    let seconds = begin.elapsed().as_secs();
    for user in [nobody, viewer] {
        let (records, _) = running.refusals(user.uid);
        assert!((records as u64) <= seconds + 2, "{records} records of {user:?} in {seconds} s");
    }
    running.bed.tell(&["audit", "verify"]).unwrap();
}

/// The confidential exemption: the secret is in every text of it.
fn secret() -> String {
    let plain = exemption("closed", "mail", &["203.0.113.10/32"], 600, None);
    let mut text = String::new();
    for line in plain.lines() {
        let key = line.split(" = ").next().unwrap_or_default();
        let marked = ["purpose", "name", "authority", "reference", "agreement", "contact"];
        match line.rsplit_once('"') {
            Some((value, rest)) if marked.contains(&key) => text += &format!("{value} {SECRET}\"{rest}\n"),
            _ => text += &format!("{line}\n"),
        }
    }
    text.replace("[\"e-mail content\"]", &format!("[\"e-mail content {SECRET}\"]"))
        .replace("version = 1\n", "version = 1\nconfidential = true\n")
}

#[test]
#[ignore = "needs root and BPF"]
fn who_may_only_look_reads_nothing_of_a_confidential_exemption() {
    let running = Running::new("secret");
    let bed = &running.bed;
    let document = secret();
    assert!(document.matches(SECRET).count() >= 8, "{document}");
    bed.load("closed.toml", &document).unwrap();
    assert_eq!(bed.send(3, MAIL_PORT, US, Family::V4).unwrap(), 3);
    let why = format!("the order of {SECRET}");
    bed.tell(&["exemption", "stay", "closed", "--order", &why]).unwrap();
    assert_eq!(bed.send(3, MAIL_PORT, US, Family::V4).unwrap(), 0);
    let listed = bed.tell(&["exemption", "list"]).unwrap();
    assert!(listed.ends_with("\nno approval is required: one person may open\n"), "{listed}");
    // Refusals about it, too, must not tell.
    assert!(!bed.ask(&["exemption", "stay", "closed", "--order", &why]).unwrap().status.success());
    std::thread::sleep(Duration::from_secs(1));

    let ways: [&[&str]; 11] = [
        &["exemption", "list"],
        &["exemption", "list", "--json"],
        &["exemption", "show", "closed"],
        &["exemption", "show", "closed", "--json"],
        &["status"],
        &["status", "--json"],
        &["report", "--format", "csv"],
        &["report", "--format", "json"],
        &["report", "--format", "html"],
        &["events"],
        &["events", "--json"],
    ];
    for right in [Right::View, Right::Policy] {
        for words in ways {
            let answer = running.ask_as(running.of(right), words);
            assert!(answer.is_done() && answer.complaint.is_empty(), "{words:?}: {answer:?}");
            assert!(!answer.out.contains(SECRET), "{right} {words:?}: {}", answer.out);
            // The document's address of the recipient is its text; events tell of packets.
            if words[0] != "events" {
                assert!(!answer.out.contains("203.0.113.10/32"), "{right} {words:?}: {}", answer.out);
            }
            assert!(answer.out.contains("closed"), "that it exists is no secret: {words:?}: {}", answer.out);
        }
        let shown = running.ask_as(running.of(right), &["exemption", "show", "closed", "--json"]);
        let shown: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
        assert_eq!(shown["document"], serde_json::Value::Null, "{shown}");
        assert_eq!(shown["signatures"], serde_json::json!([]), "{shown}");
        assert_eq!(shown["exemption"]["used_packets"], 3, "{shown}");
    }
    // Nor by what the daemon sends, whatever the program at this end shows of it.
    let requests = [
        r#"{"request":"status"}"#,
        r#"{"request":"exemption-list"}"#,
        r#"{"request":"exemption-show","id":"closed"}"#,
        r#"{"request":"report"}"#,
        r#"{"request":"events","format":"json"}"#,
    ];
    let viewer = running.of(Right::View);
    for request in requests {
        let answer = running.as_user(viewer, || {
            let mut stream = UnixStream::connect(bed.socket()).unwrap();
            stream.write_all(format!("{request}\n").as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        assert!(answer.contains("closed") && !answer.contains(SECRET), "{request}: {answer}");
    }
    // Who may close it may read it.
    for right in [Right::Exemptions, Right::Everything] {
        for words in &ways[..9] {
            let answer = running.ask_as(running.of(right), words);
            assert!(answer.is_done(), "{words:?}: {answer:?}");
            // The plain status has a line for each exemption, with the id alone.
            assert!(answer.out.contains(SECRET) || words == &ways[4], "{right} {words:?}: {}", answer.out);
        }
    }
    let log = running._daemon.stdout() + &running._daemon.stderr();
    assert!(!log.contains(SECRET), "the daemon's own log: {log}");
}
