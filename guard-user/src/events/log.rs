//! The event log: a thread of its own writes lines to their destination.
//!
//! Who reads the other end may be slow or gone, a disk may be full, and nothing waits for it: a line that finds the queue full,
//! or that can't be written, is counted as lost, and a line says so as soon as the log takes lines again. A line gets its
//! number when it is written, so that the numbers have no gap.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{CWD, Mode, OFlags, openat};
use tracing::warn;

use super::envelope::Envelope;
use super::line::{Line, Sink};
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
/// The file of the state directory that has the number of the last line.
const LAST: &str = "event-log.last";
/// The length of what that file has.
const LAST_BYTES: usize = 96;

/// The log.
#[derive(Debug)]
pub struct EventLog {
    queue: Option<SyncSender<Order>>,
    lost: Arc<AtomicU64>,
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
    /// Starts the writer. The number of the last line, and what lines have told of the kernel's counters of this name, are
    /// kept in the state directory; where that can't be, the next run does not know it.
    ///
    /// # Errors
    /// Where no thread can be started, or standard output is closed.
    pub fn start(to: &LogTo, state: &Path, counters: &str) -> io::Result<Self> {
        let opened = LastFile::open(&state.join(LAST)).inspect_err(|error| {
            warn!("the number of the event log's last line can't be kept in {}: {error}", state.display());
        });
        Self::writing_to(sink(to)?, opened.ok(), Told::open(state, counters))
    }

    /// A log without a past that writes to this, for tests.
    #[cfg(test)]
    pub(crate) fn to_stream(out: impl io::Write + Send + 'static) -> Self {
        Self::writing_to(Box::new(super::sink::Stream::of(out)), None, Told::nothing()).unwrap()
    }

    fn writing_to(sink: Box<dyn Sink>, last: Option<LastFile>, told: Told) -> io::Result<Self> {
        let (queue, orders) = sync_channel(QUEUE);
        let (lost, beside) = (Arc::new(AtomicU64::new(0)), Arc::<Mutex<Beside>>::default());
        let session = Timestamp::now();
        let predecessor = last.as_ref().and_then(|last| last.before);
        let envelope = Envelope { host: hostname().into(), session, sequence: Some(1) };
        let mut writer = Writer {
            sink,
            last,
            told,
            envelope,
            next: 1,
            lost: Arc::clone(&lost),
            beside: Arc::clone(&beside),
            reported: 0,
            format: LogFormat::Text,
        };
        let writer = std::thread::Builder::new()
            .name("event-log".to_owned())
            .stack_size(256 << 10)
            .spawn(move || writer.write_all(&orders))?;
        Ok(Self { queue: Some(queue), lost, beside, session, predecessor, writer: Some(writer) })
    }

    /// Has the record written as soon as it can be. Never waits.
    pub fn write(&self, record: Record, format: LogFormat) {
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
    }
}

struct Writer {
    sink: Box<dyn Sink>,
    last: Option<LastFile>,
    told: Told,
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
}

impl Writer {
    fn write_all(&mut self, orders: &Receiver<Order>) {
        loop {
            let received = orders.recv_timeout(IDLE);
            self.obey();
            match received {
                Ok(Order::Line(record, format)) => {
                    self.format = format;
                    self.report_lost();
                    if self.write(&record).is_err() {
                        self.lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Ok(Order::Look(totals, format)) => {
                    self.format = format;
                    for difference in self.told.look(&totals, Timestamp::now()) {
                        // One that can't be written is there again at the next look.
                        let _written = self.write(&Record::Difference(difference));
                    }
                }
                Ok(Order::Unsettle) => self.told.unsettle(),
                Err(RecvTimeoutError::Timeout) => self.report_lost(),
                Err(RecvTimeoutError::Disconnected) => return self.report_lost(),
            }
        }
    }

    fn obey(&mut self) {
        let Beside { reopen, to } =
            std::mem::take(&mut *self.beside.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(to) = to {
            match sink(&to) {
                Ok(sink) => self.sink = sink,
                Err(error) => warn!("the event log stays where it is: {error}"),
            }
        }
        if reopen {
            self.sink.reopen();
        }
    }

    fn report_lost(&mut self) {
        let lost = self.lost.load(Ordering::Relaxed);
        let count = lost.saturating_sub(self.reported);
        let record = Record::Lost(Lost { time: Timestamp::now(), what: What::Lines, count });
        if count > 0 && self.write(&record).is_ok() {
            self.reported = lost;
        }
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        self.envelope.sequence = Some(self.next);
        let text = record.to_line(self.format, &self.envelope);
        self.sink.write(Line { text: &text, record, envelope: &self.envelope })?;
        if let Some(last) = &mut self.last {
            last.note(LastLine { session: self.envelope.session, sequence: self.next });
        }
        self.told.add(record);
        self.next += 1;
        Ok(())
    }
}

/// The file that has the number of the last line. It is written after each line, and not forced to the disk: a daemon that
/// is killed loses nothing, and a host that loses its power perhaps the last seconds' numbers.
#[derive(Debug)]
struct LastFile {
    file: File,
    before: Option<LastLine>,
    has_failed: bool,
}

impl LastFile {
    fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = File::from(openat(CWD, path, flags, Mode::from_raw_mode(0o600))?);
        let mut bytes = [0; LAST_BYTES];
        let count = file.read_at(&mut bytes, 0)?;
        // Nothing, or what is no such line, is no predecessor.
        let before = serde_json::from_slice(bytes.get(..count).unwrap_or_default()).ok();
        Ok(Self { file, before, has_failed: false })
    }

    fn note(&mut self, last: LastLine) {
        let written = serde_json::to_string(&last).map_err(io::Error::from).and_then(|text| {
            // Of one length, so that nothing stays of what was there.
            self.file.write_all_at(format!("{text:<width$}\n", width = LAST_BYTES - 1).as_bytes(), 0)
        });
        if let (Err(error), false) = (&written, self.has_failed) {
            warn!("the number of the event log's last line can't be kept: {error}");
        }
        self.has_failed = written.is_err();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;
    use std::io::{BufRead, BufReader, Write};
    use std::time::Instant;

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
            let log = EventLog::start(&to, folder.path(), "a test").unwrap();
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
        fs::write(folder.path().join(LAST), "{\"session").unwrap();
        assert_eq!(EventLog::start(&to, folder.path(), "a test").unwrap().predecessor(), None);
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
