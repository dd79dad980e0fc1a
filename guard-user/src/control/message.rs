//! What connections have for the daemon.

use tokio::sync::oneshot;

use super::access::Peer;
use super::protocol::{Request, Response};
use super::refusals::Refusal;

/// What connections have for the daemon.
#[derive(Debug)]
pub enum Message {
    /// A request, from a peer that has the right to it.
    Asked(Box<Command>),
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
