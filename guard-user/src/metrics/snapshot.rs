//! The figures of this moment: the daemon is asked as by a client that may only look, and at most once a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;

use super::values::{self, Daemon, Values};
use crate::control::access::Peer;
use crate::control::protocol::{Request, Response};
use crate::control::right::{Right, Rights};
use crate::control::server::{Command, Message};

/// How long figures count as those of this moment.
const FRESH: Duration = Duration::from_secs(1);
/// How long the daemon may take: less than a scrape usually may.
const PATIENCE: Duration = Duration::from_secs(8);

/// Where the figures come from.
pub(super) struct Source {
    requests: mpsc::Sender<Message>,
    start: Timestamp,
    slow_turns: Arc<AtomicU64>,
    /// The last ones. Locked while they are read, so that many who wait cost one look.
    last: Mutex<Option<(Instant, Arc<Values>)>>,
}

impl Source {
    pub(super) fn new(requests: mpsc::Sender<Message>, start: Timestamp, slow_turns: Arc<AtomicU64>) -> Self {
        Self { requests, start, slow_turns, last: Mutex::default() }
    }

    /// The figures, not older than [`FRESH`].
    ///
    /// # Errors
    /// Why there are none: old ones would look like news.
    pub(super) async fn values(&self) -> Result<Arc<Values>, &'static str> {
        let late = || "the daemon does not answer in time";
        timeout(PATIENCE, self.read()).await.unwrap_or_else(|_| Err(late()))
    }

    async fn read(&self) -> Result<Arc<Values>, &'static str> {
        let mut last = self.last.lock().await;
        if let Some((_, values)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(Arc::clone(values));
        }
        let (answer, answered) = oneshot::channel();
        let peer = Peer {
            pid: Some(std::process::id()),
            uid: rustix::process::geteuid().as_raw(),
            user: None,
            gid: rustix::process::getegid().as_raw(),
            rights: Rights::default().with(Right::View),
            is_root: false,
        };
        let command = Command { request: Request::Status {}, peer, answer };
        // A queue that is full is one of people who wait: nothing is added to it.
        self.requests
            .try_send(Message::Asked(Box::new(command)))
            .map_err(|_| "the daemon has too many requests")?;
        let Ok(Response::Status { status }) = answered.await else {
            return Err("the daemon did not answer");
        };
        let daemon = Daemon {
            start: self.start,
            read: Timestamp::now(),
            slow_turns: self.slow_turns.load(Ordering::Relaxed),
        };
        let values = Arc::new(values::of(&status, daemon));
        *last = Some((Instant::now(), Arc::clone(&values)));
        Ok(values)
    }
}
