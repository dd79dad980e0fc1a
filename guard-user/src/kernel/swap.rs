//! Other programs in the place of the ordinary ones, over the same pinned maps, for a time: to trace live packets, or to have
//! them judged by a candidate too.
//!
//! While they are set, [`Kernel::attach`](super::Kernel::attach) gives them to every link that it makes or renews, by an
//! update in place: no packet meets no program. An attachment that runs the others is then not current, and whoever
//! reconciles attachments swaps it. What they do is their object's own; they must judge as the ordinary ones do.
//!
//! The verifier takes seconds for them. They are loaded by a thread of their own, so that nothing that closes waits for it.

use std::io;
use std::thread::Builder;

use aya::Ebpf;
use guard_common::abi::Hook;

use super::alternate::Alternate;
use super::stage::{Prepared, Stage, Step};
use super::{KernelError, LinuxKernel, ids, load_programs};

/// Loads the programs of interfaces of an object.
pub(super) fn load(mut ebpf: Ebpf) -> Result<Alternate, KernelError> {
    load_programs(&mut ebpf)?;
    Ok(Alternate { ids: ids(&ebpf)?, ebpf })
}

impl LinuxKernel {
    /// The programs that attachments get from now on.
    pub(super) fn programs(&self) -> &Ebpf {
        self.alternate.as_ref().map_or(&self.ebpf, |alternate| &alternate.ebpf)
    }

    /// Sets which programs attachments get from now on, those of before being none of the current ones any more; the
    /// ordinary ones where there are no others. Attachments are swapped by [`swap_attachments`](Self::swap_attachments).
    pub(super) fn set_programs(&mut self, alternate: Option<Alternate>) -> Result<(), KernelError> {
        self.current = match &alternate {
            Some(alternate) => alternate.ids.clone(),
            None => ids(&self.ebpf)?,
        };
        self.alternate = alternate;
        Ok(())
    }

    /// Brings other programs a step further: has them loaded by `load` on a thread, or takes up those that are.
    pub(super) fn bring<L>(
        &mut self,
        load: impl FnOnce(&Self) -> Result<L, KernelError>,
    ) -> Result<Step, KernelError>
    where
        L: FnOnce() -> Result<Prepared, KernelError> + Send + 'static,
    {
        match std::mem::take(&mut self.stage) {
            Stage::Off => {
                let thread = Builder::new().name("program-load".to_owned()).spawn(load(self)?);
                self.stage = Stage::Loading(thread.map_err(|source| KernelError::OthersLoad { source })?);
                Ok(Step::Waits)
            }
            Stage::Loading(thread) if !thread.is_finished() => {
                self.stage = Stage::Loading(thread);
                Ok(Step::Waits)
            }
            Stage::Loading(thread) => {
                let ended = || KernelError::OthersLoad { source: io::Error::other("its thread ended early") };
                let Prepared { alternate, reader } = thread.join().map_err(|_| ended())??;
                self.set_programs(Some(alternate))?;
                Ok(Step::Loaded(reader))
            }
            Stage::On(reader) => Ok(Step::On(reader)),
        }
    }

    /// Sets the ordinary programs to be those that attachments get again.
    ///
    /// # Errors
    /// [`KernelError::Load`] where the kernel does not tell the programs' ids.
    pub fn use_ordinary_programs(&mut self) -> Result<(), KernelError> {
        self.set_programs(None)
    }

    /// Ends what other programs are for, and puts the ordinary ones back on every interface.
    pub(super) fn put_ordinary_back(&mut self) -> Result<(), KernelError> {
        // The reader's maps end with it, and the programs' own with the last of these.
        self.stage = Stage::Off;
        if self.alternate.is_some() {
            self.use_ordinary_programs()?;
        }
        self.swap_attachments()
    }

    /// Has every attachment to an interface run the current programs. All are tried.
    ///
    /// # Errors
    /// The first one's, where some could not be swapped: they run the programs of before, which judge too.
    pub fn swap_attachments(&mut self) -> Result<(), KernelError> {
        let mut outcome = Ok(());
        for it in self.look()?.interfaces {
            let stale = it.attachments.iter().any(|attachment| !attachment.is_current);
            if stale {
                let ingress = it.attachments.iter().any(|it| it.hook == Hook::Ingress);
                let swapped = self.guard(&it.interface, ingress);
                outcome = outcome.and(swapped);
            }
        }
        outcome
    }
}
