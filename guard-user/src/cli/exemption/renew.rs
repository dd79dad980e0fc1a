//! `borderguard exemption renew FILE --until TIME`: writes the next version of a document, which takes the
//! place of the open one when it is loaded. Comments and order stay; the signatures are asked for anew.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::Timestamp;
use serde_json::json;
use toml_edit::Datetime;

use super::policy::Against;
use super::{file, lint, show};
use crate::cli::CliError;
use crate::cli::table::{plain, write_wrapped};
use crate::exemption::renewal::{Renewal, next_version};
use crate::exemption::{self, CHECK, Document, REVIEW, Surroundings};
use crate::exit::Exit;

/// Arguments of `exemption renew`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The document; it is left as it is
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The new end of the window, such as 2027-03-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub until: Datetime,
    /// A new begin of the window; without it the begin stays
    #[arg(long, value_name = "TIME")]
    pub from: Option<Datetime>,
    /// When the assessment has to be looked at next, such as 2027-06-01; without it the date stays
    #[arg(long, value_name = "DATE")]
    pub review_by: Option<Datetime>,
    /// Bytes on the wire that it may let through, counted anew; without it the quota stays
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(i64).range(1..))]
    pub quota_bytes: Option<i64>,
    /// The document to write [default: FILE with the version in its name, beside it]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The config whose pins, signers and law pack the new version is held against; without it any will do
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Show what would be written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// Does it.
///
/// # Errors
/// Where the document can't be used, there is no next version, or the file to write is there already or
/// can't be written. What breaks a rule is not written: the exit says so.
pub fn run(args: &Args, now: Timestamp, out: &mut impl Write) -> Result<Exit> {
    // One that is over is renewed, too.
    let (old, bytes) =
        exemption::load(&args.file, &Surroundings::default()).map_err(|errors| CliError::errors(&errors))?;
    let renewal = Renewal {
        replaces: old.version,
        until: args.until,
        from: args.from,
        review_by: args.review_by,
        quota_bytes: args.quota_bytes,
    };
    let text = next_version(&String::from_utf8(bytes)?, &renewal)
        .map_err(|error| CliError::bad_input(format!("{}: {error}", args.file.display())))?;
    let version = u64::from(old.version) + 1;
    let target = args.out.clone().unwrap_or_else(|| beside(&args.file, version));
    file::must_be_free(&target)?;
    let against = args.config.as_deref().map(Against::load).transpose()?;
    let (checked, notes) = lint::check(against.as_ref(), &target, text.as_bytes(), now);
    let written = checked.is_ok() && !args.dry_run;
    if written {
        file::write(&target, &text)?;
    }
    let notes: Vec<String> = notes.into_iter().chain(overdue(&old, now)).collect();
    if args.json {
        let mut object = lint::report_json(&target, &checked, now);
        object["notes"] = json!(notes);
        object["written"] = json!(written);
        object["document"] = json!(text);
        writeln!(out, "{object}")?;
        return Ok(lint::exit(&checked));
    }
    if args.dry_run {
        writeln!(out, "{text}")?;
    }
    match written {
        true => {
            let said = format!(
                "written: version {version} takes the place of version {} when it is loaded, and needs signatures of its own",
                old.version
            );
            write_wrapped("", show::REST, &said, out)?;
        }
        false => writeln!(out, "nothing was written; of version {version}:")?,
    }
    lint::report(&target, &checked, against.is_some(), now, out)?;
    notes.iter().try_for_each(|note| write_wrapped("", show::REST, &plain(note), out))?;
    Ok(lint::exit(&checked))
}

/// What the version that is renewed says is due by now and does not say is done. Whether it was noted as done this command does
/// not know.
fn overdue(old: &Document, now: Timestamp) -> Option<String> {
    let done = old.duties_done();
    let is_late = |(what, by): &(String, Timestamp)| {
        *by <= now && what != REVIEW && what != CHECK && !done.contains(&(what.clone(), *by))
    };
    let late = old.due_dates().into_iter().filter(is_late);
    let late: Vec<String> = late.map(|(what, by)| format!("{what} since {by:.0}")).collect();
    (!late.is_empty()).then(|| {
        format!(
            "version {} has duties that are overdue unless they were noted as done (`exemption done`), and no new version does \
             them: {}",
            old.version,
            late.join(", ")
        )
    })
}

/// `a.toml` or `a.v1.toml` as `a.v2.toml`.
fn beside(file: &Path, version: u64) -> PathBuf {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let plain = match stem.rsplit_once(".v") {
        Some((plain, digits)) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            plain
        }
        _ => &stem,
    };
    file.with_file_name(format!("{plain}.v{version}.toml"))
}

#[cfg(test)]
mod tests;
