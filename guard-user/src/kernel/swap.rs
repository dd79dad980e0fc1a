//! Other programs in the place of the ordinary ones, over the same pinned maps, for a time.
//!
//! While they are set, [`Kernel::attach`](super::Kernel::attach) gives them to every link that it makes or renews, by an
//! update in place: no packet meets no program. An attachment that runs the others is then not current, and whoever
//! reconciles attachments swaps it. What they do is their object's own; they must judge as the ordinary ones do.

use aya::Ebpf;
use guard_common::abi::Hook;

use super::alternate::Alternate;
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
