//! The client's side of the control socket, for the command line.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{ErrorKind, Request, Response};
use super::status::Status;
use super::{ANSWER_TIMEOUT, MAX_RESPONSE_BYTES, STATUS_TIMEOUT, TRANSFER_TIMEOUT};
use crate::exit::Exit;

/// Why there is no answer, or none that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no daemon answers on {socket}, which {there}. See whether it runs: `systemctl status borderguard`. Where it has another \
         socket, name that with `--socket PATH`: the one before, where `control.socket` was changed while it ran",
        socket = socket.display(),
        there = if *is_there { "is there, and nobody listens on it" } else { "is not there" }
    )]
    NoDaemon {
        /// The socket.
        socket: PathBuf,
        /// Whether there is such a file.
        is_there: bool,
    },
    /// The kernel lets this user not connect.
    #[error(
        "you may not use {socket}: be root, or join a group that `control.groups` names. If you are in one, the daemon \
         may not know its number yet: try again",
        socket = socket.display()
    )]
    NotPermitted {
        /// The socket.
        socket: PathBuf,
    },
    /// The connection broke.
    #[error("the connection to the daemon on {socket} failed: {source}", socket = socket.display())]
    Io {
        /// The socket.
        socket: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The daemon gave no answer in time.
    #[error(
        "the daemon on {socket} gave no answer within {seconds} seconds: what was asked may still be done. What is in the \
         kernel is enforced meanwhile. Ask `borderguard status` again; where that has no answer either, see what it waits for \
         (`journalctl -u borderguard`, a disk in `dmesg`), and start it anew: `systemctl restart borderguard`. The kernel \
         guards on throughout",
        socket = socket.display()
    )]
    TimedOut {
        /// The socket.
        socket: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The daemon ended, or closed the connection, before it answered.
    #[error(
        "the daemon on {socket} ended before it answered: what was asked may have been done. See `borderguard status`, or \
         `borderguard exemption show ID`, once it runs again",
        socket = socket.display()
    )]
    NoAnswer {
        /// The socket.
        socket: PathBuf,
    },
    /// What came is no response that this version knows.
    #[error(
        "the daemon on {socket} gave an answer that can't be read ({reason}): is it of another version?",
        socket = socket.display()
    )]
    Unreadable {
        /// The socket.
        socket: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The daemon refused.
    #[error("{message}")]
    Refused {
        /// What kind of error.
        kind: ErrorKind,
        /// What the daemon says.
        message: String,
        /// What is wrong with the input, by short names for programs.
        codes: Vec<String>,
    },
}

impl ClientError {
    /// What kind of error it is, for programs.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NoDaemon { .. } => "no-daemon",
            Self::NotPermitted { .. } => "not-permitted",
            Self::Io { .. } => "connection-failed",
            Self::TimedOut { .. } => "timed-out",
            Self::NoAnswer { .. } => "no-answer",
            Self::Unreadable { .. } => "unreadable-answer",
            Self::Refused { kind, .. } => kind.name(),
        }
    }

    /// The exit code that a command ends with.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::NoDaemon { .. } => Exit::NoDaemon,
            Self::NotPermitted { .. } | Self::Refused { kind: ErrorKind::NotPermitted, .. } => {
                Exit::NotPermitted
            }
            Self::Refused { kind: ErrorKind::BadInput | ErrorKind::BadRequest, .. } => Exit::BadInput,
            Self::Io { .. }
            | Self::NoAnswer { .. }
            | Self::TimedOut { .. }
            | Self::Unreadable { .. }
            | Self::Refused { .. } => Exit::Failed,
        }
    }
}

/// Bytes that are read at once: of a long answer, some lines.
const READ: usize = 64 << 10;

/// One exchange with the daemon.
#[derive(Debug)]
pub struct Exchange {
    socket: PathBuf,
    stream: BufReader<UnixStream>,
    waits: Option<Duration>,
}

