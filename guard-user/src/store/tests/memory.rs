//! The kernel's mark in a test's memory.

use std::sync::{Arc, Mutex};

use guard_common::abi::HighWater;

use crate::store::{GoesLive, KernelMark, Lacks, MarkKeeper, Untold};

/// What outlives the store and its files, as the kernel's map does.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<(KernelMark, HighWater)>>);

impl Memory {
    /// A daemon makes this config live.
    pub(crate) fn goes_live(&self, it: &GoesLive) {
        it.mark(&mut self.0.lock().unwrap().1);
    }
}

impl MarkKeeper for Memory {
    fn read(&self) -> Result<KernelMark, String> {
        let (mark, kept) = *self.0.lock().unwrap();
        Ok(KernelMark { untold: Untold::of(&kept), ..mark })
    }

    fn lacks(&self, records: Option<Lacks>) -> Result<(), String> {
        self.0.lock().unwrap().0.lacks = records;
        Ok(())
    }

    fn write(&self, mark: &KernelMark) -> Result<(), String> {
        let kept = &mut self.0.lock().unwrap().0;
        *kept = KernelMark { lacks: kept.lacks, ..*mark };
        Ok(())
    }

    fn is_told(&self, judges: [u8; 32]) -> Result<(), String> {
        self.0.lock().unwrap().1.is_told(judges);
        Ok(())
    }
}
