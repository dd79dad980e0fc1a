//! `[metrics]`: where metrics are served.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where metrics are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// On TCP, at a loopback address.
    Loopback(SocketAddr),
    /// On a Unix socket, as an absolute path.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}
