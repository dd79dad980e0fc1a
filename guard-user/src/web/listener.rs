//! Where it listens, and who comes.

use std::io;
use std::path::Path;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::config::metrics::Listen;
use crate::control::access::Access;
use crate::control::peer::Credentials;
use crate::control::right::Right;
use crate::control::socket::{self, Identity};

/// A socket that waits for others.
#[derive(Debug)]
pub enum Listener {
    /// On TCP.
    Tcp(TcpListener),
    /// On a Unix socket, with the file that it has.
    Unix(UnixListener, Option<Identity>),
}

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// By TCP.
    Tcp(TcpStream),
    /// By a Unix socket.
    Unix(UnixStream),
}

/// What a connection is read from and written to, whatever it is.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

impl Listener {
    /// Listens there; a Unix socket's file is open to those with this access.
    ///
    /// # Errors
    /// Why it can't.
    pub async fn bind(listen: &Listen, access: &Access) -> Result<Self, String> {
        match listen {
            Listen::Loopback(address) => {
                TcpListener::bind(address).await.map(Self::Tcp).map_err(|error| error.to_string())
            }
            Listen::Unix(path) => bind_unix(path, access),
        }
    }

    /// Whether it can still be reached there: a Unix socket's file may be gone, or another one's.
    #[must_use]
    pub fn is_in_place(&self, listen: &Listen) -> bool {
        match (listen, self) {
            (Listen::Unix(path), Self::Unix(_, file)) => file.is_some() && *file == Identity::at(path),
            _ => true,
        }
    }

    /// Removes a Unix socket's file, where it is this one's.
    pub fn remove(&self, listen: &Listen) {
        if let (Listen::Unix(path), Self::Unix(..)) = (listen, self)
            && self.is_in_place(listen)
        {
            let _removed_by_another = std::fs::remove_file(path);
        }
    }
}

/// The next connection; never one where there is no listener.
///
/// # Errors
/// What the kernel says, mostly that there are no file descriptors left.
pub async fn accept(listener: Option<&Listener>) -> io::Result<Stream> {
    match listener {
        Some(Listener::Tcp(listener)) => listener.accept().await.map(|(stream, _)| Stream::Tcp(stream)),
        Some(Listener::Unix(listener, _)) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
        None => std::future::pending().await,
    }
}

impl Stream {
    /// Whether its user may look, by this access. Who comes by TCP is not known: true.
    #[must_use]
    pub fn may_look(&self, access: &Access) -> bool {
        match self {
            Self::Tcp(_) => true,
            Self::Unix(stream) => Credentials::of(stream)
                .is_ok_and(|credentials| access.peer(&credentials).rights.include(Right::View)),
        }
    }

    /// The connection to read from and to write to.
    #[must_use]
    pub fn duplex(self) -> Box<dyn Duplex> {
        match self {
            Self::Tcp(stream) => Box::new(stream),
            Self::Unix(stream) => Box::new(stream),
        }
    }
}

fn bind_unix(path: &Path, access: &Access) -> Result<Listener, String> {
    let listener = socket::bind(path, access).map_err(|error| error.to_string())?;
    let listener = listener.set_nonblocking(true).and_then(|()| UnixListener::from_std(listener));
    listener.map(|it| Listener::Unix(it, Identity::at(path))).map_err(|error| error.to_string())
}
