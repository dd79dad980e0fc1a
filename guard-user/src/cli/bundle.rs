//! `borderguard bundle`: one archive with what somebody needs who is to help with this host.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::table::write_wrapped;
use super::target::Target;
use super::{doctor, told, trail};
use crate::audit::Stored;
use crate::bundle::{self, Part, Redactor};
use crate::config;
use crate::control::status::Status;
use crate::doctor::Report;
use crate::exit::Exit;

/// Records of the audit trail that it has.
const RECORDS: usize = 200;

/// Keys of an exemption in the status that it has.
const OF_EXEMPTIONS: &[&str] = &[
    "id",
    "version",
    "state",
    "confidential",
    "pins",
    "valid_from",
    "valid_until",
    "quota_bytes",
    "used_bytes",
    "slot",
];

/// Arguments of `bundle`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Into this new file, a tar archive that its owner alone can read
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Without addresses, users, commands, processes, cgroups and the host's name
    #[arg(long)]
    pub redact: bool,
    /// The daemon.
    #[command(flatten)]
    pub target: Target,
}

/// Gathers what can be had, writes it, and says what is in it and what is missing.
///
/// # Errors
/// Where the file is there already or can't be written, or a config was named that is none.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let Args { file, redact, target } = args;
    let mut gathered = Gathered { redactor: redact.then(Redactor::default), ..Gathered::default() };
    gathered.config(target);
    gathered.daemon(target)?;
    gathered.trail(target);
    let made = Timestamp::now();
    gathered.about(made);
    let seconds = u64::try_from(made.as_second()).unwrap_or(0);
    bundle::write(file, &gathered.parts, seconds).map_err(|error| {
        let is_there = error.kind() == ErrorKind::AlreadyExists;
        let todo = if is_there { ": nothing is written over; name a file that is not there yet" } else { "" };
        anyhow::Error::new(error).context(format!("cannot write the archive {}{todo}", file.display()))
    })?;
    let names: Vec<&str> = gathered.parts.iter().map(|part| part.name).collect();
    let redacted = if *redact { "without addresses" } else { "WITH addresses: --redact leaves them out" };
    let line = format!("{} has {}, {redacted}", file.display(), names.join(", "));
    write_wrapped("", "  ", &line, out)?;
    for (name, why) in &gathered.missing {
        write_wrapped("", "  ", &format!("without {name}: {why}"), out)?;
    }
    write_wrapped(
        "",
        "",
        "Look at it before you hand it on: names of pins, sites, interfaces and files are in it.",
        out,
    )?;
    Ok(Exit::Ok)
}

/// What was had, and what not.
#[derive(Default)]
struct Gathered {
    redactor: Option<Redactor>,
    parts: Vec<Part>,
    missing: Vec<(&'static str, String)>,
}

impl Gathered {
    fn add(&mut self, name: &'static str, text: String) {
        let text = match &mut self.redactor {
            Some(redactor) => redactor.without_addresses(&text),
            None => text,
        };
        self.parts.push(Part { name, text });
    }

    fn lack(&mut self, name: &'static str, why: String) {
        let why = self.redactor.as_mut().map(|redactor| redactor.without_addresses(&why)).unwrap_or(why);
        self.missing.push((name, why));
    }

    fn config(&mut self, target: &Target) {
        let file = target.config_file();
        // With what is in policy.d: that is the text which the trail has the hash of.
        match config::text(&file) {
            Ok(text) => self.add("policy.toml", String::from_utf8_lossy(&text).into_owned()),
            Err(errors) => self.lack("policy.toml", format!("cannot read the config: {errors}")),
        }
    }

    /// What the daemon and the host say.
    fn daemon(&mut self, target: &Target) -> Result<()> {
        let hides = self.redactor.is_some();
        let daemon = doctor::daemon(target)?;
        let daemon = daemon.map(|status| if hides { status.without_people() } else { status });
        match &daemon {
            Ok(status) => self.status(status)?,
            Err(unknown) => {
                self.lack("status.json", unknown.why.clone());
                self.lack("problems.json", "as status.json".to_owned());
            }
        }
        let mut report = Report::of(&doctor::this_host(daemon), &BTreeSet::new());
        if hides {
            // Users and processes are in the evidence of these alone.
            let of_people = ["earlier-sockets", "namespace-tunnels", "user-namespaces"];
            let withheld = report.checks.iter_mut().filter(|checked| of_people.contains(&checked.code));
            withheld.for_each(|checked| {
                checked.evidence = vec!["withheld: it may name users or processes".to_owned()]
            });
        }
        self.add("doctor.json", pretty(&serde_json::to_value(&report)?));
        Ok(())
    }

