//! `borderguard shadow`: how another policy, database or exemption would judge live packets, as the kernel does it.

mod told;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use self::told::Told;
use super::CliError;
use super::seconds::whole_seconds;
use super::target::Target;
use crate::config::{self, Surroundings};
use crate::control::client::{self, ask, unexpected};
use crate::control::protocol::{Request, Response, ShadowReport, ShadowWanted};
use crate::control::shadow::MOST_SHADOW_SECONDS;
use crate::digest::sha256;
use crate::exemption::{self, Clocks};
use crate::exit::Exit;
use crate::inputs;
use crate::simulate::Sums;

/// The time between two looks.
const LOOK: Duration = Duration::from_millis(500);

const AFTER_HELP: &str = "\
No verdict changes: each packet is judged once more, when it is decided and
accounted. The exit code is 0 where no verdict would have been another one, 1
where one would or may have, and 2 where an input can't be used.";

/// Arguments of `shadow`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The config that judges beside the one in force [default: the daemon's own file, as a reload would read it]
    #[arg(value_name = "NEW")]
    pub new: Option<PathBuf>,
    /// A database of the new config, once for each file [default: its `geo.files`]
    #[arg(long, value_name = "FILE")]
    pub geo: Vec<PathBuf>,
    /// An exemption's document, as if it was approved, loaded and in its window; may be given several times
    #[arg(long, value_name = "FILE")]
    pub exemption: Vec<PathBuf>,
    /// An open exemption, as if it was closed; may be given several times
    #[arg(long, value_name = "ID")]
    pub without: Vec<String>,
    /// End after this time, at most 1h
    #[arg(long = "for", value_name = "DURATION", default_value = "60s", value_parser = seconds)]
    pub seconds: u64,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    /// The daemon.
    #[command(flatten)]
    pub target: Target,
}

fn seconds(text: &str) -> Result<u64, String> {
    whole_seconds(text, MOST_SHADOW_SECONDS, "a shadow goes on for whole seconds, from 1s to 1h")
}

/// Has live packets judged by the candidate too, and writes what differs.
///
/// # Errors
/// Where an input can't be used, no daemon answers, or this user may not ask it.
pub fn run(args: &Args, out: &mut impl Write, complaints: &mut impl Write) -> Result<Exit> {
    let file = args.new.clone().unwrap_or_else(|| args.target.config_file());
    let wanted = wanted(args, &file)?;
    let socket = args.target.socket()?;
    let config = client::status(&socket)?.config;
    let then_sha256 = sha256(wanted.config.as_bytes());
    let report = follow(&socket, wanted, args.seconds, complaints)?;
    let mut sums = Sums::default();
    let lines = report.flows.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let kept = lines.filter(|line| sums.add_shadowed(line)).count();
    let told = Told {
        config: &config,
        file: &file,
        then_sha256: &then_sha256,
        without: &args.without,
        seconds: args.seconds,
        report: &report,
        sums: &sums,
        is_full: kept >= report.capacity,
    };
    match args.json {
        true => writeln!(out, "{}", told.json())?,
        false => told.write(out)?,
    }
    Ok(if told.may_differ() { Exit::Failed } else { Exit::Ok })
}

/// What is asked for. What can't be used is found here already, with its place; the daemon reads it for itself.
fn wanted(args: &Args, file: &Path) -> Result<ShadowWanted> {
    let mut policy =
        config::load(file, &Surroundings::new(None)).map_err(|errors| CliError::errors(&errors))?.policy;
    inputs::look_up_users(&mut policy).map_err(|error| CliError::document(error.to_string()))?;
    let text = |path: &Path| {
        fs::read_to_string(path).map_err(|error| CliError::bad_input(format!("{}: {error}", path.display())))
    };
    let mut exemptions = Vec::new();
    for path in &args.exemption {
        exemption::load(path, &exemption::Surroundings::default())
            .map_err(|errors| CliError::errors(&errors))?;
        exemptions.push(text(path)?);
    }
    let whole = |path: &PathBuf| {
        absolute(path).map_err(|error| CliError::bad_input(format!("{}: {error}", path.display())))
    };
    Ok(ShadowWanted {
        name: whole(&file.to_owned())?,
        config: String::from_utf8(policy.text.to_vec())
            .map_err(|_| CliError::bad_input(format!("{}: it is not UTF-8", file.display())))?,
        geo: args.geo.iter().map(whole).collect::<Result<_, _>>()?,
        exemptions,
        without: args.without.clone(),
        seconds: args.seconds,
    })
}

/// Begins a shadow and keeps it until it is over.
fn follow(
    socket: &Path,
    wanted: ShadowWanted,
    seconds: u64,
    complaints: &mut impl Write,
) -> Result<ShadowReport> {
    // Two clients have two process ids, and one has two moments.
    let id = format!("{}-{}", std::process::id(), Clocks::read().boot_ns);
    let mut begin = Some(Box::new(wanted));
    let mut was_on = false;
    loop {
        let request = Request::Shadow { id: id.clone(), begin: begin.take() };
        let Response::Shadow { is_on, report } = ask(socket, &request)? else {
            return Err(unexpected(socket).into());
        };
        if let Some(report) = report {
            return Ok(*report);
        }
        if is_on && !was_on {
            writeln!(complaints, "shadow: packets are judged by both, for {seconds} s")
                .context("standard error can't be written")?;
        }
        was_on |= is_on;
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shadow_is_bounded_in_time() {
        assert_eq!((seconds("60s"), seconds("1h"), seconds("1s")), (Ok(60), Ok(3600), Ok(1)));
        for text in ["0s", "500ms", "1500ms", "3601s", "2h", "10", ""] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
