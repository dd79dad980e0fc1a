//! Keeping others from the kernel in memory.

use super::{MemoryKernel, Operation};
use crate::kernel::{KernelError, ObservedProtection, Protecting, Refused};

/// What keeps others from it.
#[derive(Debug, Default)]
pub(super) struct Protection {
    is_on: bool,
    /// Who is refused before the next look.
    refused: Vec<Refused>,
}

impl MemoryKernel {
    /// Whether others are kept from it.
    #[must_use]
    pub(crate) fn is_protected(&self) -> bool {
        self.state().protection.is_on
    }

    /// Somebody tries to change it, and is refused.
    pub(crate) fn refuse(&self, refused: Refused) {
        self.state().protection.refused.push(refused);
    }
}

impl Protection {
    /// What a look finds.
    pub(super) fn look(&mut self) -> ObservedProtection {
        ObservedProtection { is_on: self.is_on, refused: std::mem::take(&mut self.refused), blind: None }
    }
}

impl Protecting for MemoryKernel {
    fn protect(&mut self, wanted: bool) -> Result<(), KernelError> {
        let mut state = self.state();
        if wanted {
            state.may(Operation::Protect)?;
        }
        state.protection.is_on = wanted;
        Ok(())
    }
}
