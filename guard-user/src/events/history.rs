//! The last events, in memory: what `borderguard events` reads.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::Entry;

/// How many events are kept.
pub const CAPACITY: usize = 10_000;

/// The last events, each with a number that is one above that of the event before it.
#[derive(Debug)]
pub struct History {
    events: Mutex<VecDeque<Arc<Entry>>>,
    /// The number that the next event gets.
    next: watch::Sender<u64>,
    capacity: usize,
}

impl Default for History {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

impl History {
    /// An empty history of this many events.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { events: Mutex::new(VecDeque::new()), next: watch::Sender::new(1), capacity }
    }

    /// Numbers the events and takes them up; the oldest give way where there are too many. Readers are woken
    /// once for all of them.
    pub fn push<T: Into<Entry>>(&self, new: Vec<T>) -> Vec<Arc<Entry>> {
        if new.is_empty() {
            return Vec::new();
        }
        let mut events = self.lock();
        let mut next = *self.next.borrow();
        let numbered = |event: T| {
            let mut entry: Entry = event.into();
            entry.set_sequence(next);
            next += 1;
            Arc::new(entry)
        };
        let new: Vec<Arc<Entry>> = new.into_iter().map(numbered).collect();
        events.extend(new.iter().cloned());
        let excess = events.len().saturating_sub(self.capacity);
        let old: Vec<Arc<Entry>> = events.drain(..excess).collect();
        // Under the lock, so that a reader of the number finds the event.
        self.next.send_replace(next);
        drop(events);
        // Its memory is given back without the lock.
        drop(old);
        new
    }

    /// Told of whenever an event was taken up.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }

    /// The number that the next event gets.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        *self.next.borrow()
    }

    /// The number of the first of the last `limit` events that are kept; of the first of all without one.
    #[must_use]
    pub fn first_of_last(&self, limit: Option<usize>) -> u64 {
        let events = self.lock();
        let kept = events.len().min(limit.unwrap_or(usize::MAX));
        *self.next.borrow() - kept as u64
    }

    /// At most `most` events from this number on, and how many of those asked for are not kept any more.
    #[must_use]
    pub fn from(&self, sequence: u64, most: usize) -> (u64, Vec<Arc<Entry>>) {
        let events = self.lock();
        let first = *self.next.borrow() - events.len() as u64;
        let missed = first.saturating_sub(sequence);
        let skip = usize::try_from(sequence.saturating_sub(first)).unwrap_or(usize::MAX);
        (missed, events.iter().skip(skip).take(most).cloned().collect())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Entry>>> {
        // Nobody panics between two changes that belong together.
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::dropped;
    use super::*;

    #[test]
    fn a_reader_that_is_late_is_told_what_it_missed() {
        let history = History::new(3);
        let reader = history.subscribe();
        for _ in 0..5 {
            history.push(vec![dropped()]);
        }
        assert!(reader.has_changed().unwrap());
        let (missed, events) = history.from(1, 10);
        assert_eq!(
            (missed, events.iter().map(|event| event.sequence()).collect::<Vec<_>>()),
            (2, vec![3, 4, 5])
        );
        assert_eq!(history.first_of_last(Some(2)), 4);
        assert_eq!(history.first_of_last(None), 3);
        assert_eq!(history.from(6, 10), (0, vec![]));
        assert_eq!(history.from(99, 10), (0, vec![]));
    }

    proptest! {
        #[test]
        fn numbers_have_no_gap_for_any_reader(pushes in prop::collection::vec(0_usize..6, 0..40)) {
            let history = History::new(4);
            let mut next = history.first_of_last(None);
            let mut total = 0;
            for push in pushes {
                for _ in 0..push {
                    history.push(vec![dropped()]);
                    total += 1;
                }
                let (missed, events) = history.from(next, 3);
                next += missed;
                for event in events {
                    prop_assert_eq!(event.sequence(), next);
                    next += 1;
                }
            }
            prop_assert!(next <= total + 1);
            prop_assert_eq!(history.next_sequence(), total + 1);
        }
    }
}
