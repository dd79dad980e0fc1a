//! Texts that people write or send: configs, documents, signatures, requests.

use std::path::Path;

use anyhow::Result;
use guard_user::approval::signature::Parsed;
use guard_user::approval::{AllowedSigners, Widest};
use guard_user::audit::{Checkpoint, Head, Kind, Record, Stored, Who, next_line};
use guard_user::compile::{CompileError, HostFacts, policy_table};
use guard_user::config::{self, Surroundings};
use guard_user::control::line::parse_request;
use guard_user::exemption::law::pack::EMBEDDED;
use guard_user::exemption::{self, LawPack, Lift};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::target::Target;
use crate::document::exemption_within;
use crate::{frames, pages, storm};

pub(super) const CONFIG: Target = Target {
    name: "config",
    what: "a config",
    needs_bpf: false,
    take: config,
    seeds: configs,
    longest: 1 << 14,
};

pub(super) const DOCUMENT: Target = Target {
    name: "document",
    what: "an exemption's document",
    needs_bpf: false,
    take: document,
    seeds: documents,
    longest: 1 << 13,
};

pub(super) const LIFT: Target = Target {
    name: "lift",
    what: "a document that lifts an order",
    needs_bpf: false,
    take: lift,
    seeds: lifts,
    longest: 1 << 12,
};

pub(super) const LAW: Target = Target {
    name: "law",
    what: "a law pack",
    needs_bpf: false,
    take: law,
    seeds: || Ok(vec![EMBEDDED.as_bytes().to_vec()]),
    longest: 1 << 17,
};

pub(super) const SIGNERS: Target = Target {
    name: "signers",
    what: "a file of allowed signers",
    needs_bpf: false,
    take: signers,
    // Those of the corpus, with keys that ssh-keygen made.
    seeds: || Ok(Vec::new()),
    longest: 1 << 12,
};

pub(super) const SIGNATURE: Target = Target {
    name: "signature",
    what: "a signature that ssh-keygen made, and others",
    needs_bpf: false,
    take: signature,
    // Those of the corpus.
    seeds: || Ok(Vec::new()),
    longest: 1 << 12,
};

pub(super) const REQUEST: Target = Target {
    name: "request",
    what: "a line on the control socket",
    needs_bpf: false,
    take: request,
    seeds: requests,
    longest: 1 << 12,
};

pub(super) const RECORD: Target = Target {
    name: "record",
    what: "a line of the audit trail, and a checkpoint of one",
    needs_bpf: false,
    take: record,
    seeds: records,
    longest: 1 << 12,
};

fn config(input: &[u8]) {
    let parse = || config::parse(Path::new("fuzz.toml"), input, &Surroundings::new(None));
    match parse() {
        Ok(checked) => {
            // What is taken can be made tables of, but for what this host doesn't have.
            match policy_table(&checked.policy, &[], &HostFacts::default(), 1) {
                Ok(_)
                | Err(
                    CompileError::NoCgroup { .. }
                    | CompileError::NoUser { .. }
                    | CompileError::NoVolume { .. }
                    | CompileError::CgroupLevel { .. },
                ) => {}
                Err(error) => panic!("a config that is taken can't be compiled: {error}"),
            }
            assert_eq!(parse().as_ref(), Ok(&checked), "the same bytes are another policy");
        }
        Err(errors) => shown(&errors.to_string()),
    }
}

/// An error is read on a terminal: what it quotes of an input can't steer one.
fn shown(text: &str) {
    assert!(!text.is_empty());
    assert!(!text.chars().any(|it| it.is_control() && !matches!(it, '\n' | '\t')), "{text:?}");
}

fn document(input: &[u8]) {
    let Ok(law) = LawPack::shared() else { return };
    let surroundings = exemption::Surroundings {
        pins: None,
        now: Some(now()),
        widest: Widest::default(),
        homes: None,
        law: Some(law),
        earlier: None,
    };
    match exemption::parse(Path::new("fuzz.toml"), input, &surroundings) {
        Ok(document) => {
            assert!(document.ends() > now(), "it is over: {document:?}");
            let _dates = (document.requirements(), document.due_dates(), document.duties_done());
            document.doubts().iter().for_each(|doubt| shown(doubt));
        }
        Err(errors) => shown(&errors.to_string()),
    }
}

fn now() -> Timestamp {
    Timestamp::constant(1_790_000_000, 0)
}

fn lift(input: &[u8]) {
    let _is_meant = Lift::is_meant(input);
    if let Err(error) = Lift::parse(input) {
        shown(&error.to_string());
    }
}

fn law(input: &[u8]) {
    if let Err(error) = LawPack::parse("fuzz.toml", input) {
        assert!(!error.to_string().is_empty());
    }
}

