//! Whether a request is for this host by a loopback name: a page on the web that has a name of its own lead here (DNS
//! rebinding) can't read anything.

use std::net::{IpAddr, Ipv6Addr};

use hyper::Request;
use hyper::header::HOST;

/// Whether the request names a loopback name alone, in its URI and in its one `Host` header (RFC 9112, section 3.2).
pub fn names_this_host<B>(request: &Request<B>) -> bool {
    let in_uri = request.uri().authority().is_none_or(|authority| is_loopback(authority.as_str()));
    in_uri && host(request).is_some_and(is_loopback)
}

/// The one `Host` header; none where there are several.
pub fn host<B>(request: &Request<B>) -> Option<&str> {
    let mut all = request.headers().get_all(HOST).iter();
    let host = all.next()?.to_str().ok()?;
    all.next().is_none().then_some(host)
}

/// Whether this is `localhost` or a loopback address, with or without a port (RFC 3986, section 3.2).
fn is_loopback(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        let has_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return has_port && address.parse::<Ipv6Addr>().is_ok_and(|it| it.to_canonical().is_loopback());
    }
    let (name, has_port) = match host.split_once(':') {
        Some((name, port)) => (name, is_port(port)),
        None => (host, true),
    };
    has_port
        && (name.eq_ignore_ascii_case("localhost")
            || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()))
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_of_this_host() {
        for host in ["localhost", "LOCALHOST:9467", "127.0.0.1:9467", "127.1.2.3", "[::1]:9467", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "example.org:9467",
            "localhost.example.org",
            "127.0.0.1.example.org",
            "127.0.0.1:x",
            "user@127.0.0.1",
            "[::1",
            "[::1]x",
            "[2001:db8::1]:9467",
            "192.0.2.10:9467",
            "::1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
