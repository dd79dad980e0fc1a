//! `borderguard exemption`: checks documents, has the daemon load and revoke them, and shows what they allow.

pub(crate) mod ask;
pub mod show;
pub mod sign;
mod signatures;
pub mod verify;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::Timestamp;
use serde_json::json;

use self::ask::How;
use super::CliError;
use super::check::{UNUSABLE, USABLE, counted, finding_json, write_finding};
use super::exit::Exit;
use super::target::Target;
use crate::config;
use crate::control::protocol::Request;
use crate::exemption::{Summary, Surroundings, document};

/// Arguments of `exemption`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do with exemptions.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Check a document without a daemon: every error at once, or what it would allow
    Check {
        /// The document
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The config whose pins the document is held against; without it any pin will do
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Approve a document: sign it with your SSH key
    Sign(sign::Args),
    /// Say who approved a document, and whose approval is missing
    Verify(verify::Args),
    /// Load a document: from then on the kernel lets its transfer through
    Load {
        /// The document
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// A signature over it; without any those that lie beside it, `FILE.*.sig`
        #[arg(long = "signature", value_name = "SIG")]
        signatures: Vec<PathBuf>,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Show every exemption: what it allows, and what it let through
    List {
        /// One JSON array
        #[arg(long)]
        json: bool,
        /// The daemon.
        #[command(flatten)]
        target: Target,
    },
    /// Show one exemption with its approvals and its document
    Show {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
        /// Its version; without it the one that is open, else the highest
        #[arg(long, value_name = "NUMBER")]
        version: Option<u32>,
        /// One JSON object
        #[arg(long)]
        json: bool,
        /// The daemon.
        #[command(flatten)]
        target: Target,
    },
    /// Let nothing through by an exemption until it is resumed; a transfer that is under way is cut
    Stay {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
        /// The order that stays it, which is kept
        #[arg(long, value_name = "REF")]
        order: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Lift the stay of an exemption
    Resume {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
        /// The reason, which is kept
        #[arg(long, value_name = "TEXT")]
        why: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Close an exemption for good; a transfer that is under way is cut
    Revoke {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
        /// The reason, which is kept
        #[arg(long, value_name = "TEXT")]
        why: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
}

/// Does it.
///
/// # Errors
/// Where the document can't be used, no daemon answers or it refuses, or `out` can't be written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let now = Timestamp::now();
    match &args.command {
        Command::Check { file, config, json } => {
            let pins = config.as_deref().map(pins_of).transpose()?;
            let code = check(file, pins.as_deref(), now, *json, out)?;
            Ok(if code == USABLE { Exit::Ok } else { Exit::BadInput })
        }
        Command::Sign(args) => sign::run(args, now, out),
        Command::Verify(args) => verify::run(args, now, out),
        Command::Load { file, signatures, how } => ask::load(file, signatures, how, now, out),
        Command::List { json, target } => ask::list(*json, &target.socket()?, now, out),
        Command::Show { id, version, json, target } => {
            ask::show(id, *version, *json, &target.socket()?, now, out)
        }
        Command::Stay { id, order, how } => {
            let (id, order) = (id.clone(), order.clone());
            let request = Request::ExemptionStay { id, order, dry_run: how.dry_run };
            ask::change(&how.target.socket()?, &request, how, CUT, now, out)
        }
        Command::Resume { id, why, how } => {
            let (id, why) = (id.clone(), why.clone());
            let request = Request::ExemptionResume { id, why, dry_run: how.dry_run };
            ask::change(&how.target.socket()?, &request, how, PASSES, now, out)
        }
        Command::Revoke { id, why, how } => {
            let (id, why) = (id.clone(), why.clone());
            let request = Request::ExemptionRevoke { id, why, dry_run: how.dry_run };
            ask::change(&how.target.socket()?, &request, how, CUT, now, out)
        }
    }
}

/// What is shown of something that is cut: done, and planned.
pub(crate) const CUT: (&str, &str) = ("; no packet passes any more by:", "; these are:");
/// What is shown of something that passes again.
const PASSES: (&str, &str) = ("; packets pass again by:", "; this is:");

/// The names of a config's pins.
fn pins_of(config: &Path) -> Result<Vec<String>> {
    let surroundings = config::Surroundings { groups: &config::groups::builtin, database: None };
    let checked =
        config::load(config, &surroundings).map_err(|errors| CliError::document(errors.to_string()))?;
    Ok(checked.policy.pins.into_iter().map(|pin| pin.name).collect())
}

/// `exemption check FILE`: writes every error in the document, or what it would allow. Asks no daemon;
/// `pins` are the config's, `None` where no config is named. Returns the exit code.
///
/// # Errors
/// Where `out` can't be written.
pub fn check(
    file: &Path,
    pins: Option<&[String]>,
    now: Timestamp,
    json: bool,
    out: &mut impl Write,
) -> io::Result<u8> {
    let surroundings = Surroundings { pins, now: Some(now), earlier: None };
    match document::load(file, &surroundings) {
        Ok((document, _)) => {
            let summary = Summary::of_document(&document, now);
            if json {
                let object = json!({
                    "file": file.to_string_lossy(), "usable": true, "errors": [], "exemption": summary,
                });
                writeln!(out, "{object}")?;
            } else {
                writeln!(out, "{}: no errors; it would allow:", file.display())?;
                show::one(&summary, now, out)?;
                if pins.is_none() {
                    writeln!(
                        out,
                        "whether there are these pins was not looked at: --config FILE names them"
                    )?;
                }
            }
            Ok(USABLE)
        }
        Err(errors) => {
            if json {
                let errors: Vec<_> = errors.errors.iter().map(finding_json).collect();
                let object = json!({
                    "file": file.to_string_lossy(), "usable": false, "errors": errors, "exemption": null,
                });
                writeln!(out, "{object}")?;
            } else {
                for error in &errors.errors {
                    write_finding(file, "error", error, out)?;
                }
                writeln!(out, "{}: {}", file.display(), counted(errors.errors.len(), "error"))?;
            }
            Ok(UNUSABLE)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const DOCUMENT: &str = r#"id = "m-1"
version = 1
pins = ["mail"]
purpose = "Evidence in case 5"
data_categories = ["e-mail"]
valid_from = 2026-12-01T00:00:00Z
valid_until = 2026-12-15T00:00:00Z
[instrument]
type = "treaty-request"
name = "MLAT 2001"
article = "Art. 48"
ground = "art-46-2-a"
basis = "art-6-1-c"
authority = "Department"
reference = "case 5"
agreement = "Treaty of 2001"
[exporter]
name = "Example Mail Ireland Ltd"
role = "controller"
contact = "privacy@example.org"
[[recipient]]
name = "Court"
jurisdiction = "US"
cidrs = ["198.51.100.20/32"]
"#;

    fn run(text: &str, pins: Option<&[String]>, json: bool) -> (u8, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.toml");
        std::fs::write(&file, text).unwrap();
        let mut out = Vec::new();
        let now = "2026-12-02T00:00:00Z".parse().unwrap();
        let code = check(&file, pins, now, json, &mut out).unwrap();
        (code, String::from_utf8(out).unwrap().replace(file.to_str().unwrap(), "m.toml"))
    }

    #[test]
    fn a_good_document_says_what_it_would_allow() {
        let (code, shown) = run(DOCUMENT, Some(&["mail".to_owned()]), false);
        let expected = "m.toml: no errors; it would allow:\n\
                        m-1, version 1: treaty-request, MLAT 2001, case 5\n\
                        \x20 for      Evidence in case 5\n\
                        \x20 ground   art-46-2-a and art-6-1-c; Department, under Treaty of 2001\n\
                        \x20 data     e-mail of the pin mail\n\
                        \x20 sender   Example Mail Ireland Ltd (controller), privacy@example.org\n\
                        \x20 to       Court: 198.51.100.20/32 in US, any port\n\
                        \x20 from     2026-12-01 00:00:00 UTC (1 day ago)\n\
                        \x20 until    2026-12-15 00:00:00 UTC (in 13 days)\n\
                        \x20 bytes    without bound\n";
        assert_eq!((code, shown.as_str()), (USABLE, expected));
        let (_, shown) = run(DOCUMENT, None, false);
        assert!(shown.ends_with("--config FILE names them\n"), "{shown}");
        let (code, shown) = run(DOCUMENT, None, true);
        let object: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!((code, &object["usable"], &object["exemption"]["id"]), (0, &json!(true), &json!("m-1")));
    }

    #[test]
    fn errors_are_written_as_check_writes_them() {
        let text = DOCUMENT.replace("treaty-request", "foreign-order");
        let (code, shown) = run(&text, Some(&["files".to_owned()]), false);
        let expected = "m.toml:3:9: error: pins: there is no pin \"mail\"\n  hint: the config has \"files\"\n\
                        m.toml:9:8: error: instrument.type: an order of a third country's court or authority is by \
                        itself no ground for a transfer (GDPR Art. 48)\n  hint: name the ground that it rests on: a \
                        treaty-request under an international agreement, or another instrument of Chapter V\n\
                        m.toml: 2 errors\n";
        assert_eq!((code, shown.as_str()), (UNUSABLE, expected));
        let (code, shown) = run(&text, None, true);
        let object: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!((code, &object["errors"][0]["code"]), (UNUSABLE, &json!("foreign-order-alone")));
        assert_eq!((&object["errors"][0]["line"], &object["exemption"]), (&json!(9), &Value::Null));
    }
}
