//! The worker that owns the kernel side: one thread, one job after the other, what closes before what looks and
//! attaches, and what lets go last.

use std::io;
use std::time::Instant;

use guard_common::abi::{ExemptionUse, HighWater, PolicyTable};
use tokio::sync::mpsc::UnboundedSender;

use super::queue::{Receiver, Urgency};
use super::{facts, worker};
use crate::daemon::engine::{Geo, Input, KernelJob, Publish, PublishOutcome, ShadowSight, Sight};
use crate::events::names::SharedNames;
use crate::exemption::Clocks;
use crate::kernel::{Kernel, KernelError, Published, hashes};
use crate::store::GoesLive;

/// The way to the worker.
pub(super) struct Worker(worker::Worker<KernelJob>);

impl Worker {
    /// Starts it.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub(super) fn start(
        kernel: Box<dyn Kernel>,
        names: SharedNames,
        inputs: UnboundedSender<Input>,
    ) -> io::Result<Self> {
        worker::Worker::start("kernel", move |jobs| work(kernel, &names, &jobs, &inputs)).map(Self)
    }

    pub(super) fn put(&self, job: KernelJob) {
        let urgency = match &job {
            job if job.is_urgent() => Urgency::Urgent,
            job if job.can_wait() => Urgency::Last,
            _ => Urgency::Ordinary,
        };
        self.0.put(job, urgency);
    }

    pub(super) fn end(&mut self, deadline: Instant) {
        self.0.end(deadline);
    }
}

fn work(
    mut kernel: Box<dyn Kernel>,
    names: &SharedNames,
    jobs: &Receiver<KernelJob>,
    inputs: &UnboundedSender<Input>,
) {
    let mut noted = None;
    while let Some(job) = jobs.take() {
        let input = done(kernel.as_mut(), names, job);
        // The time is noted each second: that it was, or was not, once more is no news to wake anybody for.
        if let Input::TimeNoted(result) = &input {
            if noted.as_ref() == Some(result) {
                continue;
            }
            noted = Some(result.clone());
        }
        if inputs.send(input).is_err() {
            return;
        }
    }
}

/// Does one job.
pub(in crate::daemon) fn done(kernel: &mut dyn Kernel, names: &SharedNames, job: KernelJob) -> Input {
    let text = |error: KernelError| error.to_string();
    match job {
        KernelJob::Observe { cgroups, bypass, sockets, senders, volumes } => {
            let sight = kernel.observe().map_err(text).map(|observed| {
                let (cgroups, bypass) = (facts::cgroups(&cgroups), facts::bypass(bypass));
                let noting = facts::noting(sockets, senders, volumes);
                Box::new(Sight { observed, cgroups, bypass, noting })
            });
            Input::Observed(sight)
        }
        KernelJob::Publish(job) => Input::Published(Box::new(publish(kernel, names, *job))),
        KernelJob::Attach { interface, ingress } => {
            let result = kernel.attach(&interface, ingress).map_err(text);
            Input::Attached { index: interface.index, result }
        }
        KernelJob::Release { interface } => {
            // What it sends once the guard is off is not judged, and is not to be missing from what is told of that.
            let sent = kernel.sent(&interface);
            let result = kernel.release(&interface).map_err(text).map(|()| sent);
            Input::Released { interface, result }
        }
        KernelJob::RefuseBypass(target) => {
            let result = kernel.refuse_bypass(target.as_ref()).map_err(text);
            Input::BypassSet { is_on: target.is_some(), result }
        }
        KernelJob::NoteSockets(target) => {
            Input::NotingSet(kernel.note_sockets(target.as_ref()).map_err(text))
        }
        KernelJob::Protect(wanted) => Input::ProtectionSet(kernel.protect(wanted).map_err(text)),
        KernelJob::Forget(stray) => {
            let result = kernel.forget(&stray).map_err(text);
            Input::Forgotten { stray, result }
        }
        KernelJob::RestoreEntries => Input::Restored(kernel.restore_entries().map_err(text)),
        KernelJob::Trace(target) => Input::Traced(kernel.trace_packets(&target).map_err(text)),
        KernelJob::Shadow(step, cgroups) => {
            let is_last = step.is_last;
            let sight = kernel.shadow_packets(*step).map_err(text).map(|seen| {
                let cgroups = facts::cgroups(&cgroups);
                Box::new(ShadowSight { seen, is_last, cgroups })
            });
            Input::Shadowed(sight)
        }
        KernelJob::PutBack => Input::PutBack(kernel.put_back().map_err(text)),
        KernelJob::NoteTime(Clocks { wall, boot_ns }) => {
            let time = u64::try_from(wall.as_nanosecond()).unwrap_or_default();
            let noted = kernel.change_mark(&mut |mark| mark.is_by(time, boot_ns));
            Input::TimeNoted(noted.map(drop).map_err(text))
        }
        KernelJob::ReadUses(known) => Input::Uses(kernel.exemption_uses(&known).map_err(text)),
        KernelJob::ResetUses(slots) => {
            let reset = |slot: &u16| kernel.reset_exemption_use(*slot, ExemptionUse::default());
            let result = slots.iter().try_for_each(reset).map_err(text);
            Input::UsesReset { slots, result }
        }
        KernelJob::Hold { slots, held } => {
            let result = slots.iter().try_for_each(|slot| kernel.hold(*slot, held)).map_err(text);
            Input::Held { slots, held, result }
        }
    }
}

