//! What a command that takes long is at: one line on a terminal that is written anew each second, and goes at the end.

use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::report::number::grouped;

/// How long a command is silent, and the time between two lines.
const TIMES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(1)];

/// How far it is.
#[derive(Debug, Default)]
struct At {
    /// What it does, and of how many.
    what: Mutex<(&'static str, Option<u64>)>,
    done: AtomicU64,
}

impl At {
    fn words(&self) -> String {
        let (what, of) = *self.what.lock().unwrap_or_else(PoisonError::into_inner);
        match (self.done.load(Ordering::Relaxed), of) {
            (0, None) => format!("borderguard {what} ..."),
            (done, None) => format!("borderguard {what}: {} so far", grouped(done)),
            (done, Some(of)) => format!("borderguard {what}: {} of {}", grouped(done), grouped(of)),
        }
    }
}

/// Says what a command is at, for as long as this is there.
#[derive(Debug, Default)]
pub(super) struct Progress {
    at: Arc<At>,
    /// The thread that writes, which ends when its sender goes; none where nothing is said.
    writer: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// On standard error, where that is a terminal and what is written is for people.
    pub(super) fn on_stderr(as_json: bool) -> Self {
        let is_shown = !as_json && io::stderr().is_terminal();
        Self::on(io::stderr(), is_shown, TIMES)
    }

    fn on(out: impl Write + Send + 'static, is_shown: bool, times: [Duration; 2]) -> Self {
        let at = Arc::new(At::default());
        if !is_shown {
            return Self { at, writer: None };
        }
        let (stop, stopped) = mpsc::channel();
        let of_thread = Arc::clone(&at);
        let thread = thread::Builder::new().name("progress".to_owned());
        let thread = thread.spawn(move || write(out, &of_thread, times, &stopped));
        // Without a thread nothing is said.
        Self { at, writer: thread.ok().map(|thread| (stop, thread)) }
    }

    /// Something else begins, of so many where that is known.
    pub(super) fn begin(&self, what: &'static str, of: Option<u64>) {
        *self.at.what.lock().unwrap_or_else(PoisonError::into_inner) = (what, of);
        self.at.done.store(0, Ordering::Relaxed);
    }

    /// So many more are done.
    pub(super) fn add(&self, count: u64) {
        self.at.done.fetch_add(count, Ordering::Relaxed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.writer.take() {
            drop(stop);
            // Once it has ended the line is gone.
            let _ended = thread.join();
        }
    }
}

/// Writes the line until there is no sender any more.
fn write(mut out: impl Write, at: &At, [first, each]: [Duration; 2], stopped: &Receiver<()>) {
    let (mut wait, mut width) = (first, 0);
    while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        let line = at.words();
        // Blanks take the place of what the line before had more.
        if write!(out, "\r{line:<width$}").and_then(|()| out.flush()).is_err() {
            return;
        }
        (wait, width) = (each, line.chars().count());
    }
    if width > 0 {
        // Nobody can be told that standard error is closed.
        let _closed = write!(out, "\r{:width$}\r", "").and_then(|()| out.flush());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// What was written so far.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const SOON: [Duration; 2] = [Duration::from_millis(1); 2];

    fn wait_for(written: &Written, what: &str) {
        let begin = Instant::now();
        while !written.text().contains(what) {
            assert!(begin.elapsed() < Duration::from_secs(20), "{what}: {:?}", written.text());
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn one_line_is_written_anew_and_goes_at_the_end() {
        let written = Written::default();
        let progress = Progress::on(written.clone(), true, SOON);
        progress.begin("reads the flow history", None);
        wait_for(&written, "\rborderguard reads the flow history ...");
        progress.add(1234);
        wait_for(&written, "\rborderguard reads the flow history: 1,234 so far");
        progress.begin("judges flows", Some(5000));
        progress.add(7);
        wait_for(&written, "\rborderguard judges flows: 7 of 5,000");
        drop(progress);
        let text = written.text();
        assert!(!text.contains('\n') && text.ends_with('\r'), "{text:?}");
        let last = text.trim_end_matches('\r').rsplit('\r').next().unwrap();
        assert!(last.len() >= "borderguard judges flows: 7 of 5,000".len(), "{text:?}");
        assert!(last.chars().all(|it| it == ' '), "{text:?}");
    }

    #[test]
    fn nothing_is_written_where_nobody_looks_or_before_it_takes_long() {
        let written = Written::default();
        for (is_shown, times) in [(false, SOON), (true, TIMES)] {
            let progress = Progress::on(written.clone(), is_shown, times);
            progress.begin("judges flows", Some(2));
            progress.add(1);
            thread::sleep(Duration::from_millis(30));
        }
        assert_eq!(written.text(), "");
    }
}
