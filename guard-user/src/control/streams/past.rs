//! What a client reads of the flow history: on threads that may wait for the disk.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::history::filter::{Filter, Fit};
use crate::history::{Past, reader::Reader};

/// Events that are rendered at once for one client: under a millisecond.
pub(super) const BATCH: usize = 128;
/// How much of each window of time goes to lines of events.
pub(super) const SHARE: Duration = Duration::from_millis(25);
/// How long the disk is waited for.
pub(super) const DISK: Duration = Duration::from_secs(20);

/// Which records are wanted of the disk.
#[derive(Clone, Debug)]
pub(super) struct Select {
    pub(super) filter: Filter,
    /// The session of the daemon that runs.
    pub(super) session: Timestamp,
    /// The number of that session's first event that memory has.
    pub(super) before: u64,
}

impl Select {
    fn fit(&self, past: &Past) -> Fit {
        let is_in_memory =
            past.session() == self.session && past.last_number().is_some_and(|number| number >= self.before);
        if is_in_memory { Fit::No } else { self.filter.fit(past) }
    }
}

/// What was left out and may have had something of what was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LeftOut {
    pub(super) summaries: u64,
    pub(super) damaged: u64,
}

/// Why no more is sent.
#[derive(Debug)]
pub(super) enum Broken {
    /// The client went.
    Client(io::Error),
    /// The history can't be read.
    Disk(String),
}

impl Broken {
    pub(super) fn disk(error: &io::Error) -> Self {
        Self::Disk(format!("the flow history can't be read: {error}"))
    }
}

/// Some records.
pub(super) struct Chunk {
    pub(super) records: Vec<Past>,
    pub(super) is_all: bool,
}

/// The history as one client reads it.
pub(super) struct Disk {
    reader: Reader,
    select: Select,
    /// How many of the last records are still to be found before any is read.
    last: Option<usize>,
    summaries: u64,
}

impl Disk {
    pub(super) fn new(reader: Reader, select: Select, last: Option<usize>) -> Self {
        Self { reader, select, last, summaries: 0 }
    }

    pub(super) fn left_out(&self) -> LeftOut {
        LeftOut { summaries: self.summaries, damaged: self.reader.damaged() }
    }

    /// The next records, when its turn has come.
    pub(super) async fn next(mut self, turn: &Arc<Semaphore>) -> Result<(Chunk, Self), Broken> {
        let late = |_| Broken::Disk("the flow history can't be read: the disk does not answer".to_owned());
        let permit = timeout(DISK, Arc::clone(turn).acquire_owned()).await.map_err(late)?;
        let read = tokio::task::spawn_blocking(move || {
            // Kept until the disk has answered, whoever waits for that.
            let _turn = permit;
            let chunk = self.read();
            (chunk, self)
        });
        match timeout(DISK, read).await.map_err(late)? {
            Ok((chunk, disk)) => chunk.map(|chunk| (chunk, disk)).map_err(|error| Broken::disk(&error)),
            Err(error) => Err(Broken::Disk(format!("the flow history can't be read: {error}"))),
        }
    }

    fn read(&mut self) -> io::Result<Chunk> {
        let Self { reader, select, last, summaries } = self;
        let mut records = Vec::new();
        if let Some(wanted) = last {
            if reader.search(wanted, &|past| select.fit(past) == Fit::Yes)? {
                *last = None;
            }
            return Ok(Chunk { records, is_all: false });
        }
        let begin = Instant::now();
        while records.len() < BATCH && begin.elapsed() < SHARE {
            let Some(past) = reader.read_next()? else { return Ok(Chunk { records, is_all: true }) };
            match select.fit(&past) {
                Fit::Yes => records.push(past),
                Fit::MayHave => *summaries += 1,
                Fit::No => {}
            }
        }
        Ok(Chunk { records, is_all: false })
    }
}
