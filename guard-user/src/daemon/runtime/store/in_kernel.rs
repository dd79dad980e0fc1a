//! The mark of the store in a map of the kernel.

use std::path::Path;

use guard_common::abi::HighWater;

use crate::audit::Head;
use crate::kernel::KeptHead;
use crate::store::{KernelMark, MarkKeeper, Noted};

/// What keeps it in the maps that are pinned here.
pub(super) fn keeper(pin_path: &Path) -> Box<dyn MarkKeeper + Send> {
    match KeptHead::open(pin_path) {
        Ok(kept) => Box::new(InKernel(kept)),
        Err(error) => Box::new(Unreachable(error.to_string())),
    }
}

/// The mark in the kernel.
struct InKernel(KeptHead);

impl MarkKeeper for InKernel {
    fn read(&self) -> Result<KernelMark, String> {
        let HighWater { sequence, hash, unrecorded: digest, config, since } =
            self.0.read().map_err(|error| error.to_string())?;
        let head = (sequence > 0).then_some(Head { sequence, hash });
        let has_noted = digest != [0; 32];
        Ok(KernelMark { head, unrecorded: has_noted.then_some(Noted { digest, config, since }) })
    }

    fn write(&self, mark: &KernelMark) -> Result<(), String> {
        let Head { sequence, hash } = mark.head.unwrap_or(Head::START);
        let none = Noted { digest: [0; 32], config: [0; 32], since: 0 };
        let Noted { digest: unrecorded, config, since } = mark.unrecorded.unwrap_or(none);
        let mark = HighWater { sequence, hash, unrecorded, config, since };
        self.0.write(&mark).map_err(|error| error.to_string())
    }
}

/// A mark in the kernel that can't be had.
struct Unreachable(String);

impl MarkKeeper for Unreachable {
    fn read(&self) -> Result<KernelMark, String> {
        Err(self.0.clone())
    }

    fn write(&self, _: &KernelMark) -> Result<(), String> {
        Err(self.0.clone())
    }
}
