//! The key of `[metrics]`, for the [table of keys](super::keys::KEYS), and its check.

use std::net::SocketAddr;

use super::error::ErrorKind;
use super::metrics::Listen;
use super::schema::{Key, Kind, Need};
use super::values;

pub(super) const LISTEN: Key = Key {
    section: "metrics",
    name: "listen",
    kind: Kind::Text,
    need: Need::Required,
    example: r#""127.0.0.1:9467""#,
    meaning: "A loopback address with a port, which every user of this host can read, or the absolute path of a Unix \
              socket, for those who may use the control socket. Another address is refused.",
};

/// A loopback address with a port, or a socket's path.
pub(super) fn listen(text: &str) -> Result<Listen, ErrorKind> {
    if text.starts_with('/') {
        return values::socket(text).map(Listen::Unix);
    }
    let bad = |reason| Err(ErrorKind::BadListen { text: text.to_owned(), reason });
    match text.parse::<SocketAddr>() {
        Ok(address) if !address.ip().to_canonical().is_loopback() => {
            bad("other hosts could reach it, and they would learn what is pinned here")
        }
        Ok(address) if address.port() == 0 => bad("port 0 is another one at each start"),
        Ok(address) => Ok(Listen::Loopback(address)),
        Err(_) => bad("it is neither an IP address with a port nor an absolute path"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_sockets_are_taken() {
        for text in ["127.0.0.1:9467", "127.9.9.9:1", "[::1]:9467", "[::ffff:127.0.0.1]:9467"] {
            assert_eq!(listen(text), Ok(Listen::Loopback(text.parse().unwrap())));
        }
        assert_eq!(listen("/run/m.sock"), Ok(Listen::Unix("/run/m.sock".into())));
        for text in
            ["0.0.0.0:9467", "[::]:9467", "192.0.2.10:9467", "[::ffff:192.0.2.10]:9467", "127.0.0.1:0"]
        {
            assert!(matches!(listen(text), Err(ErrorKind::BadListen { .. })), "{text}");
        }
        for text in ["", "localhost:9467", ":9467", "127.0.0.1", "9467", "run/m.sock"] {
            assert!(matches!(listen(text), Err(ErrorKind::BadListen { .. })), "{text}");
        }
    }
}