impl Exchange {
    /// Connects and sends the request.
    ///
    /// # Errors
    /// [`ClientError`] where no daemon listens or this user may not.
    pub fn begin(socket: &Path, request: &Request) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(socket).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                let is_there = source.kind() == io::ErrorKind::ConnectionRefused;
                ClientError::NoDaemon { socket: socket.to_owned(), is_there }
            }
            io::ErrorKind::PermissionDenied => ClientError::NotPermitted { socket: socket.to_owned() },
            _ => ClientError::Io { socket: socket.to_owned(), source },
        })?;
        let mut exchange = Self {
            socket: socket.to_owned(),
            stream: BufReader::with_capacity(READ, stream),
            waits: Some(patience(request)),
        };
        exchange.send(request).map_err(|source| exchange.failed(source))?;
        Ok(exchange)
    }

    fn send(&mut self, request: &Request) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.set_write_timeout(Some(TRANSFER_TIMEOUT))?;
        stream.set_read_timeout(self.waits)?;
        let line = request.to_line()?;
        match stream.write_all(line.as_bytes()) {
            // The daemon may refuse before it has read all; its answer says why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }

    /// Waits for responses as long as it takes from now on.
    ///
    /// # Errors
    /// [`ClientError::Io`].
    pub fn wait_for_ever(&mut self) -> Result<(), ClientError> {
        self.waits = None;
        self.stream.get_ref().set_read_timeout(None).map_err(|source| self.failed(source))
    }

    /// The next response; `None` where the daemon has closed the connection.
    ///
    /// # Errors
    /// [`ClientError`]; an error response is [`ClientError::Refused`].
    pub fn response(&mut self) -> Result<Option<Response>, ClientError> {
        let mut line = Vec::new();
        let most = MAX_RESPONSE_BYTES as u64;
        let read = (&mut self.stream).take(most).read_until(b'\n', &mut line);
        match read.map_err(|source| self.failed(source))? {
            0 => return Ok(None),
            _ if line.last() != Some(&b'\n') => {
                return Err(self.unreadable("it ends within a line"));
            }
            _ => {}
        }
        match serde_json::from_slice(&line) {
            Ok(Response::Error { kind, message, codes }) => {
                Err(ClientError::Refused { kind, message, codes })
            }
            Ok(response) => Ok(Some(response)),
            Err(error) => Err(self.unreadable(&error.to_string())),
        }
    }

    /// The error for a response that does not answer the request.
    #[must_use]
    pub fn unexpected(&self) -> ClientError {
        unexpected(&self.socket)
    }

    fn unreadable(&self, reason: &str) -> ClientError {
        ClientError::Unreadable { socket: self.socket.clone(), reason: reason.to_owned() }
    }

    fn failed(&self, source: io::Error) -> ClientError {
        let socket = self.socket.clone();
        match (source.kind(), self.waits) {
            (io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut, Some(waited)) => {
                ClientError::TimedOut { socket, seconds: waited.as_secs() }
            }
            _ => ClientError::Io { socket, source },
        }
    }
}

/// How long an answer may take. The status takes 200 ms; who watches by it must hear of a daemon that is stopped.
const fn patience(request: &Request) -> Duration {
    match request {
        Request::Status {} => STATUS_TIMEOUT,
        _ => ANSWER_TIMEOUT,
    }
}

/// The error for a response that does not answer the request.
#[must_use]
pub fn unexpected(socket: &Path) -> ClientError {
    ClientError::Unreadable { socket: socket.to_owned(), reason: "it does not answer the request".to_owned() }
}

/// Asks for one response.
///
/// # Errors
/// [`ClientError`]; an error response is [`ClientError::Refused`].
pub fn ask(socket: &Path, request: &Request) -> Result<Response, ClientError> {
    let mut exchange = Exchange::begin(socket, request)?;
    exchange.response()?.ok_or_else(|| ClientError::NoAnswer { socket: socket.to_owned() })
}

/// Asks once for the status.
///
/// # Errors
/// [`ClientError`].
pub fn status(socket: &Path) -> Result<Box<Status>, ClientError> {
    match ask(socket, &Request::Status {})? {
        Response::Status { status } => Ok(status),
        _ => Err(unexpected(socket)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn without_a_daemon_the_error_names_the_socket_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        let error = ask(&socket, &Request::Status {}).unwrap_err();
        assert_eq!(error.exit(), Exit::NoDaemon);
        let text = error.to_string();
        assert!(text.contains(&format!("{}, which is not there", socket.display())), "{text}");
        for next in ["`systemctl status borderguard`", "`--socket PATH`"] {
            assert!(text.contains(next), "{text}");
        }
        drop(UnixListener::bind(&socket).unwrap());
        let error = ask(&socket, &Request::Status {}).unwrap_err();
        assert_eq!(error.exit(), Exit::NoDaemon);
        assert!(error.to_string().contains("which is there, and nobody listens on it"), "{error}");
    }

    fn answer_with(bytes: &'static [u8]) -> Result<Response, ClientError> {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            stream.write_all(bytes).unwrap();
        });
        let answer = ask(&socket, &Request::Reload {});
        server.join().unwrap();
        answer
    }

    #[test]
    fn a_daemon_that_does_not_answer_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        let _nobody_accepts = UnixListener::bind(&socket).unwrap();
        let mut exchange = Exchange::begin(&socket, &Request::Status {}).unwrap();
        let short = Duration::from_millis(50);
        exchange.stream.get_ref().set_read_timeout(Some(short)).unwrap();
        let error = exchange.response().unwrap_err();
        assert_eq!((error.kind(), error.exit()), ("timed-out", Exit::Failed));
        let text = error.to_string();
        for word in ["within 10 seconds", "borderguard status", "journalctl", "systemctl restart borderguard"]
        {
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn answers_are_told_apart() {
        let done = answer_with(b"{\"response\":\"done\",\"message\":\"m\",\"generation\":3}\n").unwrap();
        assert_eq!(done, Response::Done { message: "m".into(), generation: 3, exemptions: Vec::new() });
        let refused =
            answer_with(b"{\"response\":\"error\",\"kind\":\"bad-input\",\"message\":\"m\"}\n").unwrap_err();
        assert_eq!((refused.exit(), refused.to_string().as_str()), (Exit::BadInput, "m"));
        let gone = answer_with(b"").unwrap_err();
        assert!(matches!(gone, ClientError::NoAnswer { .. }), "{gone}");
        for bytes in [&b"{"[..], b"[]\n", b"{\"response\":\"new\"}\n", b"\xff\n"] {
            let error = answer_with(bytes).unwrap_err();
            assert!(matches!(error, ClientError::Unreadable { .. }), "{error}");
        }
    }
}
