//! The log of events: a thread of its own writes lines to standard output.
//!
//! Whoever reads the other end may be slow or gone. The daemon does not wait for it: lines that find the
//! queue full are counted as lost, and stay in the history.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Event;
use crate::config::policy::LogFormat;

/// Events that wait to be written.
const QUEUE: usize = 8192;
/// How long the end of the daemon waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// The log.
#[derive(Debug)]
pub struct EventLog {
    queue: Option<SyncSender<(Arc<Event>, LogFormat)>>,
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
        let counter = Arc::clone(&lost);
        let writer = std::thread::Builder::new()
            .name("event-log".to_owned())
            .stack_size(256 << 10)
            .spawn(move || write_all(&lines, out, &counter))?;
        Ok(Self { queue: Some(queue), lost, writer: Some(writer) })
    }

    /// Has the event written as soon as it can be.
    pub fn write(&self, event: Arc<Event>, format: LogFormat) {
        let taken = self.queue.as_ref().is_some_and(|queue| queue.try_send((event, format)).is_ok());
        if !taken {
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
        let Some(writer) = self.writer.take() else { return };
        let deadline = Instant::now() + LAST_LINES;
        while !writer.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        if writer.is_finished() {
            let _it_never_panics = writer.join();
        }
    }
}

fn write_all(lines: &Receiver<(Arc<Event>, LogFormat)>, mut out: impl Write, lost: &AtomicU64) {
    for (event, format) in lines {
        let mut line = match format {
            LogFormat::Text => event.to_text(),
            LogFormat::Json => event.to_json(),
        };
        line.push('\n');
        if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
            lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::tests::dropped;
    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn all_lines_are_written_before_the_end() {
        let memory = Memory::default();
        let log = EventLog::start(memory.clone()).unwrap();
        let event = Arc::new(dropped());
        log.write(Arc::clone(&event), LogFormat::Text);
        log.write(Arc::clone(&event), LogFormat::Json);
        drop(log);
        let written = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        assert_eq!(written, format!("{}\n{}\n", event.to_text(), event.to_json()));
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let log = EventLog::start(Broken).unwrap();
        let lost = Arc::clone(&log.lost);
        for _ in 0..3 {
            log.write(Arc::new(dropped()), LogFormat::Text);
        }
        drop(log);
        assert_eq!(lost.load(Ordering::Relaxed), 3);
    }
}
