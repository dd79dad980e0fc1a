//! `borderguard events export`: events into a file that can be shown to have them unaltered.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::Value;

use super::wanted::{Wanted, read};
use crate::cli::CliError;
use crate::cli::exemption::file;
use crate::cli::target::Target;
use crate::control::client::Exchange;
use crate::control::protocol::{EventFormat, Request};
use crate::digest::sha256;
use crate::exit::Exit;

/// Bytes of an export where no bound is given.
const BOUND: u64 = 256 << 20;

/// Arguments of `events export`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The new file, for its owner alone
    #[arg(long, value_name = "FILE")]
    pub to_file: PathBuf,
    /// How a line looks: json, ocsf, or ecs
    #[arg(long, value_enum, default_value = "json")]
    pub format: EventFormat,
    /// The most bytes that the file may have: where there is more, nothing is written
    #[arg(long, value_name = "BYTES", default_value_t = BOUND)]
    pub max_size: u64,
    /// Which events.
    #[command(flatten)]
    pub wanted: Wanted,
    /// The daemon.
    #[command(flatten)]
    pub target: Target,
}

/// Writes the events to the file, and says what it has.
///
/// # Errors
/// Where the file is there already, there is more than it may have, no daemon answers, or it can't be written.
pub(super) fn run(args: &Args, out: &mut impl Write, complaints: &mut impl Write) -> Result<Exit> {
    if args.format == EventFormat::Text {
        let message = "lines for people can't be sorted: choose --format json, ocsf, or ecs";
        return Err(CliError::bad_input(message).into());
    }
    file::must_be_free(&args.to_file)?;
    let now = Timestamp::now();
    let mut filter = args.wanted.filter(now)?;
    // All there is by now, and not the last of it.
    filter.until.get_or_insert(now);
    let request = Request::Events { follow: false, limit: None, format: args.format, filter, brief: false };
    let mut exchange = Exchange::begin(&args.target.socket()?, &request)?;
    exchange.wait_for_ever()?;
    let (mut lines, mut bytes) = (Vec::new(), 0_u64);
    read(&mut exchange, complaints, |line| {
        bytes += line.len() as u64 + 1;
        if bytes > args.max_size {
            let message = format!(
                "there is more than --max-size {}, and nothing was written: narrow what is wanted, or raise it",
                args.max_size
            );
            return Err(CliError::bad_input(message).into());
        }
        let object: Value = serde_json::from_str(&line)?;
        lines.push((place(args.format, &object), line));
        Ok(())
    })?;
    // Of one moment they stay in the order in which they were reported.
    lines.sort_by_key(|(time, _)| *time);
    let mut text = String::with_capacity(usize::try_from(bytes).unwrap_or_default());
    for (_, line) in &lines {
        text.push_str(line);
        text.push('\n');
    }
    file::write(&args.to_file, &text)?;
    let (count, path) = (lines.len(), args.to_file.display());
    writeln!(
        out,
        "{count} lines of {bytes} bytes are written to {path}\nSHA-256 {}",
        sha256(text.as_bytes())
    )?;
    Ok(Exit::Ok)
}

/// When a line's event was, in nanoseconds since the Unix epoch.
fn place(format: EventFormat, line: &Value) -> i128 {
    let moment = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    match format {
        EventFormat::Ocsf => line["time"].as_i64().map_or(0, |ms| i128::from(ms) * 1_000_000),
        EventFormat::Ecs => moment(&line["@timestamp"]).map_or(0, Timestamp::as_nanosecond),
        EventFormat::Json | EventFormat::Text => moment(&line["time"]).map_or(0, Timestamp::as_nanosecond),
    }
}
