//! The daemon's side of the control socket.
//!
//! Each connection is a task of its own that reads one request, checked for size, time and the peer's
//! right to ask. Requests that need the kernel go to the daemon's loop, one after the other; events are
//! read from the history directly, so that a slow follower holds nobody up.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::access::{Access, Peer};
use super::peer::Credentials;
use super::protocol::{ErrorKind, EventFormat, Request, Response, parse_request};
use super::refusals::{Refusal, Refusals, Step};
use super::right::{Right, needed};
use super::socket::{self, SocketError};
use super::users::user_words;
use super::{ANSWER_TIMEOUT, MAX_CLIENTS, MAX_REQUEST_BYTES, TRANSFER_TIMEOUT};
use crate::config::policy::ControlGroups;
use crate::events::history::History;

/// Events that are rendered at once for one client.
const BATCH: usize = 256;

/// What connections have for the daemon's loop.
#[derive(Debug)]
pub enum Message {
    /// A request, from a peer that has the right to it.
    Asked(Command),
    /// A request was refused: to be recorded. They come at most once a second for each user, see
    /// [`Refusals`].
    Refused(Refusal),
}

/// A request on its way to the daemon's loop.
#[derive(Debug)]
pub struct Command {
    /// What is asked.
    pub request: Request,
    /// Who asks.
    pub peer: Peer,
    /// Where the answer goes; nobody may be there any more.
    pub answer: oneshot::Sender<Response>,
}

/// What connections work with.
#[derive(Clone, Debug)]
pub struct Desk {
    /// To the daemon's loop.
    pub commands: mpsc::Sender<Message>,
    /// The events.
    pub history: Arc<History>,
}

/// The listening socket; its file is removed on drop.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    access: Arc<Access>,
    /// Places of those who may only look: they can't keep those out who may change something.
    viewers: Arc<Semaphore>,
    changers: Arc<Semaphore>,
    refusals: Arc<Mutex<Refusals>>,
}

