//! The queue of a worker: jobs of three urgencies, first in first out within each.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Where jobs are put; dropped, it ends the worker once its jobs are done.
#[derive(Debug)]
pub(super) struct Sender<T>(Arc<Shared<T>>);

/// Where the worker takes them.
#[derive(Debug)]
pub(super) struct Receiver<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    jobs: Mutex<Jobs<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Jobs<T> {
    urgent: VecDeque<T>,
    others: VecDeque<T>,
    last: VecDeque<T>,
    is_open: bool,
}

/// How urgent a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Before all others.
    Urgent,
    /// After those.
    Ordinary,
    /// When there is nothing else to do.
    Last,
}

/// A new queue.
pub(super) fn queue<T>() -> (Sender<T>, Receiver<T>) {
    let jobs =
        Jobs { urgent: VecDeque::new(), others: VecDeque::new(), last: VecDeque::new(), is_open: true };
    let shared = Arc::new(Shared { jobs: Mutex::new(jobs), changed: Condvar::new() });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Jobs<T>> {
        // Nothing panics between two changes that belong together.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Sender<T> {
    /// Puts a job. It never waits: the engine has at most a few jobs of each kind on their way.
    pub(super) fn put(&self, job: T, urgency: Urgency) {
        let mut jobs = self.0.lock();
        match urgency {
            Urgency::Urgent => jobs.urgent.push_back(job),
            Urgency::Ordinary => jobs.others.push_back(job),
            Urgency::Last => jobs.last.push_back(job),
        }
        drop(jobs);
        self.0.changed.notify_one();
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.lock().is_open = false;
        self.0.changed.notify_one();
    }
}

impl<T> Receiver<T> {
    /// Waits for the next job; `None` at the end.
    pub(super) fn take(&self) -> Option<T> {
        let mut jobs = self.0.lock();
        loop {
            if let Some(job) = jobs.urgent.pop_front() {
                return Some(job);
            }
            if let Some(job) = jobs.others.pop_front().or_else(|| jobs.last.pop_front()) {
                return Some(job);
            }
            if !jobs.is_open {
                return None;
            }
            jobs = self.0.changed.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgent_jobs_come_first_and_all_are_done_before_the_end() {
        let (sender, receiver) = queue();
        sender.put(5, Urgency::Last);
        sender.put(1, Urgency::Ordinary);
        sender.put(2, Urgency::Urgent);
        sender.put(3, Urgency::Ordinary);
        sender.put(4, Urgency::Urgent);
        drop(sender);
        let taken: Vec<i32> = std::iter::from_fn(|| receiver.take()).collect();
        assert_eq!(taken, [2, 4, 1, 3, 5]);
    }

    #[test]
    fn a_worker_waits_for_its_next_job() {
        let (sender, receiver) = queue();
        let worker = std::thread::spawn(move || receiver.take());
        sender.put("job", Urgency::Ordinary);
        assert_eq!(worker.join().unwrap(), Some("job"));
    }
}
