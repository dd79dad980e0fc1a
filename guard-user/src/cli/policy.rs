//! `borderguard policy`: what another policy would newly let pass, signing one, and who signed it.

pub mod diff;
mod json;
mod kind;
mod side;
pub mod sign;
pub mod text;
pub mod verify;

pub(super) use diff::Compared;
pub(super) use side::Side;

use std::io::Write;

use anyhow::Result;
use jiff::Timestamp;

use crate::exit::Exit;

/// Arguments of `policy`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done with policies.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Compare two configs with their databases: what newly passes
    Diff(diff::Args),
    /// Sign a config or a geo database with your SSH key, once what it opens was shown
    Sign(sign::Args),
    /// Write the whole text of a config with its files in policy.d, which is what is signed
    Text(text::Args),
    /// Say who signed a config or a geo database, and whose signature is missing
    Verify(verify::Args),
}

/// Does it.
///
/// # Errors
/// Where an input can't be used, or `out` can't be written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    match &args.command {
        Command::Diff(args) => diff::run(args, out),
        Command::Text(args) => text::run(args, out),
        Command::Sign(args) => sign::run(args, Timestamp::now(), out),
        Command::Verify(args) => verify::run(args, Timestamp::now(), out),
    }
}
