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
    kept: Mutex<Kept>,
    /// The number that the next event gets.
    next: watch::Sender<u64>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Arc<Entry>>,
    /// Stretches of numbers in which events were summed up, each with the first and the one behind the last; the last
    /// stretch may go on.
    summed: VecDeque<(u64, Option<u64>)>,
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
        Self { kept: Mutex::default(), next: watch::Sender::new(1), capacity }
    }

    /// Numbers the events and takes them up; the oldest give way where there are too many. Readers are woken
    /// once for all of them.
    pub fn push<T: Into<Entry>>(&self, new: Vec<T>) -> Vec<Arc<Entry>> {
        if new.is_empty() {
            return Vec::new();
        }
        let mut kept = self.lock();
        let mut next = *self.next.borrow();
        let numbered = |event: T| {
            let mut entry: Entry = event.into();
            entry.set_sequence(next);
            next += 1;
            Arc::new(entry)
        };
        let new: Vec<Arc<Entry>> = new.into_iter().map(numbered).collect();
        kept.events.extend(new.iter().cloned());
        let excess = kept.events.len().saturating_sub(self.capacity);
        let old: Vec<Arc<Entry>> = kept.events.drain(..excess).collect();
        let first = next - kept.events.len() as u64;
        while kept.summed.front().is_some_and(|(_, end)| end.is_some_and(|end| end <= first)) {
            kept.summed.pop_front();
        }
        // Under the lock, so that a reader of the number finds the event.
        self.next.send_replace(next);
        drop(kept);
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
        let kept = self.lock().events.len().min(limit.unwrap_or(usize::MAX));
        *self.next.borrow() - kept as u64
    }

    /// At most `most` events from this number on, and how many of those asked for are not kept any more.
    #[must_use]
    pub fn from(&self, sequence: u64, most: usize) -> (u64, Vec<Arc<Entry>>) {
        let kept = self.lock();
        let events = &kept.events;
        let first = *self.next.borrow() - events.len() as u64;
        let missed = first.saturating_sub(sequence);
        let skip = usize::try_from(sequence.saturating_sub(first)).unwrap_or(usize::MAX);
        (missed, events.iter().skip(skip).take(most).cloned().collect())
    }

    /// The event of this number is part of a summary to come.
    pub fn sums(&self, sequence: u64) {
        let mut kept = self.lock();
        if kept.summed.back().is_none_or(|(_, end)| end.is_some()) {
            kept.summed.push_back((sequence, None));
        }
    }

    /// Everything that was summed up is in summaries by now.
    pub fn has_summed(&self) {
        let mut kept = self.lock();
        let next = *self.next.borrow();
        if let Some((_, end @ None)) = kept.summed.back_mut() {
            *end = Some(next);
        }
    }

    /// The lowest number from which on every event is kept, and of which no summary stands for an earlier one and for a
    /// later one.
    #[must_use]
    pub fn first_whole(&self) -> u64 {
        let kept = self.lock();
        let first = *self.next.borrow() - kept.events.len() as u64;
        let across =
            kept.summed.iter().find(|(begin, end)| *begin < first && end.is_some_and(|end| end > first));
        across.and_then(|(_, end)| *end).unwrap_or(first)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nobody panics between two changes that belong together.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[test]
    fn memory_begins_where_no_summary_goes_across() {
        let history = History::new(3);
        let push = |count: usize| (0..count).for_each(|_| drop(history.push(vec![dropped()])));
        push(3);
        history.sums(2);
        push(1);
        history.has_summed();
        history.has_summed();
        assert_eq!(history.first_whole(), 2, "2 to 4 are kept, and the summary has 2 to 4");
        push(1);
        assert_eq!(history.first_whole(), 5, "3 to 5 are kept, and the summary has 2 to 4");
        push(3);
        assert_eq!(history.first_whole(), 6);
        history.sums(7);
        push(2);
        assert_eq!(history.first_whole(), 8, "of what is still to be summed up memory has what there is");
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
