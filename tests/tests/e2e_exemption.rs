//! Exemptions from the command line to the kernel and back: every change with its dry run, renewal without a
//! gap, sockets of cut flows, and bad input, by which what was active stays.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use guard_tests::bed::{
    self, Answer, Bed, CLIENT_PORT, Connection, Family, MAIL_PORT, PATIENCE, PIN, US, exemption, packets,
};
use guard_tests::netns::HOST_INTERFACE;
use guard_tests::proc::{Process, retry_until};
use guard_user::exemption::summary::RecipientSummary;
use guard_user::exemption::{State, Summary};
use serde_json::Value;

const TO_US: &str = "203.0.113.10/32";

struct Running {
    bed: Bed,
    daemon: Process,
}

/// What a dry run and a refusal must leave as it was.
#[derive(Debug, PartialEq)]
struct Snapshot {
    generation: u64,
    exemptions: Vec<Summary>,
    trail: String,
}

impl Running {
    fn new(label: &str) -> Self {
        let bed = Bed::new(label).unwrap();
        bed.configure(PIN).unwrap();
        let daemon = bed.start(&[]).unwrap();
        Self { bed, daemon }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            generation: self.bed.status().unwrap().generation,
            exemptions: self.bed.exemptions().unwrap().into_iter().map(but_for_use).collect(),
            trail: self.bed.tell(&["audit", "export"]).unwrap(),
        }
    }

    fn passes(&self) -> bool {
        self.bed.passes(US).unwrap()
    }

    /// Asks for a change in every way: two dry runs, after which nothing has changed, then the change itself.
    /// Returns the exemptions that it says it was made to.
    fn change(&self, words: &[&str]) -> Vec<Summary> {
        let (before, passed) = (self.snapshot(), self.passes());
        let with = |more: &[&str]| self.bed.tell(&[words, more].concat()).unwrap();
        let planned = with(&["--dry-run"]);
        assert!(planned.starts_with("nothing was changed: "), "{planned}");
        let json: Value = serde_json::from_str(&with(&["--dry-run", "--json"])).unwrap();
        assert_eq!((&json["changed"], keys(&json).as_str()), (&false.into(), "changed exemptions message"));
        assert_eq!(self.snapshot(), before, "a dry run of {words:?} changes nothing");
        assert_eq!(self.passes(), passed);

        let done: Value = serde_json::from_str(&with(&["--json"])).unwrap();
        assert_eq!(
            (&done["changed"], keys(&done).as_str()),
            (&true.into(), "changed exemptions generation message")
        );
        let generation = self.bed.status().unwrap().generation;
        assert!(generation > before.generation && done["generation"] == generation, "{done}");
        let ids = |json: &Value| -> Vec<String> {
            let all = json["exemptions"].as_array().unwrap();
            all.iter().map(|it| format!("{} {}", it["id"], it["version"])).collect()
        };
        assert_eq!(ids(&json), ids(&done), "what was planned is what was done");
        serde_json::from_value(done["exemptions"].clone()).unwrap()
    }

    /// The command line's refusal with this exit code; nothing but the audit trail has changed.
    fn refused(&self, words: &[&str], code: i32, tells: &str) -> Answer {
        let before = self.snapshot();
        let answer = self.bed.ask(words).unwrap();
        assert_eq!(answer.status.code(), Some(code), "{words:?}: {answer:?}");
        assert!(answer.complaint.contains(tells), "{words:?} does not tell of {tells}: {answer:?}");
        assert!(!answer.complaint.contains("panicked"), "{answer:?}");
        match words.contains(&"--json") {
            true => {
                let object: Value = serde_json::from_str(&answer.out).unwrap();
                assert_eq!(
                    (keys(&object).as_str(), &object["error"]["exit"]),
                    ("error", &code.into()),
                    "{answer:?}"
                );
            }
            false => assert!(answer.out.is_empty(), "{answer:?}"),
        }
        let after = self.snapshot();
        assert_eq!(
            (after.generation, &after.exemptions),
            (before.generation, &before.exemptions),
            "{words:?}"
        );
        assert!(after.trail.starts_with(&before.trail));
        assert_eq!(self.daemon.ended(), None, "{}", self.daemon.log_tail());
        answer
    }
}

