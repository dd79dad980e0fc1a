//! Responses on their way to a client.

use std::io;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::time::timeout;

use super::protocol::{ErrorKind, Response};
use super::{MAX_CLIENTS, TRANSFER_TIMEOUT};

/// The answer to a connection for which there is no place.
pub(super) fn busy() -> Response {
    Response::error(ErrorKind::Busy, format!("{MAX_CLIENTS} clients are connected already: try again later"))
}

/// Sends what a socket takes at once: a new one takes a short response whole.
pub(super) fn send_now(stream: &UnixStream, response: &Response) {
    let _it_has_gone = stream.try_write(response.to_line().as_bytes());
}

pub(super) async fn send(writer: &mut OwnedWriteHalf, response: &Response) -> io::Result<()> {
    write(writer, response.to_line().as_bytes()).await
}

pub(super) async fn write(writer: &mut OwnedWriteHalf, bytes: &[u8]) -> io::Result<()> {
    timeout(TRANSFER_TIMEOUT, writer.write_all(bytes)).await.map_err(|_| io::ErrorKind::TimedOut)?
}
