//! `borderguard pin promote NAME`: makes a pin's action stricter where it is ready for that, for a time, unless it is confirmed.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::readiness::Bounds;
use super::report::Gathered;
use super::wanted::Wanted;
use crate::cli::CliError;
use crate::cli::apply::{apply, seconds};
use crate::cli::policy::{Compared, Side};
use crate::cli::signing::terminal;
use crate::cli::table::{plain, write_wrapped};
use crate::config::{self, Surroundings};
use crate::control::protocol::ApplyWanted;
use crate::daemon::action_name;
use crate::exit::Exit;

const AFTER_HELP: &str = "\
The config's file is written by `borderguard confirm`; without it the action of
before comes back when the time is over, and when the daemon is started anew.
The exit code is 0 where it is live, 1 where the pin is not ready, nobody said
yes, or the daemon fails, and 2 where there is no such pin, or nothing stricter.";

/// Arguments of `pin promote`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Which pin, and when it is ready.
    #[command(flatten)]
    pub wanted: Wanted,
    /// Go back unless `borderguard confirm` comes within this time, at most 24h
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = seconds)]
    pub confirm_within: u64,
    /// Only say what the pin has come to, and what would change
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask on the terminal
    #[arg(long)]
    pub yes: bool,
}

/// Says what the pin has come to and what changes, and makes that live where it is ready and somebody says yes.
///
/// # Errors
/// Where it is not ready, nobody says yes, or the daemon refuses.
pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let Args { wanted, dry_run, yes, .. } = args;
    if wanted.json && !yes && !dry_run {
        let why = "with --json nobody is shown what changes, and nothing was applied: give --yes";
        return Err(CliError::bad_input(why).into());
    }
    let socket = wanted.target.socket()?;
    let gathered = Gathered::of(wanted, Timestamp::now())?;
    let then = config::parse(&gathered.file, gathered.text.as_bytes(), &Surroundings::new(None));
    let then = then.map_err(|errors| CliError::errors(&errors))?.policy;
    let side = |policy| Side::of(&gathered.file, policy, &[]);
    let sides = (side(gathered.now.clone())?, side(then)?);
    let compared = Compared::of(&sides.0, &sides.1)?;
    if !wanted.json {
        gathered.write(out)?;
        writeln!(out)?;
        compared.write(out)?;
        writeln!(out)?;
        out.flush()?;
    }
    let is_ready = gathered.reasons.is_empty();
    let applied = match is_ready && !dry_run {
        true => Some(applied(args, &socket, &gathered)?),
        false => None,
    };
    if wanted.json {
        let done = applied.as_ref().and_then(|it| it.as_ref().ok());
        let mut object = gathered.json();
        let more = json!({
            "applied": done.is_some(),
            "message": done.map(|(message, _)| message),
            "generation": done.map(|(_, generation)| generation),
            "confirm_within_seconds": args.confirm_within,
            "diff": compared.json(),
        });
        object.extend(more.as_object().cloned().unwrap_or_default());
        writeln!(out, "{}", Value::Object(object))?;
    }
    match applied {
        None if *dry_run => Ok(if is_ready { Exit::Ok } else { Exit::Failed }),
        None => Err(not_ready(&gathered)),
        Some(applied) => {
            let (message, generation) = applied?;
            if !wanted.json {
                write_wrapped("", "  ", &format!("{message} (generation {generation})"), out)?;
            }
            Ok(Exit::Ok)
        }
    }
}

/// Asks, and has the daemon make it live.
fn applied(args: &Args, socket: &Path, gathered: &Gathered) -> Result<Result<(String, u64)>> {
    if !args.yes {
        let (pin, to) = (plain(&gathered.pin), action_name(gathered.to));
        let question = format!("make {to} the action of the pin {pin}? Type yes: ");
        if terminal::ask(&question, "applied", "give --yes")?.trim() != "yes" {
            anyhow::bail!("nothing was applied: the answer was not yes");
        }
    }
    let (name, config) = (gathered.file.clone(), gathered.text.clone());
    // Those beside the file are over the text of before.
    let (signatures, seconds) = (Vec::new(), args.confirm_within);
    let wanted = ApplyWanted { name, config, signatures, seconds, guard_nothing: false };
    Ok(apply(socket, wanted))
}

fn not_ready(gathered: &Gathered) -> anyhow::Error {
    let why: Vec<String> = gathered.reasons.iter().map(ToString::to_string).collect();
    let meant = match Bounds::meant(&gathered.reasons) {
        Some(words) => format!(". Correct that, or say that it is meant: {words}"),
        None => String::new(),
    };
    let (pin, to) = (&gathered.pin, action_name(gathered.to));
    anyhow::anyhow!("nothing was applied: the pin {pin} is not ready for {to}: {}{meant}", why.join("; "))
}
