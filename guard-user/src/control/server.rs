//! The daemon's side of the control socket: a thread that accepts connections and serves them.
//!
//! Requests that need the kernel go to the daemon, one after the other; readers of events have a thread of their
//! own ([`streams`](super::streams)). The socket's file is looked at every second, and made anew where it is gone.
//! Groups of the config that have no number yet are looked up again every few seconds; root and the daemon's own
//! user are served from the first moment on.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{debug, error, info, warn};

use super::DAEMON_TIMEOUT;
use super::access::{Access, Member, Peer};
use super::connection::{Connection, busy, send_now};
use super::peer::Credentials;
use super::places::{Kind, Places};
use super::protocol::{Request, Response};
use super::refusals::{Refusal, Refusals};
use super::right::Right;
use super::socket::{self, Identity, SocketError};
use super::streams::Streams;
use super::users::{LookupError, Names};
use crate::config::policy::ControlGroups;
use crate::events::history::History;
use crate::health::{Problem, ProblemCode};
use crate::worker::Heartbeat;

/// How often it is looked whether the socket's file is in place.
const EACH_SECOND: Duration = Duration::from_secs(1);
/// How soon a group is looked up again that has no number.
const AGAIN: Duration = Duration::from_secs(3);
/// How long the lookup of a group is waited for before that is reported. It goes on: what it gives later is taken up
/// at the next try.
const GROUP_PATIENCE: Duration = Duration::from_secs(5);
/// How long the thread may be silent before that is a problem.
const SILENT: Duration = Duration::from_secs(5);

/// What connections have for the daemon.
#[derive(Debug)]
pub enum Message {
    /// A request, from a peer that has the right to it.
    Asked(Command),
    /// A request was refused: to be recorded. They come at most once a second for each user, see [`Refusals`].
    Refused(Refusal),
}

/// A request on its way to the daemon.
#[derive(Debug)]
pub struct Command {
    /// What is asked.
    pub request: Request,
    /// Who asks.
    pub peer: Peer,
    /// Where the answer goes; nobody may be there any more.
    pub answer: oneshot::Sender<Response>,
}

/// What a server is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The socket's path.
    pub path: PathBuf,
    /// Who may use it besides root and the daemon's own user.
    pub groups: ControlGroups,
    /// The names of users and the numbers of groups.
    pub names: Names,
    /// The events.
    pub history: Arc<History>,
    /// To the daemon.
    pub requests: mpsc::Sender<Message>,
}

/// What the thread shares with its connections and with the handle.
pub(super) struct Shared {
    path: PathBuf,
    access: Mutex<Arc<Access>>,
    socket: Mutex<Socket>,
    /// There is a new listener.
    changed: Notify,
    /// Why groups have no number yet, by name and right.
    unresolved: Mutex<BTreeMap<(String, Right), Unresolved>>,
    places: Arc<Places>,
    refusals: Mutex<Refusals>,
    pub(super) names: Names,
    pub(super) streams: Streams,
    pub(super) requests: mpsc::Sender<Message>,
    /// How long the daemon may take for an answer.
    pub(super) daemon_timeout: Duration,
    /// Of the thread.
    heartbeat: Heartbeat,
}

/// The socket's file.
#[derive(Debug, Default)]
struct Socket {
    /// Which file it is; `None` where there is none.
    file: Option<Identity>,
    /// The listener, until the thread has it.
    listener: Option<StdListener>,
    /// Why it could not be made, the last time.
    error: Option<String>,
}

/// Why a group has no number yet.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Unresolved {
    /// It is being looked up for the first time.
    Asked,
    /// The source of names knows no such group.
    Missing,
    /// There is no answer about it.
    Unanswered(LookupError),
}

impl Unresolved {
    /// What is to be said of this group.
    fn words(&self, group: &str) -> String {
        match self {
            Self::Asked => "it is being looked up".to_owned(),
            Self::Missing => {
                format!("there is no such group on this host: make it with `groupadd --system {group}`")
            }
            Self::Unanswered(error) => error.to_string(),
        }
    }
}

impl Shared {
    /// The groups that would have this right and of which the source of names has not said anything yet.
    pub(super) fn looked_up(&self, needed: Right) -> Option<String> {
        let unresolved = lock(&self.unresolved);
        let groups: Vec<String> = unresolved
            .iter()
            .filter(|((_, right), why)| right.includes(needed) && **why != Unresolved::Missing)
            .map(|((group, _), _)| format!("{group:?}"))
            .collect();
        (!groups.is_empty()).then(|| groups.join(", "))
    }

