//! What the daemon has of flows: its history, the kernel's records, and the counters.

use std::io;
use std::path::Path;

use anyhow::Result;
use guard_common::verdict::Reason;
use jiff::Timestamp;
use serde_json::Value;

use crate::control::client::{self, Exchange};
use crate::control::protocol::{EventFormat, Request, Response};
use crate::control::status::Status;
use crate::events::untagged::Untagged;
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
pub(super) fn all(socket: &Path, since: Option<Timestamp>) -> Result<Seen> {
    let mut traffic = Traffic::new(since);
    // The table first: what it forgets meanwhile may be an event by then.
    let live = live(socket, &mut traffic)?;
    let missed = recorded(socket, since, None, &mut traffic)?
        + recorded(socket, since, Some(Untagged::REASON), &mut traffic)?;
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

fn live(socket: &Path, traffic: &mut Traffic) -> Result<Live> {
    let mut exchange = Exchange::begin(socket, &Request::Flows {})?;
    let mut live = None;
    loop {
        match exchange.response()? {
            Some(Response::Flows { flows, capacity, generation, policy }) if live.is_none() => {
                live = Some(Live { flows, capacity, generation, policy });
            }
            Some(Response::Flow { line }) => traffic.live(&serde_json::from_str(&line)?),
            Some(Response::End {}) => return live.ok_or_else(|| exchange.unexpected().into()),
            Some(_) => return Err(exchange.unexpected().into()),
            None => return Err(io::Error::other("the daemon has ended").into()),
        }
    }
}

/// Events, or what no pin tags where its reason is asked for.
fn recorded(
    socket: &Path,
    since: Option<Timestamp>,
    reason: Option<Reason>,
    traffic: &mut Traffic,
) -> Result<u64> {
    // Without a moment to begin at, the last ones alone would come.
    let since = Some(since.unwrap_or(Timestamp::UNIX_EPOCH));
    let reason = reason.map(|reason| reason.name().to_owned());
    let is_of_events = reason.is_none();
    let filter = Filter { since, reason, ..Filter::default() };
    let request = Request::Events { follow: false, limit: None, format: EventFormat::Json, filter };
    let mut exchange = Exchange::begin(socket, &request)?;
    exchange.wait_for_ever()?;
    let mut missed = 0;
    loop {
        match exchange.response()? {
            Some(Response::Event { line }) => {
                let line: Value = serde_json::from_str(&line)?;
                // That records are missing is told each time.
                if is_of_events || line["kind"] == "untagged" {
                    traffic.recorded(&line);
                }
            }
            Some(Response::Missed { events }) => missed += events,
            Some(Response::LeftOut { summaries, damaged }) => missed += summaries + damaged,
            Some(Response::End {}) => return Ok(missed),
            Some(_) => return Err(exchange.unexpected().into()),
            None => return Err(io::Error::other("the daemon has ended").into()),
        }
    }
}
