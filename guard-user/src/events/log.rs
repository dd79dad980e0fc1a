//! The event log: a thread of its own writes lines to their destination.
//!
//! Who reads the other end may be slow or gone, a disk may be full, and nothing waits for it: a line that finds the queue full,
//! or that can't be written, is counted as lost, and a line says so as soon as the log takes lines again. A line gets its
//! number when it is written, so that the numbers have no gap.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;

use super::condition::Condition;
use super::envelope::Envelope;
use super::kept::{Count, Kept, LastFile};
use super::line::{Line, Sink};
use super::log_past::LogPast;
use super::lost::{Lost, What};
use super::record::Record;
use super::run::LastLine;
use super::sink::sink;
use super::told::{Told, Totals};
use super::told_flows::{ToldFlow, ToldFlows};
use crate::config::policy::{LogFormat, LogTo};
use crate::hostname::hostname;
use crate::worker::{give_way, join_within};

/// Lines that wait to be written: some seconds of every kind's full budget, and a few MiB at most.
const QUEUE: usize = 4096;
/// Flows of one batch of events that are kept: a write each.
const MOST_FLOWS: usize = 128;
/// How long the end of the daemon waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(2);
/// How often a writer that has nothing else to write tries to say that lines were lost.
const AGAIN: Duration = Duration::from_secs(1);
/// How long one sleeps that has nothing to say. What it is to do wakes it.
const IDLE: Duration = Duration::from_secs(60);

/// The log.
#[derive(Debug)]
pub struct EventLog {
    queue: Option<SyncSender<Order>>,
    given: Count,
    /// Records that were written, or of which a line says that they were lost.
    settled: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
    /// Up to when what was told of flows is not to be kept, nanoseconds of `CLOCK_BOOTTIME`.
    left_out: Arc<AtomicU64>,
    condition: Condition,
    beside: Arc<Mutex<Beside>>,
    session: Timestamp,
    predecessor: Option<LastLine>,
    writer: Option<JoinHandle<()>>,
}

/// What the writer is to do, one after the other.
#[derive(Debug)]
enum Order {
    /// To write this.
    Line(Record, LogFormat),
    /// To say what no line has, where a total stood still.
    Look(Totals, LogFormat),
    /// To forget which totals stood still.
    Unsettle,
    /// To keep that what all flows had at this moment was told, nanoseconds of `CLOCK_BOOTTIME`.
    Swept(u64),
    /// To keep what is told of these flows, at this moment.
    Flows(Vec<ToldFlow>, u64),
    /// To keep what is told of every flow, likewise, at the end.
    AllFlows(Vec<ToldFlow>, u64),
    /// To do what is to be done before the next line.
    Beside,
}

/// What the writer is to do before its next line.
#[derive(Debug, Default)]
struct Beside {
    reopen: bool,
    to: Option<LogTo>,
}

impl EventLog {
    /// Starts the writer, which goes on where an earlier one ended.
    ///
    /// # Errors
    /// Where no thread can be started, or standard output is closed.
    pub fn start(to: &LogTo, past: LogPast) -> io::Result<Self> {
        Self::writing_to(sink(to)?, past.kept, (past.told, past.flows))
    }

    /// A log without a past that writes to this, for tests.
    #[cfg(test)]
    pub(crate) fn to_stream(out: impl io::Write + Send + 'static) -> Self {
        let past = LogPast::unknown();
        Self::writing_to(Box::new(super::sink::Stream::of(out)), past.kept, (past.told, past.flows)).unwrap()
    }