    pub(super) fn access(&self) -> Arc<Access> {
        Arc::clone(&lock(&self.access))
    }

    pub(super) fn with_refusals<T>(&self, act: impl FnOnce(&mut Refusals) -> T) -> T {
        act(&mut lock(&self.refusals))
    }

    fn is_in_place(&self) -> bool {
        let file = lock(&self.socket).file;
        file.is_some() && file == Identity::at(&self.path)
    }

    /// Makes the socket, and has the thread listen on it.
    fn bind(&self) -> Result<(), SocketError> {
        let mut socket = lock(&self.socket);
        let bound = socket::bind(&self.path, &self.access()).and_then(|listener| {
            let io = |source| SocketError::Io { what: "listen on", path: self.path.clone(), source };
            listener.set_nonblocking(true).map_err(io)?;
            Ok(listener)
        });
        match bound {
            Ok(listener) => {
                *socket = Socket { file: Identity::at(&self.path), listener: Some(listener), error: None };
                self.changed.notify_one();
                Ok(())
            }
            Err(error) => {
                socket.file = None;
                socket.error = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// Makes the socket anew where its file is gone or another one.
    fn keep_in_place(&self) {
        if self.is_in_place() {
            return;
        }
        let before = lock(&self.socket).error.take();
        match self.bind() {
            Ok(()) => info!("the control socket {} is made anew", self.path.display()),
            Err(error) if before.as_ref() == Some(&error.to_string()) => {}
            Err(error) => error!("the control socket is not in its place: {error}. It is tried again"),
        }
    }

    /// Gives the members of a group their right.
    fn admit(&self, member: Member) {
        {
            let mut access = lock(&self.access);
            let mut groups = access.groups.clone();
            groups.push(member);
            *access = Arc::new(Access { uid: access.uid, groups });
        }
        // A socket that is made meanwhile is for those that are known by now, or waits for this lock.
        let socket = lock(&self.socket);
        let is_there = socket.file.is_some() && socket.file == Identity::at(&self.path);
        if is_there && let Err(error) = socket::permit(&self.path, &self.access()) {
            warn!("members of the control groups can't connect: {error}");
        }
    }

    fn welcome(self: &Arc<Self>, stream: UnixStream) {
        let peer = match Credentials::of(&stream) {
            Ok(credentials) => self.access().peer(&credentials),
            Err(error) => {
                warn!(%error, "the kernel does not say who uses the control socket, so it is refused");
                return;
            }
        };
        if peer.rights.is_empty() {
            return self.turn_away(&stream, peer);
        }
        let Some(place) = self.places.enter(Kind::of(&peer), peer.pid) else {
            return send_now(&stream, &busy());
        };
        let connection = Connection { shared: Arc::clone(self), peer, place };
        tokio::spawn(async move {
            if let Err(error) = connection.converse(stream).await {
                debug!(%error, "a client of the control socket went away");
            }
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nobody panics between two changes that belong together.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The server. Dropped, it ends and removes the socket's file.
pub struct Server {
    shared: Arc<Shared>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts the server. A socket that can't be made and a group that is not there are no errors but
    /// [`problems`](Self::problems), until they are mended.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn start(setup: Setup) -> io::Result<Self> {
        Self::start_with(setup, DAEMON_TIMEOUT)
    }

    /// As [`start`](Self::start), with a daemon that may take so long for an answer.
    pub(super) fn start_with(setup: Setup, daemon_timeout: Duration) -> io::Result<Self> {
        let Setup { path, groups, names, history, requests } = setup;
        let wanted = groups_of(&groups);
        let unresolved = wanted.iter().map(|group| (group.clone(), Unresolved::Asked));
        let shared = Arc::new(Shared {
            path,
            access: Mutex::new(Arc::new(Access::of_root())),
            socket: Mutex::default(),
            changed: Notify::new(),
            unresolved: Mutex::new(unresolved.collect()),
            places: Arc::default(),
            refusals: Mutex::default(),
            names,
            streams: Streams::start(history)?,
            requests,
            daemon_timeout,
            heartbeat: Heartbeat::default(),
        });
        if let Err(error) = shared.bind() {
            error!("the control socket can't be made: {error}. It is tried again");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let its_shared = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || runtime.block_on(serve(its_shared, wanted, ended)))?;
        Ok(Self { shared, end: Some(end), thread: Some(thread) })
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Whether the socket's file is there and is this server's.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        self.shared.is_in_place()
    }

    /// Makes the socket anew, where its file is gone or another one. The server does so itself every second.
    ///
    /// # Errors
    /// [`SocketError`]; it is tried again.
    pub fn rebind(&self) -> Result<(), SocketError> {
        if self.is_in_place() { Ok(()) } else { self.shared.bind() }
    }

    /// What is wrong with it at this moment, and with the source of names.
    #[must_use]
    pub fn problems(&self, now: Instant) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !self.is_in_place() {
            let error = lock(&self.shared.socket).error.clone();
            let message = error.unwrap_or_else(|| "its file is gone or another one".to_owned());
            let path = self.path().display().to_string();
            problems.push(Problem::of(ProblemCode::SocketMissing, path, message));
        }
        for ((name, right), why) in &*lock(&self.shared.unresolved) {
            let message = format!("its members do not have the right `{right}` yet: {}", why.words(name));
            problems.push(Problem::of(ProblemCode::GroupsUnresolved, name.as_str(), message));
        }
        let silent = self.shared.heartbeat.silent_for(now);
        if silent >= SILENT || self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            let seconds = silent.as_secs();
            let message =
                format!("the thread that serves the control socket is silent for {seconds} seconds");
            problems.push(Problem::of(ProblemCode::WorkerStuck, "control", message));
        }
        problems.extend(self.shared.names.problem(now));
        problems
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _it_never_panics = thread.join();
        }
        if self.is_in_place() {
            let _removed_by_another = std::fs::remove_file(self.path());
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

/// The groups of the config, each with its right.
fn groups_of(groups: &ControlGroups) -> Vec<(String, Right)> {
    let names = |right| match right {
        Right::View => &groups.view,
        Right::Exemptions => &groups.exemptions,
        Right::Policy => &groups.policy,
        Right::Everything => &groups.everything,
    };
    let of = |right| names(right).iter().map(move |name: &String| (name.clone(), right));
    Right::ALL.into_iter().flat_map(of).collect()
}

async fn serve(shared: Arc<Shared>, groups: Vec<(String, Right)>, mut ended: oneshot::Receiver<()>) {
    tokio::spawn(resolve(Arc::clone(&shared), groups));
    let mut looks = interval(EACH_SECOND);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut listener = None;
    loop {
        tokio::select! {
            biased;
            _ = &mut ended => return,
            () = shared.changed.notified() => {
                if let Some(new) = lock(&shared.socket).listener.take() {
                    listener = listen(&shared, new);
                }
            }
            _ = looks.tick() => {
                shared.heartbeat.beat();
                shared.keep_in_place();
            }
            stream = accept(listener.as_ref()) => match stream {
                Ok(stream) => {
                    shared.welcome(stream);
                    // A request that is there already is read before the next connection is accepted.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    // Out of file descriptors, most likely: not a loop that burns a CPU.
                    warn!(%error, "a client could not be accepted on the control socket");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

fn listen(shared: &Shared, listener: StdListener) -> Option<UnixListener> {
    match UnixListener::from_std(listener) {
        Ok(listener) => Some(listener),
        Err(error) => {
            // Without its file it is made anew at the next look.
            *lock(&shared.socket) = Socket { error: Some(error.to_string()), ..Socket::default() };
            None
        }
    }
}

/// The next connection; never one where there is no listener.
async fn accept(listener: Option<&UnixListener>) -> io::Result<UnixStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

/// Looks up the groups until each has its number.
async fn resolve(shared: Arc<Shared>, mut groups: Vec<(String, Right)>) {
    loop {
        let mut left = Vec::new();
        for (name, right) in groups {
            let why = match shared.names.group(&name, GROUP_PATIENCE).await {
                Ok(Some(gid)) => {
                    shared.admit(Member { gid, name: name.clone(), right });
                    lock(&shared.unresolved).remove(&(name, right));
                    continue;
                }
                Ok(None) => Unresolved::Missing,
                Err(error) => Unresolved::Unanswered(error),
            };
            let before = lock(&shared.unresolved).insert((name.clone(), right), why.clone());
            if before.is_none_or(|before| before != why) {
                let why = why.words(&name);
                warn!("the group \"{name}\" of control.groups.{right} has no number: {why}");
            }
            left.push((name, right));
        }
        if left.is_empty() {
            return;
        }
        groups = left;
        sleep(AGAIN).await;
    }
}
