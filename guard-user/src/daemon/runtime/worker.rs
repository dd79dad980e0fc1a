//! A thread that does one job after the other.

use std::io;
use std::thread::JoinHandle;
use std::time::Instant;

use super::queue::{Receiver, Sender, Urgency, queue};
use crate::worker::join_within;

/// The worker, and the way to it. Dropped, it ends when its jobs are done, and nobody waits for that.
pub(super) struct Worker<T> {
    jobs: Option<Sender<T>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Worker<T> {
    /// Starts a thread of this name, which takes jobs until there are none and none can come.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub(super) fn start(name: &str, work: impl FnOnce(Receiver<T>) + Send + 'static) -> io::Result<Self> {
        let (jobs, receiver) = queue();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(receiver))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Puts a job. It never waits.
    pub(super) fn put(&self, job: T, urgency: Urgency) {
        if let Some(jobs) = &self.jobs {
            jobs.put(job, urgency);
        }
    }

    /// Ends it when its jobs are done, but waits no longer than this for a disk or a kernel that does not answer.
    pub(super) fn end(&mut self, deadline: Instant) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _in_time = join_within(thread, deadline.saturating_duration_since(Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_end_waits_for_what_is_to_be_done_and_no_longer_than_it_may() {
        let (done, results) = mpsc::channel();
        let mut worker = Worker::start("quick", move |jobs: Receiver<u32>| {
            while let Some(job) = jobs.take() {
                std::thread::sleep(Duration::from_millis(20));
                done.send(job).unwrap();
            }
        })
        .unwrap();
        worker.put(1, Urgency::Ordinary);
        worker.put(2, Urgency::Ordinary);
        worker.end(Instant::now() + Duration::from_secs(10));
        assert_eq!(results.try_iter().collect::<Vec<_>>(), [1, 2]);

        let (_held, never) = mpsc::channel::<()>();
        let mut stuck = Worker::start("stuck", move |jobs: Receiver<u32>| {
            let _ended_with_the_process = (jobs.take(), never.recv());
        })
        .unwrap();
        stuck.put(1, Urgency::Ordinary);
        let begin = Instant::now();
        stuck.end(begin + Duration::from_millis(30));
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
}