    fn writing_to(
        sink: Box<dyn Sink>,
        mut kept: Kept,
        (told, mut flows): (Told, ToldFlows),
    ) -> io::Result<Self> {
        let (queue, orders) = sync_channel(QUEUE);
        let beside = Arc::<Mutex<Beside>>::default();
        let session = Timestamp::now();
        let given = Count::start(&mut kept, session)?;
        let (settled, condition) = (Arc::<AtomicU64>::default(), Condition::default());
        let left_out = Arc::<AtomicU64>::default();
        // What the run before could not write is lost as of now, and the next line says so.
        let unwritten = kept.before.unwritten;
        if unwritten > 0 {
            warn!("{unwritten} lines of the event log were not written before the last daemon's end");
        }
        let lost = Arc::new(AtomicU64::new(unwritten));
        let predecessor = kept.before.line;
        flows.begin(session, predecessor.map(|line| line.session));
        let envelope = Envelope { host: hostname().into(), session, sequence: Some(1) };
        let mut writer = Writer {
            sink,
            last: kept.last,
            told,
            flows,
            left_out: Arc::clone(&left_out),
            envelope,
            next: 1,
            settled: Arc::clone(&settled),
            condition: condition.clone(),
            lost: Arc::clone(&lost),
            beside: Arc::clone(&beside),
            reported: 0,
            format: LogFormat::Text,
            has_begun: false,
        };
        let writer = std::thread::Builder::new().name("event-log".to_owned()).stack_size(256 << 10).spawn(
            move || {
                give_way();
                writer.write_all(&orders);
            },
        )?;
        let (queue, writer) = (Some(queue), Some(writer));
        Ok(Self { queue, given, settled, lost, left_out, condition, beside, session, predecessor, writer })
    }

    /// Has the record written as soon as it can be. Never waits.
    pub fn write(&self, record: Record, format: LogFormat) {
        self.given.add();
        if !self.order(Order::Line(record, format)) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has a line written for each total that stood still since the look before the last one and that is not what lines
    /// add up to. All flows are to be gone over after each look, and what that brings to be written before the next one.
    pub fn look(&self, totals: Totals, format: LogFormat) {
        // Where there is no room, the next look does it.
        let _taken = self.order(Order::Look(totals, format));
    }

    /// Flows were not gone over after the last look: totals have to stand still anew.
    pub fn unsettle(&self) {
        let _taken = self.order(Order::Unsettle);
    }

    /// Has it kept for the next run that the lines so far tell what all flows had that were quiet at this moment, nanoseconds
    /// of `CLOCK_BOOTTIME`.
    pub fn swept(&self, swept_ns: u64) {
        let _taken = self.order(Order::Swept(swept_ns));
    }

    /// Has it kept for the next run what the next lines tell of these flows, at this moment. Of more than a few it is noted that
    /// they are left out, which costs a storm nothing.
    pub fn keep_flows(&self, flows: Vec<ToldFlow>, now_ns: u64) {
        if flows.len() > MOST_FLOWS || !flows.is_empty() && !self.order(Order::Flows(flows, now_ns)) {
            self.left_out.fetch_max(now_ns, Ordering::Relaxed);
        }
    }

    /// Has it kept what lines tell of every flow, at the end.
    pub fn keep_all_flows(&self, flows: Vec<ToldFlow>, now_ns: u64) {
        let _taken = self.order(Order::AllFlows(flows, now_ns));
    }

    fn order(&self, order: Order) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.try_send(order).is_ok())
    }

    /// Has what is written to opened anew, within a second.
    pub fn reopen(&self) {
        self.beside(|beside| beside.reopen = true);
    }

    /// Has lines written there from now on.
    pub fn set_to(&self, to: LogTo) {
        self.beside(|beside| beside.to = Some(to));
    }

    fn beside(&self, set: impl FnOnce(&mut Beside)) {
        set(&mut self.beside.lock().unwrap_or_else(PoisonError::into_inner));
        // A writer with a full queue does it before its next line.
        let _woken = self.order(Order::Beside);
    }

    /// Lines that could not be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Why no line could be written to this destination now.
    #[must_use]
    pub fn fault(to: &LogTo) -> Option<String> {
        super::sink::fault(to)
    }

    /// Whether it takes lines.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.condition.clone()
    }

    /// When this run began: with a line's number it names the line.
    #[must_use]
    pub const fn session(&self) -> Timestamp {
        self.session
    }

    /// The last line of the run before, where it is known.
    #[must_use]
    pub const fn predecessor(&self) -> Option<LastLine> {
        self.predecessor
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            let _in_time = join_within(writer, LAST_LINES);
        }
        let unwritten = self.given.get().saturating_sub(self.settled.load(Ordering::Acquire));
        if unwritten > 0 {
            warn!(
                "{unwritten} lines of the event log could not be written before the end; the next run's log says so"
            );
        }
    }
}

