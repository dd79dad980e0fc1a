//! The thread that writes the flow history, and the handle by which others reach it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use super::hold::{Copied, Copies, Held};
use super::problems::Faults;
use super::reader::Reader;
use super::record::Past;
use super::writer::{Bounds, Moment, Writer};
use crate::config::policy::FlowHistory;
use crate::events::record::Record;
use crate::events::untagged::Untagged;
use crate::events::{Entry, Event};
use crate::health::{Problem, ProblemCode};
use crate::worker::{Heartbeat, give_way, join_within};

/// Records that wait to be written: some seconds of every kind's full budget, and a few MiB at most.
const QUEUE: usize = 4096;
/// How often a thread that has nothing to write looks for what is due.
const IDLE: Duration = Duration::from_secs(1);
/// How often one does so, or gives a sign of life, that keeps no copies for a disk to be told of.
const LONG: Duration = Duration::from_secs(2);
/// How often a folder that can't be opened is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// How long the end of the daemon waits for the last records.
const LAST: Duration = Duration::from_secs(2);
/// How long the thread may be silent before that is a problem.
const SILENT: Duration = Duration::from_secs(5);

/// What is kept, and what is under a legal hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The section of the config.
    pub config: FlowHistory,
    /// The names of the config's pins.
    pub pins: Vec<String>,
    /// What each legal hold covers.
    pub held: Vec<Held>,
}

enum Job {
    Record(Box<Past>),
    Copy(Arc<Entry>),
    /// The settings are others.
    Settings,
}

/// What the thread shares with those who give and ask.
#[derive(Debug)]
struct Shared {
    settings: Mutex<Arc<Settings>>,
    faults: Mutex<Faults>,
    heartbeat: Heartbeat,
    session: Timestamp,
}

/// The flow history. Dropped, it writes the last records and ends.
#[derive(Debug)]
pub struct Worker {
    queue: Option<SyncSender<Job>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Record(_) => "Record",
            Self::Copy(_) => "Copy",
            Self::Settings => "Settings",
        })
    }
}

