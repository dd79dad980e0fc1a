//! `borderguard check FILE`: every error in a config, or every warning.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use crate::config::finding::at;
use crate::config::{self, Checked, Errors, Finding, Surroundings};

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
                write_finding(file, "warning", warning, &warning.kind.hint(), out)?;
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
                write_finding(file, "error", error, &error.kind.hint(), out)?;
            }
            let count = counted(errors.len(), "error");
            writeln!(out, "{}: {count}; warnings are looked for once there are no errors", file.display())
        }
    }
}

fn write_finding<K: Display>(
    file: &Path,
    level: &str,
    finding: &Finding<K>,
    hint: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "{}{level}: {finding}\n  hint: {hint}", at(file, finding.place))
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn write_json(file: &Path, result: &Result<Checked, Errors>, out: &mut impl Write) -> io::Result<()> {
    let object = match result {
        Ok(Checked { policy, warnings }) => json!({
            "file": file.to_string_lossy(),
            "usable": true,
            "errors": [],
            "warnings": warnings.iter().map(|w| finding_json(w, w.kind.code(), &w.kind.hint())).collect::<Vec<_>>(),
            "pins": policy.pins.len(),
            "sites": policy.sites.len(),
            "failsafe": policy.failsafe.len(),
            "fingerprint": format!("{:016x}", policy.fingerprint),
        }),
        Err(Errors { errors, .. }) => json!({
            "file": file.to_string_lossy(),
            "usable": false,
            "errors": errors.iter().map(|e| finding_json(e, e.kind.code(), &e.kind.hint())).collect::<Vec<_>>(),
            "warnings": [],
        }),
    };
    writeln!(out, "{object}")
}

/// `line` and `column` are null where the finding is about the file as a whole, `field` where it is
/// about no key.
fn finding_json<K: Display>(finding: &Finding<K>, code: &str, hint: &str) -> Value {
    json!({
        "line": finding.place.map(|place| place.line),
        "column": finding.place.map(|place| place.column),
        "field": (!finding.field.is_empty()).then_some(&finding.field),
        "code": code,
        "message": finding.kind.to_string(),
        "hint": hint,
    })
}
