//! What looks at live packets beside the verdicts: begun by a request, kept by those that follow, and ended by the last of them
//! or without one.

use crate::audit::Who;
use crate::control::protocol::{ErrorKind, Response, TraceWanted, TracedRecords};
use crate::daemon::engine::state::Engine;
use crate::daemon::engine::tracing::{Kind, Run, Task, TraceRun, fault, target};
use crate::daemon::engine::{KernelJob, Level, Ticket};
use crate::exemption::Clocks;
use crate::health::{Problem, ProblemCode};
use crate::kernel::{Told, TraceRecords, TracedPacket};

/// Whose turn it is, where a request comes for a trace or a shadow.
pub(super) enum Turn {
    /// This one's, whose client has asked again.
    GoesOn(Run),
    /// A new one's.
    Begins,
    /// The request is answered: it is nobody's.
    Answered,
}

impl Engine {
    /// Whose turn it is, for a request of this kind and name that begins one or not.
    pub(super) fn turn(&mut self, ticket: Ticket, (kind, id): (Kind, &str), begins: bool, now: u64) -> Turn {
        let name = kind.name();
        let (error, message) = match self.tracing.run.take() {
            Some(mut run) if !begins && run.id == id && run.kind() == kind => {
                if run.asked.is_none() {
                    run.renew(now);
                    return Turn::GoesOn(run);
                }
                self.tracing.run = Some(run);
                (ErrorKind::BadRequest, format!("another request of the same {name} waits for its answer"))
            }
            run if !begins => {
                self.tracing.run = run;
                let message = format!(
                    "there is no such {name}, or not any more: its time is over, or no request of it came for 3 seconds"
                );
                (ErrorKind::NotFound, message)
            }
            Some(run) => {
                let seconds = run.until.saturating_sub(now).div_ceil(1_000_000_000);
                let message = format!(
                    "{} has a {} now, and one trace or shadow runs at a time: that one is over within {seconds} seconds",
                    run.by(),
                    run.kind().name()
                );
                self.tracing.run = Some(run);
                (ErrorKind::Busy, message)
            }
            None if self.tracing.is_ending || self.tracing.left.is_some() => {
                let message = "the ordinary programs are being put back after the last trace or shadow: try again in a second";
                (ErrorKind::Busy, message.to_owned())
            }
            None if self.publishing.generation() == 0 => (
                ErrorKind::Failed,
                format!("no generation is live: nothing is judged of which there could be a {name}"),
            ),
            None => return Turn::Begins,
        };
        self.answer(ticket, Response::error(error, message));
        Turn::Answered
    }

    pub(super) fn trace(
        &mut self,
        ticket: Ticket,
        id: String,
        begin: Option<TraceWanted>,
        who: Who,
        now: Clocks,
    ) {
        let now = now.boot_ns;
        let run = match (self.turn(ticket, (Kind::Trace, &id), begin.is_some(), now), begin) {
            (Turn::GoesOn(run), _) => run,
            (Turn::Begins, Some(wanted)) => {
                if let Some(fault) = fault(&id, &wanted, &self.config.policy.pins) {
                    return self.answer(ticket, Response::error(ErrorKind::BadInput, fault));
                }
                let task = Task::Trace(TraceRun { wanted, told: 0, is_full: false });
                let run = Run::new(id, who, task, now);
                self.log(Level::Info, format!("{} traces live packets", run.by()));
                run
            }
            (Turn::Begins | Turn::Answered, _) => return,
        };
        self.tracing.run = Some(run);
        self.ask_for_traced(ticket);
    }

    /// Asks the kernel for what was told, for the request of this number.
    fn ask_for_traced(&mut self, ticket: Ticket) {
        let Some(Run { task: Task::Trace(trace), lease, until, asked, .. }) = &mut self.tracing.run else {
            return;
        };
        match target(&trace.wanted, (*lease).min(*until), &self.config.policy.pins) {
            Some(target) => {
                *asked = Some(ticket);
                self.ask_kernel(KernelJob::Trace(target));
            }
            // Without the pin it would be every packet.
            None => {
                let name = trace.wanted.pin.clone().unwrap_or_default();
                let message = format!("the trace is over: the live policy has the pin {name:?} no more");
                self.answer(ticket, Response::error(ErrorKind::NotFound, message));
                self.end_tracing();
            }
        }
    }

