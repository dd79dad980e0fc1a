//! A trace of live packets: begun by a request, kept by those that follow, and ended by the last of them or without one.

use crate::audit::Who;
use crate::control::protocol::{ErrorKind, Response, TraceWanted, TracedRecords};
use crate::daemon::engine::state::Engine;
use crate::daemon::engine::tracing::{Run, fault};
use crate::daemon::engine::{KernelJob, Level, Ticket};
use crate::exemption::Clocks;
use crate::health::{Problem, ProblemCode};
use crate::kernel::{Told, TraceRecords, TracedPacket};

impl Engine {
    pub(super) fn trace(
        &mut self,
        ticket: Ticket,
        id: String,
        begin: Option<TraceWanted>,
        who: Who,
        now: Clocks,
    ) {
        let now = now.boot_ns;
        let run = match (self.tracing.run.take(), begin) {
            (Some(mut run), None) if run.id == id => match run.asked {
                None => {
                    run.renew(now);
                    run
                }
                Some(_) => {
                    self.tracing.run = Some(run);
                    let message = "another request of the same trace waits for its answer";
                    return self.answer(ticket, Response::error(ErrorKind::BadRequest, message));
                }
            },
            (run, None) => {
                self.tracing.run = run;
                let message = "there is no such trace, or not any more: its time is over, or no request of it came for 3 seconds";
                return self.answer(ticket, Response::error(ErrorKind::NotFound, message));
            }
            (Some(run), Some(_)) => {
                let seconds = run.until.saturating_sub(now).div_ceil(1_000_000_000);
                let message = format!(
                    "{} traces now, and one trace runs at a time: that one is over within {seconds} seconds",
                    run.by()
                );
                self.tracing.run = Some(run);
                return self.answer(ticket, Response::error(ErrorKind::Busy, message));
            }
            (None, Some(_)) if self.tracing.is_ending || self.tracing.left.is_some() => {
                let message =
                    "the ordinary programs are being put back after the last trace: try again in a second";
                return self.answer(ticket, Response::error(ErrorKind::Busy, message));
            }
            (None, Some(wanted)) => {
                if let Some(fault) = fault(&id, &wanted, &self.config.policy.pins) {
                    return self.answer(ticket, Response::error(ErrorKind::BadInput, fault));
                }
                if self.publishing.generation() == 0 {
                    let message = "no generation is live: nothing is judged that could be traced";
                    return self.answer(ticket, Response::error(ErrorKind::Failed, message));
                }
                let run = Run::new(id, who, wanted, now);
                self.log(Level::Info, format!("{} traces live packets", run.by()));
                run
            }
        };
        self.tracing.run = Some(run);
        self.ask_for_traced(ticket);
    }

    /// Asks the kernel for what was told, for the request of this number.
    fn ask_for_traced(&mut self, ticket: Ticket) {
        let Some(run) = &mut self.tracing.run else { return };
        match run.target(&self.config.policy.pins) {
            Some(target) => {
                run.asked = Some(ticket);
                self.ask_kernel(KernelJob::Trace(target));
            }
            // Without the pin it would be every packet.
            None => {
                let name = run.wanted.pin.clone().unwrap_or_default();
                let message = format!("the trace is over: the live policy has the pin {name:?} no more");
                self.answer(ticket, Response::error(ErrorKind::NotFound, message));
                self.end_trace();
            }
        }
    }

    /// The kernel was looked at for a trace.
    pub(super) fn traced(&mut self, told: Result<Told, String>, now: Clocks) {
        // That of one that has been ended meanwhile.
        let Some(mut run) = self.tracing.run.take() else { return };
        let ticket = run.asked.take();
        let told = match told {
            Ok(told) => told,
            Err(error) => {
                if let Some(ticket) = ticket {
                    let message = format!("the trace is over: {error}");
                    self.answer(ticket, Response::error(ErrorKind::Failed, message));
                }
                self.log(Level::Warn, format!("packets can't be traced: {error}"));
                return self.stop_tracing();
            }
        };
        if told.is_on && !run.is_on {
            run.is_on_since(now.boot_ns);
        }
        run.told += told.packets.len() as u64;
        let was_full = run.is_full;
        let taken = told.taken.min(run.wanted.packets);
        run.is_full = taken == run.wanted.packets;
        // One look more, for what was counted at the last one and not told to its end.
        let is_over = now.boot_ns >= run.until || was_full || run.told == run.wanted.packets;
        if let Some(ticket) = ticket {
            let packets = told.packets.into_iter().map(|records| self.named(records)).collect();
            let (is_on, generation) = (told.is_on, self.publishing.generation());
            self.answer(ticket, Response::Trace { is_on, is_over, generation, taken, packets });
        }
        match is_over {
            true => self.stop_tracing(),
            false => self.tracing.run = Some(run),
        }
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

    /// Ends a trace of which nobody has asked for too long, and tries again to put back what is left of one.
    pub(super) fn look_at_trace(&mut self, now: Clocks) {
        let is_abandoned = self.tracing.run.as_ref().is_some_and(|run| now.boot_ns >= run.lease);
        if is_abandoned {
            self.log(Level::Info, "a trace is over: nobody asks for what it tells".to_owned());
            self.end_trace();
        } else if self.tracing.left.is_some() {
            self.stop_tracing();
        }
    }

    /// Ends the trace that runs, if any.
    pub(super) fn end_trace(&mut self) {
        let Some(run) = self.tracing.run.take() else { return };
        if let Some(ticket) = run.asked {
            let message = "the trace is over: the daemon has ended it";
            self.answer(ticket, Response::error(ErrorKind::Failed, message));
        }
        self.stop_tracing();
    }

    fn stop_tracing(&mut self) {
        if !self.tracing.is_ending {
            self.tracing.is_ending = true;
            self.ask_kernel(KernelJob::StopTracing);
        }
    }

    pub(super) fn tracing_stopped(&mut self, result: Result<(), String>) {
        self.tracing.is_ending = false;
        self.tracing.left = result.err();
        // Their attachments run other programs now.
        self.interfaces.look();
    }

    /// What of a trace that is over is still on interfaces.
    pub(super) fn problem_of_trace(&self) -> Option<Problem> {
        let why = self.tracing.left.as_ref()?;
        let message = format!("the ordinary programs could not be put back on every interface: {why}");
        Some(Problem::new(ProblemCode::TraceLeft, message))
    }
}
