//! The event log: a thread of its own writes lines to standard output.
//!
//! Who reads the other end may be slow or gone, and nothing waits for it: a line that finds the queue full, or
//! that can't be written, is counted as lost, and a line says so as soon as the log takes lines again.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;

use super::lost::Lost;
use super::record::Record;
use crate::config::policy::LogFormat;
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
    queue: Option<SyncSender<(Record, LogFormat)>>,
    lost: Arc<AtomicU64>,
    writer: Option<JoinHandle<()>>,
}

impl EventLog {
    /// Starts the writer.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, lines) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let mut writer = Writer { out, lost: Arc::clone(&lost), reported: 0, format: LogFormat::Text };
        let writer = std::thread::Builder::new()
            .name("event-log".to_owned())
            .stack_size(256 << 10)
            .spawn(move || writer.write_all(&lines))?;
        Ok(Self { queue: Some(queue), lost, writer: Some(writer) })
    }

    /// Has the record written as soon as it can be. Never waits.
    pub fn write(&self, record: Record, format: LogFormat) {
        let is_taken = self.queue.as_ref().is_some_and(|queue| queue.try_send((record, format)).is_ok());
        if !is_taken {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that could not be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
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

struct Writer<W> {
    out: W,
    lost: Arc<AtomicU64>,
    /// Lost lines of which the log has a line.
    reported: u64,
    /// The format of the last line.
    format: LogFormat,
}

impl<W: Write> Writer<W> {
    fn write_all(&mut self, lines: &Receiver<(Record, LogFormat)>) {
        loop {
            match lines.recv_timeout(IDLE) {
                Ok((record, format)) => {
                    self.format = format;
                    self.report_lost();
                    if self.write(&record).is_err() {
                        self.lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.report_lost(),
                Err(RecvTimeoutError::Disconnected) => return self.report_lost(),
            }
        }
    }

    fn report_lost(&mut self) {
        let lost = self.lost.load(Ordering::Relaxed);
        let lines = lost.saturating_sub(self.reported);
        if lines > 0 && self.write(&Record::Lost(Lost { time: Timestamp::now(), lines })).is_ok() {
            self.reported = lost;
        }
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        self.out.write_all(record.to_line(self.format).as_bytes())?;
        self.out.flush()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs::File;
    use std::io::{BufRead, BufReader};
    use std::sync::Mutex;
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
        let log = EventLog::start(memory.clone()).unwrap();
        let event = dropped();
        log.write(Record::Event(Arc::new(event.clone().into())), LogFormat::Text);
        log.write(Record::Event(Arc::new(event.clone().into())), LogFormat::Json);
        drop(log);
        let written = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        assert_eq!(written, format!("{}\n{}\n", event.to_text(), event.to_json()));
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_reported_when_it_can() {
        let memory = Memory::default();
        // What fails: the first line, the report of it, the second line, the report of both.
        let log = EventLog::start(Broken(4, memory.clone())).unwrap();
        let lost = Arc::clone(&log.lost);
        for _ in 0..3 {
            log.write(event(), LogFormat::Text);
        }
        drop(log);
        assert_eq!(lost.load(Ordering::Relaxed), 2);
        let written = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        assert!(written.ends_with("[kind=lost lines=2]\n") && written.lines().count() == 2, "{written}");
    }

    #[test]
    fn a_pipe_that_nobody_reads_holds_nothing_up_and_its_losses_are_reported() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let log = EventLog::start(File::from(write)).unwrap();
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
                Some("lost") => said += line["lines"].as_u64().unwrap(),
                _ => panic!("{line}"),
            }
        }
        end.join().unwrap();
        assert_eq!((events + said, said), (LINES, lost));
    }
}
