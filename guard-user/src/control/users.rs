//! Names of users and numbers of groups, looked up on a thread of its own.
//!
//! A host may have them from a server in the network (nsswitch.conf(5)), which may be slow or dead. Nobody waits
//! for it longer than he says, and while one lookup takes long nobody waits for others: a user is then named by
//! its number, or by the name that it had before.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::unistd::{Group, Uid, User};
use tokio::sync::watch;
use tokio::time::error::Elapsed;
use tokio::time::timeout_at;

use crate::health::{Problem, ProblemCode};

/// Lookups of users that wait for the thread. Those of groups are as few as the config names, and none is refused.
const QUEUE: usize = 64;
/// Users whose names are kept.
const USERS: usize = 256;
/// How long a name is taken for what it is.
const FRESH: Duration = Duration::from_secs(60);
/// How soon a lookup that failed is repeated.
const FAILED: Duration = Duration::from_secs(2);
/// A lookup that takes longer is slow: until it ends, nobody waits for another one that is not required.
pub const SLOW: Duration = Duration::from_millis(50);
/// How long a lookup may take before that is a problem.
const STUCK: Duration = Duration::from_secs(5);

/// Where names come from. A lookup may take any time.
pub trait NameSource: Send {
    /// The name of a user; `None` where it has none.
    ///
    /// # Errors
    /// Where the source can't be asked.
    fn user(&mut self, uid: u32) -> io::Result<Option<String>>;

    /// The number of a group; `None` where there is no such group.
    ///
    /// # Errors
    /// Where the source can't be asked.
    fn group(&mut self, name: &str) -> io::Result<Option<u32>>;
}

/// The names that this host has, by nsswitch.conf(5).
#[derive(Clone, Copy, Debug)]
pub struct Host;

impl NameSource for Host {
    fn user(&mut self, uid: u32) -> io::Result<Option<String>> {
        Ok(User::from_uid(Uid::from_raw(uid))?.map(|user| user.name))
    }

    fn group(&mut self, name: &str) -> io::Result<Option<u32>> {
        // No group has a name with a zero byte in it, and it would be cut there.
        if name.contains('\0') {
            return Ok(None);
        }
        Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
    }
}

/// Why a name or number is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The source of names did not answer in time.
    #[error("the source of names (nsswitch.conf) did not answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// It answered that it can't.
    #[error("the source of names (nsswitch.conf) can't be asked: {0}")]
    Failed(String),
    /// Too many lookups wait for it already.
    #[error("too many lookups wait for the source of names (nsswitch.conf)")]
    Busy,
}

enum Question {
    User(u32),
    Group(String),
}

/// What is known of one user.
#[derive(Clone, Debug)]
struct Known {
    /// What the source said last.
    said: Result<Option<String>, LookupError>,
    at: Instant,
    /// The last name that it gave.
    name: Option<String>,
}

impl Known {
    fn is_fresh(&self, now: Instant) -> bool {
        let lasts = if self.said.is_ok() { FRESH } else { FAILED };
        now.saturating_duration_since(self.at) < lasts
    }
}

#[derive(Debug, Default)]
struct State {
    users: HashMap<u32, Known>,
    /// Users that wait to be looked up.
    asked: HashSet<u32>,
    /// Groups that wait to be looked up.
    asked_groups: HashSet<String>,
    /// What the source said of groups, until it is asked for: it may have taken longer than was waited for it.
    groups: HashMap<String, Result<Option<u32>, LookupError>>,
    /// Since when the source has been asked for what it has not answered.
    busy: Option<Instant>,
}

/// What the thread shares with those who ask.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Counts answers.
    answers: watch::Sender<u64>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nobody panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The names of users and the numbers of groups. Clones ask the same thread, which ends with the last of them.
#[derive(Clone)]
pub struct Names {
    queue: Sender<Question>,
    shared: Arc<Shared>,
}

