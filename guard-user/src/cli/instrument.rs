//! `borderguard instrument`: what becomes of every exemption that rests on one legal instrument.

use std::io::Write;

use anyhow::Result;
use jiff::Timestamp;

use super::exemption::CUT;
use super::exemption::ask::{How, change};
use crate::control::protocol::Request;
use crate::exit::Exit;

/// Arguments of `instrument`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do with instruments.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Close every exemption that rests on an instrument, at once and for good
    Invalidate {
        /// The instrument's name, as the documents have it
        #[arg(value_name = "NAME")]
        name: String,
        /// The reason, which is kept
        #[arg(long, value_name = "TEXT")]
        why: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
}

/// Does it.
///
/// # Errors
/// Where no open exemption rests on it, no daemon answers or it refuses, or `out` can't be written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let Command::Invalidate { name, why, how } = &args.command;
    let (name, why) = (name.clone(), why.clone());
    let request = Request::InstrumentInvalidate { name, why, dry_run: how.dry_run };
    change(&how.target.socket()?, &request, how, CUT, Timestamp::now(), out)
}
