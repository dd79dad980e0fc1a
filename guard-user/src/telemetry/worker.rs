//! The thread that takes events, and the handle by which the daemon reaches it.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use guard_common::abi::Loss;
use rustix::event::{EventfdFlags, eventfd};

use super::losses::Losses;
use super::reporter::Reporter;
use super::shared::Shared;
use super::source::{Events, Records, TakeFlow};
use super::users::{Ask as AskForUser, UserNames};
use crate::canary::Sent;
use crate::config::policy::Log;
use crate::events::budget::Limits;
use crate::events::history::History;
use crate::events::log::EventLog;
use crate::events::log_past::Earlier;
use crate::events::names::SharedNames;
use crate::health::{Problem, ProblemCode};
use crate::history::Worker as Past;
use crate::kernel::KernelError;
use crate::worker::{Heartbeat, give_way, join_within};

/// How long the thread may be silent before that is a problem. At its busiest it is heard every few milliseconds.
const SILENT: Duration = Duration::from_secs(5);
/// How long a dropped handle waits for the last events and lines.
const LAST: Duration = Duration::from_secs(4);

/// What the worker is made of.
pub struct Parts {
    /// The ring buffer.
    pub events: Box<dyn Events>,
    /// The flow records and the losses.
    pub records: Box<dyn Records>,
    /// The names of the last generations.
    pub names: SharedNames,
    /// The names of users.
    pub users: AskForUser,
    /// Where every event goes.
    pub history: Arc<History>,
    /// Where events within the budget go, and summaries of the others: the flow history.
    pub past: Option<Arc<Past>>,
    /// Likewise: the log.
    pub log: EventLog,
    /// How the log looks, and where it goes.
    pub looks: Log,
    /// The log's budget.
    pub limits: Limits,
    /// What an earlier daemon reported.
    pub earlier: Earlier,
    /// Is given each moment up to which everything was reported, likewise. It must not block.
    pub keep: Box<dyn FnMut(u64) + Send>,
    /// Is given the flow of each event, and its record. It must not block.
    pub flow: TakeFlow,
    /// The canaries that are sent.
    pub canaries: Sent,
    /// How many lines of the daemon's own log were lost so far.
    pub diagnostics_lost: Box<dyn Fn() -> u64 + Send>,
}

/// What the kernel could not keep before.
type Lost = Result<[u64; Loss::COUNT], KernelError>;
/// A function that is called once everything that was asked for is done.
type Done = Box<dyn FnOnce() + Send>;

enum Command {
    Flush(Done),
    Log(Log),
    Reopen,
}

/// The worker. Dropped, it reports what there is, writes the last lines and ends.
pub struct Worker {
    commands: Option<Sender<Command>>,
    wake: Arc<OwnedFd>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the kernel has no descriptor or no thread for it.
    pub fn start(parts: Parts) -> io::Result<Self> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let shared = Arc::new(Shared {
            heartbeat: Heartbeat::default(),
            flows: AtomicUsize::new(0),
            losses: Mutex::default(),
        });
        // What the log has told of is not news; where that is not known, what was lost before is none.
        let lost = parts.earlier.losses.map_or_else(|| parts.records.lost(), Ok);
        let (commands, received) = mpsc::channel();
        let (its_wake, its_shared) = (Arc::clone(&wake), Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("telemetry".to_owned()).spawn(move || {
            give_way();
            run(parts, lost, &received, &its_wake, its_shared);
        })?;
        Ok(Self { commands: Some(commands), wake, shared, thread: Some(thread) })
    }

    /// Calls `done` once everything is in the history that was in the ring buffer when this was called. It is
    /// called on the worker's thread and must not block; where the worker has ended, it is dropped.
    pub fn flush(&self, done: impl FnOnce() + Send + 'static) {
        self.send(Command::Flush(Box::new(done)));
    }

    /// As [`flush`](Self::flush), and waits for it so long; whether it is done.
    #[must_use]
    pub fn flush_within(&self, patience: Duration) -> bool {
        let (sender, done) = mpsc::sync_channel(1);
        self.flush(move || {
            let _it_has_room_for_one = sender.try_send(());
        });
        done.recv_timeout(patience).is_ok()
    }

    /// Writes the log in this way from now on.
    pub fn set_log(&self, log: Log) {
        self.send(Command::Log(log));
    }

    /// Has the file of the log opened anew.
    pub fn reopen_log(&self) {
        self.send(Command::Reopen);
    }

    fn send(&self, command: Command) {
        let sent = self.commands.as_ref().is_some_and(|commands| commands.send(command).is_ok());
        if sent {
            self.wake();
        }
    }

    fn wake(&self) {
        // It fails only where a number of wake-ups is pending that no program reaches, and then it wakes as well.
        let _pending = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
    }

    /// What was lost so far, as of the last second.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.shared.losses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many flows are tracked.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.shared.flows.load(Ordering::Relaxed)
    }

    /// What is wrong with it at this moment.
    #[must_use]
    pub fn problems(&self, now: Instant) -> Vec<Problem> {
        let mut problems = self.losses().problems(now);
        let silent = self.shared.heartbeat.silent_for(now);
        let stuck = |message| Problem::of(ProblemCode::WorkerStuck, "telemetry", message);
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            problems.push(stuck("the thread that reports events has ended: no event is reported".to_owned()));
        } else if silent >= SILENT {
            let seconds = silent.as_secs();
            problems.push(stuck(format!("the thread that reports events is silent for {seconds} seconds")));
        }
        problems
    }

    /// Has everything reported that there is, and the last lines written; whether that was done in time. What
    /// takes longer is given up.
    pub fn stop(mut self, patience: Duration) -> bool {
        self.end(patience)
    }

    fn end(&mut self, patience: Duration) -> bool {
        self.commands = None;
        self.wake();
        self.thread.take().is_none_or(|thread| join_within(thread, patience))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _in_time = self.end(LAST);
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// Who waits for events that were in the ring buffer.
struct Flush {
    done: Done,
    /// How many events may still come before it that were there when it was asked for.
    ahead: usize,
}

fn run(parts: Parts, lost: Lost, commands: &Receiver<Command>, wake: &OwnedFd, shared: Arc<Shared>) {
    let Parts { events, records, .. } = parts;
    let rest = super::reporter::Rest {
        names: parts.names,
        users: UserNames::by(parts.users),
        history: parts.history,
        past: parts.past,
        log: parts.log,
        looks: parts.looks,
        keep: parts.keep,
        flow: parts.flow,
        canaries: parts.canaries,
        diagnostics_lost: parts.diagnostics_lost,
    };
    let mut reporter = Reporter::new(events, rest, parts.limits, shared);
    reporter.begin(&*records, lost, &parts.earlier);
    drop(parts.earlier);
    let mut flushes: Vec<Flush> = Vec::new();
    loop {
        loop {
            match commands.try_recv() {
                Ok(Command::Flush(done)) => flushes.push(Flush { done, ahead: reporter.capacity() }),
                Ok(Command::Log(log)) => reporter.set_log(log),
                Ok(Command::Reopen) => reporter.reopen_log(),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return reporter.end(&*records),
            }
        }
        let taken = reporter.take_batch();
        reporter.tend(&*records, Instant::now());
        for flush in &mut flushes {
            // A ring buffer that was empty once has none of them any more.
            flush.ahead = if taken.is_all { 0 } else { flush.ahead.saturating_sub(taken.events) };
        }
        for flush in flushes.extract_if(.., |flush| flush.ahead == 0) {
            (flush.done)();
        }
        if taken.is_all {
            reporter.wait(wake.as_fd(), taken.events > 0);
        }
    }
}