fn but_for_use(summary: Summary) -> Summary {
    let recipients = summary.recipients.iter().cloned();
    let recipients = recipients.map(|it| RecipientSummary { used_bytes: 0, used_packets: 0, ..it }).collect();
    Summary { used_bytes: 0, used_packets: 0, recipients, ..summary }
}

fn keys(object: &Value) -> String {
    object.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
}

fn states(exemptions: &[Summary]) -> Vec<(String, u32, State)> {
    exemptions.iter().map(|it| (it.id.clone(), it.version, it.state)).collect()
}

#[test]
#[ignore = "needs root and BPF"]
fn every_change_says_first_what_it_would_do() {
    let running = Running::new("changes");
    let bed = &running.bed;
    let one = |version, state| vec![("one".to_owned(), version, state)];
    let file = bed.write("one.toml", exemption("one", "mail", &[TO_US], 600, Some(1_000_000))).unwrap();
    assert!(!running.passes());
    let made = running.change(&["exemption", "load", &file]);
    assert_eq!(states(&made), one(1, State::Active));
    assert!(running.passes());
    let made = running.change(&["exemption", "stay", "one", "--order", "High Court 2026/5512"]);
    assert_eq!(states(&made), one(1, State::Stayed));
    assert_eq!(made[0].stayed.as_ref().unwrap().why, "High Court 2026/5512");
    assert!(!running.passes());
    running.change(&["exemption", "resume", "one", "--why", "lifted on appeal"]);
    assert!(running.passes());

    // The next version is written by `renew`, and takes the place of this one.
    let until = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(900)).to_string();
    let renew = ["exemption", "renew", file.as_str(), "--until", &until, "--json"];
    let dry = bed.ask(&[&["exemption", "renew", &file, "--until", &until], &["--dry-run"][..]].concat());
    // `renew` needs no daemon; the bed gives it the config, which the next version is held against.
    assert_eq!(dry.unwrap().status.code(), Some(0));
    let run = |more: &[&str]| {
        let mut command = std::process::Command::new(guard_tests::program::borderguard().unwrap());
        command.args(renew).args(more);
        let (status, out, complaint) = guard_tests::proc::run_to_end("renew", command, PATIENCE).unwrap();
        assert!(status.success(), "{complaint}");
        serde_json::from_str::<Value>(&out).unwrap()
    };
    let next = bed.file("one.v2.toml");
    assert_eq!(run(&["--dry-run"])["written"], false);
    assert!(!next.exists());
    assert_eq!(run(&[])["written"], true);
    let made = running.change(&["exemption", "load", &next.to_string_lossy()]);
    assert_eq!(states(&made), one(2, State::Active));
    assert_eq!(made[0].replaces, Some(1));
    assert!(running.passes());
    let old = bed.exemptions().unwrap().into_iter().find(|it| it.version == 1).unwrap();
    assert_eq!((old.state, old.used_packets > 0), (State::Revoked, true));

    let file = bed.write("two.toml", exemption("two", "mail", &["2001:db8:3::10/128"], 600, None)).unwrap();
    running.change(&["exemption", "load", &file]);
    let name = "US-Ireland MLAT 2001";
    let made = running.change(&["instrument", "invalidate", name, "--why", "terminated"]);
    assert_eq!(made.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    for family in Family::ALL {
        assert_eq!(bed.send(3, MAIL_PORT, US, family).unwrap(), 0, "{family:?}");
    }
    let file = bed.write("three.toml", exemption("three", "mail", &[TO_US], 600, None)).unwrap();
    running.refused(&["exemption", "load", &file], 2, "has fallen");
    bed.tell(&["instrument", "restore", name, "--why", "in force again"]).unwrap();
    running.change(&["exemption", "load", &file]);
    let made = running.change(&["exemption", "revoke", "three", "--why", "withdrawn"]);
    assert_eq!(states(&made), [("three".to_owned(), 1, State::Revoked)]);
    assert!(!running.passes());

    // What the lists and the trail say of all of that.
    let closed = bed.exemptions().unwrap();
    assert!(closed.iter().all(|it| it.state == State::Revoked), "{:?}", states(&closed));
    let shown: Value =
        serde_json::from_str(&bed.tell(&["exemption", "show", "one", "--json"]).unwrap()).unwrap();
    assert_eq!(keys(&shown), "approvals document exemption signatures");
    assert_eq!(shown["document"].as_str().unwrap().as_bytes(), std::fs::read(&next).unwrap());
    let first = bed.tell(&["exemption", "show", "one", "--version", "1"]).unwrap();
    let words: Vec<&str> = first.split_whitespace().collect();
    let words = words.join(" ");
    assert!(words.contains("version 1: revoked") && words.contains("version 2 takes its place"), "{first}");
    let told: Vec<String> = bed
        .trail()
        .unwrap()
        .into_iter()
        .filter(|it| ["one", "two", "three"].contains(&it.subject.as_str()))
        .map(|it| format!("{} {}", it.kind, it.subject))
        .collect();
    let expected = [
        "load one",
        "stay one",
        "resume one",
        "supersede one",
        "load one",
        "load two",
        "invalidate one",
        "invalidate two",
        "load three",
        "revoke three",
    ];
    assert_eq!(told, expected);
}