fn signers(input: &[u8]) {
    if let Err(error) = AllowedSigners::parse(input, &TimeZone::UTC) {
        shown(&error.to_string());
    }
}

/// What the signatures of the corpus are of.
const SIGNED: &[u8] = b"a document that is signed\n";

fn signature(input: &[u8]) {
    match Parsed::read(input) {
        Ok(parsed) => {
            // Whoever made it, it is of one document at most.
            let good = parsed.verify(SIGNED).is_ok();
            assert!(!(good && parsed.verify(b"another").is_ok()), "a signature of two documents");
        }
        Err(refusal) => shown(&refusal.to_string()),
    }
}

fn request(input: &[u8]) {
    match parse_request(input) {
        // What was read is written as what is read again.
        Ok(request) => {
            let line = request.to_line().unwrap_or_else(|error| panic!("{error}: {request:?}"));
            let again = parse_request(line.as_bytes()).map_err(|response| response.to_line());
            assert_eq!(again.as_ref(), Ok(&request), "{line}");
        }
        Err(response) => {
            let line = response.to_line();
            assert_eq!(line.lines().count(), 1, "{line:?}");
            assert!(!line.trim_end().chars().any(char::is_control), "{line:?}");
        }
    }
}

fn record(input: &[u8]) {
    if let Ok(line) = std::str::from_utf8(input) {
        let read = Stored::read(input);
        // A trail goes on behind each record, and behind nothing else.
        let next = next_line(Some(line), &example());
        assert!(read.is_ok() || next.is_err(), "{line:?}");
        if let Ok(next) = next {
            assert!(Head::of_line(&next).is_ok(), "{next:?}");
        }
        if let Ok(checkpoint) = line.parse::<Checkpoint>() {
            assert_eq!(checkpoint.to_string(), line, "two texts of one checkpoint");
        }
    }
}

fn example() -> Record {
    let who = Who { uid: 1000, user: Some("dpo".to_owned()), pid: Some(7) };
    Record {
        time: now(),
        kind: Kind::Stay,
        who,
        subject: "mail-1".to_owned(),
        why: "the court's order 4711".to_owned(),
        detail: serde_json::Map::new(),
    }
}

fn configs() -> Result<Vec<Vec<u8>>> {
    let example = include_str!("../../../docs/example.toml");
    let page = pages::blocks(include_str!("../../../docs/config.md"));
    let blocks = page.into_iter().filter(|(kind, _)| *kind == "toml").map(|(_, text)| text.into_bytes());
    let others = [example, frames::POLICY].map(|text| text.as_bytes().to_vec());
    Ok(others.into_iter().chain([storm::config().into_bytes()]).chain(blocks).collect())
}

fn documents() -> Result<Vec<Vec<u8>>> {
    let page = pages::blocks(include_str!("../../../docs/exemption-document.md"));
    let blocks = page.into_iter().filter(|(kind, _)| *kind == "toml").map(|(_, text)| text.into_bytes());
    let window = now()..now() + jiff::SignedDuration::from_hours(24);
    let made = exemption_within("mail-1", "mail", &["203.0.113.0/24"], window, Some(1 << 30));
    Ok(blocks.chain([made.into_bytes()]).collect())
}

fn lifts() -> Result<Vec<Vec<u8>>> {
    let text = r#"lift = "stay"
covers = "exemption"
name = "mail-1"
order = "2026/0142"
given = "2026-11-01T10:00:00Z"
why = "the court has lifted it"
submitter = "counsel@example.org"

[[opens]]
id = "mail-1"
version = 1
"#;
    Ok(vec![text.as_bytes().to_vec()])
}

fn requests() -> Result<Vec<Vec<u8>>> {
    let lines = [
        r#"{"request":"status"}"#,
        r#"{"request":"reload","api":1}"#,
        r#"{"request":"stay","id":"mail-1","order":"2026/0142","why":"x","api":1}"#,
        r#"{"request":"revoke","id":"mail-1","why":"x","api":1}"#,
        r#"{"request":"events","follow":true,"api":1}"#,
        r#"{"request":"exemptions","api":1}"#,
    ];
    // Of this version, whichever that is.
    let version = guard_user::control::line::API;
    Ok(lines.map(|line| line.replace("\"api\":1", &format!("\"api\":{version}")).into_bytes()).into())
}

fn records() -> Result<Vec<Vec<u8>>> {
    let first = next_line(None, &example())?;
    let second = next_line(Some(&first), &example())?;
    let head = Head::of_line(&second)?;
    let checkpoint = Checkpoint::new("dublin-1", now(), head).to_string();
    Ok([first, second, checkpoint].map(String::into_bytes).into())
}
