//! The geo database that was good last: kept for a start that can't read the config's.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use crate::daemon::engine::{Input, Surroundings};
use crate::geo::GeoDb;
use crate::store::last_database;

/// Two would write into one file.
static ONE_WRITES: Mutex<()> = Mutex::new(());

/// Writes it in a thread of its own: nobody waits for the disk.
pub(super) fn keep(state: &Path, database: GeoDb, inputs: &UnboundedSender<Input>) {
    let state = state.to_owned();
    let (answer, last) = (inputs.clone(), inputs.clone());
    let started = std::thread::Builder::new().name("last-database".to_owned()).spawn(move || {
        let written = {
            let _alone = ONE_WRITES.lock().unwrap_or_else(PoisonError::into_inner);
            last_database::write(&state, &database)
        };
        tell(&answer, written.err().map(|error| error.to_string()));
        drop(database);
        trim_memory();
    });
    if let Err(error) = started {
        tell(&last, Some(format!("no thread can be had: {error}")));
    }
}

/// Says whether it is kept.
fn tell(inputs: &UnboundedSender<Input>, why: Option<String>) {
    let why = why
        .map(|why| format!("the geo database can't be kept for a start that can't read the config's: {why}"));
    if let Some(why) = &why {
        warn!("{why}");
    }
    let _nobody_is_left = inputs.send(Input::Surroundings(Surroundings::DatabaseNotKept(why)));
}

/// Gives back the memory of databases that are gone: glibc keeps it otherwise.
fn trim_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes a plain number and may be called at any time (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}
