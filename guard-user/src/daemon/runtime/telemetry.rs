//! From the kernel's ring buffer to the history and the log, in a thread of its own.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use guard_common::abi::{self, Loss};
use jiff::Timestamp;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use tracing::{error, warn};

use super::sampler::Losses;
use crate::config::policy::LogFormat;
use crate::events::enrich::{Context, enrich};
use crate::events::event::Phase;
use crate::events::flows::{Added, Told};
use crate::events::budget::{Budget, Limits};
use crate::events::history::History;
use crate::events::record::Record;
use crate::events::log::EventLog;
use crate::events::names::Generations;
use crate::exemption::Clocks;
use crate::kernel::{EventReader, LinuxKernel, View};
use crate::store::{Cursor, boot_id};

const BATCH: usize = 1024;
const SWEEP: Duration = Duration::from_secs(5);

pub(super) struct Telemetry {
    history: Arc<History>,
    log: Arc<EventLog>,
    wake: OwnedFd,
    ends: AtomicBool,
    flushes: Mutex<Vec<std::sync::mpsc::Sender<()>>>,
    cursor: Mutex<Option<Cursor>>,
}

struct Worker {
    reader: EventReader,
    view: View,
    told: Told,
    names: Arc<RwLock<Generations>>,
    shared: Arc<Telemetry>,
    session: Timestamp,
    boot: Option<String>,
    format: LogFormat,
    budget: Budget,
    lost: [u64; Loss::COUNT],
    lost_lines: u64,
}

impl Telemetry {
    pub(super) fn start(
        kernel: &mut LinuxKernel,
        view: View,
        names: Arc<RwLock<Generations>>,
        cursor: Option<Cursor>,
        format: LogFormat,
    ) -> Result<Arc<Self>> {
        let history = Arc::new(History::default());
        let log = Arc::new(EventLog::start(std::io::stdout()).context("cannot start the event log")?);
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared =
            Arc::new(Self { history, log, wake, ends: AtomicBool::new(false), flushes: Mutex::default(), cursor: Mutex::default() });
        let boot = boot_id().ok();
        let reported = boot.as_ref().and_then(|boot| cursor?.reported_until(boot, Clocks::read().boot_ns));
        let told = match reported {
            Some(swept_ns) => Told::resume(view.flows()?, swept_ns),
            None => Told::default(),
        };
        let lost = view.lost()?;
        let worker = Worker {
            reader: kernel.events()?,
            view,
            told,
            names,
            shared: Arc::clone(&shared),
            session: Timestamp::now(),
            boot,
            format,
            budget: Budget::new(Limits::default()),
            lost,
            lost_lines: 0,
        };
        std::thread::Builder::new().name("telemetry".to_owned()).spawn(move || worker.work())?;
        Ok(shared)
    }

    pub(super) fn history(&self) -> Arc<History> {
        Arc::clone(&self.history)
    }

    fn wake(&self) {
        let _full = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    pub(super) fn end(&self) {
        self.ends.store(true, Ordering::Relaxed);
        self.wake();
    }
}

impl Losses for Telemetry {
    fn flush(&self) {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.flushes.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        self.wake();
        let _late = receiver.recv_timeout(Duration::from_millis(100));
    }
    fn log_lost(&self) -> u64 {
        self.log.lost()
    }
    fn diagnostics_lost(&self) -> u64 {
        0
    }
    fn events(&self) -> u64 {
        self.history.next_sequence() - 1
    }
    fn cursor(&self) -> Option<Cursor> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Worker {
    fn work(mut self) {
        let mut next_sweep = Instant::now() + SWEEP;
        let mut next_losses = Instant::now();
        while !self.shared.ends.load(Ordering::Relaxed) {
            let timeout = rustix::time::Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
            let mut fds = [
                PollFd::new(&self.reader, PollFlags::IN),
                PollFd::new(&self.shared.wake, PollFlags::IN),
            ];
            let _interrupted = poll(&mut fds, Some(&timeout));
            let mut count = [0; 8];
            let _empty = rustix::io::read(self.shared.wake.as_fd(), &mut count);
            let waiting =
                std::mem::take(&mut *self.shared.flushes.lock().unwrap_or_else(PoisonError::into_inner));
            for _ in 0..64 {
                if !self.tell() {
                    break;
                }
            }
            for sender in waiting {
                let _gone = sender.send(());
            }
            if Instant::now() >= next_sweep {
                next_sweep = Instant::now() + SWEEP;
                self.sweep();
            }
            if Instant::now() >= next_losses {
                next_losses = Instant::now() + Duration::from_secs(1);
                self.report_losses();
            }
        }
        while self.tell() {}
        self.sweep();
    }

    fn tell(&mut self) -> bool {
        let clock = Clocks::read();
        for _ in 0..BATCH {
            let Some(event) = self.reader.next() else { return false };
            if let Some((phase, added)) = self.told.event(&event.key, &event.record) {
                self.tell_one(clock, &event, phase, added);
            }
        }
        true
    }

    fn sweep(&mut self) {
        let records = match self.view.flows() {
            Ok(records) => records,
            Err(error) => {
                warn!("the flow records can't be read: {error}");
                return;
            }
        };
        let clock = Clocks::read();
        for (key, record, phase, added) in self.told.sweep(records, clock.boot_ns) {
            let event = abi::Event { key, record, outer_dst: abi::Event::default().outer_dst };
            self.tell_one(clock, &event, phase, added);
        }
        let cursor = self.boot.clone().map(|boot| Cursor { boot, swept_ns: clock.boot_ns });
        *self.shared.cursor.lock().unwrap_or_else(PoisonError::into_inner) = cursor;
    }

    fn tell_one(&mut self, clock: Clocks, event: &abi::Event, phase: Phase, added: Added) {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let context = Context { names: &names, clock, session: self.session };
        let event = self.shared.history.push(enrich(event, phase, added, context));
        drop(names);
        if self.budget.take(&event, Instant::now()) {
            self.shared.log.write(Record::Event(event), self.format);
        }
    }

    fn report_losses(&mut self) {
        for summary in self.budget.due(Instant::now()) {
            self.shared.log.write(Record::Summary(summary), self.format);
        }
        if let Ok(lost) = self.view.lost() {
            for (loss, (now, before)) in Loss::ALL.into_iter().zip(lost.iter().zip(self.lost)) {
                if *now > before {
                    error!("{} {} were lost in the kernel, {now} in all", now - before, loss.name());
                }
            }
            self.lost = lost;
        }
        let lines = self.shared.log.lost();
        if lines > self.lost_lines {
            error!(
                "{} lines of the event log were lost, because standard output did not take them, {lines} in all",
                lines - self.lost_lines
            );
        }
        self.lost_lines = lines;
    }
}
