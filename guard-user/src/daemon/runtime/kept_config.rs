//! The config that the next one is held against, kept beside the store: written beside all else, so that what closes waits for no
//! disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use crate::daemon::engine::{Input, Surroundings};
use crate::store::last_policy::{self, LastPolicy};

/// How long what closes is held up to see whether the disk answers at once.
pub(super) const CLOSES: Duration = Duration::from_millis(250);
/// How long what opens waits for the disk.
pub(super) const OPENS: Duration = Duration::from_secs(10);
/// How long after a failure the disk is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Why it is not known which config is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotRead {
    /// The disk has not answered, and may do so later.
    #[error("{0}")]
    Late(String),
    /// The file can't be used.
    #[error("{0}")]
    Unusable(String),
}

/// Writes the newest config that it is given. Clones are the same.
#[derive(Clone)]
pub(super) struct ConfigKeeper(Arc<Shared>);

struct Shared {
    state: PathBuf,
    inputs: UnboundedSender<Input>,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// How many were given so far.
    count: u64,
    /// The newest that is not on the disk, with its number; without a config where none is to be kept.
    newest: Option<(u64, Option<LastPolicy>)>,
    /// The last that was tried, and why the disk refused it.
    tried: (u64, Option<String>),
    /// Whether a thread writes.
    is_written: bool,
    /// Whether a thread reads.
    is_read: bool,
    /// What came of that the last time.
    read: Option<Result<Option<LastPolicy>, String>>,
    /// Whether the engine has it that the newest is not on the disk.
    is_told: bool,
}

impl ConfigKeeper {
    /// For this state directory; what comes of it goes to the engine.
    pub(super) fn new(state: PathBuf, inputs: UnboundedSender<Input>) -> Self {
        let (waiting, changed) = (Mutex::default(), Condvar::new());
        Self(Arc::new(Shared { state, inputs, waiting, changed }))
    }

    /// The state directory.
    pub(super) fn state(&self) -> &Path {
        &self.0.state
    }

