//! Work that the disk may hold up, and that nobody waits for longer than so.

use std::cell::Cell;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// How long a start waits for the disk that has the store.
const DISK: Duration = Duration::from_secs(2);
/// How long it waits for each other file, once it has waited for one in vain.
const ONCE_LATE: Duration = Duration::from_millis(200);

thread_local! {
    /// Whether this thread has waited in vain.
    static WAS_LATE: Cell<bool> = const { Cell::new(false) };
}

/// How long a start waits for the disk, where it asks it for something. Nothing is attached before: a disk that hangs holds it up
/// once and not for each file.
pub(super) fn disk() -> Duration {
    if WAS_LATE.get() { ONCE_LATE } else { DISK }
}

/// Why work has no outcome.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoOutcome {
    /// No thread can be had for it.
    #[error("no thread can be had: {0}")]
    NoThread(#[from] io::Error),
    /// It panicked.
    #[error("it ended in an error that nothing was prepared for")]
    Broken,
    /// It was not done in time, and ends by itself.
    #[error("the disk has not answered for {} s", .0.as_secs_f64())]
    Late(Duration),
}

/// What this comes to, on a thread of its own, where it is done in time.
pub(super) fn within<T: Send + 'static>(
    patience: Duration,
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NoOutcome> {
    let (sender, done) = channel();
    let work = move || {
        let _nobody_waits_any_more = sender.send(work());
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
    done.recv_timeout(patience).map_err(|error| match error {
        RecvTimeoutError::Disconnected => NoOutcome::Broken,
        RecvTimeoutError::Timeout => {
            WAS_LATE.set(true);
            NoOutcome::Late(patience)
        }
    })
}
