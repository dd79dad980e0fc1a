//! One connection: a request, checked for size, time and the peer's right to it, and its answer.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::oneshot;
use tokio::time::{timeout, timeout_at};
use tracing::warn;

use super::access::Peer;
use super::line::parse_request;
use super::message::{Command, Message};
use super::places::{Kind, Place};
use super::protocol::{ErrorKind, Request, Response};
use super::refusals::{Refusal, Step};
use super::right::{Right, needed};
use super::shared::Shared;
use super::streams::{Asked, Wanted};
use super::users::{SLOW, user_words};
use super::wire::{busy, send, send_now};
use super::{MAX_REQUEST_BYTES, MAX_VIEW_REQUEST_BYTES, TRANSFER_TIMEOUT};

/// How long a load waits for the name of the user who asks for it. Without the name it can't be known whether
/// that user has approved the exemption, too.
const LOADER_PATIENCE: Duration = Duration::from_secs(10);

/// A connection that has a place.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Peer,
    pub(super) place: Place,
}

impl Connection {
    pub(super) async fn converse(mut self, stream: UnixStream) -> io::Result<()> {
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        let most = match Kind::of(&self.peer) {
            Kind::Viewer => MAX_VIEW_REQUEST_BYTES,
            Kind::Changer | Kind::Root => MAX_REQUEST_BYTES,
        };
        let request = tokio::select! {
            request = read_request(&mut reader, most) => request,
            () = self.place.lost() => return send(&mut writer, &busy()).await,
        };
        let request = match request {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(refusal) => return send(&mut writer, &refusal).await,
        };
        if !self.place.keep() {
            return send(&mut writer, &busy()).await;
        }
        let asked_at = tokio::time::Instant::now();
        let (name, right) = needed(&request);
        if !self.peer.rights.include(right) {
            self.peer.user = self.user(SLOW).await;
            let refusal = Refusal { peer: self.peer, request: Some(name), needed: right, left_out: 0 };
            return send(&mut writer, &self.shared.refuse(refusal)).await;
        }
        if let Request::Events { follow, limit, format, filter, brief } = request {
            let sees_people = self.peer.rights.include(Right::People);
            // Else it could be asked for each name whether it is there.
            if filter.process.is_some() && !sees_people {
                self.peer.user = self.user(SLOW).await;
                let request = Some("events --process");
                let refusal = Refusal { peer: self.peer, request, needed: Right::People, left_out: 0 };
                return send(&mut writer, &self.shared.refuse(refusal)).await;
            }
            let stream = reader.into_inner().reunite(writer).map_err(io::Error::other)?;
            let wanted = Wanted { follow, limit, format, filter, brief, sees_people };
            return self.hand_over(stream, Asked::Events(Box::new(wanted))).await;
        }
        if let Request::Flows { brief } = request {
            let sees_people = self.peer.rights.include(Right::People);
            let stream = reader.into_inner().reunite(writer).map_err(io::Error::other)?;
            return self.hand_over(stream, Asked::Flows { brief, sees_people }).await;
        }
        let response = match &request {
            Request::ExemptionLoad { .. } => match self.loader().await {
                Ok(user) => {
                    self.peer.user = user;
                    ask_daemon(request, self.peer, &self.shared, asked_at).await
                }
                Err(refusal) => refusal,
            },
            _ => {
                self.peer.user = self.user(SLOW).await;
                ask_daemon(request, self.peer, &self.shared, asked_at).await
            }
        };
        send(&mut writer, &response).await
    }

    /// Has the thread of readers serve the peer, where there is room for it.
    async fn hand_over(&self, stream: UnixStream, asked: Asked) -> io::Result<()> {
        match self.shared.streams.take(stream, Kind::of(&self.peer), asked)? {
            Some(stream) => send(&mut stream.into_split().1, &busy()).await,
            None => Ok(()),
        }
    }

    /// The peer's name, for the record.
    async fn user(&self, patience: Duration) -> Option<Arc<str>> {
        self.shared.names.name_of(self.peer.uid, patience).await.map(Arc::from)
    }

    /// The peer's name, without which nothing is loaded.
    async fn loader(&self) -> Result<Option<Arc<str>>, Response> {
        let uid = self.peer.uid;
        match self.shared.names.require(uid, LOADER_PATIENCE).await {
            Ok(name) => Ok(name.map(Arc::from)),
            Err(error) => {
                warn!(uid, %error, "an exemption was not loaded, because the user's name can't be looked up");
                let message = format!(
                    "nothing was loaded: the name of the user {uid} is needed to tell who loads from who approves, \
                     and can't be looked up: {error}. Mend the source of names and try again"
                );
                Err(Response::error(ErrorKind::Failed, message))
            }
        }
    }
}