impl Names {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn start(source: impl NameSource + 'static) -> io::Result<Self> {
        let (queue, questions) = channel();
        let shared = Arc::new(Shared { state: Mutex::default(), answers: watch::Sender::new(0) });
        let its_shared = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("names".to_owned())
            .spawn(move || answer_all(source, &questions, &its_shared))?;
        Ok(Self { queue, shared })
    }

    /// The name of a user as it is known now, and `None` where it is not known or has none. Never waits; what is
    /// not known is looked up for the next time.
    #[must_use]
    pub fn known(&self, uid: u32) -> Option<String> {
        let mut state = self.shared.state();
        let known = state.users.get(&uid).cloned();
        if known.as_ref().is_none_or(|known| !known.is_fresh(Instant::now())) {
            let _full = self.ask(&mut state, uid);
        }
        known.and_then(|known| known.name)
    }

    /// The name of a user, waited for so long at most, and not at all while the source is slow. `None` where it
    /// is not known by then or has none.
    pub async fn name_of(&self, uid: u32, patience: Duration) -> Option<String> {
        let now = Instant::now();
        let is_slow =
            self.shared.state().busy.is_some_and(|since| now.saturating_duration_since(since) > SLOW);
        let patience = if is_slow { Duration::ZERO } else { patience };
        match self.require(uid, patience).await {
            Ok(name) => name,
            // The name that it had before is better than none.
            Err(_) => self.shared.state().users.get(&uid).and_then(|known| known.name.clone()),
        }
    }

    /// The name of a user as the source has it, `None` where it has none, waited for so long at most.
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn require(&self, uid: u32, patience: Duration) -> Result<Option<String>, LookupError> {
        let deadline = tokio::time::Instant::now() + patience;
        // Before the look at what is known: no answer is missed.
        let mut answers = self.shared.answers.subscribe();
        loop {
            {
                let mut state = self.shared.state();
                let known = state.users.get(&uid).filter(|known| known.is_fresh(Instant::now()));
                if let Some(known) = known {
                    return known.said.clone();
                }
                self.ask(&mut state, uid)?;
            }
            next(&mut answers, deadline).await.map_err(|_| LookupError::TimedOut(patience))?;
        }
    }

    /// The number of a group, `None` where there is no such group, waited for so long at most. An answer that comes
    /// later is kept for the next call, so that a source that needs longer than anybody waits is heard, too.
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn group(&self, name: &str, patience: Duration) -> Result<Option<u32>, LookupError> {
        let deadline = tokio::time::Instant::now() + patience;
        // Before the look at what is known: no answer is missed.
        let mut answers = self.shared.answers.subscribe();
        loop {
            {
                let mut state = self.shared.state();
                if let Some(answer) = state.groups.remove(name) {
                    return answer;
                }
                if state.asked_groups.insert(name.to_owned()) {
                    self.send(Question::Group(name.to_owned()))?;
                }
            }
            next(&mut answers, deadline).await.map_err(|_| LookupError::TimedOut(patience))?;
        }
    }

    fn ask(&self, state: &mut State, uid: u32) -> Result<(), LookupError> {
        if state.asked.contains(&uid) {
            return Ok(());
        }
        if state.asked.len() >= QUEUE {
            return Err(LookupError::Busy);
        }
        self.send(Question::User(uid))?;
        state.asked.insert(uid);
        Ok(())
    }

    fn send(&self, question: Question) -> Result<(), LookupError> {
        self.queue.send(question).map_err(|_| LookupError::Failed("its thread has ended".to_owned()))
    }

    /// A source that does not answer for some seconds.
    #[must_use]
    pub fn problem(&self, now: Instant) -> Option<Problem> {
        let silent = now.saturating_duration_since(self.shared.state().busy?);
        (silent >= STUCK).then(|| {
            let message = format!(
                "the source of names (nsswitch.conf) has not answered for {} seconds: users are recorded by their \
                 numbers, and no exemption can be loaded",
                silent.as_secs()
            );
            Problem::of(ProblemCode::WorkerStuck, "names", message)
        })
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("shared", &self.shared).finish_non_exhaustive()
    }
}

