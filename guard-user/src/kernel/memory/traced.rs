//! A trace or a shadow in the kernel in memory: what comes of them is what the test says.

use std::collections::BTreeSet;

use guard_common::abi::traced::TraceTarget;

use super::{MemoryKernel, Operation, open_slots};
use crate::kernel::{KernelError, ShadowSeen, ShadowStep, Told, TraceRecords, Tracing};

/// What is traced.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// The target, and whether the programs are on the interfaces.
    target: Option<(TraceTarget, bool)>,
    /// Packets that are told at the next look.
    next: Vec<TraceRecords>,
    taken: u64,
    shadow: Shadow,
}

/// A shadow, as it was asked for.
#[derive(Debug, Default)]
pub(crate) struct Shadow {
    /// How many steps there were.
    pub(crate) steps: u32,
    /// Whether the programs are on the interfaces.
    pub(crate) is_on: bool,
    /// Slots that the newest table lets through.
    pub(crate) open: BTreeSet<u16>,
    /// Those whose live use was taken over since they are on, and those of which nothing counts as used.
    pub(crate) copied: Vec<u16>,
    pub(crate) cleared: Vec<u16>,
    /// How many tables it was given.
    pub(crate) tables: u32,
    pub(crate) failsafe: Vec<(u32, u32)>,
    pub(crate) deadline_ns: u64,
}

impl MemoryKernel {
    /// A packet goes by that is asked for.
    pub(crate) fn trace_one(&self, records: TraceRecords) {
        let mut state = self.state();
        state.traced.taken += 1;
        state.traced.next.push(records);
    }

    /// What is asked of a shadow.
    pub(crate) fn shadow<T>(&self, look: impl FnOnce(&Shadow) -> T) -> T {
        look(&self.state().traced.shadow)
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

    fn shadow_packets(&mut self, step: ShadowStep) -> Result<ShadowSeen, KernelError> {
        let mut state = self.state();
        state.may(Operation::Shadow)?;
        let shadow = &mut state.traced.shadow;
        shadow.steps += 1;
        let given = step.begin.as_ref().map(|begin| &*begin.policy).or(step.policy.as_deref());
        if let Some(table) = given {
            shadow.tables += 1;
            shadow.open = open_slots(table);
        }
        // As the running kernel, which has them loaded first.
        shadow.is_on = shadow.steps > 1;
        if shadow.is_on {
            (shadow.copied, shadow.cleared) = (step.copied, step.cleared);
            shadow.failsafe.extend(step.failsafe);
            shadow.deadline_ns = if step.is_last { 0 } else { step.deadline_ns };
        }
        Ok(ShadowSeen { is_on: shadow.is_on, ..ShadowSeen::default() })
    }

    fn put_back(&mut self) -> Result<(), KernelError> {
        let mut state = self.state();
        state.may(Operation::PutBack)?;
        state.traced = Trace::default();
        Ok(())
    }
}
