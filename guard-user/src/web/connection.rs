//! One connection: one request, and its answer. Everything about it is bounded.

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout;

use super::listener::Duplex;

/// How long the header may take to come.
const HEADER: Duration = Duration::from_secs(5);
/// How long the whole of a connection may take.
const WHOLE: Duration = Duration::from_secs(20);
/// Bytes of a header.
const HEADER_BYTES: usize = 16 << 10;
/// Lines of a header.
const HEADER_LINES: usize = 64;

/// How a connection ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It took too long.
    Slow,
    /// It is no request that can be read, or too large.
    BadRequest,
}

/// Serves one request.
///
/// # Errors
/// Why it got no answer.
pub async fn converse<F>(stream: impl Duplex, answer: impl Fn(Request<Incoming>) -> F) -> Result<(), Fault>
where
    F: Future<Output = Response<Full<Bytes>>>,
{
    let service = service_fn(|request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADER_LINES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(WHOLE, connection).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if error.is_timeout() => Err(Fault::Slow),
        Ok(Err(_)) => Err(Fault::BadRequest),
        Err(_) => Err(Fault::Slow),
    }
}