#[test]
#[ignore = "needs root and BPF"]
fn a_renewal_takes_over_without_a_lost_packet() {
    let running = Running::new("renewal");
    let bed = &running.bed;
    bed.exempt("one", &[TO_US], 600, Some(100_000_000)).unwrap();
    let socket = bed.sender(MAIL_PORT, Family::V4).unwrap();
    let to = SocketAddr::new(bed::address(US, Family::V4).unwrap(), CLIENT_PORT);
    let before = bed.arrived(US, Family::V4).unwrap();
    let (done, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                bed::send(&socket, to);
                sent.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        let renewals = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for version in 2..8 {
                let text = exemption("one", "mail", &[TO_US], 600, Some(100_000_000))
                    .replace("version = 1\n", &format!("version = {version}\nreplaces = {}\n", version - 1));
                bed.load(&format!("one.v{version}.toml"), &text).unwrap();
            }
        }));
        done.store(true, Ordering::Relaxed);
        renewals.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    std::thread::sleep(Duration::from_millis(300));
    let sent = sent.load(Ordering::Relaxed);
    let status = bed.status().unwrap();
    assert_eq!(bed.arrived(US, Family::V4).unwrap() - before, sent, "{:?}", status.totals);
    assert_eq!(packets(&status, "egress", "pass", "exempt"), sent);
    // And each packet is on one version's account.
    let exemptions = bed.exemptions().unwrap();
    assert_eq!(exemptions.iter().map(|it| it.used_packets).sum::<u64>(), sent);
    assert!(exemptions.iter().filter(|it| it.used_packets > 0).count() > 3, "{:?}", states(&exemptions));
}

