//! The mark of the store in a map of the kernel.

use std::path::Path;

use guard_common::abi::HighWater;
use jiff::Timestamp;

use crate::audit::Head;
use crate::kernel::{KeptHead, latest_of};
use crate::store::{KernelMark, Lacks, MarkKeeper, Noted, Untold};

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
        let kept = self.0.read().map_err(|error| error.to_string())?;
        let head = (kept.sequence > 0).then_some(Head { sequence: kept.sequence, hash: kept.hash });
        let noted = Noted {
            digest: kept.unrecorded,
            config: kept.config,
            since: kept.since,
            observed: kept.observed != 0,
        };
        Ok(KernelMark {
            head,
            unrecorded: (noted.digest != [0; 32]).then_some(noted),
            untold: Untold::of(&kept),
            time: latest_of(&kept),
            lacks: lacking(&kept),
        })
    }

    fn write(&self, mark: &KernelMark) -> Result<(), String> {
        let Head { sequence, hash } = mark.head.unwrap_or(Head::START);
        let none = Noted { digest: [0; 32], config: [0; 32], since: 0, observed: false };
        let Noted { digest: unrecorded, config, since, observed } = mark.unrecorded.unwrap_or(none);
        let observed = u64::from(observed);
        let part = |kept: &mut HighWater| {
            *kept = HighWater { sequence, hash, unrecorded, config, since, observed, ..*kept };
        };
        self.0.change(part).map_err(|error| error.to_string())
    }

    fn is_told(&self, judges: [u8; 32]) -> Result<(), String> {
        self.0.change(|kept| kept.is_told(judges)).map_err(|error| error.to_string())
    }

    fn lacks(&self, records: Option<Lacks>) -> Result<(), String> {
        let second = |at: Timestamp| at.as_second().cast_unsigned();
        let (lost, lost_from, lost_to) =
            records.map_or((0, 0, 0), |it| (it.count, second(it.from), second(it.to)));
        let part = |kept: &mut HighWater| *kept = HighWater { lost, lost_from, lost_to, ..*kept };
        self.0.change(part).map_err(|error| error.to_string())
    }
}

/// The records that the trail lacks without saying so, by this mark.
fn lacking(kept: &HighWater) -> Option<Lacks> {
    let at = |second: u64| Timestamp::from_second(second.cast_signed()).unwrap_or_default();
    let (from, to) = (at(kept.lost_from), at(kept.lost_to));
    (kept.lost > 0).then_some(Lacks { count: kept.lost, from, to })
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

    fn is_told(&self, _: [u8; 32]) -> Result<(), String> {
        Err(self.0.clone())
    }

    fn lacks(&self, _: Option<Lacks>) -> Result<(), String> {
        Err(self.0.clone())
    }
}