    /// The one that is kept, or is about to be; `None` where there is none. A thread that the disk holds up ends by itself; there is one
    /// at most, and who asks meanwhile waits for what it reads.
    ///
    /// # Errors
    /// Where it can't be read, or not in time.
    pub(super) fn read(&self, patience: Duration) -> Result<Option<LastPolicy>, NotRead> {
        let mut waiting = self.0.waiting();
        if let Some((_, newest)) = &waiting.newest {
            return Ok(newest.clone());
        }
        if !waiting.is_read {
            let shared = Arc::clone(&self.0);
            let started =
                std::thread::Builder::new().name("read-config".to_owned()).spawn(move || shared.read());
            started.map_err(|error| NotRead::Late(format!("no thread can be had: {error}")))?;
            waiting.is_read = true;
        }
        let waited = self.0.changed.wait_timeout_while(waiting, patience, |waiting| waiting.is_read);
        let (waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match (&waiting.read, waiting.is_read) {
            (Some(read), false) => read.clone().map_err(NotRead::Unusable),
            _ => Err(NotRead::Late("the disk has not answered yet".to_owned())),
        }
    }

    /// Has this one kept, of which nobody needs to wait for the disk: where it has not answered in time, or refuses, the engine is
    /// told until it has it.
    pub(super) fn keep(&self, policy: Option<LastPolicy>, patience: Duration) {
        let (mut waiting, outcome) = self.try_for(policy, patience);
        if let Err(why) = outcome {
            self.0.tell(&mut waiting, Some(why));
        }
    }

    /// Has this one kept, which opens. Where the disk has not answered in time, `live` takes its place again.
    ///
    /// # Errors
    /// Why it is not kept.
    pub(super) fn keep_first(
        &self,
        policy: Option<LastPolicy>,
        live: Option<LastPolicy>,
        patience: Duration,
    ) -> Result<(), String> {
        let (mut waiting, outcome) = self.try_for(policy, patience);
        outcome.inspect_err(|why| {
            waiting.count += 1;
            waiting.newest = Some((waiting.count, live));
            self.0.tell(&mut waiting, Some(why.clone()));
        })
    }

    /// Has this one kept that is on record now, or kept again in the place of one that was refused after it was kept. Waits for
    /// nothing: who writes tells the engine where the disk refuses it.
    pub(super) fn put_back(&self, live: Option<LastPolicy>) {
        let (mut waiting, outcome) = self.try_for(live, Duration::ZERO);
        let Err(why) = outcome else { return };
        match waiting.is_written && waiting.tried.0 < waiting.count {
            true => waiting.is_told = true,
            false => self.0.tell(&mut waiting, Some(why)),
        }
    }

    fn try_for(
        &self,
        policy: Option<LastPolicy>,
        patience: Duration,
    ) -> (MutexGuard<'_, Waiting>, Result<(), String>) {
        let mut waiting = self.0.waiting();
        waiting.count += 1;
        let number = waiting.count;
        waiting.newest = Some((number, policy));
        if !waiting.is_written {
            let shared = Arc::clone(&self.0);
            let started =
                std::thread::Builder::new().name("keep-config".to_owned()).spawn(move || shared.write());
            if let Err(error) = started {
                return (waiting, Err(format!("no thread can be had: {error}")));
            }
            waiting.is_written = true;
        }
        self.0.changed.notify_all();
        let is_open = |waiting: &mut Waiting| waiting.tried.0 < number;
        let waited = self.0.changed.wait_timeout_while(waiting, patience, is_open);
        let (waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let outcome = match (waiting.tried.0 >= number, &waiting.tried.1) {
            (true, None) => Ok(()),
            (true, Some(why)) => Err(why.clone()),
            (false, _) => Err("the disk has not answered yet".to_owned()),
        };
        (waiting, outcome)
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the one that is on the disk.
    fn read(&self) {
        let read = last_policy::read(&self.state).map_err(|error| error.to_string());
        let mut waiting = self.waiting();
        (waiting.read, waiting.is_read) = (Some(read), false);
        self.changed.notify_all();
    }

    /// Writes until the newest is on the disk.
    fn write(&self) {
        let mut waiting = self.waiting();
        while let Some((number, policy)) = waiting.newest.clone() {
            drop(waiting);
            let written = match policy {
                Some(policy) => last_policy::write(&self.state, &policy),
                None => last_policy::forget(&self.state),
            };
            waiting = self.waiting();
            waiting = self.tried(waiting, number, written);
        }
        waiting.is_written = false;
    }

    fn tried<'w>(
        &'w self,
        mut waiting: MutexGuard<'w, Waiting>,
        number: u64,
        written: io::Result<()>,
    ) -> MutexGuard<'w, Waiting> {
        let why = written.err().map(|error| error.to_string());
        waiting.tried = (number, why.clone());
        self.changed.notify_all();
        let is_newest = |waiting: &mut Waiting| waiting.newest.as_ref().is_none_or(|(its, _)| *its == number);
        match why {
            None if is_newest(&mut waiting) => {
                waiting.newest = None;
                self.tell(&mut waiting, None);
                waiting
            }
            None => waiting,
            Some(why) => {
                if waiting.is_told {
                    self.tell(&mut waiting, Some(why));
                }
                let waited = self.changed.wait_timeout_while(waiting, RETRY, is_newest);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// Has the engine know whether the newest is on the disk.
    fn tell(&self, waiting: &mut Waiting, why: Option<String>) {
        if why.is_none() && !waiting.is_told {
            return;
        }
        waiting.is_told = why.is_some();
        let file = self.state.join(last_policy::FILE);
        let why = why.map(|why| {
            let file = file.display();
            format!("the config that the next one is held against is not kept yet, and {file} may have another one: {why}")
        });
        if let Some(why) = &why {
            warn!("{why}");
        }
        let _nobody_is_left = self.inputs.send(Input::Surroundings(Surroundings::ConfigNotKept(why)));
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    fn policy(text: &str) -> Option<LastPolicy> {
        let (bytes, users) = (text.as_bytes().to_vec(), last_policy::NamedUsers::new());
        Some(LastPolicy { bytes, observe: false, unheld: None, users })
    }

    /// What the engine hears next.
    fn told(inputs: &mut UnboundedReceiver<Input>) -> Option<String> {
        match inputs.blocking_recv() {
            Some(Input::Surroundings(Surroundings::ConfigNotKept(why))) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_on_the_disk_is_told_and_tried_until_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let (sender, mut inputs) = unbounded_channel();
        let keeper = ConfigKeeper::new(state.clone(), sender);
        let long = Duration::from_secs(20);
        keeper.keep(policy("one"), long);
        let why = told(&mut inputs).unwrap();
        assert!(why.contains("No such file") && why.contains("policy.last"), "{why}");
        // It is what the next one is held against all the same.
        assert_eq!(keeper.read(long), Ok(policy("one")));
        std::fs::create_dir(&state).unwrap();
        keeper.keep(policy("two"), long);
        assert_eq!(told(&mut inputs), None);
        assert_eq!(last_policy::read(&state).unwrap(), policy("two"));
        assert_eq!(keeper.read(long), Ok(policy("two")));
        std::fs::write(state.join(last_policy::FILE), "nonsense").unwrap();
        assert_eq!(keeper.read(long), Err(NotRead::Unusable("it is damaged".to_owned())));
        keeper.keep(None, long);
        assert_eq!(keeper.read(long), Ok(None));
        assert!(inputs.try_recv().is_err(), "what is kept at once is not worth a word");
    }

    #[test]
    fn what_opens_and_cannot_be_kept_leaves_what_is_live() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let (sender, mut inputs) = unbounded_channel();
        let keeper = ConfigKeeper::new(state.clone(), sender);
        let long = Duration::from_secs(20);
        keeper.keep_first(policy("wide"), policy("live"), long).unwrap_err();
        assert!(told(&mut inputs).is_some());
        assert_eq!(keeper.read(long), Ok(policy("live")));
        std::fs::create_dir(&state).unwrap();
        assert_eq!(told(&mut inputs), None, "it is tried again");
        assert_eq!(last_policy::read(&state).unwrap(), policy("live"));
        keeper.keep_first(policy("wide"), policy("live"), long).unwrap();
        assert_eq!(last_policy::read(&state).unwrap(), policy("wide"));
        // It may be refused after that too, be it that nothing was kept before it.
        for live in [policy("live"), None] {
            keeper.put_back(live.clone());
            assert_eq!(keeper.read(long), Ok(live));
        }
    }
}