struct Writer {
    sink: Box<dyn Sink>,
    last: Option<LastFile>,
    told: Told,
    flows: ToldFlows,
    left_out: Arc<AtomicU64>,
    settled: Arc<AtomicU64>,
    condition: Condition,
    /// What lines say of this run.
    envelope: Envelope,
    /// The number of the next line.
    next: u64,
    lost: Arc<AtomicU64>,
    beside: Arc<Mutex<Beside>>,
    /// Lost lines of which the log has a line.
    reported: u64,
    /// The format of the last line.
    format: LogFormat,
    /// Whether any line was to be written.
    has_begun: bool,
}

impl Writer {
    fn write_all(&mut self, orders: &Receiver<Order>) {
        loop {
            let is_to_report = self.has_begun && self.lost.load(Ordering::Relaxed) > self.reported;
            let received = orders.recv_timeout(if is_to_report { AGAIN } else { IDLE });
            self.obey();
            // Before the line of any flow that is not kept.
            self.flows.left_out(self.left_out.load(Ordering::Relaxed));
            match received {
                Ok(Order::Line(record, format)) => {
                    (self.format, self.has_begun) = (format, true);
                    // The first line of a run says that it begins.
                    if !matches!(record, Record::Start(_)) {
                        self.report_lost();
                    }
                    if self.write(&record, 1).is_err() {
                        self.lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Ok(Order::Look(totals, format)) => {
                    self.format = format;
                    for difference in self.told.look(&totals, Timestamp::now()) {
                        // One that can't be written is there again at the next look.
                        let _written = self.write(&Record::Difference(difference), 0);
                    }
                }
                Ok(Order::Unsettle) => self.told.unsettle(),
                Ok(Order::Swept(swept_ns)) => self.told.swept(swept_ns),
                Ok(Order::Flows(flows, now_ns)) => self.flows.keep(&flows, now_ns),
                Ok(Order::AllFlows(flows, now_ns)) => self.flows.keep_all(&flows, now_ns),
                Ok(Order::Beside) => {}
                Err(RecvTimeoutError::Timeout) if !self.has_begun => {}
                Err(RecvTimeoutError::Timeout) => self.report_lost(),
                Err(RecvTimeoutError::Disconnected) => return self.report_lost(),
            }
        }
    }

    fn obey(&mut self) {
        let Beside { reopen, to } =
            std::mem::take(&mut *self.beside.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(to) = to {
            let moved = sink(&to).map(|sink| self.sink = sink).map_err(|error| error.to_string());
            if let Err(error) = &moved {
                warn!("the event log stays where it is: {error}");
            }
            self.condition.moved(moved);
        }
        if reopen {
            self.sink.reopen();
        }
    }

    fn report_lost(&mut self) {
        let lost = self.lost.load(Ordering::Relaxed);
        let count = lost.saturating_sub(self.reported);
        let record = Record::Lost(Lost { time: Timestamp::now(), what: What::Lines, count });
        if count > 0 && self.write(&record, count).is_ok() {
            self.reported = lost;
        }
    }

    /// Writes a line, by which so many records of those that were given are accounted for.
    fn write(&mut self, record: &Record, settles: u64) -> io::Result<()> {
        self.envelope.sequence = Some(self.next);
        let text = record.to_line(self.format, &self.envelope);
        self.condition.begin();
        let written = self.sink.write(Line { text: &text, record, envelope: &self.envelope });
        self.condition.end(&written);
        written?;
        let settled = self.settled.fetch_add(settles, Ordering::AcqRel).saturating_add(settles);
        if let Some(last) = &mut self.last {
            last.note(LastLine { session: self.envelope.session, sequence: self.next }, settled);
        }
        if let Record::Canary(canary) = record {
            canary.written.set();
        }
        self.told.add(record);
        self.next += 1;
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
