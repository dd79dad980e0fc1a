//! The control socket: how the command line talks to the daemon.
//!
//! A Unix stream socket at `control.socket`. The client sends one [`Request`](protocol::Request) as a JSON
//! object on one line, of at most [`MAX_REQUEST_BYTES`] bytes; the daemon answers with one or more
//! [`Response`](protocol::Response) objects, a line each, and closes the connection. So the whole exchange
//! can be typed by hand; what changes something has the version of the requests too, `"api":1`
//! ([`line::API`]):
//!
//! ```text
//! $ echo '{"request":"status"}' | socat - UNIX-CONNECT:/run/borderguard/control.sock
//! {"response":"status","status":{...}}
//! ```
//!
//! | request | its other keys | answer |
//! | --- | --- | --- |
//! | `status` | | one `status` |
//! | `events` | `follow`, `limit`, `format`, `brief` | an `event` for each, oldest first, then `end`; with `follow` no end |
//! | `flows` | `brief` | `flows`, a `flow` for each flow record of the kernel, then `end`; with `brief` a `brief` for many |
//! | `trace` | `id`, `begin` | one `trace` |
//! | `shadow` | `id`, `begin` | one `shadow` |
//! | `reload` | | `done`, or an `error` and the old generation stays live |
//! | `exemption-load` | `document`, `name` | `done` once the kernel judges by it, or an `error` |
//! | `exemption-list` | | one `exemptions` |
//! | `exemption-revoke` | `id`, `why` | `done` once no further packet passes by it, or an `error` |
//!
//! Who may do what is decided by the peer's credentials when it connects (SO_PEERCRED, unix(7)): root and the
//! daemon's own user may do everything, and the members of the Unix groups in `[control.groups]` what
//! [`right::needed`] says. The socket's mode keeps others away where it can. A refusal says which right is
//! needed and who has it, and goes to the daemon to be recorded.

pub mod access;
pub mod apply;
mod bypass;
pub mod client;
mod connection;
mod error_kind;
mod event_format;
pub mod line;
mod message;
pub mod peer;
mod places;
mod protect;
pub mod protocol;
pub mod refusals;
pub mod right;
pub mod server;
pub mod shadow;
mod shared;
mod signed;
pub mod socket;
pub mod status;
mod streams;
#[cfg(test)]
mod tests;
pub mod trace;
pub mod users;
mod wire;

use std::time::Duration;

/// Bytes of a request with its line break: an exemption document of 1 MiB, escaped, fits.
pub const MAX_REQUEST_BYTES: usize = 4 << 20;
/// Bytes of one response with its line break that a client takes.
pub const MAX_RESPONSE_BYTES: usize = 64 << 20;
/// How long a client may take to send its request, and the daemon to get rid of one line.
pub const TRANSFER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client waits for the answer: a reload with large databases takes seconds.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a client waits for the status.
pub const STATUS_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the daemon may take for its answer before the client is told that there is none, and its place is free
/// for another one: in time for a client that waits for [`ANSWER_TIMEOUT`].
pub const DAEMON_TIMEOUT: Duration = Duration::from_secs(55);
/// Bytes of a request with its line break from a peer that may only look.
pub const MAX_VIEW_REQUEST_BYTES: usize = 64 << 10;
/// Clients that are served at once, and as many that read events, of those who may only look, of those who may
/// change something, and of root. Where there is one more, the longest connected one that has not asked for
/// anything gives way; where each has, the new one is told to come back.
pub const MAX_CLIENTS: usize = 64;
