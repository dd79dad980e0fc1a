//! The worker that reads the kernel's counters: large maps, which nobody has to wait for but those who ask.

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use super::queue::{Receiver, Sender, Urgency, queue};
use crate::daemon::engine::{Input, Sample};
use crate::kernel::View;
use crate::store::Cursor;

/// What the sinks count beside the kernel.
pub(super) trait Losses: Send + Sync {
    /// Has the events in the ring buffer taken out first, as far as that is done soon.
    fn flush(&self);
    /// Lines of the event log that were lost.
    fn log_lost(&self) -> u64;
    /// Lines of diagnostics that were lost.
    fn diagnostics_lost(&self) -> u64;
    /// The number of the last event.
    fn events(&self) -> u64;
    /// Up to when flows were reported.
    fn cursor(&self) -> Option<Cursor>;
}

/// The way to the worker; dropped, it ends the worker.
pub(super) struct Worker {
    jobs: Sender<()>,
}

impl Worker {
    /// Starts it over a view of its own.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub(super) fn start(
        view: View,
        losses: Arc<dyn Losses>,
        inputs: UnboundedSender<Input>,
    ) -> io::Result<Self> {
        let (jobs, receiver) = queue();
        std::thread::Builder::new()
            .name("sampler".to_owned())
            .spawn(move || work(&view, losses.as_ref(), &receiver, &inputs))?;
        Ok(Self { jobs })
    }

    pub(super) fn sample(&self) {
        self.jobs.put((), Urgency::Ordinary);
    }
}

fn work(view: &View, losses: &dyn Losses, jobs: &Receiver<()>, inputs: &UnboundedSender<Input>) {
    while jobs.take().is_some() {
        // What is in the ring buffer by now is an event before it is counted.
        losses.flush();
        let sample = view.counters().map(|counters| {
            Box::new(Sample {
                counters,
                log_lost: losses.log_lost(),
                diagnostics_lost: losses.diagnostics_lost(),
                events: losses.events(),
                cursor: losses.cursor(),
            })
        });
        if inputs.send(Input::Sampled(sample.map_err(|error| error.to_string()))).is_err() {
            return;
        }
    }
}
