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
use crate::config::policy::{LogFormat, LogTo};
use crate::hostname::hostname;
use crate::worker::join_within;

/// Lines that wait to be written: some seconds of every kind's full budget, and a few MiB at most.
const QUEUE: usize = 4096;
/// How long the end of the daemon waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(2);
/// How often a writer that has nothing to write looks whether lines were lost.
const IDLE: Duration = Duration::from_secs(1);

/// The log.
#[derive(Debug)]
pub struct EventLog {
    queue: Option<SyncSender<Order>>,
    given: Count,
    /// Records that were written, or of which a line says that they were lost.
    settled: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
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
        Self::writing_to(sink(to)?, past.kept, past.told)
    }

    /// A log without a past that writes to this, for tests.
    #[cfg(test)]
    pub(crate) fn to_stream(out: impl io::Write + Send + 'static) -> Self {
        Self::writing_to(Box::new(super::sink::Stream::of(out)), Kept::default(), Told::nothing()).unwrap()
    }

    fn writing_to(sink: Box<dyn Sink>, mut kept: Kept, told: Told) -> io::Result<Self> {
        let (queue, orders) = sync_channel(QUEUE);
        let beside = Arc::<Mutex<Beside>>::default();
        let session = Timestamp::now();
        let given = Count::start(&mut kept, session)?;
        let (settled, condition) = (Arc::<AtomicU64>::default(), Condition::default());
        // What the run before could not write is lost as of now, and the next line says so.
        let unwritten = kept.before.unwritten;
        if unwritten > 0 {
            warn!("{unwritten} lines of the event log were not written before the last daemon's end");
        }
        let lost = Arc::new(AtomicU64::new(unwritten));
        let predecessor = kept.before.line;
        let envelope = Envelope { host: hostname().into(), session, sequence: Some(1) };
        let mut writer = Writer {
            sink,
            last: kept.last,
            told,
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
        let writer = std::thread::Builder::new()
            .name("event-log".to_owned())
            .stack_size(256 << 10)
            .spawn(move || writer.write_all(&orders))?;
        let (queue, writer) = (Some(queue), Some(writer));
        Ok(Self { queue, given, settled, lost, condition, beside, session, predecessor, writer })
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

    fn order(&self, order: Order) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.try_send(order).is_ok())
    }

    /// Has what is written to opened anew, within a second.
    pub fn reopen(&self) {
        self.beside.lock().unwrap_or_else(PoisonError::into_inner).reopen = true;
    }

    /// Has lines written there from now on.
    pub fn set_to(&self, to: LogTo) {
        self.beside.lock().unwrap_or_else(PoisonError::into_inner).to = Some(to);
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
            let received = orders.recv_timeout(IDLE);
            self.obey();
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
pub(crate) mod tests {
    use std::fs::{self, File};
    use std::io::{BufRead, BufReader, Write};
    use std::time::Instant;

    use super::super::kept::{GIVEN, LAST};
    use super::super::run::Start;
    use super::super::tests::dropped;
    use super::*;

    /// An output that keeps what is written; clones share it.
    #[derive(Clone, Default)]
    pub(crate) struct Memory(pub(crate) Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Fails so many times, and then writes.
    struct Broken(usize, Memory);

    impl Write for Broken {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.checked_sub(1) {
                Some(left) => {
                    self.0 = left;
                    Err(io::ErrorKind::BrokenPipe.into())
                }
                None => self.1.write(bytes),
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn event() -> Record {
        Record::Event(Arc::new(dropped().into()))
    }

    #[test]
    fn all_lines_are_written_before_the_end() {
        let memory = Memory::default();
        let log = EventLog::to_stream(memory.clone());
        let session = log.session();
        let event = dropped();
        log.write(Record::Event(Arc::new(event.clone().into())), LogFormat::Text);
        log.write(Record::Event(Arc::new(event.clone().into())), LogFormat::Json);
        drop(log);
        let written = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        let envelope = |sequence| Envelope { host: hostname().into(), session, sequence: Some(sequence) };
        let record = Record::Event(Arc::new(event.into()));
        let lines = [(LogFormat::Text, 1), (LogFormat::Json, 2)];
        let lines = lines.map(|(format, number)| record.to_line(format, &envelope(number)));
        assert_eq!(written, lines.concat());
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_reported_when_it_can() {
        let memory = Memory::default();
        // What fails: the first line, the report of it, the second line, the report of both.
        let log = EventLog::to_stream(Broken(4, memory.clone()));
        let lost = Arc::clone(&log.lost);
        for _ in 0..3 {
            log.write(event(), LogFormat::Text);
        }
        drop(log);
        assert_eq!(lost.load(Ordering::Relaxed), 2);
        let written = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        assert!(
            written.contains("[kind=lost what=lines count=2 host=") && written.lines().count() == 2,
            "{written}"
        );
        assert!(written.contains(" seq=1 ") && written.contains(" seq=2 "), "numbers have no gap: {written}");
    }

    #[test]
    fn a_pipe_that_nobody_reads_holds_nothing_up_and_its_losses_are_reported() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let log = EventLog::to_stream(File::from(write));
        let begin = Instant::now();
        const LINES: u64 = 20_000;
        for _ in 0..LINES {
            log.write(event(), LogFormat::Json);
        }
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        let lost = log.lost();
        assert!(lost > 0 && lost < LINES, "{lost}");
        // Now somebody reads: everything that was taken comes, and how much is missing.
        let end = std::thread::spawn(move || drop(log));
        let (mut events, mut said) = (0, 0);
        for line in BufReader::new(File::from(read)).lines() {
            let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            match line["kind"].as_str() {
                Some("event") => events += 1,
                Some("lost") => said += line["count"].as_u64().unwrap(),
                _ => panic!("{line}"),
            }
        }
        end.join().unwrap();
        assert_eq!((events + said, said), (LINES, lost));
    }

    #[test]
    fn a_run_knows_the_last_line_of_the_one_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let to = LogTo::File(folder.path().join("log"));
        let mut before = None;
        for run in 1..=3 {
            let log = EventLog::start(&to, LogPast::read(folder.path(), "a test", None)).unwrap();
            assert_eq!(log.predecessor(), before);
            before = Some(LastLine { session: log.session(), sequence: run });
            (0..run).for_each(|_| log.write(event(), LogFormat::Ecs));
        }
        let written = fs::read_to_string(folder.path().join("log")).unwrap();
        let numbers: Vec<u64> = written
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["event"]["sequence"]
                    .as_u64()
                    .unwrap()
            })
            .collect();
        assert_eq!(numbers, [1, 1, 2, 1, 2, 3]);
        assert!(folder.path().join(GIVEN).exists());
        fs::write(folder.path().join(LAST), "{\"session").unwrap();
        assert_eq!(
            EventLog::start(&to, LogPast::read(folder.path(), "a test", None)).unwrap().predecessor(),
            None
        );
    }

    #[test]
    fn what_a_run_could_not_write_the_next_one_says_after_its_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let to = LogTo::File(folder.path().join("none/log"));
        let log = EventLog::start(&to, LogPast::read(folder.path(), "a test", None)).unwrap();
        (0..5).for_each(|_| log.write(event(), LogFormat::Json));
        std::thread::sleep(2 * IDLE);
        let faults = log.condition().faults(Instant::now());
        assert!(faults[0].contains("No such file or directory"), "{faults:?}");
        drop(log);
        fs::create_dir(folder.path().join("none")).unwrap();
        let log = EventLog::start(&to, LogPast::read(folder.path(), "a test", None)).unwrap();
        assert_eq!(log.lost(), 5);
        std::thread::sleep(2 * IDLE);
        let start = Start { time: Timestamp::now(), generation: None, policy: None, predecessor: None };
        log.write(Record::Start(start), LogFormat::Json);
        log.write(event(), LogFormat::Json);
        drop(log);
        let kinds = || -> Vec<(String, u64)> {
            let written = fs::read_to_string(folder.path().join("none/log")).unwrap();
            let lines = written.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            lines
                .map(|it| (it["kind"].as_str().unwrap().to_owned(), it["count"].as_u64().unwrap_or(0)))
                .collect()
        };
        let line = |kind: &str, count| (kind.to_owned(), count);
        assert_eq!(kinds(), [line("start", 0), line("lost", 5), line("event", 0)]);
        // It is said once.
        let log = EventLog::start(&to, LogPast::read(folder.path(), "a test", None)).unwrap();
        assert_eq!((log.lost(), log.predecessor().unwrap().sequence), (0, 3));
    }

    #[test]
    fn where_lines_go_elsewhere_the_log_says_how_many_were_lost() {
        let folder = tempfile::tempdir().unwrap();
        let log = EventLog::to_stream(Broken(usize::MAX, Memory::default()));
        (0..5).for_each(|_| log.write(event(), LogFormat::Ocsf));
        log.set_to(LogTo::File(folder.path().join("log")));
        let lost = Arc::clone(&log.lost);
        std::thread::sleep(2 * IDLE);
        log.write(event(), LogFormat::Ocsf);
        drop(log);
        let written = fs::read_to_string(folder.path().join("log")).unwrap();
        let lines: Vec<serde_json::Value> =
            written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let said: u64 = lines.iter().filter_map(|line| line["unmapped"]["count"].as_u64()).sum();
        assert_eq!(said, lost.load(Ordering::Relaxed));
        let events = lines.iter().filter(|line| line["unmapped"]["kind"] == "event").count() as u64;
        assert_eq!((events + said, lines[0]["metadata"]["sequence"].as_u64()), (6, Some(1)));
    }
}
