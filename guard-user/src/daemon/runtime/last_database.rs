//! The geo database that was good last: kept for a start that can't read the config's.

use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use super::memory;
use crate::daemon::engine::{Input, Surroundings};
use crate::geo::{Built, GeoDb};
use crate::store::last_database::{self, LastDatabaseError};

/// How long after a failure the disk is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Writes the newest database that it is given, one at a time and beside all else: nobody waits for the disk.
#[derive(Clone)]
pub(super) struct Keeper(Arc<Shared>);

struct Shared {
    state: PathBuf,
    inputs: UnboundedSender<Input>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// The newest one that is not being written yet.
    database: Option<Arc<GeoDb>>,
    /// The one that is being written.
    written: Option<Arc<GeoDb>>,
    /// By what the one is known that was kept last: another one in its file is none.
    expected: Option<String>,
    /// When the newest of each type was built that was in force.
    built: Built,
    /// Whether a thread writes.
    is_written: bool,
    /// Whether the file was there at the last look; `None` before the first was written.
    has_written: Option<bool>,
}

impl Keeper {
    /// For this state directory; what comes of it goes to the engine.
    pub(super) fn new(state: PathBuf, inputs: UnboundedSender<Input>) -> Self {
        Self(Arc::new(Shared { state, inputs, waiting: Mutex::default() }))
    }

    /// The one that is kept, or is about to be; `None` where there is none. Waits no longer for the disk than this: a
    /// thread that it holds up ends by itself.
    ///
    /// # Errors
    /// Where it can't be read, or not in time.
    pub(super) fn last(&self, patience: Duration) -> Result<Option<GeoDb>, String> {
        let (sender, read) = sync_channel(1);
        let keeper = self.clone();
        let work = move || {
            let _nobody_waits_any_more = sender.send(keeper.last_now());
        };
        std::thread::Builder::new()
            .name("read-database".to_owned())
            .spawn(work)
            .map_err(|error| format!("no thread can be had: {error}"))?;
        match read.recv_timeout(patience) {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(_) => Err(format!("the disk has not answered for {} s", patience.as_secs())),
        }
    }

    fn last_now(&self) -> Result<Option<GeoDb>, LastDatabaseError> {
        // What the disk has not taken yet is what will be there.
        let waiting = self.0.waiting();
        if let Some(database) = waiting.database.as_ref().or(waiting.written.as_ref()) {
            return Ok(Some(GeoDb::clone(database)));
        }
        drop(waiting);
        let expected = self.0.waiting().expected.clone();
        let read = last_database::read(&self.0.state)?;
        let is_it = |it: &GeoDb| expected.is_none() || it.info.digest == expected;
        match read {
            Some(it) if is_it(&it) => Ok(Some(it)),
            None if expected.is_none() => Ok(None),
            _ => Err(LastDatabaseError::Replaced { path: self.0.state.join(last_database::FILE) }),
        }
    }

    /// The one that is kept is known by this, and was the newest of these, as the audit trail has it.
    pub(super) fn expect(&self, digest: String, built: Built) {
        let mut waiting = self.0.waiting();
        waiting.expected = Some(digest);
        waiting.built = built;
    }

    /// When the newest of each type was built that was in force, as far as that is known where none can be read.
    pub(super) fn built(&self) -> Built {
        self.0.waiting().built.clone()
    }

    /// Has this one kept, and not one before it any more.
    pub(super) fn keep(&self, database: GeoDb) {
        let mut waiting = self.0.waiting();
        waiting.expected.clone_from(&database.info.digest);
        waiting.built.clone_from(&database.info.built);
        waiting.database = Some(Arc::new(database));
        if std::mem::replace(&mut waiting.is_written, true) {
            return;
        }
        let shared = Arc::clone(&self.0);
        let started =
            std::thread::Builder::new().name("last-database".to_owned()).spawn(move || shared.write());
        if let Err(error) = started {
            waiting.database = None;
            waiting.is_written = false;
            waiting.has_written = None;
            self.0.tell(Some(format!("no thread can be had: {error}; the next reload tries it again")));
        }
    }
}

impl Keeper {
    /// Tells it where the one that was written is gone: it is written again by the next reload. May wait for the disk.
    pub(super) fn look(&self) {
        let file = self.0.state.join(last_database::FILE);
        let Ok(is_there) = file.try_exists() else { return };
        let mut waiting = self.0.waiting();
        if waiting.is_written || waiting.has_written.is_none_or(|was_there| was_there == is_there) {
            return;
        }
        waiting.has_written = Some(is_there);
        drop(waiting);
        let why = format!(
            "{} was removed; databases that are signed, or the next that is taken, write it again",
            file.display()
        );
        self.0.tell((!is_there).then_some(why));
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes until none is waiting.
    fn write(&self) {
        let mut told = None;
        while let Some(database) = self.next() {
            let failed = last_database::write(&self.state, &database).err();
            let why = failed.as_ref().map(LastDatabaseError::to_string);
            if failed.is_some() {
                // Unless a newer one has come meanwhile.
                self.waiting().database.get_or_insert(database);
            }
            self.waiting().has_written = failed.is_none().then_some(true);
            if told.as_ref() != Some(&why) {
                self.tell(why.clone());
            }
            if failed.is_some() {
                std::thread::sleep(RETRY);
            }
            told = Some(why);
        }
        memory::trim();
    }

    /// The one to write next; `None` where there is none, and this thread ends.
    fn next(&self) -> Option<Arc<GeoDb>> {
        let mut waiting = self.waiting();
        let next = waiting.database.take();
        waiting.is_written = next.is_some();
        waiting.written.clone_from(&next);
        next
    }

    /// Says whether it is kept.
    fn tell(&self, why: Option<String>) {
        let why = why.map(|why| {
            format!(
                "the geo database can't be kept: a start that can't read the config's has none, and holds databases against the \
                 one before, which may have opened more: {why}"
            )
        });
        if let Some(why) = &why {
            warn!("{why}");
        }
        let _nobody_is_left = self.inputs.send(Input::Surroundings(Surroundings::DatabaseNotKept(why)));
    }
}
