//! The control socket: how the command line talks to the daemon.
//!
//! A Unix stream socket at `control.socket`. The client sends one [`Request`](protocol::Request) as a JSON
//! object on one line, of at most [`MAX_REQUEST_BYTES`] bytes; the daemon answers with one or more
//! [`Response`](protocol::Response) objects, a line each, and closes the connection. So the whole exchange
//! can be typed by hand:
//!
//! ```text
//! $ echo '{"request":"status"}' | socat - UNIX-CONNECT:/run/borderguard/control.sock
//! {"response":"status","status":{...}}
//! ```
//!
//! | request | its other keys | answer |
//! | --- | --- | --- |
//! | `status` | | one `status` |
//! | `events` | `follow`, `limit`, `format` | an `event` for each, oldest first, then `end`; with `follow` no end |
//! | `reload` | | `done`, or an `error` and the old generation stays live |
//! | `exemption-load` | `document`, `name` | `done` once the kernel judges by it, or an `error` |
//! | `exemption-list` | | one `exemptions` |
//! | `exemption-revoke` | `id`, `why` | `done` once no further packet passes by it, or an `error` |
//!
//! Who may connect is decided twice: by the socket's mode 0660 and group, and by the peer's credentials
//! (SO_PEERCRED, unix(7)) when it connects: root, the daemon's own user, or a member of `control.group`.

pub mod access;
pub mod client;
pub mod protocol;
pub mod server;
pub mod status;
#[cfg(test)]
mod tests;

use std::time::Duration;

/// Bytes of a request with its line break: an exemption document of 1 MiB, escaped, fits.
pub const MAX_REQUEST_BYTES: usize = 4 << 20;
/// Bytes of one response with its line break that a client takes.
pub const MAX_RESPONSE_BYTES: usize = 64 << 20;
/// How long a client may take to send its request, and the daemon to get rid of one line.
pub const TRANSFER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client waits for the answer: a reload with large databases takes seconds.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Clients that are served at once; one more is told to come back.
pub const MAX_CLIENTS: usize = 64;
