//! From the kernel's ring buffer to the history and the log.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use guard_common::abi::{self, Loss};
use jiff::Timestamp;
use tokio::io::unix::AsyncFd;
use tracing::{error, warn};

use super::guard::Guard;
use super::swept;
use crate::events::budget::{Budget, Limits};
use crate::events::enrich::{Context, enrich};
use crate::events::event::Phase;
use crate::events::flows::{Added, Told};
use crate::events::history::History;
use crate::events::log::EventLog;
use crate::events::record::Record;
use crate::exemption::Clocks;
use crate::kernel::EventReader;

/// Events that are taken from the ring buffer before others have their turn.
const BATCH: usize = 1024;
/// The file in the state directory that says up to when flows were told.
const MARK: &str = "told.json";

/// Tells what the kernel saw.
pub(super) struct Teller {
    reader: AsyncFd<EventReader>,
    told: Told,
    history: Arc<History>,
    log: EventLog,
    budget: Budget,
    session: Timestamp,
    /// Where it is kept up to when everything was told.
    mark: PathBuf,
    lost: [u64; Loss::COUNT],
    lost_lines: u64,
}

impl Teller {
    /// Tells to this history and log. What was lost before is not news.
    pub(super) fn new(guard: &mut Guard, history: Arc<History>, log: EventLog) -> anyhow::Result<Self> {
        // SAFETY: the reader's descriptor is that of the map that it owns: open until the reader is dropped,
        // which is after it is deregistered, and always the same one.
        let reader = unsafe { AsyncFd::register(guard.events()?) }.map_err(io::Error::from);
        let reader = reader.context("cannot wait for the kernel's events")?;
        let lost = guard.kernel().lost()?;
        let mark = guard.policy().state.directory.join(MARK);
        let told = match swept::read(&mark, Clocks::read().boot_ns) {
            Some(swept_ns) => Told::resume(guard.kernel().flows()?, swept_ns),
            None => Told::default(),
        };
        let budget = Budget::new(Limits::default());
        Ok(Self { reader, told, history, log, budget, session: Timestamp::now(), mark, lost, lost_lines: 0 })
    }

    /// Waits until there are events. May be dropped at any point.
    pub(super) async fn ready(&self) {
        match self.reader.readable().await {
            Ok(mut guard) => guard.clear_ready(),
            Err(error) => {
                error!(%error, "the kernel's events can't be waited for");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
    }

    /// Tells the events that there are, at most a batch of them; whether there may be more.
    pub(super) fn tell(&mut self, guard: &Guard) -> bool {
        let clock = Clocks::read();
        for _ in 0..BATCH {
            let Some(event) = self.reader.get_mut().next() else { return false };
            if let Some((phase, added)) = self.told.event(&event.key, &event.record) {
                self.tell_one(guard, clock, &event, phase, added);
            }
        }
        true
    }

    /// Tells the packets that came after the last event of flows that are quiet now.
    pub(super) fn sweep(&mut self, guard: &Guard) {
        let records = match guard.kernel().flows() {
            Ok(records) => records,
            Err(error) => {
                warn!("the flow records can't be read: {error}");
                return;
            }
        };
        let clock = Clocks::read();
        for (key, record, phase, added) in self.told.sweep(records, clock.boot_ns) {
            // Where its tunnel goes is in events alone.
            let event = abi::Event { key, record, outer_dst: abi::Event::default().outer_dst };
            self.tell_one(guard, clock, &event, phase, added);
        }
        if let Err(error) = swept::write(&self.mark, clock.boot_ns) {
            warn!(%error, file = %self.mark.display(), "after a restart some flows may be told twice");
        }
    }

    fn tell_one(&mut self, guard: &Guard, clock: Clocks, event: &abi::Event, phase: Phase, added: Added) {
        let context = Context { names: guard.names(), clock, session: self.session };
        let event = self.history.push(enrich(event, phase, added, context));
        if self.budget.take(&event, Instant::now()) {
            self.log.write(Record::Event(event), guard.policy().log.format);
        }
    }

    /// Reports what was lost since it was last looked at, and writes the summaries that are due.
    pub(super) fn report_losses(&mut self, guard: &Guard) {
        for summary in self.budget.due(Instant::now()) {
            self.log.write(Record::Summary(summary), guard.policy().log.format);
        }
        match guard.kernel().lost() {
            Ok(lost) => {
                for (loss, (now, before)) in Loss::ALL.into_iter().zip(lost.iter().zip(self.lost)) {
                    if *now > before {
                        error!("{} {} were lost in the kernel, {now} in all", now - before, loss.name());
                    }
                }
                self.lost = lost;
            }
            Err(error) => warn!("what was lost can't be read: {error}"),
        }
        let lines = self.log.lost();
        if lines > self.lost_lines {
            error!(
                "{} lines of the event log were lost, because standard output did not take them, {lines} in all",
                lines - self.lost_lines
            );
        }
        self.lost_lines = lines;
    }

    /// Lines of the event log that were lost.
    pub(super) fn lost_lines(&self) -> u64 {
        self.log.lost()
    }
}
