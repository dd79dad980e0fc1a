//! What the users of events are called.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long an event waits for a name that is not known yet.
const PATIENCE: Duration = Duration::from_millis(20);
/// How often an event may wait, so that users without a name and a name service that is slow hold up few of them.
const EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether the name has come.
const LOOK: Duration = Duration::from_millis(1);

/// Where names come from: gives what is known and never waits; what is not known is looked up for the next time.
pub type Ask = Box<dyn Fn(u32) -> Option<String> + Send>;

/// Names of users.
pub(super) struct UserNames {
    ask: Ask,
    /// Not before this is a name waited for again.
    next_wait: Option<Instant>,
    /// The last name: most events in a row are of one user.
    last: Option<(u32, Arc<str>)>,
}

impl UserNames {
    pub(super) fn by(ask: Ask) -> Self {
        Self { ask, next_wait: None, last: None }
    }

    /// The name of a user; `None` where it has none, or it is not known in time.
    pub(super) fn name(&mut self, uid: u32) -> Option<Arc<str>> {
        let name = (self.ask)(uid).or_else(|| self.wait_for(uid))?;
        match &self.last {
            Some((user, known)) if *user == uid && **known == *name => Some(Arc::clone(known)),
            _ => {
                let name = Arc::<str>::from(name);
                self.last = Some((uid, Arc::clone(&name)));
                Some(name)
            }
        }
    }

    fn wait_for(&mut self, uid: u32) -> Option<String> {
        let begin = Instant::now();
        if self.next_wait.is_some_and(|next| begin < next) {
            return None;
        }
        while begin.elapsed() < PATIENCE {
            std::thread::sleep(LOOK);
            if let Some(name) = (self.ask)(uid) {
                return Some(name);
            }
        }
        self.next_wait = Some(Instant::now() + EVERY);
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_name_that_comes_soon_is_waited_for_and_one_that_does_not_is_not_for_long() {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let mut names = UserNames::by(Box::new(move |uid| {
            let times = count.fetch_add(1, Ordering::Relaxed);
            (uid == 999 && times >= 2).then(|| "postgres".to_owned())
        }));
        let begin = Instant::now();
        assert_eq!(names.name(999).as_deref(), Some("postgres"));
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        // Without a name: once it is waited for, and then not for a while.
        assert_eq!(names.name(1), None);
        let before = asked.load(Ordering::Relaxed);
        for _ in 0..1000 {
            assert_eq!(names.name(1), None);
        }
        assert!(begin.elapsed() < EVERY, "a busy machine");
        assert_eq!(asked.load(Ordering::Relaxed) - before, 1000, "each is asked for once");
    }
}
