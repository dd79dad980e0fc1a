//! How far the audit trail had come, in a map that outlives the daemon.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use guard_common::abi::HighWater;
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use super::plain::{bytes_of, read};
use super::raw::Map;
use super::tampered::Tampered;
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

    /// Likewise, to read it alone.
    ///
    /// # Errors
    /// As [`View::open`].
    pub fn open_to_read(pin_path: &Path) -> Result<Self, KernelError> {
        View::open_to_read(pin_path).map(|view| Self(view.maps.high_water))
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

impl View {
    /// From now on nobody but this process changes the mark.
    ///
    /// # Errors
    /// [`KernelError::Map`] where it can't be read.
    pub(super) fn begin_mark(&self) -> Result<(), KernelError> {
        let map = &self.maps.high_water;
        let mut last = last();
        let mark = mark_in(map)?;
        last.insert(map.id(), Last { mark, found: 0 });
        Ok(())
    }

    /// Sets the mark back where somebody else has changed it. A change of this process's own does that too, and it is told
    /// here.
    ///
    /// # Errors
    /// [`KernelError::Map`] where it can't be read.
    pub(super) fn watch_mark(&self) -> Result<Option<Tampered>, KernelError> {
        let map = &self.maps.high_water;
        let mut last = last();
        let Some(Last { mark, found }) = last.get_mut(&map.id()) else { return Ok(None) };
        let mut outcome = Ok(());
        if mark_in(map)? != *mark {
            *found += 1;
            outcome = write(map, mark);
        }
        let first = format!("the mark of record {}", mark.sequence);
        let found = std::mem::take(found);
        Ok((found > 0).then(|| Tampered::set_back(NAME, (found, first), outcome)))
    }
}

/// A mark as this process has written it last.
struct Last {
    mark: HighWater,
    /// How often another one was found in its place since that was told.
    found: usize,
}

/// By the ids of their maps, which are never given again in a boot. The workers of kernel and store each change their part.
/// Neither waits for a disk here.
fn last() -> MutexGuard<'static, BTreeMap<u32, Last>> {
    static LAST: Mutex<BTreeMap<u32, Last>> = Mutex::new(BTreeMap::new());
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}

fn mark_in(map: &Map) -> Result<HighWater, KernelError> {
    let failed = |source| KernelError::Map { what: "read", map: NAME, source };
    let mut bytes = [0; size_of::<HighWater>()];
    map.lookup(&KEY, &mut bytes).map_err(failed)?;
    Ok(read(&bytes).unwrap_or_default())
}

fn change_in(map: &Map, change: impl FnOnce(&mut HighWater)) -> Result<HighWater, KernelError> {
    let mut last = last();
    let there = mark_in(map)?;
    let before = match last.get_mut(&map.id()) {
        // What somebody else has written there counts for nothing.
        Some(Last { mark, found }) => {
            *found += usize::from(*mark != there);
            *mark
        }
        None => there,
    };
    let mut mark = before;
    change(&mut mark);
    if mark != there {
        write(map, &mark)?;
    }
    if let Some(last) = last.get_mut(&map.id()) {
        last.mark = mark;
    }
    Ok(before)
}

fn write(map: &Map, mark: &HighWater) -> Result<(), KernelError> {
    let failed = |source| KernelError::Map { what: "write", map: NAME, source };
    map.update(&KEY, bytes_of(mark)).map_err(failed)
}
