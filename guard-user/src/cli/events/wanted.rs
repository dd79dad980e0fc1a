//! Which events are wanted, and how they are read.

use std::io::{self, Write};

use anyhow::Result;
use jiff::Timestamp;

use crate::cli::CliError;
use crate::control::client::Exchange;
use crate::control::protocol::Response;
use crate::history::Filter;
use crate::history::moment::{self, End};

/// Which events: what is given counts together.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Wanted {
    /// From this moment on: 2026-11-23T12:00:00Z, a date in UTC, or so long ago, as -2h
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    pub since: Option<String>,
    /// Until this moment, or until a day is over
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    pub until: Option<String>,
    /// Of flows of this pin
    #[arg(long, value_name = "PIN")]
    pub pin: Option<String>,
    /// To this jurisdiction: a code such as US, unknown, or uncertain
    #[arg(long, value_name = "JURISDICTION")]
    pub to: Option<String>,
    /// Of this verdict: pass, observe, flag, or drop
    #[arg(long, value_name = "VERDICT")]
    pub verdict: Option<String>,
    /// For this reason; docs/reasons.md has their names
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
    /// By this process: its id, or the name of its command
    #[arg(long, value_name = "NAME|PID")]
    pub process: Option<String>,
}

impl Wanted {
    /// As the daemon is asked, checked as far as that can be done without it.
    ///
    /// # Errors
    /// What is no moment, no name, or the wrong way round.
    pub fn filter(&self, now: Timestamp) -> Result<Filter, CliError> {
        let moment = |option: &str, text: &Option<String>, end| {
            let read =
                |text: &String| moment::parse(text, now, end).map_err(|why| format!("{option}: {why}"));
            text.as_ref().map(read).transpose().map_err(CliError::bad_input)
        };
        let filter = Filter {
            since: moment("--since", &self.since, End::Begin)?,
            until: moment("--until", &self.until, End::Over)?,
            pin: self.pin.clone(),
            to: self.to.clone(),
            verdict: self.verdict.clone(),
            reason: self.reason.clone(),
            process: self.process.clone(),
            event: None,
            untagged: false,
        };
        filter.check().map_err(CliError::bad_input)?;
        Ok(filter)
    }
}

/// Takes each line until the daemon says that it was the last one; what is missing is told.
pub(super) fn read(
    exchange: &mut Exchange,
    complaints: &mut impl Write,
    mut take: impl FnMut(String) -> Result<()>,
) -> Result<()> {
    loop {
        match exchange.response()? {
            Some(Response::Event { line }) => take(line)?,
            Some(Response::Missed { events }) => writeln!(
                complaints,
                "borderguard: {events} events are not in memory any more; the daemon's log and the flow history have them"
            )?,
            Some(Response::LeftOut { summaries, damaged }) => {
                if summaries > 0 {
                    writeln!(
                        complaints,
                        "borderguard: {summaries} summaries may have such events and are left out: they name no process"
                    )?;
                }
                if damaged > 0 {
                    writeln!(complaints, "borderguard: {damaged} lines of the flow history can't be read")?;
                }
            }
            Some(Response::End {}) => return Ok(()),
            Some(_) => return Err(exchange.unexpected().into()),
            None => return Err(io::Error::other("the daemon has ended").into()),
        }
    }
}