impl Worker {
    /// Starts the thread, of the daemon that started then. What can't be written is a problem, and tried again.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn start(settings: Settings, session: Timestamp) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            settings: Mutex::new(Arc::new(settings)),
            faults: Mutex::default(),
            heartbeat: Heartbeat::default(),
            session,
        });
        let (queue, jobs) = sync_channel(QUEUE);
        let its_shared = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("flow-history".to_owned())
            .stack_size(512 << 10)
            .spawn(move || {
                give_way();
                Thread::new(its_shared).run(&jobs);
            })?;
        Ok(Self { queue: Some(queue), shared, thread: Some(thread) })
    }

    /// Has a line of the log kept, as far as the history has such. Never waits.
    pub fn put(&self, record: &Record) {
        if self.settings().config.directory.is_none() {
            return;
        }
        if let Some(past) = Past::of(record, self.shared.session)
            && !self.give(Job::Record(Box::new(past)))
        {
            self.shared.faults().lost.add(Instant::now());
        }
    }

    /// Has egress that no pin tags kept. Never waits; false where it was not taken, which is counted.
    pub fn put_untagged(&self, untagged: Box<Untagged>) -> bool {
        let is_taken = !self.is_kept()
            || self.give(Job::Record(Box::new(Past::Untagged { session: self.shared.session, untagged })));
        if !is_taken {
            self.shared.faults().lost.add(Instant::now());
        }
        is_taken
    }

    /// Has an event copied where it is under a legal hold. Never waits.
    pub fn hold(&self, entry: &Arc<Entry>) {
        let settings = self.settings();
        let Some(event) = entry.flow() else { return };
        let is_any = |covers: fn(&Held, &Event) -> bool| settings.held.iter().any(|held| covers(held, event));
        if is_any(Held::covers) {
            if !self.give(Job::Copy(Arc::clone(entry))) {
                self.shared.faults().late.add(Instant::now());
            }
        } else if is_any(Held::may_cover) {
            self.shared.faults().unnamed.add(Instant::now());
        }
    }

    fn give(&self, job: Job) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.try_send(job).is_ok())
    }

    /// Keeps it so from now on.
    pub fn set(&self, settings: Settings) {
        let mut now = self.shared.settings.lock().unwrap_or_else(PoisonError::into_inner);
        if **now != settings {
            *now = Arc::new(settings);
            drop(now);
            // A thread with a full queue sees it with its next record.
            let _woken = self.give(Job::Settings);
        }
    }

    fn settings(&self) -> Arc<Settings> {
        self.shared.settings()
    }

    /// The pins that the config has, where it has not this one.
    #[must_use]
    pub fn lacks_pin(&self, name: &str) -> Option<Vec<String>> {
        let settings = self.settings();
        (!settings.pins.iter().any(|pin| pin == name)).then(|| settings.pins.clone())
    }

    /// When the daemon started whose events it takes.
    #[must_use]
    pub fn session(&self) -> Timestamp {
        self.shared.session
    }

    /// Whether a history is kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.settings().config.directory.is_some()
    }

    /// Reads what there is from this moment on; `None` where no history is kept.
    ///
    /// # Errors
    /// Where the folder can't be read.
    pub fn reader(&self, since: Option<Timestamp>) -> io::Result<Option<Reader>> {
        let FlowHistory { directory, people_age, .. } = &self.settings().config;
        let Some(folder) = directory else { return Ok(None) };
        Reader::open(folder, since, people_since(*people_age)).map(Some)
    }

    /// Records that were not taken, and events under a legal hold that were not copied.
    #[must_use]
    pub fn lost(&self) -> (u64, u64) {
        let faults = self.shared.faults();
        (faults.lost.count, faults.not_copied())
    }

    /// What is wrong with it at this moment.
    #[must_use]
    pub fn problems(&self, now: Instant) -> Vec<Problem> {
        let mut problems = self.shared.faults().problems(now);
        let silent = self.shared.heartbeat.silent_for(now);
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            let message =
                "the thread that writes the flow history has ended: nothing is kept of flows".to_owned();
            problems.push(Problem::of(ProblemCode::WorkerStuck, "flow-history", message));
        } else if silent >= SILENT {
            let message = format!(
                "the disk has held up the thread that writes the flow history for {} seconds",
                silent.as_secs()
            );
            problems.push(Problem::of(ProblemCode::WorkerStuck, "flow-history", message));
        }
        problems
    }
}

/// Since when people are shown.
fn people_since(age: SignedDuration) -> Timestamp {
    Timestamp::now().checked_sub(age).unwrap_or(Timestamp::MIN)
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _in_time = join_within(thread, LAST);
        }
    }
}

impl Shared {
    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread has.
struct Thread {
    shared: Arc<Shared>,
    settings: Arc<Settings>,
    writer: Option<Writer>,
    copies: Option<Copies>,
    /// When a folder that could not be opened is tried again.
    again: Option<Instant>,
    /// Losses of which the history has a record.
    reported: u64,
}

impl Thread {
    fn new(shared: Arc<Shared>) -> Self {
        let settings = shared.settings();
        Self { shared, settings, writer: None, copies: None, again: None, reported: 0 }
    }

    fn run(&mut self, jobs: &Receiver<Job>) {
        let mut next_look = Instant::now();
        loop {
            let now = Instant::now();
            if now >= next_look {
                next_look = now + IDLE;
                self.tend();
            }
            self.shared.heartbeat.beat();
            let job = jobs.recv_timeout(if self.copies.is_some() { IDLE } else { LONG });
            // What was given after a change of the settings is kept as they have it: a legal hold is in force from then on.
            if job.is_ok() && !Arc::ptr_eq(&self.shared.settings(), &self.settings) {
                self.tend();
            }
            match job {
                Ok(Job::Record(past)) => self.record(*past),
                Ok(Job::Copy(entry)) => self.copy(&entry),
                Ok(Job::Settings) => {}
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.tend(),
            }
        }
    }

