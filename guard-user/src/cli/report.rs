//! `borderguard report`: the record of transfers, as Art. 30 GDPR asks for it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::exit::Exit;
use super::target::Target;
use crate::control::client::{ask, unexpected};
use crate::control::protocol::{Request, Response};
use crate::report::{Format, render};

/// Arguments of `report`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// How it is written
    #[arg(long, value_enum, default_value = "html")]
    pub format: Format,
    /// First day in UTC, as 2026-11-23; without it from the beginning
    #[arg(long, value_name = "DAY")]
    pub from: Option<String>,
    /// Last day in UTC; without it until now
    #[arg(long, value_name = "DAY")]
    pub until: Option<String>,
    /// Leave out the text of confidential exemptions, also where you may read it
    #[arg(long)]
    pub redact: bool,
    /// Into a new file, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The daemon.
    #[command(flatten)]
    pub target: Target,
}

/// Writes the report.
///
/// # Errors
/// Where no daemon answers, or the file can't be written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let socket = args.target.socket()?;
    let request = Request::Report { from: args.from.clone(), until: args.until.clone() };
    let Response::Report { mut report } = ask(&socket, &request)? else {
        return Err(unexpected(&socket).into());
    };
    report.redacted |= args.redact;
    let Some(path) = &args.out else {
        render(&report, args.format, out)?;
        return Ok(Exit::Ok);
    };
    let failed = || format!("cannot write {}", path.display());
    let mut file = BufWriter::new(File::create_new(path).with_context(failed)?);
    render(&report, args.format, &mut file).with_context(failed)?;
    file.flush().with_context(failed)?;
    writeln!(out, "{} is written", path.display())?;
    Ok(Exit::Ok)
}
