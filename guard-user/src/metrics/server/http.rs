//! One connection: one request, and its answer.

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, ORIGIN};
use hyper::{Method, Request, Response, StatusCode};

use super::refusal::{Refusal, Refusals};
use crate::metrics::family::Metric;
use crate::metrics::snapshot::Source;
use crate::metrics::text::{self, Format};
use crate::web::connection::{self, Fault};
use crate::web::host::names_this_host;
use crate::web::listener::Duplex;

/// What requests are answered with.
pub(super) struct Answers {
    /// Whether it listens on TCP, where anybody's browser may be led to.
    pub(super) on_loopback: bool,
    /// Where the figures come from.
    pub(super) source: Source,
    /// How often there was another answer.
    pub(super) refusals: Refusals,
}

pub(super) async fn converse(answers: &Answers, stream: impl Duplex) {
    let ended = connection::converse(stream, |request| async move { answer(answers, &request).await }).await;
    match ended {
        Ok(()) => {}
        Err(Fault::Slow) => answers.refusals.count(Refusal::Slow),
        Err(Fault::BadRequest) => answers.refusals.count(Refusal::BadRequest),
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