impl Shared {
    /// The message to a user who lacks the right to do this, or whose group has no number yet.
    pub(super) fn refusal_words(&self, user: &str, request: &str, needed: Right) -> String {
        let mut message = self.access().refusal(user, request, needed);
        if let Some(groups) = self.looked_up(needed) {
            message.push_str(&format!(
                ". Members of {groups} have it as soon as the source of names (nsswitch.conf) gives the group's \
                 number: if you are one, try again"
            ));
        }
        message
    }

    /// Takes up a refusal for the record, and returns the answer to the peer.
    pub(super) fn refuse(self: &Arc<Self>, refusal: Refusal) -> Response {
        let Refusal { peer, request, needed, .. } = &refusal;
        let user = user_words(peer.uid, peer.user.as_deref());
        let message = self.refusal_words(&user, request.unwrap_or("the control socket"), *needed);
        let step = self.with_refusals(|refusals| refusals.take(refusal, Instant::now()));
        match step {
            Step::Tell(refusal) => self.record(refusal),
            Step::Wait(until, key) => {
                let shared = Arc::clone(self);
                tokio::spawn(async move {
                    tokio::time::sleep_until(until.into()).await;
                    if let Some(held) = shared.with_refusals(|refusals| refusals.held(key, Instant::now())) {
                        shared.record(held);
                    }
                });
            }
            Step::Counted => {}
        }
        Response::error(ErrorKind::NotPermitted, message)
    }

    /// The answer to a peer that has no right at all. Nothing is read from it, and nothing waits for it.
    pub(super) fn turn_away(self: &Arc<Self>, stream: &UnixStream, mut peer: Peer) {
        peer.user = self.names.known(peer.uid).map(Arc::from);
        let refusal = Refusal { peer, request: None, needed: Right::View, left_out: 0 };
        send_now(stream, &self.refuse(refusal));
    }

    /// Has the daemon record a refusal: at most one a second for each user.
    fn record(self: &Arc<Self>, refusal: Refusal) {
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let uid = refusal.peer.uid;
            let sent = timeout(TRANSFER_TIMEOUT, shared.requests.send(Message::Refused(refusal))).await;
            if !matches!(sent, Ok(Ok(()))) {
                warn!(uid, "a user was refused on the control socket, and it could not be recorded");
            }
        });
    }
}

/// `None` where the client went without a request.
async fn read_request(
    reader: &mut BufReader<OwnedReadHalf>,
    most: usize,
) -> Result<Option<Request>, Response> {
    let bad = |message: String| Response::error(ErrorKind::BadRequest, message);
    let mut line = Vec::new();
    let mut limited = reader.take(most as u64);
    match timeout(TRANSFER_TIMEOUT, limited.read_until(b'\n', &mut line)).await {
        Err(_) => Err(bad(format!("no whole request came within {} seconds", TRANSFER_TIMEOUT.as_secs()))),
        Ok(Err(error)) => Err(bad(format!("the request can't be read: {error}"))),
        Ok(Ok(0)) => Ok(None),
        Ok(Ok(_)) if line.len() >= most && line.last() != Some(&b'\n') => {
            Err(bad(format!("the request is longer than {most} bytes")))
        }
        Ok(Ok(_)) => parse_request(&line).map(Some),
    }
}

/// The daemon's answer, which is waited for so long from `asked_at` on: what hangs must not keep a place for ever.
async fn ask_daemon(
    request: Request,
    peer: Peer,
    shared: &Shared,
    asked_at: tokio::time::Instant,
) -> Response {
    let ending = || Response::error(ErrorKind::Busy, "the daemon is ending; nothing was done");
    let none = |what: &str| {
        let seconds = shared.daemon_timeout.as_secs_f32();
        Response::error(ErrorKind::Failed, format!("the daemon gave no answer within {seconds} s: {what}"))
    };
    let deadline = asked_at + shared.daemon_timeout;
    let (answer, answered) = oneshot::channel();
    let command = Command { request, peer, answer };
    match timeout_at(deadline, shared.requests.send(Message::Asked(Box::new(command)))).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return ending(),
        Err(_) => return none("it takes no requests at the moment, and nothing was done. Try again later"),
    }
    match timeout_at(deadline, answered).await {
        // It was taken up, and the daemon ends without having said what came of it.
        Ok(answer) => answer.unwrap_or_else(|_| {
            let message = "the daemon is ending: what was asked for may have been done. Look with `borderguard status` \
                           once it runs again";
            Response::error(ErrorKind::Failed, message)
        }),
        Err(_) => none("what was asked for may still be done. Look with `borderguard status`"),
    }
}
