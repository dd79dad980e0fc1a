//! HTTP/1 on loopback or on a Unix socket, for metrics and for the page: where it listens, which requests are of this
//! host, and the bounds of a connection.

pub mod connection;
pub mod host;
pub mod listener;
