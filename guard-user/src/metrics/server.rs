//! Serves metrics by HTTP/1 from a thread of its own, on loopback or on a Unix socket.
//!
//! A connection has one request, and everything about it is bounded: how many there are at once, how long one takes,
//! how large its header is. Whoever is refused is counted.

mod http;
mod refusal;

use std::fmt;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{debug, error, info, warn};

use super::snapshot::Source;
use crate::config::metrics::Listen;
use crate::config::policy::ControlGroups;
use crate::control::access::{Access, Member};
use crate::control::right::Right;
use crate::control::server::{Message, groups_of};
use crate::control::socket;
use crate::control::users::Names;
use crate::health::{Problem, ProblemCode};
use crate::web::listener::{Listener, Stream, accept};

use http::Answers;
use refusal::{Refusal, Refusals};

/// Connections at once.
const PLACES: usize = 16;
/// How often it is looked whether the socket is in place, and tried again where it could not be made.
const EACH_SECOND: Duration = Duration::from_secs(1);
/// How soon a group is looked up again that has no number.
const AGAIN: Duration = Duration::from_secs(3);
/// How long the lookup of a group is waited for.
const GROUP_PATIENCE: Duration = Duration::from_secs(5);

/// What an exporter is made of.
pub struct Setup {
    /// Where it listens.
    pub listen: Listen,
    /// Who may use its Unix socket besides root and the daemon's own user.
    pub groups: ControlGroups,
    /// The numbers of groups.
    pub names: Names,
    /// To the daemon.
    pub requests: mpsc::Sender<Message>,
    /// When the daemon started.
    pub start: Timestamp,
    /// Turns of the daemon's loop that took too long.
    pub slow_turns: Arc<AtomicU64>,
}

/// Serves metrics until it is dropped.
pub struct Exporter {
    shared: Arc<Shared>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread shares with its connections and with the handle.
struct Shared {
    listen: Listen,
    access: Mutex<Access>,
    answers: Answers,
    places: Arc<Semaphore>,
    /// Why nobody is served.
    fault: Mutex<Option<String>>,
}

impl Exporter {
    /// Starts it. A socket that can't be made is no error but a [problem](Self::problem), until it can.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn start(setup: Setup) -> io::Result<Self> {
        let Setup { listen, groups, names, requests, start, slow_turns } = setup;
        let shared = Arc::new(Shared {
            answers: Answers {
                on_loopback: matches!(listen, Listen::Loopback(_)),
                source: Source::new(requests, start, slow_turns),
                refusals: Refusals::default(),
            },
            listen,
            access: Mutex::new(Access::of_root()),
            places: Arc::new(Semaphore::new(PLACES)),
            fault: Mutex::default(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let its_shared = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || runtime.block_on(serve(its_shared, (names, groups_of(&groups)), ended)))?;
        Ok(Self { shared, end: Some(end), thread: Some(thread) })
    }

    /// Why nobody is served, where that is so.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        let at = self.shared.listen.to_string();
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            let message = "the thread that serves metrics has ended; restart the daemon";
            return Some(Problem::of(ProblemCode::MetricsMissing, at, message));
        }
        let fault = self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
        fault.map(|why| Problem::of(ProblemCode::MetricsMissing, at, why))
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _it_never_panics = thread.join();
        }
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("listen", &self.shared.listen).finish_non_exhaustive()
    }
}

async fn serve(
    shared: Arc<Shared>,
    (names, groups): (Names, Vec<(String, Right)>),
    mut ended: oneshot::Receiver<()>,
) {
    if let Listen::Unix(_) = &shared.listen {
        tokio::spawn(admit(Arc::clone(&shared), names, groups));
    }
    let mut looks = interval(EACH_SECOND);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut listener = None;
    loop {
        tokio::select! {
            biased;
            _ = &mut ended => break,
            _ = looks.tick() => shared.keep_in_place(&mut listener).await,
            stream = accept(listener.as_ref()) => match stream {
                Ok(stream) => {
                    shared.welcome(stream);
                    // What is being served goes on before the next one is accepted.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    // Out of file descriptors, most likely: not a loop that burns a CPU.
                    debug!(%error, "a client could not be accepted for metrics");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
    if let Some(listener) = listener {
        listener.remove(&shared.listen);
    }
}

/// Looks up the groups until each has its number, and gives the socket's file to them.
async fn admit(shared: Arc<Shared>, names: Names, mut groups: Vec<(String, Right)>) {
    while !groups.is_empty() {
        let mut left = Vec::new();
        for (name, right) in groups {
            // Of one that is not there the control socket reports a problem already.
            match names.group(&name, GROUP_PATIENCE).await {
                Ok(Some(gid)) => shared.admitted(Member { gid, name, right }),
                _ => left.push((name, right)),
            }
        }
        groups = left;
        if !groups.is_empty() {
            sleep(AGAIN).await;
        }
    }
}

impl Shared {
    fn access(&self) -> Access {
        self.access.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn admitted(&self, member: Member) {
        let mut access = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        access.groups.push(member);
        if let Listen::Unix(path) = &self.listen
            && path.exists()
            && let Err(error) = socket::permit(path, &access)
        {
            warn!("members of the control groups can't read metrics: {error}");
        }
    }

    /// Makes the listener where there is none, or where its file is gone.
    async fn keep_in_place(&self, listener: &mut Option<Listener>) {
        if listener.as_ref().is_some_and(|listener| listener.is_in_place(&self.listen)) {
            return;
        }
        let was_there = listener.take().is_some();
        let fault = match Listener::bind(&self.listen, &self.access()).await {
            Ok(new) => {
                *listener = Some(new);
                let how = if was_there { " anew" } else { "" };
                info!("metrics are served{how} at {}", self.listen);
                None
            }
            Err(why) => Some(why),
        };
        let mut before = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = fault.as_ref().filter(|why| before.as_ref() != Some(why)) {
            error!("metrics can't be served at {}: {why}. It is tried again", self.listen);
        }
        *before = fault;
    }

    fn welcome(self: &Arc<Self>, stream: Stream) {
        if !stream.may_look(&self.access()) {
            return self.answers.refusals.count(Refusal::NotPermitted);
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return self.answers.refusals.count(Refusal::Busy);
        };
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            http::converse(&shared.answers, stream.duplex()).await;
            drop(place);
        });
    }
}