    fn status(&mut self, status: &Status) -> Result<()> {
        let mut shown = serde_json::to_value(status)?;
        without_texts(&mut shown);
        self.add("status.json", pretty(&shown));
        self.add("problems.json", pretty(&serde_json::to_value(&status.problems)?));
        Ok(())
    }

    /// The last records of the trail: what happened, and not to whom, by whom and why.
    fn trail(&mut self, target: &Target) {
        let lines = match trail::lines(target, 0) {
            Ok(lines) => lines,
            Err(error) => return self.lack("audit.jsonl", told(&error)),
        };
        let last = lines.get(lines.len().saturating_sub(RECORDS)..).unwrap_or_default();
        let text = last.iter().map(|line| format!("{}\n", by_code(line))).collect();
        self.add("audit.jsonl", text);
    }

    fn about(&mut self, made: Timestamp) {
        let uname = rustix::system::uname();
        let text = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
        let host = if self.redactor.is_some() { None } else { Some(text(uname.nodename())) };
        let missing = self.missing.iter().map(|(file, why)| json!({ "file": file, "why": why }));
        let about = json!({
            "schema": 1,
            "made": made.to_string(),
            "version": env!("CARGO_PKG_VERSION"),
            "kernel": { "release": text(uname.release()), "version": text(uname.version()), "machine": text(uname.machine()) },
            "host": host,
            "redacted": self.redactor.is_some(),
            "missing": missing.collect::<Vec<_>>(),
        });
        // First, and as it is: what it says was redacted when it was noted.
        self.parts.insert(0, Part { name: "about.json", text: pretty(&about) });
    }
}

/// Leaves the texts of exemptions out: whoever helps has no need to know who receives what, and on what ground.
fn without_texts(status: &mut Value) {
    let exemptions = status.get_mut("exemptions").and_then(Value::as_array_mut).into_iter().flatten();
    for exemption in exemptions.filter_map(Value::as_object_mut) {
        exemption.retain(|key, _| OF_EXEMPTIONS.contains(&key.as_str()));
    }
}

/// Number, time and kind of a record.
fn by_code(line: &str) -> Value {
    match Stored::read(line.as_bytes()) {
        Ok(Stored { sequence, time, kind, .. }) => {
            json!({ "sequence": sequence, "time": time.to_string(), "kind": kind })
        }
        Err(_) => json!({ "kind": "unreadable" }),
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_told_by_number_time_and_kind_alone() {
        let line = r#"{"detail":{"to":"192.0.2.1"},"kind":"revoke","previous":"00","sequence":7,"subject":"mlat","time":"2026-11-23T06:25:57Z","who":{"uid":0,"user":"root"},"why":"a secret"}"#;
        assert_eq!(
            by_code(line).to_string(),
            r#"{"kind":"revoke","sequence":7,"time":"2026-11-23T06:25:57Z"}"#
        );
        assert_eq!(by_code("{}").to_string(), r#"{"kind":"unreadable"}"#);
    }

    #[test]
    fn of_an_exemption_the_status_has_no_text() {
        let exemption = serde_json::json!({"id": "mlat", "state": "active", "purpose": "a secret"});
        let mut gathered = Gathered::default();
        let mut shown = serde_json::json!({"exemptions": [exemption], "health": "guarding"});
        without_texts(&mut shown);
        gathered.add("status.json", shown.to_string());
        assert_eq!(
            gathered.parts[0].text,
            r#"{"exemptions":[{"id":"mlat","state":"active"}],"health":"guarding"}"#
        );
    }

    #[test]
    fn what_is_missing_is_told_without_addresses_too() {
        let mut gathered = Gathered { redactor: Some(Redactor::default()), ..Gathered::default() };
        gathered.add("policy.toml", "192.0.2.1".into());
        gathered.lack("status.json", "no answer of 192.0.2.1".into());
        gathered.about(Timestamp::UNIX_EPOCH);
        let about: Value = serde_json::from_str(&gathered.parts[0].text).unwrap();
        assert_eq!(about["missing"], json!([{"file": "status.json", "why": "no answer of address-1"}]));
        assert_eq!((&about["made"], &about["host"]), (&json!("1970-01-01T00:00:00Z"), &Value::Null));
        assert_eq!(
            gathered.parts.iter().map(|part| part.name).collect::<Vec<_>>(),
            ["about.json", "policy.toml"]
        );
    }
}
