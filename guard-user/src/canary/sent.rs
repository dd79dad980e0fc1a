//! The canaries that were sent, by their numbers, and how far each has come.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Canaries that are remembered: the oldest make room.
const MOST: usize = 4096;

/// The canaries that were sent. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Sent(Arc<Mutex<VecDeque<One>>>);

#[derive(Debug)]
struct One {
    number: u64,
    pin: Arc<str>,
    is_seen: bool,
    is_written: Written,
    is_returned: bool,
}

/// How far a canary has come behind the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its event was taken from the ring buffer.
    pub event: bool,
    /// Its line is in the log.
    pub line: bool,
    /// What collects the log has handed it back.
    pub returned: bool,
}

/// Whether the line of a canary was written: the writer of the log says so. All are equal, for it is no part of the line.
#[derive(Clone, Debug, Default)]
pub struct Written(Arc<AtomicBool>);

impl PartialEq for Written {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Written {}

impl Written {
    /// The line was written.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Sent {
    fn all(&self) -> MutexGuard<'_, VecDeque<One>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A canary of this number is about to be sent for a pin.
    pub fn add(&self, number: u64, pin: Arc<str>) {
        let mut all = self.all();
        if all.len() >= MOST {
            all.pop_front();
        }
        let is_written = Written::default();
        all.push_back(One { number, pin, is_seen: false, is_written, is_returned: false });
    }

    /// Its event was taken. The pin that it was sent for, and what is to be told that its line was written; `None` for one
    /// that this daemon did not send.
    #[must_use]
    pub fn see(&self, number: u64) -> Option<(Arc<str>, Written)> {
        let mut all = self.all();
        let one = all.iter_mut().find(|one| one.number == number)?;
        one.is_seen = true;
        Some((Arc::clone(&one.pin), one.is_written.clone()))
    }

    /// What collects the log hands it back. Whether it is one that was written to the log.
    #[must_use]
    pub fn confirm(&self, number: u64) -> bool {
        let mut all = self.all();
        let one = all.iter_mut().find(|one| one.number == number && one.is_written.get());
        one.map(|one| one.is_returned = true).is_some()
    }

    /// How far it has come.
    #[must_use]
    pub fn seen(&self, number: u64) -> Seen {
        let all = self.all();
        let one = all.iter().find(|one| one.number == number);
        one.map_or_else(Seen::default, |one| Seen {
            event: one.is_seen,
            line: one.is_written.get(),
            returned: one.is_returned,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_comes_back_after_it_was_written_and_the_oldest_make_room() {
        let sent = Sent::default();
        sent.add(7, "mail".into());
        assert!(!sent.confirm(7), "nobody can have read it yet");
        let (pin, written) = sent.see(7).unwrap();
        assert_eq!((&*pin, sent.seen(7)), ("mail", Seen { event: true, ..Seen::default() }));
        written.set();
        assert!(sent.confirm(7) && sent.confirm(7) && !sent.confirm(8));
        assert_eq!(sent.seen(7), Seen { event: true, line: true, returned: true });
        for number in 100..100 + MOST as u64 {
            sent.add(number, "mail".into());
        }
        assert_eq!((sent.seen(7), sent.see(7).is_none()), (Seen::default(), true));
        assert_eq!(sent.all().len(), MOST);
    }
}
