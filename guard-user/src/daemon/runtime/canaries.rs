//! The worker that sends canaries, and tells which stage each has not reached. Nobody waits for it.

mod watch;

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::canary::{self, Planned, Sent};
use crate::daemon::engine::{Canaries, Input, Surroundings};
use crate::health::Problem;
use crate::kernel::View;

use watch::{Launch, Watch};

/// From a plan to the first canary of it: an interface that has just come is guarded by then.
const FIRST: Duration = Duration::from_secs(2);
/// Between two looks at canaries that are on their way.
const LOOK: Duration = Duration::from_millis(100);
/// The longest sleep.
const IDLE: Duration = Duration::from_secs(60);

/// The way to the worker.
pub(super) struct Worker {
    plans: Sender<Canaries>,
    sent: Sent,
}

impl Worker {
    /// Starts it over a view of its own.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub(super) fn start(view: View, sent: Sent, inputs: UnboundedSender<Input>) -> io::Result<Self> {
        let (plans, received) = mpsc::channel();
        let its = sent.clone();
        let work = move || work(&view, &its, &received, &inputs);
        std::thread::Builder::new().name("canaries".to_owned()).spawn(work)?;
        Ok(Self { plans, sent })
    }

    /// Sends canaries so from now on.
    pub(super) fn follow(&self, canaries: Canaries) {
        // It ends with the daemon alone.
        let _ended = self.plans.send(canaries);
    }

    /// What collects the log hands this one back; whether it is one that was written there.
    pub(super) fn confirm(&self, number: u64) -> bool {
        self.sent.confirm(number)
    }
}

fn work(view: &View, sent: &Sent, plans: &Receiver<Canaries>, inputs: &UnboundedSender<Input>) {
    let mut watches: Vec<Watch> = Vec::new();
    let mut told: Vec<Problem> = Vec::new();
    loop {
        let now = Instant::now();
        let next = watches.iter().map(|watch| watch.next_look(LOOK)).min();
        let patience = next.map_or(IDLE, |next| next.saturating_duration_since(now).min(IDLE));
        match plans.recv_timeout(patience) {
            Ok(Canaries { policy, facts, guarded }) => {
                let plan = canary::plan(&policy, &facts, &guarded);
                watches = go_on(watches, plan, Instant::now() + FIRST);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let launch = |planned: (&Planned, &canary::Sender), number: u64| Launch::by(view, planned, number);
        for watch in &mut watches {
            watch.look(Instant::now(), sent, launch);
        }
        let mut problems: Vec<Problem> = watches.iter().filter_map(Watch::problem).collect();
        problems.sort();
        if problems != told {
            told.clone_from(&problems);
            if inputs.send(Input::Surroundings(Surroundings::Canaries(problems))).is_err() {
                return;
            }
        }
    }
}

/// The watches of a new plan. One of the same pin's way and interface keeps its time and what is wrong.
fn go_on(before: Vec<Watch>, plan: Vec<Planned>, first: Instant) -> Vec<Watch> {
    let mut before = before;
    let watch = |planned: Planned| {
        let place = before.iter().position(|watch| watch.is_of(&planned));
        match place {
            Some(place) => before.swap_remove(place).with(planned),
            None => Watch::new(planned, first),
        }
    };
    plan.into_iter().map(watch).collect()
}
