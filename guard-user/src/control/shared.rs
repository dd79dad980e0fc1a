//! What the server's thread, its connections and the daemon's handle have in common.

use std::collections::BTreeMap;
use std::os::unix::net::UnixListener as StdListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tracing::{error, info, warn};

use super::access::{Access, Member};
use super::message::Message;
use super::places::Places;
use super::refusals::Refusals;
use super::right::Right;
use super::socket::{self, Identity, SocketError};
use super::streams::Streams;
use super::users::{LookupError, Names};
use crate::worker::Heartbeat;

/// What the thread shares with its connections and with the handle.
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) access: Mutex<Arc<Access>>,
    pub(super) socket: Mutex<Socket>,
    /// There is a new listener.
    pub(super) changed: Notify,
    /// Why groups have no number yet, by name and right.
    pub(super) unresolved: Mutex<BTreeMap<(String, Right), Unresolved>>,
    pub(super) places: Arc<Places>,
    pub(super) refusals: Mutex<Refusals>,
    pub(super) names: Names,
    pub(super) streams: Streams,
    pub(super) requests: mpsc::Sender<Message>,
    /// How long the daemon may take for an answer.
    pub(super) daemon_timeout: Duration,
    /// Of the thread.
    pub(super) heartbeat: Heartbeat,
}

/// The socket's file.
#[derive(Debug, Default)]
pub(super) struct Socket {
    /// Which file it is; `None` where there is none.
    pub(super) file: Option<Identity>,
    /// The listener, until the thread has it.
    pub(super) listener: Option<StdListener>,
    /// Why it could not be made, the last time.
    pub(super) error: Option<String>,
}

/// Why a group has no number yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unresolved {
    /// It is being looked up for the first time.
    Asked,
    /// The source of names knows no such group.
    Missing,
    /// There is no answer about it.
    Unanswered(LookupError),
}

impl Unresolved {
    /// What is to be said of this group.
    pub(super) fn words(&self, group: &str) -> String {
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

    pub(super) fn is_in_place(&self) -> bool {
        let file = lock(&self.socket).file;
        file.is_some() && file == Identity::at(&self.path)
    }

    /// Makes the socket, and has the thread listen on it.
    pub(super) fn bind(&self) -> Result<(), SocketError> {
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
    pub(super) fn keep_in_place(&self) {
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
    pub(super) fn admit(&self, member: Member) {
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
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nobody panics between two changes that belong together.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
