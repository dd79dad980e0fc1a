//! What the daemon has of flows: its history, the kernel's records, and the counters.

use std::io;
use std::path::Path;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::Value;

use crate::cli::progress::Progress;
use crate::control::client::{self, Exchange};
use crate::control::protocol::{EventFormat, Request, Response};
use crate::control::status::Status;
use crate::events::brief::Batch;
use crate::history::Filter;
use crate::simulate::{Permitted, Traffic};

/// The kernel's flow table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) flows: u64,
    pub(super) capacity: u64,
    /// The generation that is live, and SHA-256 of its config.
    pub(super) generation: u64,
    pub(super) policy: Option<String>,
}

/// What is told of the flow history while it is read.
pub(in crate::cli) enum Recorded<'a> {
    /// Events of flows.
    Flows(&'a Batch),
    /// Any other line, as flat JSON has it.
    Line(&'a Value),
}

/// How the flows that were seen are looked at.
pub(in crate::cli) struct Look<'a> {
    /// From when on; all of them without it.
    pub(in crate::cli) since: Option<Timestamp>,
    /// From when on they are summed up a second time, where that is wanted.
    pub(in crate::cli) recent: Option<Timestamp>,
    /// Who else takes up what the history has, of both times.
    pub(in crate::cli) each: Option<&'a mut dyn FnMut(Recorded<'_>)>,
    /// Where it is told how far that is.
    pub(in crate::cli) progress: &'a Progress,
}

impl<'a> Look<'a> {
    /// At those from this moment on, once.
    pub(in crate::cli) fn since(since: Option<Timestamp>, progress: &'a Progress) -> Self {
        Self { since, recent: None, each: None, progress }
    }

    /// What was before this is not asked for.
    fn begin(&self) -> Timestamp {
        // Without a moment to begin at, the last ones alone would come.
        let since = self.since.unwrap_or(Timestamp::UNIX_EPOCH);
        self.recent.map_or(since, |recent| recent.min(since))
    }

    fn tell(&mut self, it: Recorded<'_>) {
        if let Some(each) = self.each.as_mut() {
            each(it);
        }
    }
}

/// What was seen, and of what there are sums alone.
pub(super) struct Seen {
    pub(super) traffic: Traffic,
    pub(super) live: Live,
    /// Events that were neither in memory nor in the history any more.
    pub(super) missed: u64,
    pub(super) permitted: Vec<Permitted>,
    pub(super) status: Box<Status>,
}

/// Asks for all of it.
///
/// # Errors
/// Where no daemon answers, or this user may not ask it.
pub(super) fn all(socket: &Path, look: &mut Look<'_>) -> Result<Seen> {
    let mut traffic = Traffic::new(look.since);
    if let Some(recent) = look.recent {
        traffic = traffic.with_recent(recent);
    }
    // The table first: what it forgets meanwhile may be an event by then.
    let live = live(socket, &mut traffic, look.progress)?;
    let missed = recorded(socket, look, &mut traffic)?;
    let status = client::status(socket)?;
    let is_permitted = |row: &&crate::control::status::CounterStatus| {
        (row.hook.as_str(), row.verdict.as_str(), row.reason.as_str()) == ("egress", "pass", "permitted")
    };
    let permitted = status.counters.iter().filter(is_permitted).filter_map(|row| {
        Some(Permitted {
            pin: row.pin.clone()?,
            jurisdiction: row.jurisdiction.clone()?,
            packets: row.packets,
            bytes: row.bytes,
        })
    });
    let permitted = permitted.collect();
    Ok(Seen { traffic, live, missed, permitted, status })
}

fn live(socket: &Path, traffic: &mut Traffic, progress: &Progress) -> Result<Live> {
    progress.begin("reads the flows in the kernel's table", None);
    let mut exchange = Exchange::begin(socket, &Request::Flows { brief: true })?;
    let mut live = None;
    loop {
        match exchange.response()? {
            Some(Response::Flows { flows, capacity, generation, policy }) if live.is_none() => {
                progress.begin("reads the flows in the kernel's table", Some(flows));
                live = Some(Live { flows, capacity, generation, policy });
            }
            Some(Response::Brief { line }) => {
                let batch = Batch::read(&line)?;
                traffic.brief(&batch);
                progress.add(batch.flows.len() as u64);
            }
            Some(Response::End {}) => return live.ok_or_else(|| exchange.unexpected().into()),
            Some(_) => return Err(exchange.unexpected().into()),
            None => return Err(io::Error::other("the daemon has ended").into()),
        }
    }
}

/// Events, and what no pin tags.
fn recorded(socket: &Path, look: &mut Look<'_>, traffic: &mut Traffic) -> Result<u64> {
    look.progress.begin("reads the flow history", None);
    let filter = Filter { since: Some(look.begin()), untagged: true, ..Filter::default() };
    let request =
        Request::Events { follow: false, limit: None, format: EventFormat::Json, filter, brief: true };
    let mut exchange = Exchange::begin(socket, &request)?;
    exchange.wait_for_ever()?;
    let mut missed = 0;
    loop {
        match exchange.response()? {
            Some(Response::Brief { line }) => {
                let batch = Batch::read(&line)?;
                traffic.brief(&batch);
                look.tell(Recorded::Flows(&batch));
                look.progress.add(batch.flows.len() as u64);
            }
            Some(Response::Event { line }) => {
                let line: Value = serde_json::from_str(&line)?;
                traffic.recorded(&line);
                look.tell(Recorded::Line(&line));
                look.progress.add(1);
            }
            Some(Response::Missed { events }) => missed += events,
            Some(Response::LeftOut { summaries, damaged }) => missed += summaries + damaged,
            Some(Response::End {}) => return Ok(missed),
            Some(_) => return Err(exchange.unexpected().into()),
            None => return Err(io::Error::other("the daemon has ended").into()),
        }
    }
}
