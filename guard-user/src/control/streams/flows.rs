//! A client that reads the kernel's flow records.
//!
//! The map is read as a whole on a thread that may wait for it, and given out in batches. One client at a time, which has a
//! bounded time for it: each answer has a copy of the whole table in memory.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::pace::Pace;
use super::past::BATCH;
use crate::control::protocol::{ErrorKind, Response};
use crate::control::wire::{send, write};
use crate::events::flow_records::{FlowRecords, Source};

/// How long a client waits for its turn, and then for the kernel.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a client may take for the whole answer: a full table takes a few seconds.
const LONGEST: Duration = Duration::from_secs(120);

/// Flows that are given out at once in brief: a millisecond or two.
const BRIEF: usize = 512;

/// How a client gets them.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    /// Many at once.
    pub(super) brief: bool,
    /// With users, commands, processes and cgroups.
    pub(super) sees_people: bool,
}

pub(super) async fn serve(
    writer: &mut OwnedWriteHalf,
    source: Option<Source>,
    how: How,
    pace: &Pace,
    turn: Arc<Semaphore>,
) -> io::Result<()> {
    let failed =
        |why: String| Response::error(ErrorKind::Failed, format!("the flow records can't be read: {why}"));
    let Some(source) = source else {
        return send(writer, &failed("this daemon has none".to_owned())).await;
    };
    let Ok(Ok(permit)) = timeout(PATIENCE, turn.acquire_owned()).await else {
        let message = "another client reads the flow records: try again later";
        return send(writer, &Response::error(ErrorKind::Busy, message)).await;
    };
    // The turn is over once the map was read, whoever waits for that, and the answer was given.
    let read = tokio::task::spawn_blocking(move || (source.read(), permit));
    let (records, _turn) = match timeout(PATIENCE, read).await {
        Ok(Ok((Ok(records), permit))) => (records, permit),
        Ok(Ok((Err(why), _))) => return send(writer, &failed(why)).await,
        Ok(Err(error)) => return send(writer, &failed(error.to_string())).await,
        Err(_) => return send(writer, &failed("the kernel does not answer".to_owned())).await,
    };
    let given = timeout(LONGEST, give(writer, &records, how, pace)).await;
    given.map_err(|_| io::ErrorKind::TimedOut)?
}

async fn give(writer: &mut OwnedWriteHalf, records: &FlowRecords, how: How, pace: &Pace) -> io::Result<()> {
    let count = records.records.len();
    let generation = records.generation();
    let first = Response::Flows {
        flows: count as u64,
        capacity: records.capacity as u64,
        generation: generation.map(|it| it.0).unwrap_or_default(),
        policy: generation.and_then(|it| it.1).map(str::to_owned),
    };
    send(writer, &first).await?;
    let How { brief, sees_people } = how;
    let step = if brief { BRIEF } else { BATCH };
    for from in (0..count).step_by(step) {
        let begin = Instant::now();
        let lines: String = match brief {
            true => Response::Brief { line: records.batch(from, step, sees_people).to_line() }.to_line(),
            false => {
                let lines = records.lines(from, step, sees_people);
                lines.map(|line| Response::Flow { line }.to_line()).collect()
            }
        };
        pace.spend(begin.elapsed()).await;
        write(writer, lines.as_bytes()).await?;
    }
    send(writer, &Response::End {}).await
}