    /// The kernel was looked at for a trace.
    pub(super) fn traced(&mut self, told: Result<Told, String>, now: Clocks) {
        // That of one that has been ended meanwhile.
        let Some(mut run) = self.tracing.run.take_if(|run| run.kind() == Kind::Trace) else { return };
        let ticket = run.asked.take();
        let told = match told {
            Ok(told) => told,
            Err(error) => return self.fail_tracing(Kind::Trace, ticket, &error),
        };
        if told.is_on && !run.is_on {
            run.is_on_since(now.boot_ns);
        }
        let Task::Trace(trace) = &mut run.task else { return };
        trace.told += told.packets.len() as u64;
        let was_full = trace.is_full;
        let taken = told.taken.min(trace.wanted.packets);
        trace.is_full = taken == trace.wanted.packets;
        // One look more, for what was counted at the last one and not told to its end.
        let is_over = now.boot_ns >= run.until || was_full || trace.told == trace.wanted.packets;
        if let Some(ticket) = ticket {
            let packets = told.packets.into_iter().map(|records| self.named(records)).collect();
            let (is_on, generation) = (told.is_on, self.publishing.generation());
            self.answer(ticket, Response::Trace { is_on, is_over, generation, taken, packets });
        }
        match is_over {
            true => self.put_back(),
            false => self.tracing.run = Some(run),
        }
    }

    /// The kernel refuses, which ends it.
    pub(super) fn fail_tracing(&mut self, kind: Kind, ticket: Option<Ticket>, error: &str) {
        let name = kind.name();
        if let Some(ticket) = ticket {
            let message = format!("the {name} is over: {error}");
            self.answer(ticket, Response::error(ErrorKind::Failed, message));
        }
        self.log(Level::Warn, format!("a {name} of live packets can't be had: {error}"));
        self.put_back();
    }

    /// The records of a packet, with the names of interfaces.
    fn named(&self, records: TraceRecords) -> TracedRecords {
        let packet = TracedPacket::of(&records);
        let name = |index: u32| {
            let mut observed = self.interfaces.observed.iter().flat_map(|it| &it.interfaces);
            observed.find(|it| it.interface.index == index).map(|it| it.interface.name.clone())
        };
        let interface = packet.as_ref().and_then(|packet| name(packet.ifindex));
        let came_in_by = packet.as_ref().and_then(|packet| name(packet.ingress_ifindex));
        TracedRecords { interface, came_in_by, records }
    }

    /// Ends what nobody has asked of for too long, and tries again to put back what is left of one.
    pub(super) fn look_at_tracing(&mut self, now: Clocks) {
        let abandoned = self.tracing.run.as_ref().filter(|run| now.boot_ns >= run.lease);
        if let Some(name) = abandoned.map(|run| run.kind().name()) {
            self.log(Level::Info, format!("a {name} is over: nobody asks for what it tells"));
            self.end_tracing();
        } else if self.tracing.left.is_some() {
            self.put_back();
        }
    }

    /// Ends the trace or the shadow that runs, if any.
    pub(super) fn end_tracing(&mut self) {
        let Some(run) = self.tracing.run.take() else { return };
        if let Some(ticket) = run.asked {
            let message = format!("the {} is over: the daemon has ended it", run.kind().name());
            self.answer(ticket, Response::error(ErrorKind::Failed, message));
        }
        self.put_back();
    }

    pub(super) fn put_back(&mut self) {
        if !self.tracing.is_ending {
            self.tracing.is_ending = true;
            self.ask_kernel(KernelJob::PutBack);
        }
    }

    pub(super) fn were_put_back(&mut self, result: Result<(), String>) {
        self.tracing.is_ending = false;
        self.tracing.left = result.err();
        // Their attachments run other programs now.
        self.interfaces.look();
    }

    /// What of a trace or a shadow that is over is still on interfaces.
    pub(super) fn problem_of_tracing(&self) -> Option<Problem> {
        let why = self.tracing.left.as_ref()?;
        let message = format!("the ordinary programs could not be put back on every interface: {why}");
        Some(Problem::new(ProblemCode::TraceLeft, message))
    }
}