impl Server {
    /// Makes the socket. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn bind(path: &Path, groups: &ControlGroups) -> Result<Self, SocketError> {
        Self::bind_for(path, Access::new(groups)?)
    }

    /// Makes the socket for this access. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn bind_for(path: &Path, access: Access) -> Result<Self, SocketError> {
        let listener = socket::bind(path, &access)?;
        let io = |source| SocketError::Io { what: "listen on", path: path.to_owned(), source };
        listener.set_nonblocking(true).map_err(io)?;
        let listener = UnixListener::from_std(listener).map_err(io)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            access: Arc::new(access),
            viewers: Arc::new(Semaphore::new(MAX_CLIENTS)),
            changers: Arc::new(Semaphore::new(MAX_CLIENTS)),
            refusals: Arc::default(),
        })
    }

    /// The socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Serves one client after the other, for ever, each in a task of its own.
    pub async fn serve(&self, desk: &Desk) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => self.welcome(stream, desk),
                Err(error) => {
                    // Out of file descriptors, most likely: not a loop that burns a CPU.
                    warn!(%error, "a client could not be accepted on the control socket");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn welcome(&self, stream: UnixStream, desk: &Desk) {
        let peer = match Credentials::of(&stream) {
            Ok(credentials) => self.access.peer(&credentials),
            Err(error) => {
                warn!(%error, "the kernel does not say who uses the control socket, so it is refused");
                return;
            }
        };
        let places = match peer.rights.iter().all(|right| right == Right::View) {
            true => &self.viewers,
            false => &self.changers,
        };
        let place = Arc::clone(places).try_acquire_owned();
        let porter = Porter {
            access: Arc::clone(&self.access),
            refusals: Arc::clone(&self.refusals),
            desk: desk.clone(),
        };
        tokio::spawn(async move {
            let result = match place {
                _ if peer.rights.is_empty() => porter.turn_away(stream, peer).await,
                Ok(_place) => porter.converse(stream, peer).await,
                Err(_) => {
                    let message = format!("{MAX_CLIENTS} clients are connected already: try again later");
                    let (_, mut writer) = stream.into_split();
                    send(&mut writer, &Response::error(ErrorKind::Busy, message)).await
                }
            };
            if let Err(error) = result {
                debug!(%error, "a client of the control socket went away");
            }
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _removed_by_another = std::fs::remove_file(&self.path);
    }
}

/// What one connection has at hand.
#[derive(Clone, Debug)]
struct Porter {
    access: Arc<Access>,
    refusals: Arc<Mutex<Refusals>>,
    desk: Desk,
}

impl Porter {
    async fn converse(self, stream: UnixStream, peer: Peer) -> io::Result<()> {
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        let request = match read_request(&mut reader).await {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(refusal) => return send(&mut writer, &refusal).await,
        };
        let (name, right) = needed(&request);
        if !peer.rights.include(right) {
            return self
                .refuse(&mut writer, Refusal { peer, request: Some(name), needed: right, left_out: 0 })
                .await;
        }
        match request {
            Request::Events { follow, limit, format } => {
                tell_events(&mut reader, &mut writer, &self.desk.history, follow, limit, format).await
            }
            request => {
                let response = ask_daemon(request, peer, &self.desk).await;
                send(&mut writer, &response).await
            }
        }
    }

    /// Who may not even look is not read from: anybody may connect where there are several groups.
    async fn turn_away(self, stream: UnixStream, peer: Peer) -> io::Result<()> {
        let (_reader, mut writer) = stream.into_split();
        self.refuse(&mut writer, Refusal { peer, request: None, needed: Right::View, left_out: 0 }).await
    }

    async fn refuse(&self, writer: &mut OwnedWriteHalf, refusal: Refusal) -> io::Result<()> {
        let Refusal { peer, request, needed, .. } = refusal;
        // A name may come from a server in the network, which must not hold up the daemon.
        let user = tokio::task::spawn_blocking(move || user_words(peer.uid)).await;
        let user = user.unwrap_or_else(|_| peer.uid.to_string());
        let message = self.access.refusal(&user, request.unwrap_or("the control socket"), needed);
        let step = self.with_refusals(|refusals| refusals.take(refusal, Instant::now()));
        let sent = send(writer, &Response::error(ErrorKind::NotPermitted, message)).await;
        match step {
            Step::Tell(refusal) => self.tell(refusal).await,
            Step::Wait(until, key) => {
                let porter = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep_until(until.into()).await;
                    if let Some(held) = porter.with_refusals(|refusals| refusals.held(key, Instant::now())) {
                        porter.tell(held).await;
                    }
                });
            }
            Step::Counted => {}
        }
        sent
    }

    fn with_refusals<T>(&self, act: impl FnOnce(&mut Refusals) -> T) -> T {
        act(&mut self.refusals.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn tell(&self, refusal: Refusal) {
        let uid = refusal.peer.uid;
        let told = timeout(ANSWER_TIMEOUT, self.desk.commands.send(Message::Refused(refusal))).await;
        if !matches!(told, Ok(Ok(()))) {
            warn!(uid, "a user was refused on the control socket, and it could not be recorded");
        }
    }
}

/// `None` where the client went without a request.
async fn read_request(reader: &mut BufReader<OwnedReadHalf>) -> Result<Option<Request>, Response> {
    let bad = |message: String| Response::error(ErrorKind::BadRequest, message);
    let mut line = Vec::new();
    let mut limited = reader.take(MAX_REQUEST_BYTES as u64);
    match timeout(TRANSFER_TIMEOUT, limited.read_until(b'\n', &mut line)).await {
        Err(_) => Err(bad(format!("no whole request came within {} seconds", TRANSFER_TIMEOUT.as_secs()))),
        Ok(Err(error)) => Err(bad(format!("the request can't be read: {error}"))),
        Ok(Ok(0)) => Ok(None),
        Ok(Ok(_)) if line.len() >= MAX_REQUEST_BYTES && line.last() != Some(&b'\n') => {
            Err(bad(format!("the request is longer than {MAX_REQUEST_BYTES} bytes")))
        }
        Ok(Ok(_)) => parse_request(&line).map(Some),
    }
}

async fn ask_daemon(request: Request, peer: Peer, desk: &Desk) -> Response {
    let ending = || Response::error(ErrorKind::Busy, "the daemon is ending; nothing was done");
    let (answer, answered) = oneshot::channel();
    let asked =
        timeout(ANSWER_TIMEOUT, desk.commands.send(Message::Asked(Command { request, peer, answer }))).await;
    if !matches!(asked, Ok(Ok(()))) {
        return ending();
    }
    answered.await.unwrap_or_else(|_| ending())
}

async fn tell_events(
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &mut OwnedWriteHalf,
    history: &History,
    follow: bool,
    limit: Option<usize>,
    format: EventFormat,
) -> io::Result<()> {
    let mut told = history.subscribe();
    let mut next = history.first_of_last(limit);
    // Without `follow` what comes while the rest is sent is not sent: else it might never end.
    let end = if follow { u64::MAX } else { history.next_sequence() };
    loop {
        let (missed, events) = history.from(next, BATCH.min(end.saturating_sub(next) as usize));
        if missed > 0 {
            send(writer, &Response::Missed { events: missed }).await?;
        }
        next += missed + events.len() as u64;
        let mut lines = String::new();
        for event in &events {
            let line = match format {
                EventFormat::Text => event.to_text(),
                EventFormat::Json => event.to_json(),
            };
            lines.push_str(&Response::Event { line }.to_line());
        }
        if !lines.is_empty() {
            write(writer, lines.as_bytes()).await?;
            continue;
        }
        if next >= end {
            return send(writer, &Response::End {}).await;
        }
        let mut byte = [0];
        tokio::select! {
            changed = told.changed() => if changed.is_err() {
                return send(writer, &Response::End {}).await;
            },
            // A client that closes its end, or sends something that nobody asked for, is done.
            _ = reader.read(&mut byte) => return Ok(()),
        }
    }
}

async fn send(writer: &mut OwnedWriteHalf, response: &Response) -> io::Result<()> {
    write(writer, response.to_line().as_bytes()).await
}

async fn write(writer: &mut OwnedWriteHalf, bytes: &[u8]) -> io::Result<()> {
    timeout(TRANSFER_TIMEOUT, writer.write_all(bytes)).await.map_err(|_| io::ErrorKind::TimedOut)?
}
