//! `borderguard instrument`: what becomes of every exemption that rests on one legal instrument.

use std::io::Write;

use anyhow::Result;
use jiff::Timestamp;

use super::CliError;
use super::exemption::ask::{self, AsList, CUT, How, change};
use super::exemption::lift;
use crate::control::protocol::Request;
use crate::exemption::OrderKind;
use crate::exemption::summary::OrderSummary;
use crate::exit::Exit;
use crate::store;

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
    /// Show the instruments that have fallen
    List(AsList),
    /// Let documents rest again on an instrument that has fallen; what was closed with it stays closed
    Restore(Restore),
    /// Close every exemption that rests on an instrument, at once and for good
    Invalidate(Change),
}

/// What becomes of an instrument.
#[derive(Clone, Debug, clap::Args)]
pub struct Change {
    /// The instrument's name, as the documents have it
    #[arg(value_name = "NAME")]
    name: String,
    /// The reason, which is kept
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// How.
    #[command(flatten)]
    pub how: How,
}

/// A fallen instrument that is to be restored.
#[derive(Clone, Debug, clap::Args)]
pub struct Restore {
    /// Which, and why.
    #[command(flatten)]
    pub change: Change,
    /// As a document.
    #[command(flatten)]
    document: lift::AsDocument,
}

/// Does it.
///
/// # Errors
/// Where no open exemption rests on it, no daemon answers or it refuses, or `out` can't be written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let now = Timestamp::now();
    match &args.command {
        Command::List(list) => ask::orders(Some(OrderKind::Fallen), list, now, out),
        Command::Restore(Restore { change: Change { name, why, how }, document }) => {
            let socket = how.target.socket()?;
            let is_it = |it: &OrderSummary| it.kind == OrderKind::Fallen.name() && it.name == *name;
            let fallen = ask::standing(&socket)?.into_iter().find(is_it);
            let order = fallen.map(|it| it.order).ok_or_else(|| {
                CliError::bad_input(format!(
                    "no instrument \"{}\" has fallen; `borderguard instrument list` names those that have",
                    name.escape_debug()
                ))
            })?;
            let (target, why) = (store::Target::Instrument(name.clone()), why.clone());
            let (order, lift) = (Some(order), None);
            let request = Request::ExemptionResume { target, order, why, lift, dry_run: how.dry_run };
            lift::resume(&request, document, how, now, out)
        }
        Command::Invalidate(Change { name, why, how }) => {
            let (name, why) = (name.clone(), why.clone());
            let request = Request::InstrumentInvalidate { name, why, dry_run: how.dry_run };
            change(&how.target.socket()?, &request, how, CUT, now, out)
        }
    }
}
