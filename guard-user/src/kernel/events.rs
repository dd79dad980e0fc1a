//! Events from the kernel's ring buffer.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use aya::maps::{Map, MapData, MapError, RingBuf};
use guard_common::abi::{CanaryEvent, Event, PinnedCopy};

use super::plain::read;
use super::{KernelError, LinuxKernel, folder};

/// An entry of the ring buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are of flows, and none of them is to cost an allocation"
)]
pub enum RingEntry {
    /// An event of a flow.
    Flow(Event),
    /// A carrier has begun to write to a file off its volumes.
    Copy(Box<PinnedCopy>),
    /// A canary was judged.
    Canary(Box<CanaryEvent>),
}

/// Reads the ring buffer. An iterator over the events of flows, which passes over other entries and ends when the
/// buffer is empty, and goes on when there are events again: the descriptor is readable then.
pub struct EventReader {
    ring: RingBuf<MapData>,
    capacity: usize,
    malformed: u64,
}

/// The kinds' sizes, by which they are known.
const FLOW: usize = size_of::<Event>();
const COPY: usize = size_of::<PinnedCopy>();
const CANARY: usize = size_of::<CanaryEvent>();
// So that the buffer holds no more entries than so many of the smaller kind.
const _: () = assert!(FLOW < COPY && FLOW < CANARY && CANARY != COPY);

impl LinuxKernel {
    /// A reader of events. Every event goes to one reader only: take one.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the ring buffer cannot be opened or mapped into memory.
    pub fn events(&mut self) -> Result<EventReader, KernelError> {
        let error = |error: MapError| KernelError::Map {
            what: "open",
            map: "EVENTS",
            source: std::io::Error::other(error),
        };
        let map = MapData::from_pin(folder::maps(self.pin_path()).join("EVENTS")).map_err(error)?;
        let bytes = map.info().map_err(error)?.max_entries() as usize;
        let ring = Map::from_map_data(map).and_then(RingBuf::try_from).map_err(error)?;
        // Each entry has a header of 8 bytes (Documentation/bpf/ringbuf.rst).
        let capacity = bytes / (FLOW + 8);
        Ok(EventReader { ring, capacity, malformed: 0 })
    }
}

impl EventReader {
    /// The most events that the ring buffer holds.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// The next entry of any kind.
    pub fn entry(&mut self) -> Option<RingEntry> {
        loop {
            let entry = self.ring.next()?;
            let found = match entry.len() {
                FLOW => read::<Event>(&entry).map(RingEntry::Flow),
                COPY => read::<PinnedCopy>(&entry).map(|copy| RingEntry::Copy(Box::new(copy))),
                CANARY => read::<CanaryEvent>(&entry).map(|canary| RingEntry::Canary(Box::new(canary))),
                _ => None,
            };
            if found.is_some() {
                return found;
            }
            drop(entry);
            self.malformed += 1;
        }
    }

    /// Entries that did not have the size of an event. The kernel program writes none.
    #[must_use]
    pub const fn malformed(&self) -> u64 {
        self.malformed
    }
}

impl Iterator for EventReader {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            if let RingEntry::Flow(event) = self.entry()? {
                return Some(event);
            }
        }
    }
}

impl AsFd for EventReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl AsRawFd for EventReader {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

impl fmt::Debug for EventReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventReader").field("malformed", &self.malformed).finish_non_exhaustive()
    }
}
