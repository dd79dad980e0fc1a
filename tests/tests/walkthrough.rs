//! docs/exemptions.md and docs/exemption-life.md as their readers follow them: every command of the walkthrough in its order, against the real
//! daemon, with what the page says that it prints, and what the kernel lets through after it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use guard_tests::bed::{Bed, Family, MAIL_PORT, PATIENCE, PIN_BOTH_WAYS, STORE, US};
use guard_tests::pages::blocks;
use guard_tests::proc::run_to_end;
use guard_tests::program;
use jiff::{SignedDuration, Timestamp};

/// The pages, the second of which goes on where the first ends.
const PAGES: [&str; 2] =
    [include_str!("../../docs/exemptions.md"), include_str!("../../docs/exemption-life.md")];

/// What stands for lines that are left out.
const LEFT_OUT: &str = "...";

/// Commands after which packets to the recipient pass, or do not.
const PASSES: [(&str, bool); 9] = [
    ("borderguard exemption sign mlat-2026-0142.toml --key ~/.ssh/brian", false),
    ("borderguard exemption load mlat-2026-0142.toml --dry-run", false),
    ("borderguard exemption load mlat-2026-0142.toml\n", true),
    ("borderguard exemption stay mlat-2026-0142", false),
    ("borderguard exemption stay --pin", false),
    ("borderguard exemption resume mlat-2026-0142 --order", false),
    ("borderguard exemption load mlat-2026-0142.v2.toml", true),
    ("borderguard exemption revoke", false),
    ("borderguard instrument invalidate", false),
];

/// Datagrams that are sent each time.
const SENT: u64 = 9;

/// The page's commands that are run together, and what it says that they print.
struct Step {
    commands: String,
    shown: String,
}

fn steps() -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (kind, text) in PAGES.into_iter().flat_map(blocks) {
        match (kind, steps.last_mut()) {
            ("sh", _) => steps.push(Step { commands: text, shown: String::new() }),
            // The user that stands for this one here.
            ("text", Some(step)) => step.shown = text.replace("loaded by brian:", "loaded by daemon:"),
            _ => {}
        }
    }
    steps
}

/// The page's commands as they are run here: in a folder of the test's own, without a passphrase, with users of this host,
/// and with windows that are open today.
fn here(commands: &str, folder: &Path) -> String {
    let day = |days: i64| format!("{:.0}", Timestamp::now() + SignedDuration::from_hours(24 * days));
    let replaced = [
        ("/etc/borderguard", folder.to_str().unwrap().to_owned()),
        ("ssh-keygen -t ed25519 ", "ssh-keygen -q -t ed25519 -N '' ".to_owned()),
        // Users that every host has: `check` warns of others.
        ("user = \"aoife\"", "user = \"nobody\"".to_owned()),
        ("user = \"brian\"", "user = \"daemon\"".to_owned()),
        ("2026-11-23T00:00:00Z", day(-1)),
        ("2026-12-07T00:00:00Z", day(14)),
        ("2027-01-15T00:00:00Z", day(53)),
        ("review_by = 2027-06-01", format!("review_by = {}", &day(190)[..10])),
    ];
    let mut text = commands.to_owned();
    for (there, here) in replaced {
        text = text.replace(there, &here);
    }
    text.lines().map(|line| with_yes(line) + "\n").collect()
}

/// A command that signs, with the answer that somebody types at a terminal, which is not there here.
fn with_yes(line: &str) -> String {
    let signed = line.strip_prefix("borderguard exemption sign ").and_then(|rest| rest.split(' ').next());
    signed.map_or_else(
        || line.to_owned(),
        |file| format!("{line} --yes \"$(sha256sum {file} | cut -d ' ' -f 1)\""),
    )
}

/// A line without what differs from run to run: moments, keys and hashes, the numbers of generations and of
/// audit records.
fn lasting(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in line.trim_end().split(' ') {
        let is_first = words.iter().all(String::is_empty);
        let is_number = word.starts_with(|c: char| c.is_ascii_digit());
        words.push(match words.last().map(String::as_str) {
            Some("(generation" | "records:") => "NUMBER".to_owned(),
            _ if is_first && is_number => "NUMBER".to_owned(),
            _ => match word.split_once('=') {
                Some((key, value)) => format!("{key}={}", lasting_word(value)),
                None => lasting_word(word).to_owned(),
            },
        });
    }
    // The number of a record is set flush right.
    if words.iter().find(|word| !word.is_empty()).is_some_and(|word| word == "NUMBER") {
        words.retain(|word| !word.is_empty());
    }
    let mut text = words.join(" ");
    // How far a moment is from now.
    let Some((before, rest)) = text.split_once("TIME UTC (") else { return text };
    if let Some((_, after)) = rest.split_once(')') {
        text = format!("{before}TIME UTC{after}");
    }
    text
}

