//! One connection: one request, and its answer.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, ORIGIN};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::refusal::{Refusal, Refusals};
use crate::metrics::family::Metric;
use crate::metrics::snapshot::Source;
use crate::metrics::text::{self, Format};

/// How long the header may take to come.
const HEADER: Duration = Duration::from_secs(5);
/// How long the whole of a connection may take.
const WHOLE: Duration = Duration::from_secs(20);
/// Bytes of a header.
const HEADER_BYTES: usize = 16 << 10;
/// Lines of a header.
const HEADER_LINES: usize = 64;

/// What requests are answered with.
pub(super) struct Answers {
    /// Whether it listens on TCP, where anybody's browser may be led to.
    pub(super) on_loopback: bool,
    /// Where the figures come from.
    pub(super) source: Source,
    /// How often there was another answer.
    pub(super) refusals: Refusals,
}

pub(super) async fn converse(answers: &Answers, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let service = service_fn(|request| async move { Ok::<_, Infallible>(answer(answers, &request).await) });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADER_LINES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(WHOLE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) if error.is_timeout() => answers.refusals.count(Refusal::Slow),
        Ok(Err(_)) => answers.refusals.count(Refusal::BadRequest),
        Err(_) => answers.refusals.count(Refusal::Slow),
    }
}

async fn answer(answers: &Answers, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let refuse = |refusal, status, why: &str| {
        answers.refusals.count(refusal);
        plain(status, why)
    };
    let is_foreign = answers.on_loopback && !names_this_host(request);
    if is_foreign || request.headers().contains_key(ORIGIN) {
        return refuse(Refusal::Foreign, StatusCode::FORBIDDEN, "ask for it by a loopback address");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = refuse(Refusal::Method, StatusCode::METHOD_NOT_ALLOWED, "GET alone");
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    if request.uri().path() != "/metrics" {
        return refuse(Refusal::Path, StatusCode::NOT_FOUND, "metrics are at /metrics");
    }
    let values = match answers.source.values().await {
        Ok(values) => values,
        Err(why) => return refuse(Refusal::NoFigures, StatusCode::SERVICE_UNAVAILABLE, why),
    };
    let mut values = (*values).clone();
    for (why, count) in answers.refusals.iter() {
        values.count(Metric::Refused, &[why], count);
    }
    let accept = request.headers().get_all(ACCEPT).iter().filter_map(|it| it.to_str().ok());
    let format = Format::accepted(&accept.collect::<Vec<_>>().join(","));
    let mut response = plain(StatusCode::OK, &text::write(&values, format));
    let media = hyper::header::HeaderValue::from_static(format.media_type());
    response.headers_mut().insert(CONTENT_TYPE, media);
    response
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    response
}

/// Whether the request is for a loopback name: a page on the web that has a name of its own lead here can't read.
fn names_this_host(request: &Request<Incoming>) -> bool {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let in_uri = request.uri().authority().is_none_or(|authority| is_loopback(authority.as_str()));
    in_uri && host.is_some_and(is_loopback) && request.headers().get_all(HOST).iter().count() == 1
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