    /// Does what is due besides records.
    fn tend(&mut self) {
        let settings = self.shared.settings();
        if settings != self.settings {
            let is_elsewhere = settings.config != self.settings.config;
            self.settings = settings;
            if is_elsewhere {
                (self.writer, self.copies, self.again) = (None, None, None);
                let mut faults = self.shared.faults();
                (faults.history, faults.hold, faults.is_hold_full) = (None, None, false);
            }
        }
        self.open();
        let lost = self.shared.faults().lost.count;
        let records = lost.saturating_sub(self.reported);
        if let Some(writer) = &mut self.writer {
            let now = Moment::now();
            let mut done = writer.expire(now);
            if done.is_ok() && records > 0 {
                let past = Past::Lost { session: self.shared.session, time: now.wall, records };
                done = writer.append(past, now);
                if done.is_ok() {
                    self.reported = lost;
                }
            }
            if done.is_err() {
                // Opened anew: its folder may be gone.
                self.writer = None;
            }
            self.note_history(done);
        }
        if let Some(copies) = &mut self.copies {
            let synced = copies.sync();
            if synced.is_err() {
                self.copies = None;
            }
            self.note_hold(synced);
        }
    }

    /// Opens the folders that are wanted and not open, now and then.
    fn open(&mut self) {
        let config = &self.settings.config;
        let wants_copies = !config.hold.names.is_empty();
        let is_missing =
            (config.directory.is_some() && self.writer.is_none()) || (wants_copies && self.copies.is_none());
        let now = Instant::now();
        if !is_missing || self.again.is_some_and(|again| now < again) {
            return;
        }
        self.again = Some(now + AGAIN);
        let settings = Arc::clone(&self.settings);
        let config = &settings.config;
        if let (Some(folder), None) = (&config.directory, &self.writer) {
            let bounds =
                Bounds { max_size: config.max_size, max_age: config.max_age, people_age: config.people_age };
            let opened = Writer::open(folder, bounds).map_err(|error| at(folder, error));
            // That it takes records again shows with the next one: an empty file can be made on a full disk too.
            match opened {
                Ok(writer) => self.writer = Some(writer),
                Err(error) => self.note_history(Err(error)),
            }
        }
        if wants_copies && self.copies.is_none() {
            let folder = &config.hold.directory;
            let opened = Copies::open(folder, config.hold.max_size, self.shared.session);
            let opened = opened.map_err(|error| at(folder, error));
            match opened {
                Ok(copies) => self.copies = Some(copies),
                Err(error) => self.note_hold(Err(error)),
            }
        }
    }

    fn record(&mut self, past: Past) {
        let done = match &mut self.writer {
            Some(writer) => writer.append(past, Moment::now()),
            None if self.settings.config.directory.is_none() => return,
            // Why is noted already.
            None => return self.shared.faults().lost.add(Instant::now()),
        };
        if done.is_err() {
            self.shared.faults().lost.add(Instant::now());
        }
        self.note_history(done);
    }

    fn copy(&mut self, entry: &Entry) {
        let copied = match &mut self.copies {
            Some(copies) => copies.copy(entry),
            None => return self.shared.faults().late.add(Instant::now()),
        };
        match copied {
            Ok(Copied::Yes) => self.note_hold(Ok(())),
            Ok(Copied::Full) => {
                let mut faults = self.shared.faults();
                faults.kept_out.add(Instant::now());
                if !std::mem::replace(&mut faults.is_hold_full, true) {
                    drop(faults);
                    warn!(
                        "the copies of what is under a legal hold have reached their bound: no more is copied"
                    );
                }
            }
            Err(error) => {
                self.shared.faults().late.add(Instant::now());
                self.note_hold(Err(error));
            }
        }
    }

    fn note_history(&self, done: io::Result<()>) {
        note("the flow history", &mut self.shared.faults().history, done);
    }

    fn note_hold(&self, done: io::Result<()>) {
        note("the copies of what is under a legal hold", &mut self.shared.faults().hold, done);
    }
}

/// Takes up whether something can be written, and logs where that changes.
fn note(what: &str, fault: &mut Option<String>, done: io::Result<()>) {
    let why = done.err().map(|error| format!("{what} can't be written: {error}"));
    if *fault == why {
        return;
    }
    match &why {
        Some(why) => warn!("{why}"),
        None => info!("{what} can be written again"),
    }
    *fault = why;
}

fn at(folder: &Path, error: io::Error) -> io::Error {
    let folder: PathBuf = folder.to_owned();
    io::Error::new(error.kind(), format!("{}: {error}", folder.display()))
}