#[test]
#[ignore = "needs root and BPF"]
fn what_is_cut_is_closed_on_both_ends_and_nothing_else() {
    let running = Running::new("sockets");
    let bed = &running.bed;
    let neighbour = "203.0.113.11/24".parse().unwrap();
    bed.host(US).unwrap().add_address(HOST_INTERFACE, neighbour).unwrap();
    for family in Family::ALL {
        let address = bed::address(US, family).unwrap();
        let cidr = format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 });
        let listener = bed.listen(family).unwrap();
        for cut in ["stay", "revoke", "invalidate", "renewed"] {
            let id = format!("{cut}-{}", if address.is_ipv4() { 4 } else { 6 });
            bed.exempt(&id, &[&cidr], 600, None).unwrap();
            let carried = [(); 2].map(|()| bed.connect(&listener, US).unwrap());
            let kept = bed.connect(&listener, bed::BELGIUM).unwrap();
            for connection in carried.iter().chain([&kept]) {
                connection.passes().unwrap();
            }
            if cut == "renewed" {
                // They are quiet while another version takes over, and its end is theirs all the same.
                let text = exemption(&id, "mail", &[&cidr], 600, None);
                let text = text.replace("version = 1\n", "version = 2\nreplaces = 1\n");
                bed.load("renewed.toml", &text).unwrap();
            }
            let plan = match cut {
                "stay" => vec!["exemption", "stay", &id, "--order", "x"],
                "revoke" | "renewed" => vec!["exemption", "revoke", &id, "--why", "x"],
                _ => vec!["instrument", "invalidate", "US-Ireland MLAT 2001", "--why", "x"],
            };
            let planned = bed.tell(&[&plan[..], &["--dry-run"]].concat()).unwrap();
            let words: Vec<&str> = planned.split_whitespace().collect();
            assert!(words.join(" ").contains("live flows that would be cut: 2"), "{planned}");
            if cut != "renewed" {
                carried.iter().for_each(|connection| connection.passes().unwrap());
            }
            bed.tell(&plan).unwrap();
            for connection in &carried {
                is_closed(connection);
            }
            kept.passes().unwrap();
            if cut == "stay" {
                bed.tell(&["exemption", "revoke", &id, "--why", "x"]).unwrap();
            }
            if cut == "invalidate" {
                bed.tell(&["instrument", "restore", "US-Ireland MLAT 2001", "--why", "x"]).unwrap();
            }
        }
    }
}

/// The storage host's socket is closed, and the client saw a reset.
fn is_closed(connection: &Connection) {
    let server = (&connection.server).read(&mut [0; 1]).unwrap_err();
    assert_eq!(server.kind(), ErrorKind::ConnectionAborted, "{server}");
    let client = (&connection.client).read(&mut [0; 1]).unwrap_err();
    assert_eq!(client.kind(), ErrorKind::ConnectionReset, "{client}");
}

#[test]
#[ignore = "needs root and BPF"]
fn bad_input_is_refused_and_what_was_active_goes_on() {
    let running = Running::new("bad");
    let bed = &running.bed;
    bed.exempt("good", &[TO_US], 3600, None).unwrap();
    let (done, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let socket = bed.sender(MAIL_PORT, Family::V4).unwrap();
    let to = SocketAddr::new(bed::address(US, Family::V4).unwrap(), CLIENT_PORT);
    let before = bed.arrived(US, Family::V4).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                bed::send(&socket, to);
                sent.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| all_bad_input(&running)));
        done.store(true, Ordering::Relaxed);
        asked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    std::thread::sleep(Duration::from_millis(300));
    let sent = sent.load(Ordering::Relaxed);
    assert_eq!(bed.arrived(US, Family::V4).unwrap() - before, sent, "and its transfer never stopped");
}

