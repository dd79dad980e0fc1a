//! How far the audit trail had come, in a map that outlives the daemon.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use guard_common::abi::HighWater;
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use super::plain::{bytes_of, read};
use super::raw::Map;
use super::{KernelError, View};

/// The one element.
const KEY: [u8; 4] = 0_u32.to_ne_bytes();
const NAME: &str = "HIGH_WATER";

/// The mark of how far the audit trail had come.
pub struct KeptHead(Map);

impl KeptHead {
    /// Opens the one that is pinned.
    ///
    /// # Errors
    /// As [`View::open`].
    pub fn open(pin_path: &Path) -> Result<Self, KernelError> {
        // No descriptor of another map stays open for it.
        View::open(pin_path).map(|view| Self(view.maps.high_water))
    }

    /// What was kept last; its sequence number is 0 where nothing was.
    ///
    /// # Errors
    /// [`KernelError::Map`] where it can't be read.
    pub fn read(&self) -> Result<HighWater, KernelError> {
        mark_in(&self.0)
    }

    /// Changes what is kept.
    ///
    /// # Errors
    /// [`KernelError::Map`] where it can't be read or written.
    pub fn change(&self, change: impl FnOnce(&mut HighWater)) -> Result<(), KernelError> {
        change_in(&self.0, change).map(drop)
    }
}

/// The latest time that this mark knows by now, by a clock that nobody can set; `None` where it knows none.
#[must_use]
pub fn latest_of(mark: &HighWater) -> Option<Timestamp> {
    let boot = clock_gettime(ClockId::Boottime);
    let [seconds, nanoseconds] = [boot.tv_sec, boot.tv_nsec].map(|it| u64::try_from(it).unwrap_or(0));
    let now_ns = seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds);
    Timestamp::from_nanosecond(mark.latest(now_ns)?.into()).ok()
}

impl View {
    /// Changes the mark, and returns what it was before.
    ///
    /// # Errors
    /// [`KernelError::Map`] where it can't be read or written.
    pub(super) fn change_mark(&self, change: impl FnOnce(&mut HighWater)) -> Result<HighWater, KernelError> {
        change_in(&self.maps.high_water, change)
    }
}

fn mark_in(map: &Map) -> Result<HighWater, KernelError> {
    let failed = |source| KernelError::Map { what: "read", map: NAME, source };
    let mut bytes = [0; size_of::<HighWater>()];
    map.lookup(&KEY, &mut bytes).map_err(failed)?;
    Ok(read(&bytes).unwrap_or_default())
}

fn change_in(map: &Map, change: impl FnOnce(&mut HighWater)) -> Result<HighWater, KernelError> {
    // The workers of kernel and store each change their part. Neither waits for a disk here.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let before = mark_in(map)?;
    let mut mark = before;
    change(&mut mark);
    if mark != before {
        let failed = |source| KernelError::Map { what: "write", map: NAME, source };
        map.update(&KEY, bytes_of(&mark)).map_err(failed)?;
    }
    Ok(before)
}
