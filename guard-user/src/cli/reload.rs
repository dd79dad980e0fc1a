//! `borderguard reload`: has the daemon read config and databases again, and says what came of it, or would.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::policy::{Compared, Side};
use super::simulate::policy_in_force;
use super::table::write_wrapped;
use super::target::Target;
use super::told;
use crate::control::client::{self, ask, unexpected};
use crate::control::protocol::{Request, Response};
use crate::exit::Exit;
use crate::health::Health;

const AFTER_HELP: &str = "\
The exit code is 0 where it is reloaded, or would be, 2 where the config or a
database can't be used or a signature is missing, 1 where it fails, and 7
where it is reloaded and nothing of this host is guarded now.";

/// Arguments of `reload`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Only say what a reload would do now, and what the file differs in from what is live
    #[arg(long)]
    pub dry_run: bool,
    /// One JSON object, of a dry run
    #[arg(long, requires = "dry_run")]
    pub json: bool,
    /// The daemon.
    #[command(flatten)]
    pub target: Target,
}

/// Reloads, or says what that would do.
///
/// # Errors
/// Where no daemon answers or it refuses; then the old generation stays live.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let socket = args.target.socket()?;
    if args.dry_run {
        return plan(&socket, args.json, out);
    }
    match ask(&socket, &Request::Reload {})? {
        Response::Done { message, generation, .. } => {
            writeln!(out, "{message} (generation {generation})")?;
            // A service manager and a script see no words. Who may not see the status hears nothing else.
            let is_off = client::status(&socket).is_ok_and(|status| status.health == Health::Off);
            Ok(if is_off { Exit::Off } else { Exit::Ok })
        }
        _ => Err(unexpected(&socket).into()),
    }
}

fn plan(socket: &Path, as_json: bool, out: &mut impl Write) -> Result<Exit> {
    let config = client::status(socket)?.config;
    // What differs is read by this user, and who may reload may not read everything.
    let sides = sides(socket, &config);
    let compared = |(old, new)| Compared::of(old, new).map_err(|error| told(&error));
    let diff = sides.as_ref().map_err(told).and_then(|(old, new)| compared((old, new)));
    if !as_json {
        match &diff {
            Ok(diff) => diff.write(out)?,
            Err(why) => write_wrapped("", "  ", &format!("what differs can't be shown: {why}"), out)?,
        }
        writeln!(out)?;
        out.flush()?;
    }
    let planned = ask(socket, &Request::ReloadPlan {});
    if as_json {
        let (diff, diff_error) = match &diff {
            Ok(diff) => (diff.json(), None),
            Err(why) => (Value::Null, Some(why)),
        };
        let message = match &planned {
            Ok(Response::Planned { message, .. }) => Some(message.clone()),
            _ => None,
        };
        let would = message.is_some();
        let object =
            json!({ "would_reload": would, "message": message, "diff": diff, "diff_error": diff_error });
        writeln!(out, "{object}")?;
    }
    match planned? {
        Response::Planned { message, .. } => {
            if !as_json {
                message.lines().try_for_each(|line| write_wrapped("", "  ", line, out))?;
            }
            Ok(Exit::Ok)
        }
        _ => Err(unexpected(socket).into()),
    }
}

/// What is live, and the daemon's file.
fn sides(socket: &Path, config: &str) -> Result<(Side, Side)> {
    let file = Path::new(config);
    Ok((Side::of(file, policy_in_force(socket, config)?, &[])?, Side::read(file, &[])?))
}
