//! From the kernel's ring buffer to the history and the log.

use std::io;
use std::sync::Arc;

use anyhow::Context as _;
use guard_common::abi::{self, Loss};
use jiff::Timestamp;
use tokio::io::unix::AsyncFd;
use tracing::{error, warn};

use super::guard::Guard;
use crate::events::enrich::{Context, enrich};
use crate::events::event::Phase;
use crate::events::flows::{Added, Told};
use crate::events::history::History;
use crate::events::log::EventLog;
use crate::exemption::Clocks;
use crate::kernel::EventReader;
use crate::store::{Cursor, boot_id};

/// Events that are taken from the ring buffer before others have their turn.
const BATCH: usize = 1024;

/// Tells what the kernel saw.
pub(super) struct Teller {
    reader: AsyncFd<EventReader>,
    told: Told,
    history: Arc<History>,
    log: EventLog,
    session: Timestamp,
    /// The id of this boot, where the kernel says it.
    boot: Option<String>,
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
        let boot = boot_id().ok();
        let cursor = guard.store.cursor().unwrap_or_else(|error| {
            warn!(%error, "up to when flows were reported can't be read: some may be reported twice");
            None
        });
        let reported = |boot| cursor?.reported_until(boot, Clocks::read().boot_ns);
        let told = match boot.as_deref().and_then(reported) {
            Some(swept_ns) => Told::resume(guard.kernel().flows()?, swept_ns),
            None => Told::default(),
        };
        Ok(Self { reader, told, history, log, session: Timestamp::now(), boot, lost, lost_lines: 0 })
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

    /// Tells the packets that came after the last event of flows that are quiet now. Returns up to when flows are
    /// told, to be saved.
    pub(super) fn sweep(&mut self, guard: &Guard) -> Option<Cursor> {
        let records = match guard.kernel().flows() {
            Ok(records) => records,
            Err(error) => {
                warn!("the flow records can't be read: {error}");
                return None;
            }
        };
        let clock = Clocks::read();
        for (key, record, phase, added) in self.told.sweep(records, clock.boot_ns) {
            // Where its tunnel goes is in events alone.
            let event = abi::Event { key, record, outer_dst: abi::Event::default().outer_dst };
            self.tell_one(guard, clock, &event, phase, added);
        }
        Some(Cursor { boot: self.boot.clone()?, swept_ns: clock.boot_ns })
    }

    fn tell_one(&self, guard: &Guard, clock: Clocks, event: &abi::Event, phase: Phase, added: Added) {
        let context = Context { names: guard.names(), clock, session: self.session };
        let event = self.history.push(enrich(event, phase, added, context));
        self.log.write(event, guard.policy().log.format);
    }

    /// Reports what was lost since it was last looked at.
    pub(super) fn report_losses(&mut self, guard: &Guard) {
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
