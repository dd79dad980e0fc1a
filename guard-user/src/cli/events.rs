//! `borderguard events`: what was seen, one line each.

use std::io::{self, Write};

use anyhow::Result;

use super::target::Target;
use crate::control::client::Exchange;
use crate::control::protocol::{EventFormat, Request, Response};
use crate::exit::Exit;

/// Arguments of `events`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Go on with new events as they come, until interrupted
    #[arg(short, long)]
    pub follow: bool,
    /// One JSON object a line; docs/logs.md has its keys
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// How a line looks
    #[arg(long, value_enum, default_value_t)]
    pub format: EventFormat,
    /// The last N events only [default: all that the daemon has in memory, at most 10,000]
    #[arg(short = 'n', long, value_name = "N")]
    pub limit: Option<usize>,
    /// The daemon.
    #[command(flatten)]
    pub target: Target,
}

/// Writes the events to `out`, and what was missed to `complaints`.
///
/// # Errors
/// Where no daemon answers, or `out` can't be written.
pub fn run(args: &Args, out: &mut impl Write, complaints: &mut impl Write) -> Result<Exit> {
    let format = if args.json { EventFormat::Json } else { args.format };
    let request = Request::Events { follow: args.follow, limit: args.limit, format };
    let mut exchange = Exchange::begin(&args.target.socket()?, &request)?;
    if args.follow {
        exchange.wait_for_ever()?;
    }
    loop {
        match exchange.response()? {
            Some(Response::Event { line }) => {
                writeln!(out, "{line}")?;
                if args.follow {
                    out.flush()?;
                }
            }
            Some(Response::Missed { events }) => {
                writeln!(
                    complaints,
                    "borderguard: {events} events are not in memory any more; the daemon's log has them"
                )?;
            }
            Some(Response::End {}) => {
                out.flush()?;
                return Ok(Exit::Ok);
            }
            Some(_) => return Err(exchange.unexpected().into()),
            None => {
                out.flush()?;
                return Err(io::Error::other("the daemon has ended").into());
            }
        }
    }
}
