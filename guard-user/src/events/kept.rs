//! What the log keeps of itself in the state directory: the number of its last line, and how many records were given to it. So
//! the next run knows what this one could not write, however it ended.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{CWD, Mode, OFlags, openat};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::run::LastLine;
use crate::worker::join_within;

/// The file that has the number of the last line, and how many records lines account for.
pub(super) const LAST: &str = "event-log.last";
/// The file that has how many records were given to the log.
pub(super) const GIVEN: &str = "event-log.given";
/// The length of what each of them has.
const BYTES: usize = 128;
/// How long the end of the daemon waits for the last number.
const LAST_NUMBER: Duration = Duration::from_millis(500);

/// The content of [`LAST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    #[serde(flatten)]
    line: LastLine,
    /// Records of the run that were written, or of which a line says that they were lost.
    #[serde(default)]
    settled: u64,
}

/// The content of [`GIVEN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Given {
    /// When the run's daemon started.
    session: Timestamp,
    /// Records that were given to its log, and those that it was to say were lost.
    given: u64,
}

/// What the run before has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Before {
    /// Its last line, or that of the last run that wrote one.
    pub(super) line: Option<LastLine>,
    /// Records that were given to its log, and that no line has or says were lost.
    pub(super) unwritten: u64,
}

/// Both files, where they can be had.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) last: Option<LastFile>,
    given: Option<File>,
    pub(super) before: Before,
}

impl Kept {
    /// Opens them. Without them the next run does not know what this one wrote.
    pub(super) fn open(state: &Path) -> Self {
        let opened = |name: &str| {
            open(&state.join(name)).inspect_err(|error| {
                warn!("what the event log has written can't be kept in {}: {error}", state.display());
            })
        };
        let (last, given) = (opened(LAST).ok(), opened(GIVEN).ok());
        // Nothing, or what can't be read, is no run.
        let written: Option<Written> = last.as_ref().and_then(read);
        let was_given: Option<Given> = given.as_ref().and_then(read);
        let unwritten = was_given.map_or(0, |given| {
            // A run that wrote no line has the last line of one before it.
            let settled = written.filter(|it| it.line.session == given.session).map_or(0, |it| it.settled);
            given.given.saturating_sub(settled)
        });
        let last = last.map(|file| LastFile { file, has_failed: false });
        Self { last, given, before: Before { line: written.map(|it| it.line), unwritten } }
    }
}

/// Opens a file of the state directory that a run keeps for the next one, and makes it where there is none.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    Ok(File::from(openat(CWD, path, flags, Mode::from_raw_mode(0o600))?))
}

fn read<T: for<'de> Deserialize<'de>>(file: &File) -> Option<T> {
    let mut bytes = [0; BYTES];
    let count = file.read_at(&mut bytes, 0).ok()?;
    serde_json::from_slice(bytes.get(..count)?).ok()
}

/// Of one length, so that nothing stays of what was there.
fn write(file: &File, content: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string(content)?;
    file.write_all_at(format!("{text:<width$}\n", width = BYTES - 1).as_bytes(), 0)
}

/// The file that has the number of the last line. It is written after each line, and not forced to the disk: a daemon that
/// is killed loses nothing, and a host that loses its power perhaps the last seconds' numbers.
#[derive(Debug)]
pub(super) struct LastFile {
    file: File,
    has_failed: bool,
}

impl LastFile {
    /// Notes a line that was written, and how many records lines account for by now.
    pub(super) fn note(&mut self, line: LastLine, settled: u64) {
        let written = write(&self.file, &Written { line, settled });
        if let (Err(error), false) = (&written, self.has_failed) {
            warn!("the number of the event log's last line can't be kept: {error}");
        }
        self.has_failed = written.is_err();
    }
}

/// How many records were given to the log. A thread of its own keeps the number: who gives a record waits for no disk.
#[derive(Debug)]
pub(super) struct Count {
    count: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    keeper: Option<JoinHandle<()>>,
}

impl Count {
    /// Begins with those that the run before has not written.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub(super) fn start(kept: &mut Kept, session: Timestamp) -> io::Result<Self> {
        let begin = kept.before.unwritten;
        let (count, is_over) = (Arc::new(AtomicU64::new(begin)), Arc::<AtomicBool>::default());
        let Some(file) = kept.given.take() else { return Ok(Self { count, is_over, keeper: None }) };
        // Before the first line of this run, whose number belongs to it.
        if let Err(error) = write(&file, &Given { session, given: begin }) {
            warn!("how many lines the event log is to have can't be kept: {error}");
        }
        let (number, over) = (Arc::clone(&count), Arc::clone(&is_over));
        let keep = move || {
            let mut kept = begin;
            loop {
                let is_over = over.load(Ordering::Acquire);
                let now = number.load(Ordering::Acquire);
                if now != kept {
                    // One that could not be written is, with the next one.
                    let _written = write(&file, &Given { session, given: now });
                    kept = now;
                } else if is_over {
                    return;
                } else {
                    std::thread::park();
                }
            }
        };
        let keeper = std::thread::Builder::new()
            .name("event-log-count".to_owned())
            .stack_size(64 << 10)
            .spawn(keep)?;
        Ok(Self { count, is_over, keeper: Some(keeper) })
    }

    /// One more. Never waits.
    pub(super) fn add(&self) {
        self.count.fetch_add(1, Ordering::Release);
        if let Some(keeper) = &self.keeper {
            keeper.thread().unpark();
        }
    }

    /// How many there are.
    pub(super) fn get(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        if let Some(keeper) = self.keeper.take() {
            keeper.thread().unpark();
            let _in_time = join_within(keeper, LAST_NUMBER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_did_not_write_is_known_to_the_next_one_and_to_the_one_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let session = |second| Timestamp::from_second(second).unwrap();
        let run = |second, given: u64, settled: Option<u64>| {
            let mut kept = Kept::open(folder.path());
            let before = kept.before;
            let count = Count::start(&mut kept, session(second)).unwrap();
            (0..given).for_each(|_| count.add());
            if let Some(settled) = settled {
                kept.last.unwrap().note(LastLine { session: session(second), sequence: 1 }, settled);
            }
            before
        };
        let line = |second| Some(LastLine { session: session(second), sequence: 1 });
        assert_eq!(run(1, 9, Some(4)), Before::default());
        // This one wrote nothing.
        assert_eq!(run(2, 3, None), Before { line: line(1), unwritten: 5 });
        assert_eq!(run(3, 0, Some(8)), Before { line: line(1), unwritten: 8 });
        assert_eq!(run(4, 0, None), Before { line: line(3), unwritten: 0 });
    }

    #[test]
    fn what_an_older_release_kept_is_read_and_what_is_none_counts_as_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let older = r#"{"session":"2026-11-23T11:00:00Z","sequence":7}"#;
        std::fs::write(folder.path().join(LAST), format!("{older:<95}\n")).unwrap();
        let kept = Kept::open(folder.path()).before;
        assert_eq!((kept.line.map(|it| it.sequence), kept.unwritten), (Some(7), 0));
        for name in [LAST, GIVEN] {
            std::fs::write(folder.path().join(name), "{\"session").unwrap();
        }
        assert_eq!(Kept::open(folder.path()).before, Before::default());
        std::fs::create_dir(folder.path().join("none")).unwrap();
        assert!(Kept::open(&folder.path().join("none/none")).last.is_none());
    }
}
