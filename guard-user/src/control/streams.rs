//! Clients that read events or flow records, on a thread of their own.
//!
//! To make lines of events is work, and under a flood there is always more of it: here it holds up no other
//! client and nothing that guards. The thread gives way to others and uses half of one CPU at most; a client
//! that falls behind is told how many events it missed. What is on the disk is read by other threads, one at a time, and
//! not waited for longer than [`past::DISK`].

mod flows;
mod pace;
mod past;

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::LocalSet;
use tokio::time::timeout;
use tracing::debug;

use self::flows::How;
use self::pace::Pace;
use self::past::{BATCH, Chunk, Disk, SHARE, Select};
use super::MAX_CLIENTS;
use super::places::{Kind, Place, Places};
use super::protocol::{ErrorKind, EventFormat, Response};
use super::wire::{send, write};
use crate::events::brief::Batch;
use crate::events::flow_records;
use crate::events::history::{CAPACITY, History};
use crate::history::filter::{Filter, Fit};
use crate::history::untagged::Pending;
use crate::history::{Past, Worker};
use crate::worker::give_way;

/// What a client wants to read.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) follow: bool,
    pub(super) limit: Option<usize>,
    pub(super) format: EventFormat,
    pub(super) filter: Filter,
    /// Whether events of flows come many at once.
    pub(super) brief: bool,
    /// Whether it may see users, commands, processes and cgroups.
    pub(super) sees_people: bool,
}

/// What a client asks for.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// Events.
    Events(Box<Wanted>),
    /// Every flow record.
    Flows {
        /// Whether they come many at once.
        brief: bool,
        /// Whether it may see users, commands, processes and cgroups.
        sees_people: bool,
    },
}

/// Where events are.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    /// The last ones.
    pub(super) history: Arc<History>,
    /// Those of earlier times, on the disk.
    pub(super) past: Option<Arc<Worker>>,
    /// The kernel's flow records.
    pub(super) flows: Option<flow_records::Source>,
    /// Egress that no pin tags and that the history does not have yet.
    pub(super) untagged: Option<Pending>,
}

/// A client on its way to the thread.
struct Reader {
    stream: StdStream,
    asked: Asked,
    _place: Place,
}

/// The thread. It ends when this is dropped, and with it the connections of its clients.
#[derive(Debug)]
pub(super) struct Streams {
    readers: mpsc::Sender<Reader>,
    /// Other places than those of requests.
    places: Arc<Places>,
}

