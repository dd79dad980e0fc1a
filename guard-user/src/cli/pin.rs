//! `borderguard pin`: what a pin has come to in its action, and the next stricter one.

mod edit;
mod evidence;
mod promote;
mod readiness;
mod report;
mod told;
mod violations;
mod wanted;

use std::io::Write;

use anyhow::Result;

use crate::exit::Exit;

/// Arguments of `pin`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Say what a pin has come to in its action, and whether it is ready for the next one
    Report(report::Args),
    /// Make a pin's action a stricter one, which goes by itself unless it is confirmed
    Promote(promote::Args),
}

/// Runs the subcommand.
///
/// # Errors
/// As [`report::run`] and [`promote::run`].
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    match &args.command {
        Command::Report(args) => report::run(args, out),
        Command::Promote(args) => promote::run(args, out),
    }
}