fn all_bad_input(running: &Running) {
    let bed = &running.bed;
    let text = |id: &str| exemption(id, "mail", &["2001:db8:3::10/128"], 600, None);
    let comment = |bytes: usize| format!("{}# {}\n", text("long"), "x".repeat(bytes));
    let lines = text("over");
    let over = lines.lines().filter(|line| !line.starts_with("valid_"));
    let over = over.fold(String::new(), |text, line| text + line + "\n").replace(
        "\n\n[instrument]",
        "\nvalid_from = 2020-01-01T00:00:00Z\nvalid_until = 2020-02-01T00:00:00Z\n\n[instrument]",
    );
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"= = =".to_vec(), "bad.toml"),
        (Vec::new(), "id"),
        (b"\xff\xfe\x00[".to_vec(), "UTF-8"),
        ([text("utf").as_bytes(), b"# \xc3\x28\n"].concat(), "UTF-8"),
        (comment(300 << 10).into_bytes(), "262144 bytes"),
        (comment(5 << 20).into_bytes(), "262144 bytes"),
        (text("twice").replacen("id = ", "id = \"other\"\nid = ", 1).into_bytes(), "duplicate key"),
        (text("good").into_bytes(), "good"),
        (text("good").replace("version = 1", "version = 2").into_bytes(), "replaces"),
        (text("stray").replace("version = 1", "version = 2\nreplaces = 1").into_bytes(), "replaces"),
        (text("pin").replace("[\"mail\"]", "[\"mail\", \"letters\"]").into_bytes(), "letters"),
        (text("key").replace("purpose", "porpoise").into_bytes(), "porpoise"),
        (text("law").replace("treaty-request", "foreign-order").into_bytes(), "Art. 48"),
        (text("net").replace("2001:db8:3::10/128", "2001:db8:3::10/64").into_bytes(), "2001:db8:3::10/64"),
        (over.into_bytes(), "valid_until"),
    ];
    for (content, tells) in cases {
        let file = bed.write("bad.toml", content).unwrap();
        let answer = running.refused(&["exemption", "load", &file], 2, tells);
        assert!(answer.complaint.len() < 4000, "{} bytes of complaint", answer.complaint.len());
        running.refused(&["exemption", "load", &file, "--dry-run", "--json"], 2, tells);
    }
    let folder = bed.file("state");
    running.refused(&["exemption", "load", &folder.to_string_lossy()], 2, "state");
    running.refused(&["exemption", "load", &bed.file("none.toml").to_string_lossy()], 2, "none.toml");
    for words in [
        ["exemption", "stay", "never-was", "--order", "x"],
        ["exemption", "resume", "never-was", "--why", "x"],
        ["exemption", "revoke", "never-was", "--why", "x"],
    ] {
        running.refused(&words, 1, "never-was");
    }
    running.refused(&["exemption", "show", "never-was"], 1, "never-was");
    running.refused(&["instrument", "invalidate", "No such act", "--why", "x"], 1, "No such act");
    running.refused(&["exemption", "resume", "good", "--why", "x"], 2, "good");
    running.refused(&["exemption", "stay", "good", "--order", " "], 2, "reason");
    running.refused(&["exemption", "revoke", "good", "--why", &"x".repeat(2000)], 2, "reason");
    running.refused(&["exemption", "revoke", "good"], 2, "--why");

    // Past the command line, which looks at a document before it asks: the daemon refuses the same.
    for content in [comment(300 << 10), "= =".to_owned(), text("good")] {
        use guard_user::control::client::{ClientError, ask};
        use guard_user::control::protocol::{ErrorKind, Request};
        let before = running.snapshot();
        let request = Request::ExemptionLoad {
            document: content,
            name: "sent.toml".to_owned(),
            signatures: Vec::new(),
            dry_run: false,
            refused: false,
        };
        let refusal = ask(&bed.socket(), &request).unwrap_err();
        assert!(matches!(refusal, ClientError::Refused { kind: ErrorKind::BadInput, .. }), "{refusal}");
        let after = running.snapshot();
        assert_eq!(after.exemptions.len(), before.exemptions.len());
        assert_eq!(after.generation, before.generation);
    }
    let refusals = bed.trail().unwrap().into_iter().filter(|it| it.kind == "refusal").count();
    assert!(refusals >= 10, "refusals are kept: {refusals}");
    retry_until(PATIENCE, "the daemon", || bed.status().ok()).unwrap();
}

