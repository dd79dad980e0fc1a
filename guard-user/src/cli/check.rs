//! `borderguard check FILE`: every error in a config, or every warning, and what a start would stumble over on this
//! host.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::table::write_wrapped;
use crate::config::{self, Checked, ConfigErrors, Explain, Finding, Surroundings};
use crate::control::status::UnpinnedStatus;
use crate::exit::Exit;
use crate::geo::{Info, embedded};
use crate::text::visible;
use crate::unpinned;
use this_host::ThisHost;

mod databases;
mod this_host;

/// Arguments of `check`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The config
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Look at the text alone, not at this host: for a config of another host
    #[arg(long)]
    pub text_only: bool,
    /// Warnings are errors: the exit code is 2 where there is any
    #[arg(long)]
    pub strict: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// Checks the file and writes what was found.
///
/// # Errors
/// Where `out` can't be written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let Args { file, text_only, strict, json } = args;
    let checked = match text_only {
        true => {
            let database = embedded::load();
            let place = |address| Some(database.lookup(address));
            let result = config::load(file, &Surroundings::new(Some(&place)));
            Outcome { file, result, unseen: Vec::new(), databases: Vec::new(), unpinned: None }
        }
        false => {
            let host = ThisHost::new();
            let result = config::load(file, &Surroundings::of_host(&host));
            let policy = result.as_ref().ok().map(|checked| &checked.policy);
            let unpinned = policy.filter(|policy| !policy.pins.is_empty()).and_then(|it| host.unpinned(it));
            Outcome { file, result, unseen: host.unseen(), databases: host.databases(), unpinned }
        }
    };
    match json {
        true => checked.write_json(out)?,
        false => checked.write_text(out)?,
    }
    let is_usable = checked.result.as_ref().is_ok_and(|it| !strict || it.warnings.is_empty());
    Ok(if is_usable { Exit::Ok } else { Exit::BadInput })
}

/// What a check found.
struct Outcome<'a> {
    file: &'a Path,
    result: Result<Checked, ConfigErrors>,
    /// Keys whose values could not be looked at.
    unseen: Vec<&'static str>,
    /// The geo databases that were read.
    databases: Vec<Info>,
    /// What of this host no pin knows.
    unpinned: Option<UnpinnedStatus>,
}

impl Outcome<'_> {
    /// Two lines for each finding and one with the counts.
    fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        let name = self.file.display();
        databases::write(&self.databases, Timestamp::now(), out)?;
        match &self.result {
            Ok(Checked { policy, warnings }) => {
                for warning in warnings {
                    write_finding(self.file, "warning", warning, out)?;
                }
                let warnings = match warnings.len() {
                    0 => "no warnings".to_owned(),
                    count => counted(count, "warning"),
                };
                writeln!(
                    out,
                    "{name}: no errors, {warnings}; {}, {}, {}",
                    counted(policy.distinct_pins().count(), "pin"),
                    counted(policy.sites.len(), "site"),
                    counted(policy.failsafe.len(), "failsafe rule"),
                )?;
            }
            Err(ConfigErrors { errors, .. }) => {
                for error in errors {
                    write_finding(self.file, "error", error, out)?;
                }
                let count = counted(errors.len(), "error");
                writeln!(out, "{name}: {count}; warnings are looked for once there are no errors")?;
            }
        }
        for sentence in self.unpinned.iter().flat_map(unpinned::sentences) {
            write_wrapped("", "  ", &visible(&sentence), out)?;
        }
        match self.unseen.is_empty() {
            true => Ok(()),
            false => writeln!(out, "{name}: not looked at, run it as root: {}", self.unseen.join(", ")),
        }
    }

    /// One object on one line.
    fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let now = Timestamp::now();
        let databases: Vec<Value> = self.databases.iter().map(|info| databases::json(info, now)).collect();
        let object = match &self.result {
            Ok(Checked { policy, warnings }) => json!({
                "file": self.file.to_string_lossy(),
                "usable": true,
                "errors": [],
                "warnings": warnings.iter().map(finding_json).collect::<Vec<_>>(),
                "not_looked_at": self.unseen,
                "databases": databases,
                "unpinned": self.unpinned,
                "pins": policy.distinct_pins().count(),
                "sites": policy.sites.len(),
                "failsafe": policy.failsafe.len(),
                "fingerprint": format!("{:016x}", policy.fingerprint),
            }),
            Err(ConfigErrors { errors, .. }) => json!({
                "file": self.file.to_string_lossy(),
                "usable": false,
                "errors": errors.iter().map(finding_json).collect::<Vec<_>>(),
                "warnings": [],
                "not_looked_at": self.unseen,
                "databases": databases,
            }),
        };
        writeln!(out, "{object}")
    }
}

/// Writes one finding as compilers do, and what to do about it.
pub(super) fn write_finding<K: Explain>(
    file: &Path,
    level: &str,
    finding: &Finding<K>,
    out: &mut impl Write,
) -> io::Result<()> {
    let hint = finding.kind.hint();
    writeln!(out, "{}{level}: {finding}\n  hint: {hint}", finding.at(file))
}

pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// `line` and `column` are null where the finding is about the file as a whole, `field` where it is
/// about no key, and `within` where it is in the document's own file.
pub(super) fn finding_json<K: Explain>(finding: &Finding<K>) -> Value {
    json!({
        "line": finding.place.map(|place| place.line),
        "column": finding.place.map(|place| place.column),
        "within": finding.within,
        "field": (!finding.field.is_empty()).then_some(&finding.field),
        "code": finding.kind.code(),
        "message": finding.kind.to_string(),
        "hint": finding.kind.hint(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the command on a file of this content; its output names the file `policy.toml`.
    fn check(content: &str, json: bool) -> (u8, String) {
        check_by(content, json, false)
    }

    fn check_by(content: &str, json: bool, strict: bool) -> (u8, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.toml");
        std::fs::write(&file, content).unwrap();
        let mut out = Vec::new();
        let exit = run(&Args { file: file.clone(), text_only: true, strict, json }, &mut out).unwrap();
        (exit.code(), String::from_utf8(out).unwrap().replace(file.to_str().unwrap(), "policy.toml"))
    }

    const PIN: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
                       action = \"drop\"\n[[pin.select]]\nports = [\"tcp/143\"]\nsources = [\"192.0.2.10/32\"]\n\
                       [[pin.select]]\ncgroups = [\"mail.slice\"]\n";

    #[test]
    fn errors_are_written_as_compilers_write_them() {
        let (code, shown) = check(&PIN.replace("IE", "EU").replace("tcp/143", "143"), false);
        let expected = r#"policy.toml:6:8: error: pin.home: "EU" is a group, and one country is needed here
  hint: name one country, such as "IE"; groups can stand in a pin's permit
policy.toml:9:10: error: pin.select.ports: "143" is no port with its protocol
  hint: for example "tcp/143" or "udp/5000-5010"; ports are 0 to 65535
policy.toml: 2 errors; warnings are looked for once there are no errors
"#;
        assert_eq!((code, shown.as_str()), (2, expected));
    }

    #[test]
    fn warnings_are_written_and_leave_the_config_usable() {
        let (code, shown) = check(&PIN.replace("action =", "permit = [\"unknown\"]\naction ="), false);
        let expected = r#"policy.toml:7:10: warning: pin.permit: the pin "mail" permits "unknown", which is wherever no source can say
  hint: name your own networks as sites instead, and leave "unknown" forbidden
policy.toml: no errors, 1 warning; 1 pin, 0 sites, 0 failsafe rules
"#;
        assert_eq!((code, shown.as_str()), (0, expected));
        let strict = check_by(&PIN.replace("action =", "permit = [\"unknown\"]\naction ="), false, true);
        assert_eq!(strict, (2, shown), "it says the same, with another code");
        let (code, shown) = check_by(PIN, false, true);
        let expected = "policy.toml: no errors, no warnings; 1 pin, 0 sites, 0 failsafe rules\n";
        assert_eq!((code, shown.as_str()), (0, expected));
    }

    #[test]
    fn what_could_not_be_looked_at_is_one_line_at_the_end() {
        let file = Path::new("policy.toml");
        let result = config::parse(file, PIN.as_bytes(), &Surroundings::new(None));
        let outcome = Outcome {
            file,
            result,
            unseen: vec!["control.socket", "state.directory"],
            databases: Vec::new(),
            unpinned: None,
        };
        let mut out = Vec::new();
        outcome.write_text(&mut out).unwrap();
        let shown = String::from_utf8(out).unwrap();
        let last = "policy.toml: not looked at, run it as root: control.socket, state.directory";
        assert_eq!(shown.lines().nth(1), Some(last), "{shown}");
    }

    #[test]
    fn json_is_one_object_on_one_line() {
        let (code, shown) = check(&PIN.replace("\"IE\"", "\"UK\""), true);
        assert_eq!((code, shown.lines().count()), (2, 1));
        let expected = json!({
            "file": "policy.toml",
            "usable": false,
            "errors": [{
                "within": null,
                "line": 6,
                "column": 8,
                "field": "pin.home",
                "code": "bad-jurisdiction",
                "message": "\"UK\" is no country",
                "hint": "did you mean \"GB\"?",
            }],
            "warnings": [],
            "not_looked_at": [],
            "databases": [],
        });
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), expected);

        let (code, shown) = check(PIN, true);
        let object: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!((code, &object["usable"], &object["pins"]), (0, &json!(true), &json!(1)));
        assert_eq!(object["fingerprint"], format!("{:016x}", config::fingerprint(PIN.as_bytes())));
    }

    #[test]
    fn a_file_that_is_not_there_is_one_error_without_a_place() {
        let file = tempfile::tempdir().unwrap().path().join("policy.toml");
        let mut out = Vec::new();
        let args = Args { file, text_only: false, strict: false, json: true };
        assert_eq!(run(&args, &mut out).unwrap(), Exit::BadInput);
        let object: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(object["errors"][0]["code"], "unreadable");
        assert_eq!(object["errors"][0]["line"], Value::Null);
        assert_eq!(object["errors"][0]["field"], Value::Null);
    }
}
