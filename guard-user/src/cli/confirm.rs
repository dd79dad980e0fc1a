//! `borderguard confirm`: keeps the config that was applied, or goes back from it at once.

use std::io::Write;

use anyhow::Result;
use serde_json::json;

use super::table::write_wrapped;
use super::target::Target;
use crate::control::client::{ask, unexpected};
use crate::control::protocol::{Request, Response};
use crate::exit::Exit;

const AFTER_HELP: &str = "\
The exit code is 0 where it is kept, or gone, 1 where no config waits for a
confirmation or the disk refuses, and 2 where its signatures count no more.";

/// Arguments of `confirm`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Go back to the config before it now, and do not wait until its time is over
    #[arg(long)]
    pub roll_back: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    /// The daemon.
    #[command(flatten)]
    pub target: Target,
}

/// Keeps it, or goes back.
///
/// # Errors
/// Where none waits, or it can't be kept: then it goes by itself when its time is over.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let socket = args.target.socket()?;
    let Response::Done { message, generation, .. } =
        ask(&socket, &Request::Confirm { roll_back: args.roll_back })?
    else {
        return Err(unexpected(&socket).into());
    };
    match args.json {
        true => {
            let object = json!({
                "confirmed": !args.roll_back, "message": message, "generation": generation,
            });
            writeln!(out, "{object}")?;
        }
        false => write_wrapped("", "  ", &format!("{message} (generation {generation})"), out)?,
    }
    Ok(Exit::Ok)
}
