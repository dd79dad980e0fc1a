//! A trace in the kernel in memory: its packets are those that the test says.

use guard_common::abi::traced::TraceTarget;

use super::{MemoryKernel, Operation};
use crate::kernel::{KernelError, Told, TraceRecords, Tracing};

/// What is traced.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    /// The target, and whether the programs are on the interfaces.
    target: Option<(TraceTarget, bool)>,
    /// Packets that are told at the next look.
    next: Vec<TraceRecords>,
    taken: u64,
}

impl MemoryKernel {
    /// A packet goes by that is asked for.
    pub(crate) fn trace_one(&self, records: TraceRecords) {
        let mut state = self.state();
        state.traced.taken += 1;
        state.traced.next.push(records);
    }

    /// What is asked for, where the tracing programs are on the interfaces.
    #[must_use]
    pub(crate) fn traced(&self) -> Option<TraceTarget> {
        self.state().traced.target.filter(|(_, is_on)| *is_on).map(|(target, _)| target)
    }
}

impl Tracing for MemoryKernel {
    fn trace_packets(&mut self, target: &TraceTarget) -> Result<Told, KernelError> {
        let mut state = self.state();
        state.may(Operation::Trace)?;
        let was = state.traced.target.replace((*target, true));
        let Some((_, true)) = was else {
            // The first call has the programs loaded, and the second finds them loaded.
            state.traced.target = Some((*target, was.is_some()));
            return Ok(Told { is_on: was.is_some(), ..Told::default() });
        };
        let packets = std::mem::take(&mut state.traced.next);
        Ok(Told { is_on: true, taken: state.traced.taken, packets })
    }

    fn stop_tracing(&mut self) -> Result<(), KernelError> {
        let mut state = self.state();
        state.may(Operation::StopTracing)?;
        state.traced = Trace::default();
        Ok(())
    }
}