fn lasting_word(word: &str) -> &str {
    let shape: String = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    match shape.trim_end_matches([',', ';', ':', '.']) {
        "0000-00-00" => "DAY",
        "00:00:00" => "TIME",
        _ if word.starts_with("SHA256:") => "SHA256",
        _ if word.len() >= 16 && word.chars().all(|c| c.is_ascii_hexdigit()) => "HASH",
        _ => word,
    }
}

/// The text with lines that were wrapped put together again: where they break depends on how long ago something was.
fn unwrapped(text: &str) -> String {
    let mut whole = String::new();
    for line in text.lines() {
        match line.starts_with("        ") && !whole.is_empty() {
            true => whole.push(' '),
            false if whole.is_empty() => {}
            false => whole.push('\n'),
        }
        whole.push_str(if line.starts_with("        ") { line.trim_start() } else { line });
    }
    whole
}

/// Where what was printed is not what the page shows.
fn difference(shown: &str, printed: &str) -> Option<String> {
    let (shown, printed) = (unwrapped(shown), unwrapped(printed));
    let printed: Vec<String> = printed.lines().map(lasting).collect();
    let (mut at, mut may_skip) = (0, false);
    for line in shown.lines() {
        if line == LEFT_OUT {
            may_skip = true;
            continue;
        }
        let wanted = lasting(line);
        let found = printed.iter().skip(at).position(|it| *it == wanted);
        match found {
            Some(0) => at += 1,
            Some(skipped) if may_skip => at += skipped + 1,
            _ => return Some(format!("the page shows this line, and it was not printed there: {line}")),
        }
        may_skip = false;
    }
    match printed.get(at) {
        Some(more) if !may_skip => Some(format!("this was printed, and the page does not show it: {more}")),
        _ => None,
    }
}

#[test]
fn what_is_printed_is_held_against_the_page() {
    let printed = "a, 2026-11-23 06:27:11 UTC (1 second ago) by root (generation 4)\nb\nc SHA256:abc\nd\n";
    let same = "a, 2027-01-02 11:11:11 UTC (now) by root (generation 17)\n...\nc SHA256:xyz\nd\n";
    assert_eq!(difference(same, printed), None);
    assert_eq!(difference("    12  load  key=SHA256:x  version=1", "9  load  key=SHA256:y  version=1"), None);
    assert!(difference("    12  load  version=2", "9  load  version=1").is_some());
    for wrong in [
        "a, 2027-01-02 11:11:11 UTC (now) by eve (generation 17)\n...\n",
        "...\nd\nc SHA256:xyz\n",
        "...\nc SHA256:xyz\n",
        "b\n...\n",
        "...\nd\ne\n",
        "",
    ] {
        assert!(difference(wrong, printed).is_some(), "{wrong:?}");
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn the_walkthrough_does_what_the_page_says() {
    let bed = Bed::new("walk").unwrap();
    let pin = PIN_BOTH_WAYS.replace("\"mail\"", "\"mail-ie\"");
    // The embedded database, which the page shows.
    bed.configure(&format!("{pin}[geo]\nmax_age = \"36500d\"\n")).unwrap();
    let folder = bed.file("work");
    fs::create_dir_all(folder.join(".ssh")).unwrap();
    let etc = folder.parent().unwrap();
    // Commands find the daemon by its config, which is not where they look for it by themselves.
    let begin = format!(
        "set -eu; export HOME={folder:?} TZ=UTC LC_ALL=C; cd {folder:?}; exec 2>&1\n\
         borderguard() {{ case \"$*\" in\n\
         check*|*--config*|'exemption new'*|'exemption sign'*|'exemption renew'*) {program:?} \"$@\";;\n\
         *) {program:?} \"$@\" --config {config:?};; esac; }}\n",
        program = program::borderguard().unwrap(),
        config = bed.config(),
    );
    let _daemon = bed.start(&[]).unwrap();
    let (mut met, mut wrong) = (0, String::new());
    let steps = steps();
    for Step { commands, shown } in &steps {
        let mut shell = bed.host(STORE).unwrap().command("sh").unwrap();
        shell.arg("-c").arg(begin.clone() + &here(commands, etc));
        let (status, printed, _) = run_to_end("sh", shell, PATIENCE).unwrap();
        let printed = printed.replace(etc.to_str().unwrap(), "/etc/borderguard");
        assert!(status.success(), "{status}:\n{commands}\nprinted:\n{printed}");
        if let Some(difference) = difference(shown, &printed) {
            writeln!(wrong, "{difference}\n{commands}printed:\n{printed}").unwrap();
        }
        for (_, passes) in PASSES.iter().filter(|(command, _)| commands.contains(command)) {
            met += 1;
            let arrived = bed.send(SENT, MAIL_PORT, US, Family::V4).unwrap();
            assert_eq!(arrived, if *passes { SENT } else { 0 }, "after:\n{commands}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!(met, PASSES.len(), "every command that opens or closes is on the page");
    let report = fs::read_to_string(folder.join("transfers.html")).unwrap();
    assert!(report.contains("mlat-2026-0142"));
}