/// Who finds a violation asks for the transfer by its event: what that knows need not be typed, and what is signed and loaded
/// after it lets exactly that pass.
#[test]
#[ignore = "needs root and BPF"]
fn a_request_is_made_from_an_event_and_lets_that_transfer_pass() {
    let running = Running::new("from-event");
    let bed = &running.bed;
    assert!(!running.passes());
    let event = retry_until(PATIENCE, "the event", || {
        let events = bed.tell(&["events", "--json"]).unwrap();
        let all = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        all.into_iter().find(|event| event["jurisdiction"] == "US")
    })
    .unwrap();
    let answers = bed.file("answers.toml");
    let now = jiff::Timestamp::now();
    let until = now + jiff::SignedDuration::from_hours(1);
    let text = format!(
        "id = \"from-event\"\npurpose = \"Evidence\"\ndata_categories = [\"e-mail\"]\ndata_subjects = [\"customers\"]\n\
         valid_from = {now:.0}\nvalid_until = {until:.0}\nquota_bytes = 1000000\n{}\n[[recipient]]\nname = \"Court\"\n",
        guard_tests::document::INSTRUMENT
    );
    std::fs::write(&answers, text).unwrap();
    let (document, number) = (bed.file("from-event.toml"), event["id"].to_string());
    let document = document.to_str().unwrap();
    let words =
        ["exemption", "new", document, "--answers", answers.to_str().unwrap(), "--from-event", &number];
    let shown = bed.tell(&words).unwrap();
    let written = std::fs::read_to_string(document).unwrap();
    let address = event["destination"]["ip"].as_str().unwrap();
    assert!(written.contains(&format!("cidrs = [\"{address}/32\"]")), "{shown}\n{written}");
    assert!(written.contains("pins = [\"mail\"]") && written.contains("jurisdiction = \"US\""), "{written}");
    bed.tell(&["exemption", "load", document]).unwrap();
    assert!(running.passes());
    let missing =
        bed.tell(&["exemption", "new", "x.toml", "--from-event", "999999"]).unwrap_err().to_string();
    assert!(missing.contains("no event 999999, in memory or in its flow history"), "{missing}");
}

/// Nobody has to look at a list each day: a program of the operator's is told of what is due, and one that fails is a problem.
#[test]
#[ignore = "needs root and BPF"]
fn who_has_to_do_something_is_told() {
    let bed = Bed::new("told").unwrap();
    let told = bed.file("told");
    let with = |script: &str| {
        let command = format!("[record]\nnotify = [\"/bin/sh\", \"-c\", {script:?}]\n{PIN}");
        bed.configure(&command).unwrap();
    };
    with(&format!("cat >> {}", told.display()));
    let daemon = bed.start(&[]).unwrap();
    let tomorrow = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    let duty = format!("[[duty]]\nwhat = \"answer\"\ndue = {}\n", tomorrow.strftime("%Y-%m-%d"));
    let load = |id: &str| {
        let file = bed.file(&format!("{id}.toml"));
        std::fs::write(&file, exemption(id, "mail", &[TO_US], 3600, None) + &duty).unwrap();
        bed.tell(&["exemption", "load", file.to_str().unwrap()]).unwrap();
    };
    load("first");
    let line = retry_until(PATIENCE, "the notice", || {
        std::fs::read_to_string(&told).ok().filter(|text| text.ends_with('\n'))
    })
    .unwrap();
    let notice: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    let of = (&notice["notice"]["what"], &notice["notice"]["exemption"], &notice["notice"]["duty"]);
    assert_eq!(of, (&"duty-due".into(), &"first".into(), &"answer".into()), "{line}");
    // Nothing but the notice waits for a program that fails.
    with("exit 3");
    bed.tell(&["reload"]).unwrap();
    load("second");
    let code = guard_user::health::ProblemCode::NotNotified;
    let problem = retry_until(PATIENCE, "the problem", || {
        bed.status().unwrap().problems.into_iter().find(|it| it.code == code)
    })
    .unwrap();
    assert!(problem.message.contains("exit status: 3"), "{problem:?}");
    assert_eq!(std::fs::read_to_string(&told).unwrap(), line, "each is told once");
    drop(daemon);
}
