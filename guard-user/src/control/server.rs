//! The daemon's side of the control socket: a thread that accepts connections and serves them.
//!
//! Requests that need the kernel go to the daemon, one after the other; readers of events have a thread of their
//! own ([`streams`](super::streams)). The socket's file is looked at every second, and made anew where it is gone.
//! Groups of the config that have no number yet are looked up again every few seconds; root and the daemon's own
//! user are served from the first moment on.

use std::fmt;
use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::sleep;
use tracing::{debug, error, warn};

pub use super::message::{Command, Message};

use super::DAEMON_TIMEOUT;
use super::access::{Access, Member};
use super::connection::Connection;
use super::peer::Credentials;
use super::places::Kind;
use super::right::Right;
use super::shared::{Shared, Socket, Unresolved, lock};
use super::socket::SocketError;
use super::streams::{Sources, Streams};
use super::users::Names;
use super::wire::{busy, send_now};
use crate::config::policy::ControlGroups;
use crate::events::flow_records::Source;
use crate::events::history::History;
use crate::health::{Problem, ProblemCode};
use crate::history::Worker as Past;
use crate::history::untagged::Pending;
use crate::worker::Heartbeat;
use crate::worker::alarm::{Alarm, now_ns};

/// How often it is looked whether the socket's file is in place, nanoseconds.
const EACH_SECOND: u64 = 1_000_000_000;
/// How soon a group is looked up again that has no number.
const AGAIN: Duration = Duration::from_secs(3);
/// How long the lookup of a group is waited for before that is reported. It goes on: what it gives later is taken up
/// at the next try.
const GROUP_PATIENCE: Duration = Duration::from_secs(5);
/// How long the thread may be silent before that is a problem.
const SILENT: Duration = Duration::from_secs(5);

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
    /// Those of earlier times, on the disk.
    pub past: Option<Arc<Past>>,
    /// The kernel's flow records.
    pub flows: Option<Source>,
    /// Egress that no pin tags and that the history does not have yet.
    pub untagged: Option<Pending>,
    /// To the daemon.
    pub requests: mpsc::Sender<Message>,
}

impl Shared {
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
    /// Where no thread can be started, or no timer be had for it.
    pub fn start(setup: Setup) -> io::Result<Self> {
        Self::start_with(setup, DAEMON_TIMEOUT)
    }

    /// As [`start`](Self::start), with a daemon that may take so long for an answer.
    pub(super) fn start_with(setup: Setup, daemon_timeout: Duration) -> io::Result<Self> {
        let Setup { path, groups, names, history, past, flows, untagged, requests } = setup;
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
            streams: Streams::start(Sources { history, past, flows, untagged })?,
            requests,
            daemon_timeout,
            heartbeat: Heartbeat::default(),
        });
        if let Err(error) = shared.bind() {
            error!("the control socket can't be made: {error}. It is tried again");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let alarm = {
            let _inside = runtime.enter();
            Alarm::new()?
        };
        let (end, ended) = oneshot::channel();
        let its_shared = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || runtime.block_on(serve(its_shared, wanted, alarm, ended)))?;
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
pub(crate) fn groups_of(groups: &ControlGroups) -> Vec<(String, Right)> {
    let names = |right| match right {
        Right::View => &groups.view,
        Right::Exemptions => &groups.exemptions,
        Right::Policy => &groups.policy,
        Right::Everything => &groups.everything,
        Right::People => &groups.people,
        Right::Canaries => &groups.canaries,
    };
    let of = |right| names(right).iter().map(move |name: &String| (name.clone(), right));
    Right::ALL.into_iter().flat_map(of).collect()
}

async fn serve(
    shared: Arc<Shared>,
    groups: Vec<(String, Right)>,
    mut alarm: Alarm,
    mut ended: oneshot::Receiver<()>,
) {
    tokio::spawn(resolve(Arc::clone(&shared), groups));
    let mut next_look = now_ns();
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
            () = alarm.at(next_look) => {
                next_look = now_ns() + EACH_SECOND;
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
