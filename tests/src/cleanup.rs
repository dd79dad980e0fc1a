//! Undo what was made: on drop (so on a panic too), and on SIGINT, SIGTERM and SIGHUP.
//!
//! [`make`] ties the making of a thing to its undoing. The undo action runs exactly once, either when
//! the returned [`Undo`] is dropped or when a signal ends the process; then all that is left runs,
//! newest first.
use std::collections::BTreeMap;
use std::sync::{Mutex, Once, PoisonError, RwLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

type Action = Box<dyn FnOnce() + Send>;

struct Pending {
    next: u64,
    actions: BTreeMap<u64, Action>,
}

static PENDING: Mutex<Pending> = Mutex::new(Pending { next: 0, actions: BTreeMap::new() });

/// Held shared while something is made or undone, and for good by the thread that ends the process:
/// so nothing is half made when all is undone, and nothing is made afterwards.
static OPEN: RwLock<()> = RwLock::new(());

static WATCH: Once = Once::new();

/// Undoes on drop. See [`make`].
#[derive(Debug)]
#[must_use = "dropping it undoes at once"]
pub struct Undo {
    number: u64,
}

/// Runs `create`, which gives what it made and the action that undoes it, and keeps that action.
///
/// Neither closure may call `make` or drop an [`Undo`] itself.
///
/// # Errors
/// What `create` returns; it then has taken back its own half-done work.
pub fn make<T, U, E>(create: impl FnOnce() -> Result<(T, U), E>) -> Result<(T, Undo), E>
where
    U: FnOnce() + Send + 'static,
{
    WATCH.call_once(watch_signals);
    let _open = OPEN.read().unwrap_or_else(PoisonError::into_inner);
    let (made, undo) = create()?;
    let mut pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
    let number = pending.next;
    pending.next += 1;
    pending.actions.insert(number, Box::new(undo));
    Ok((made, Undo { number }))
}

impl Drop for Undo {
    fn drop(&mut self) {
        let _open = OPEN.read().unwrap_or_else(PoisonError::into_inner);
        let action = PENDING.lock().unwrap_or_else(PoisonError::into_inner).actions.remove(&self.number);
        if let Some(action) = action {
            action();
        }
    }
}

/// Starts the thread that undoes everything when a signal asks the process to end.
fn watch_signals() {
    let mut signals = match Signals::new([SIGINT, SIGTERM, SIGHUP]) {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("cannot watch for signals ({error}): after Ctrl-C the next run cleans up");
            return;
        }
    };
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let _closed = OPEN.write().unwrap_or_else(PoisonError::into_inner);
            undo_all();
            // Ends the process the way the signal would have; returns only if that is refused.
            let _refused = signal_hook::low_level::emulate_default_handler(signal);
            std::process::exit(128 + signal);
        }
    });
}

fn undo_all() {
    loop {
        let newest = PENDING.lock().unwrap_or_else(PoisonError::into_inner).actions.pop_last();
        match newest {
            Some((_, action)) => action(),
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn undone_once_on_drop_and_on_panic() {
        let count = Arc::new(AtomicU32::new(0));
        let guard = |count: &Arc<AtomicU32>| {
            let count = count.clone();
            make(|| Ok::<_, ()>(((), move || _ = count.fetch_add(1, Ordering::Relaxed)))).unwrap()
        };
        drop(guard(&count));
        assert_eq!(count.load(Ordering::Relaxed), 1);
        let inside = count.clone();
        let panicked = std::thread::spawn(move || {
            let _guard = guard(&inside);
            panic!("on purpose");
        });
        assert!(panicked.join().is_err());
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn what_was_not_made_is_not_undone() {
        let made = make(|| Err::<((), fn()), _>("no"));
        assert_eq!(made.map(|_| ()).unwrap_err(), "no");
    }
}
