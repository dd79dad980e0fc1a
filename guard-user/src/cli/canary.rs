//! `borderguard canary confirm`: hands a canary back that was in the event log.

use std::io::Write;

use anyhow::Result;

use super::target::Target;
use crate::control::client::{ask, unexpected};
use crate::control::protocol::{Request, Response};
use crate::exit::Exit;

/// Arguments of `canary`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done with canaries.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Tell the daemon that a canary came to where the event log is collected
    Confirm {
        /// The canary's number, as its line in the event log has it
        #[arg(value_name = "CANARY")]
        canary: String,
        /// The daemon.
        #[command(flatten)]
        target: Target,
    },
}

/// Does it.
///
/// # Errors
/// Where no daemon answers, or its log has no such canary.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let Command::Confirm { canary, target } = &args.command;
    let socket = target.socket()?;
    match ask(&socket, &Request::CanaryConfirm { canary: canary.clone() })? {
        Response::Done { message, .. } => {
            writeln!(out, "{message}")?;
            Ok(Exit::Ok)
        }
        _ => Err(unexpected(&socket).into()),
    }
}
