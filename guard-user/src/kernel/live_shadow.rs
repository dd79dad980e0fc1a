//! A shadow of live packets, from the load of its programs to the ordinary ones again.

use super::api::{ShadowSeen, ShadowStep};
use super::shadow::{OBJECT, ShadowTables};
use super::shadow_reader::ShadowReader;
use super::stage::{Prepared, Reader, Stage, Step, taken};
use super::{KernelError, LinuxKernel, swap};

impl LinuxKernel {
    /// Loads the programs of a shadow over the maps that are live, with these tables, and sets them to be those that
    /// attachments get. They judge by the candidate from [`ShadowReader::judge_until`] on. Attachments are swapped by
    /// [`swap_attachments`](Self::swap_attachments).
    ///
    /// # Errors
    /// As [`open`](Self::open), where the kernel refuses them; nothing is changed then.
    pub fn begin_shadow(&mut self, tables: &ShadowTables) -> Result<ShadowReader, KernelError> {
        let Prepared { alternate, reader } = self.shadow_loader(tables.clone())()?;
        let Reader::Shadow(reader) = reader else { return Err(taken()) };
        self.set_programs(Some(alternate))?;
        Ok(*reader)
    }

    /// What loads them, on any thread.
    fn shadow_loader(
        &self,
        tables: ShadowTables,
    ) -> impl FnOnce() -> Result<Prepared, KernelError> + Send + use<> {
        let (settings, path) = (self.settings, self.pin_path().to_owned());
        move || {
            let ebpf = settings.load(OBJECT, &path)?;
            let reader = Reader::Shadow(Box::new(ShadowReader::of(&ebpf, &tables)?));
            Ok(Prepared { alternate: swap::load(ebpf)?, reader })
        }
    }

    /// [`Tracing::shadow_packets`](super::Tracing::shadow_packets).
    pub(super) fn shadow_step(&mut self, step: ShadowStep) -> Result<ShadowSeen, KernelError> {
        let ShadowStep { begin, policy, copied, cleared, failsafe, deadline_ns, is_last } = step;
        let loader = |kernel: &Self| {
            // A step that is not the first finds them loading, at the least.
            let tables = begin.ok_or_else(taken)?;
            Ok(kernel.shadow_loader(tables))
        };
        let (mut reader, is_new) = match self.bring(loader)? {
            Step::Waits => return Ok(ShadowSeen::default()),
            Step::Loaded(Reader::Shadow(reader)) => (reader, true),
            Step::On(Reader::Shadow(reader)) => (reader, false),
            Step::Loaded(_) | Step::On(_) => return Err(taken()),
        };
        if !copied.is_empty() {
            reader.set_uses(&self.exemption_uses()?, &copied)?;
        }
        reader.set_uses(&[], &cleared)?;
        if is_new {
            reader.set_failsafe_uses(&self.failsafe_uses()?, &failsafe)?;
        }
        if let Some(policy) = policy {
            reader.republish(&policy, &self.grace)?;
        }
        let mut seen = ShadowSeen { is_on: true, ..ShadowSeen::default() };
        reader.judge_until(if is_last { 0 } else { deadline_ns })?;
        if is_new {
            self.swap_attachments()?;
        }
        if is_last {
            // So that what is read is the end of it.
            let generation = self.generation;
            self.grace.wait().map_err(|source| KernelError::GracePeriod { generation, source })?;
            seen.flows = reader.flows()?;
        }
        seen.counts = reader.counts()?;
        self.stage = Stage::On(Reader::Shadow(reader));
        Ok(seen)
    }
}