impl Streams {
    /// Starts the thread.
    pub(super) fn start(sources: Sources) -> io::Result<Self> {
        let (readers, new) = mpsc::channel(Kind::COUNT * MAX_CLIENTS);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("event-streams".to_owned()).spawn(move || {
            give_way();
            LocalSet::new().block_on(&runtime, serve(new, sources));
            // One that the disk holds up is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { readers, places: Arc::default() })
    }

    /// Hands a client over; gives it back where too many of its kind are there.
    pub(super) fn take(
        &self,
        stream: UnixStream,
        kind: Kind,
        asked: Asked,
    ) -> io::Result<Option<UnixStream>> {
        let Some(place) = self.places.take(kind) else { return Ok(Some(stream)) };
        let stream = stream.into_std()?;
        let reader = Reader { stream, asked, _place: place };
        self.readers
            .try_send(reader)
            .map_err(|_| io::Error::other("the thread of event readers has ended"))?;
        Ok(None)
    }
}

async fn serve(mut new: mpsc::Receiver<Reader>, sources: Sources) {
    let pace = Pace::default();
    // One at a time: many readers cost no more than one.
    let (turn, turn_of_flows) = (Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(1)));
    while let Some(Reader { stream, asked, _place }) = new.recv().await {
        let (sources, pace) = (sources.clone(), pace.clone());
        let (turn, turn_of_flows) = (Arc::clone(&turn), Arc::clone(&turn_of_flows));
        tokio::task::spawn_local(async move {
            let served = async {
                let (reader, mut writer) = UnixStream::from_std(stream)?.into_split();
                match asked {
                    Asked::Events(wanted) => {
                        Client { reader, writer, sources, wanted: *wanted, pace }.serve(turn).await
                    }
                    Asked::Flows { brief, sees_people } => {
                        let how = How { brief, sees_people };
                        flows::serve(&mut writer, sources.flows, how, &pace, turn_of_flows).await
                    }
                }
            };
            if let Err(error) = served.await {
                debug!(%error, "a client that read events or flows went away");
            }
            drop(_place);
        });
    }
}

/// The last so many of these; all of them without a limit.
fn last_of(mut rows: Vec<Past>, limit: Option<usize>) -> Vec<Past> {
    let excess = limit.map_or(0, |limit| rows.len().saturating_sub(limit));
    rows.drain(..excess);
    rows
}

/// A client that reads.
struct Client {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    sources: Sources,
    wanted: Wanted,
    pace: Pace,
}

impl Client {
    async fn serve(mut self, turn: Arc<Semaphore>) -> io::Result<()> {
        if let Err(message) = self.wanted.filter.check() {
            return self.refuse(ErrorKind::BadInput, message).await;
        }
        let pending = match self.pending().await {
            Ok(pending) => pending,
            Err((kind, message)) => return self.refuse(kind, message).await,
        };
        let past = self.sources.past.clone();
        if let (Some(event), Some(past)) = (&mut self.wanted.filter.event, &past) {
            event.session.get_or_insert(past.session());
        }
        let history = Arc::clone(&self.sources.history);
        let is_kept = past.as_ref().is_some_and(|past| past.is_kept());
        let begins = if is_kept { history.first_whole() } else { history.first_of_last(None) };
        let mut first = begins;
        // Without `follow` what comes while the rest is sent is not sent: else it might never end.
        let end = if self.wanted.follow { u64::MAX } else { history.next_sequence() };
        let filter = &self.wanted.filter;
        let is_bounded = filter.since.is_some() || filter.until.is_some() || filter.event.is_some();
        let limit = self.wanted.limit.or((!is_bounded).then_some(CAPACITY));
        let pending = last_of(pending, limit);
        let limit = limit.map(|limit| limit.saturating_sub(pending.len()));
        let in_memory = self.last_in_memory(first, limit).await;
        let (mut sent, mut left_out) = (0_u64, past::LeftOut::default());
        let wants_disk = match (&in_memory, limit) {
            (Some(numbers), Some(limit)) => {
                if let (true, Some(number)) = (numbers.len() >= limit, numbers.first()) {
                    first = *number;
                }
                (numbers.len() < limit).then(|| Some(limit - numbers.len()))
            }
            _ => Some(None),
        };
        if limit == Some(0) {
            first = history.next_sequence();
        }
        if let (Some(last), Some(past)) = (wants_disk, &past) {
            let select =
                Select { filter: self.wanted.filter.clone(), session: past.session(), before: begins };
            match self.send_past(past, select, last, &turn).await {
                Ok((count, out)) => (sent, left_out) = (count, out),
                Err(past::Broken::Client(error)) => return Err(error),
                Err(past::Broken::Disk(message)) => return self.refuse(ErrorKind::Failed, message).await,
            }
        }
        if !pending.is_empty() {
            sent += pending.len() as u64;
            let lines = self.lines(pending);
            write(&mut self.writer, lines.as_bytes()).await?;
        }
        self.send_memory(first, end, sent, left_out).await
    }

    /// Egress that no pin tags and that the history does not have yet, where that is asked for.
    async fn pending(&self) -> Result<Vec<Past>, (ErrorKind, String)> {
        let (filter, Some(source)) = (&self.wanted.filter, &self.sources.untagged) else {
            return Ok(Vec::new());
        };
        if !filter.wants_untagged() {
            return Ok(Vec::new());
        }
        if self.wanted.follow {
            let message = "egress that no pin tags makes no events to follow: ask again without --follow";
            return Err((ErrorKind::BadInput, message.to_owned()));
        }
        let source = source.clone();
        let read = timeout(past::DISK, tokio::task::spawn_blocking(move || source.read()));
        let failed =
            |why: String| (ErrorKind::Failed, format!("egress that no pin tags can't be read: {why}"));
        let rows = read.await.map_err(|_| failed("the kernel does not answer".to_owned()))?;
        let rows = rows.map_err(|error| failed(error.to_string()))?.map_err(failed)?;
        Ok(rows.into_iter().filter(|row| filter.fit(row) == Fit::Yes).collect())
    }

    /// The numbers of the last events in memory that are wanted, so many at most; `None` without a limit.
    async fn last_in_memory(&self, first: u64, limit: Option<usize>) -> Option<Vec<u64>> {
        let limit = limit?;
        let mut numbers = std::collections::VecDeque::new();
        let mut next = first;
        loop {
            let begin = Instant::now();
            let (missed, events) = self.sources.history.from(next, 16 * BATCH);
            next += missed + events.len() as u64;
            if events.is_empty() {
                return Some(numbers.into());
            }
            for event in events {
                let number = event.sequence();
                if self.wanted.filter.fit(&Past::Event(event)) == Fit::Yes {
                    numbers.push_back(number);
                }
                if numbers.len() > limit {
                    numbers.pop_front();
                }
            }
            self.pace.spend(begin.elapsed()).await;
        }
    }