fn answer_all(mut source: impl NameSource, questions: &Receiver<Question>, shared: &Shared) {
    for question in questions {
        shared.state().busy = Some(Instant::now());
        let failed = |error: io::Error| LookupError::Failed(error.to_string());
        match question {
            Question::User(uid) => {
                let said = source.user(uid).map_err(failed);
                let mut state = shared.state();
                state.asked.remove(&uid);
                take_up(&mut state.users, uid, said);
                state.busy = None;
            }
            Question::Group(name) => {
                let said = source.group(&name).map_err(failed);
                let mut state = shared.state();
                state.asked_groups.remove(&name);
                state.groups.insert(name, said);
                state.busy = None;
            }
        }
        shared.answers.send_modify(|count| *count += 1);
    }
}

/// Waits for an answer to anything.
async fn next(answers: &mut watch::Receiver<u64>, deadline: tokio::time::Instant) -> Result<(), Elapsed> {
    // The other end goes with the last of those who could wait here.
    let _there_is_one = timeout_at(deadline, answers.changed()).await?;
    Ok(())
}

/// Takes up an answer; the oldest one gives way where there are too many.
fn take_up(users: &mut HashMap<u32, Known>, uid: u32, said: Result<Option<String>, LookupError>) {
    let before = users.remove(&uid).and_then(|known| known.name);
    if users.len() >= USERS {
        let oldest = users.iter().min_by_key(|(_, known)| known.at).map(|(uid, _)| *uid);
        oldest.map(|oldest| users.remove(&oldest));
    }
    let name = match &said {
        Ok(name) => name.clone(),
        Err(_) => before,
    };
    users.insert(uid, Known { said, at: Instant::now(), name });
}

/// A user as messages name one: by name and number, or by number alone where no name is known.
#[must_use]
pub fn user_words(uid: u32, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{name:?} ({uid})"),
        None => format!("{uid}"),
    }
}

/// Whether this host has a user of this name.
///
/// # Errors
/// Where it can't be asked.
pub fn is_user(name: &str) -> io::Result<bool> {
    // No user has a name with a zero byte in it, and it would be cut there.
    if name.contains('\0') {
        return Ok(false);
    }
    Ok(User::from_name(name)?.is_some())
}