fn publish(kernel: &mut dyn Kernel, names: &SharedNames, job: Publish) -> PublishOutcome {
    let generation = job.names.generation;
    // Before the kernel judges by it: an event must find its names.
    names.add(job.names);
    let anew = || job.geo_anew.then(|| kernel.published_geo()).flatten().map(Geo);
    let geo = job.geo.or_else(anew);
    let result = mark_and_publish(kernel, &job.table.0, (geo.as_ref(), job.goes_live.as_ref()));
    let went_live = kernel.generation() == generation;
    if !went_live {
        names.take_back(generation);
    }
    // Behind the publication, which nothing is to hold up.
    let policy_sha256 = went_live.then(|| hashes::policy_sha256(&job.table.0));
    let geo_sha256 = geo.as_ref().filter(|_| went_live).map(|geo| hashes::geo_sha256(&geo.0));
    let counters = (went_live && job.counts_change_hands).then(|| kernel.counters().ok()).flatten();
    PublishOutcome {
        serial: job.serial,
        generation: kernel.generation(),
        result: result.map(|published| published.to_string()).map_err(|error| error.to_string()),
        counters,
        policy_sha256,
        geo_sha256,
    }
}

/// Publishes. What goes live is in the kernel's mark before the flip: whoever kills the daemon after it, before anything of it
/// is on the disk, has the next start tell it.
fn mark_and_publish(
    kernel: &mut dyn Kernel,
    table: &PolicyTable,
    (geo, goes_live): (Option<&Geo>, Option<&GoesLive>),
) -> Result<Published, KernelError> {
    let before = match goes_live {
        Some(it) => {
            let mut goes_live = |mark: &mut HighWater| it.mark(mark);
            Some((it, kernel.change_mark(&mut goes_live)?))
        }
        None => None,
    };
    let result = kernel.publish(table, geo.map(|geo| &geo.0));
    if let Some((it, before)) = before
        && kernel.generation() != table.generation
    {
        // Where that fails too, the next start tells of one that was not live.
        let _told_then = kernel.change_mark(&mut |mark| mark.did_not_go_live(it.judges, &before));
    }
    result
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::super::queue::queue;
    use super::*;
    use crate::kernel::memory::MemoryKernel;

    #[test]
    fn that_the_time_is_noted_is_told_once_and_all_else_each_time() {
        let (inputs, mut told) = unbounded_channel();
        let (sender, jobs) = queue();
        for _ in 0..3 {
            sender.put(KernelJob::NoteTime(Clocks::read()), Urgency::Ordinary);
            sender.put(KernelJob::ReadUses(Vec::new()), Urgency::Ordinary);
        }
        drop(sender);
        work(Box::new(MemoryKernel::with(&["eth0"])), &SharedNames::default(), &jobs, &inputs);
        let mut found = Vec::new();
        while let Ok(input) = told.try_recv() {
            found.push(match input {
                Input::TimeNoted(Ok(())) => "noted",
                Input::Uses(Ok(_)) => "uses",
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(found, ["noted", "uses", "uses", "uses"]);
    }
}