    /// Sends what is on the disk, the last so many or all of it; how many records those were.
    async fn send_past(
        &mut self,
        past: &Worker,
        select: Select,
        last: Option<usize>,
        turn: &Arc<Semaphore>,
    ) -> Result<(u64, past::LeftOut), past::Broken> {
        let reader = past.reader(select.filter.since).map_err(|error| past::Broken::disk(&error))?;
        let Some(reader) = reader else { return Ok(Default::default()) };
        let mut disk = Disk::new(reader, select, last);
        let mut sent = 0;
        loop {
            let begin = Instant::now();
            let (Chunk { records, is_all }, back) = disk.next(turn).await?;
            disk = back;
            sent += records.len() as u64;
            let lines = self.lines(records);
            self.pace.spend(begin.elapsed().min(SHARE)).await;
            if !lines.is_empty() {
                write(&mut self.writer, lines.as_bytes()).await.map_err(past::Broken::Client)?;
            }
            if is_all {
                return Ok((sent, disk.left_out()));
            }
        }
    }

    async fn send_memory(
        mut self,
        mut next: u64,
        end: u64,
        mut sent: u64,
        left_out: past::LeftOut,
    ) -> io::Result<()> {
        let history = Arc::clone(&self.sources.history);
        let mut news = history.subscribe();
        // One that neither the config nor anything that was seen has.
        let unknown = |sent: u64, wanted: &Wanted, sources: &Sources| {
            let pin = wanted.filter.pin.as_ref().filter(|_| sent == 0)?;
            let pins = sources.past.as_ref()?.lacks_pin(pin)?;
            Some(format!("there is no pin {pin:?}, and nothing was seen of one: {}", pins.join(", ")))
        };
        loop {
            let begin = Instant::now();
            let wanted = usize::try_from(end.saturating_sub(next)).unwrap_or(BATCH).min(BATCH);
            let (missed, events) = history.from(next, wanted);
            let is_all = events.is_empty() && missed == 0;
            let mut lines = String::new();
            if missed > 0 {
                lines.push_str(&Response::Missed { events: missed }.to_line());
            }
            next += missed + events.len() as u64;
            let all = events.into_iter().map(Past::Event);
            let fitting: Vec<Past> = all.filter(|past| self.wanted.filter.fit(past) == Fit::Yes).collect();
            sent += fitting.len() as u64;
            lines.push_str(&self.lines(fitting));
            self.pace.spend(begin.elapsed()).await;
            if !lines.is_empty() {
                write(&mut self.writer, lines.as_bytes()).await?;
            }
            if !is_all {
                continue;
            }
            if let Some(message) = unknown(sent, &self.wanted, &self.sources) {
                return self.refuse(ErrorKind::BadInput, message).await;
            }
            if next >= end {
                return self.finish(left_out).await;
            }
            let mut byte = [0];
            tokio::select! {
                changed = news.changed() => if changed.is_err() {
                    return self.finish(left_out).await;
                },
                // A client that closes its end, or sends something that was not asked for, is done.
                _ = self.reader.read(&mut byte) => return Ok(()),
            }
        }
    }

    /// The responses that have these records.
    fn lines(&self, records: Vec<Past>) -> String {
        let (mut lines, mut batch) = (String::new(), Batch::default());
        for past in records {
            match past.flow().filter(|_| self.wanted.brief) {
                Some(event) => batch.add_event(event, self.wanted.sees_people),
                None => lines.push_str(&self.line(past)),
            }
        }
        if !batch.is_empty() {
            lines.push_str(&Response::Brief { line: batch.to_line() }.to_line());
        }
        lines
    }

    /// The response that has a record.
    fn line(&self, past: Past) -> String {
        let past = match self.wanted.sees_people {
            true => past,
            false => past.without_people(crate::events::event::People::Hidden),
        };
        Response::Event { line: past.to_line(self.wanted.format.into()) }.to_line()
    }

    async fn refuse(&mut self, kind: ErrorKind, message: String) -> io::Result<()> {
        send(&mut self.writer, &Response::error(kind, message)).await
    }

    async fn finish(mut self, left_out: past::LeftOut) -> io::Result<()> {
        let past::LeftOut { summaries, damaged } = left_out;
        if (summaries, damaged) != (0, 0) {
            send(&mut self.writer, &Response::LeftOut { summaries, damaged }).await?;
        }
        send(&mut self.writer, &Response::End {}).await
    }
}