/// The name of a user; `None` where it has none or the source of names does not answer. It may wait for a server
/// in the network: for commands that do nothing else meanwhile.
#[must_use]
pub fn user_name(uid: u32) -> Option<String> {
    Host.user(uid).ok().flatten()
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(40);

    /// Answers by the rules that the test sends, each of which is for one lookup; without one it hangs.
    pub(crate) struct Slow(pub(crate) mpsc::Receiver<io::Result<Option<&'static str>>>);

    impl NameSource for Slow {
        fn user(&mut self, _: u32) -> io::Result<Option<String>> {
            self.0.recv().map_err(io::Error::other)?.map(|name| name.map(str::to_owned))
        }

        fn group(&mut self, _: &str) -> io::Result<Option<u32>> {
            let number = self.0.recv().map_err(io::Error::other)??;
            Ok(number.and_then(|number| number.parse().ok()))
        }
    }

    #[tokio::test]
    async fn the_hosts_users_and_groups_are_known() {
        let names = Names::start(Host).unwrap();
        assert_eq!(names.require(0, LONG).await, Ok(Some("root".to_owned())));
        assert_eq!(names.name_of(4_000_000_001, LONG).await, None);
        assert_eq!(names.known(0).as_deref(), Some("root"));
        assert_eq!(names.group("root", LONG).await, Ok(Some(0)));
        assert_eq!(names.group("no-such-group-here", LONG).await, Ok(None));
        assert_eq!(names.group("a\0b", LONG).await, Ok(None));
    }

    #[tokio::test]
    async fn a_source_that_hangs_holds_nobody_up() {
        let (answers, rules) = mpsc::channel();
        let names = Names::start(Slow(rules)).unwrap();
        let begin = Instant::now();
        assert_eq!(names.name_of(7, SHORT).await, None);
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        assert_eq!(names.require(7, SHORT).await, Err(LookupError::TimedOut(SHORT)));
        // From now on nobody waits who can do without, and none of these lookups is lost.
        let begin = Instant::now();
        for uid in 0..20 {
            assert_eq!((names.name_of(uid, LONG).await, names.known(uid)), (None, None));
        }
        assert!(begin.elapsed() < LONG, "{:?}", begin.elapsed());
        assert_eq!(names.group("ops", SHORT).await, Err(LookupError::TimedOut(SHORT)));
        let stuck = names.problem(Instant::now() + STUCK).unwrap();
        assert_eq!((stuck.code, stuck.subject.as_deref()), (ProblemCode::WorkerStuck, Some("names")));
        // It answers again.
        (0..30).for_each(|_| answers.send(Ok(Some("aoife"))).unwrap());
        assert_eq!(names.require(19, LONG).await, Ok(Some("aoife".to_owned())));
        assert_eq!(names.known(7).as_deref(), Some("aoife"));
        assert_eq!(names.problem(Instant::now() + STUCK), None);
    }

    #[tokio::test]
    async fn an_answer_about_a_group_that_comes_late_is_there_for_the_next_ask() {
        let (answers, rules) = mpsc::channel();
        let names = Names::start(Slow(rules)).unwrap();
        // Each is one question to the source, however often it is asked for.
        for _ in 0..3 {
            assert_eq!(names.group("ops", SHORT).await, Err(LookupError::TimedOut(SHORT)));
        }
        answers.send(Ok(Some("5"))).unwrap();
        assert_eq!(names.group("ops", LONG).await, Ok(Some(5)));
        // The source is asked anew: a group may be made or changed later.
        answers.send(Ok(None)).unwrap();
        assert_eq!(names.group("ops", LONG).await, Ok(None));
        // Nor do users that wait keep out a group.
        for uid in 0..1000 {
            assert_eq!(names.known(uid), None);
        }
        assert_eq!(names.group("ops", SHORT).await, Err(LookupError::TimedOut(SHORT)));
        (0..QUEUE + 1).for_each(|_| answers.send(Ok(Some("6"))).unwrap());
        assert_eq!(names.group("ops", LONG).await, Ok(Some(6)));
    }

    #[tokio::test]
    async fn a_source_that_fails_says_why_and_known_names_stay() {
        let (answers, rules) = mpsc::channel();
        let names = Names::start(Slow(rules)).unwrap();
        answers.send(Ok(Some("aoife"))).unwrap();
        assert_eq!(names.name_of(7, LONG).await.as_deref(), Some("aoife"));
        names.shared.state().users.get_mut(&7).unwrap().at -= FRESH;
        answers.send(Err(io::Error::other("no server"))).unwrap();
        let Err(LookupError::Failed(why)) = names.require(7, LONG).await else { panic!("it failed") };
        assert_eq!(why, "no server");
        assert_eq!(names.name_of(7, SHORT).await.as_deref(), Some("aoife"), "as it was called before");
    }

    #[tokio::test]
    async fn only_so_many_lookups_wait_and_only_so_many_names_are_kept() {
        let (answers, rules) = mpsc::channel();
        let names = Names::start(Slow(rules)).unwrap();
        let many = u32::try_from(2 * QUEUE).unwrap();
        let refused = (0..many).filter(|uid| names.ask(&mut names.shared.state(), *uid).is_err()).count();
        assert!((QUEUE - 1..=QUEUE).contains(&refused), "{refused}");
        (0..1000).for_each(|_| answers.send(Ok(Some("x"))).unwrap());
        for uid in 0..500 {
            assert_eq!(names.require(uid, LONG).await, Ok(Some("x".to_owned())));
        }
        assert!(names.shared.state().users.len() <= USERS);
    }

    #[test]
    fn users_are_named_where_they_have_a_name() {
        assert_eq!(user_words(0, Some("root")), "\"root\" (0)");
        assert_eq!(user_words(4_000_000_001, None), "4000000001");
        assert_eq!(user_name(4_000_000_001), None);
    }
}
