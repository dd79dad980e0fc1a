//! `borderguard check FILE`: every error in a config, or every warning.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use crate::config::finding::at;
use crate::config::{self, Checked, Errors, Explain, Finding, Surroundings};

/// Exit code of a config that can be used, with or without warnings.
pub const USABLE: u8 = 0;
/// Exit code of a config with errors, and of one that can't be read.
pub const UNUSABLE: u8 = 2;

/// Checks the file and writes what was found to `out`: two lines for each finding and one with the
/// counts, or one JSON object. Returns the exit code.
///
/// # Errors
/// Where `out` can't be written.
pub fn run(file: &Path, json: bool, surroundings: &Surroundings<'_>, out: &mut impl Write) -> io::Result<u8> {
    let result = config::load(file, surroundings);
    match json {
        true => write_json(file, &result, out)?,
        false => write_text(file, &result, out)?,
    }
    Ok(if result.is_ok() { USABLE } else { UNUSABLE })
}

fn write_text(file: &Path, result: &Result<Checked, Errors>, out: &mut impl Write) -> io::Result<()> {
    match result {
        Ok(Checked { policy, warnings }) => {
            for warning in warnings {
                write_finding(file, "warning", warning, out)?;
            }
            let warnings = match warnings.len() {
                0 => "no warnings".to_owned(),
                count => counted(count, "warning"),
            };
            writeln!(
                out,
                "{}: no errors, {warnings}; {}, {}, {}",
                file.display(),
                counted(policy.pins.len(), "pin"),
                counted(policy.sites.len(), "site"),
                counted(policy.failsafe.len(), "failsafe rule"),
            )
        }
        Err(Errors { errors, .. }) => {
            for error in errors {
                write_finding(file, "error", error, out)?;
            }
            let count = counted(errors.len(), "error");
            writeln!(out, "{}: {count}; warnings are looked for once there are no errors", file.display())
        }
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
    writeln!(out, "{}{level}: {finding}\n  hint: {hint}", at(file, finding.place))
}

pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn write_json(file: &Path, result: &Result<Checked, Errors>, out: &mut impl Write) -> io::Result<()> {
    let object = match result {
        Ok(Checked { policy, warnings }) => json!({
            "file": file.to_string_lossy(),
            "usable": true,
            "errors": [],
            "warnings": warnings.iter().map(finding_json).collect::<Vec<_>>(),
            "pins": policy.pins.len(),
            "sites": policy.sites.len(),
            "failsafe": policy.failsafe.len(),
            "fingerprint": format!("{:016x}", policy.fingerprint),
        }),
        Err(Errors { errors, .. }) => json!({
            "file": file.to_string_lossy(),
            "usable": false,
            "errors": errors.iter().map(finding_json).collect::<Vec<_>>(),
            "warnings": [],
        }),
    };
    writeln!(out, "{object}")
}

/// `line` and `column` are null where the finding is about the file as a whole, `field` where it is
/// about no key.
pub(super) fn finding_json<K: Explain>(finding: &Finding<K>) -> Value {
    json!({
        "line": finding.place.map(|place| place.line),
        "column": finding.place.map(|place| place.column),
        "field": (!finding.field.is_empty()).then_some(&finding.field),
        "code": finding.kind.code(),
        "message": finding.kind.to_string(),
        "hint": finding.kind.hint(),
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use guard_common::jurisdiction::Jurisdiction;

    use super::*;

    /// Runs the command on a file of this content; its output names the file `policy.toml`.
    fn check(content: &str, json: bool) -> (u8, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.toml");
        std::fs::write(&file, content).unwrap();
        let groups = |name: &str| (name == "EU").then(|| vec![Jurisdiction::from_alpha2(*b"IE").unwrap()]);
        let database = |_: IpAddr| None;
        let surroundings = Surroundings { groups: &groups, database: Some(&database) };
        let mut out = Vec::new();
        let code = run(&file, json, &surroundings, &mut out).unwrap();
        (code, String::from_utf8(out).unwrap().replace(file.to_str().unwrap(), "policy.toml"))
    }

    const PIN: &str = "[host]\ninterfaces = [\"eth0\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
                       action = \"drop\"\nselect.ports = [\"tcp/143\"]\n";

    #[test]
    fn errors_are_written_as_compilers_write_them() {
        let (code, shown) = check(&PIN.replace("IE", "EU").replace("tcp/143", "143"), false);
        let expected = r#"policy.toml:5:8: error: pin.home: "EU" is a group, and one country is needed here
  hint: name one country, such as "IE"; groups can stand in a pin's permit
policy.toml:7:17: error: pin.select.ports: "143" is no port with its protocol
  hint: for example "tcp/143" or "udp/5000-5010"; ports are 0 to 65535
policy.toml: 2 errors; warnings are looked for once there are no errors
"#;
        assert_eq!((code, shown.as_str()), (2, expected));
    }

    #[test]
    fn warnings_are_written_and_leave_the_config_usable() {
        let (code, shown) =
            check(&PIN.replace("select.ports", "permit = [\"unknown\"]\nselect.ports"), false);
        let expected = r#"policy.toml:7:10: warning: pin.permit: the pin "mail" permits "unknown", which is wherever no source can say
  hint: name your own networks as sites instead, and leave "unknown" forbidden
policy.toml: no errors, 1 warning; 1 pin, 0 sites, 0 failsafe rules
"#;
        assert_eq!((code, shown.as_str()), (0, expected));
        let (code, shown) = check(PIN, false);
        let expected = "policy.toml: no errors, no warnings; 1 pin, 0 sites, 0 failsafe rules\n";
        assert_eq!((code, shown.as_str()), (0, expected));
    }

    #[test]
    fn json_is_one_object_on_one_line() {
        let (code, shown) = check(&PIN.replace("\"IE\"", "\"UK\""), true);
        assert_eq!((code, shown.lines().count()), (2, 1));
        let expected = json!({
            "file": "policy.toml",
            "usable": false,
            "errors": [{
                "line": 5,
                "column": 8,
                "field": "pin.home",
                "code": "bad-jurisdiction",
                "message": "\"UK\" is no country",
                "hint": "did you mean \"GB\"?",
            }],
            "warnings": [],
        });
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), expected);

        let (code, shown) = check(PIN, true);
        let object: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!((code, &object["usable"], &object["pins"]), (0, &json!(true), &json!(1)));
        assert_eq!(object["fingerprint"], format!("{:016x}", config::fingerprint(PIN.as_bytes())));
    }

    #[test]
    fn a_file_that_is_not_there_is_one_error_without_a_place() {
        let groups = |_: &str| None;
        let surroundings = Surroundings { groups: &groups, database: None };
        let file = tempfile::tempdir().unwrap().path().join("policy.toml");
        let mut out = Vec::new();
        assert_eq!(run(&file, true, &surroundings, &mut out).unwrap(), 2);
        let object: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(object["errors"][0]["code"], "unreadable");
        assert_eq!(object["errors"][0]["line"], Value::Null);
        assert_eq!(object["errors"][0]["field"], Value::Null);
    }
}
