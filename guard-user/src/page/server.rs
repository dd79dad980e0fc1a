//! Serves the page until it is to end, with what the daemon says meanwhile.

use std::io::Write;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION,
    REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Request, Response, StatusCode};
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::gate::{Admission, Gate, Part};
use super::render;
use crate::config::metrics::Listen;
use crate::control::access::Access;
use crate::live::feed::News;
use crate::live::known::Known;
use crate::web::connection::converse;
use crate::web::listener::{Listener, accept};

/// Connections at once.
const PLACES: usize = 32;
/// After a connection that could not be accepted.
const AGAIN: Duration = Duration::from_millis(100);

/// What requests are answered with.
struct Answers {
    gate: Gate,
    known: Arc<Mutex<Known>>,
}

/// Listens, says where, and serves until SIGTERM, SIGINT or SIGHUP.
///
/// # Errors
/// Where it can't listen there, or `out` can't be written.
pub fn run(listen: &Listen, news: Receiver<News>, out: &mut impl Write) -> Result<()> {
    let known = Arc::new(Mutex::new(Known { now: Timestamp::now(), ..Known::default() }));
    let its_known = Arc::clone(&known);
    std::thread::Builder::new().name("news".to_owned()).spawn(move || take(&news, &its_known))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(listen, known, out))
}

/// Takes what is new, until nothing can come any more.
fn take(news: &Receiver<News>, known: &Mutex<Known>) {
    while let Ok(one) = news.recv() {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        known.now = Timestamp::now();
        known.update(one);
    }
}

async fn serve(listen: &Listen, known: Arc<Mutex<Known>>, out: &mut impl Write) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut hang_up = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
    // A Unix socket is for this process's own user and for root.
    let access = Access::of_root();
    let listener = Listener::bind(listen, &access).await;
    let listener = listener.map_err(|why| anyhow!("cannot serve the page at {listen}: {why}"))?;
    let gate = match &listener {
        Listener::Unix(..) => Gate::OfUser,
        Listener::Tcp(listener) => {
            Gate::of_link(listener.local_addr()?.port()).context("cannot make a secret")?
        }
    };
    match (&listener, gate.link()) {
        (Listener::Tcp(listener), Some(link)) => {
            writeln!(out, "Open this link, which works once:\nhttp://{}{link}", listener.local_addr()?)?;
        }
        _ => writeln!(
            out,
            "The page is served on the Unix socket {listen}, for your user and root. By SSH: ssh -L \
             127.0.0.1:8420:{listen} HOST, then open http://127.0.0.1:8420/"
        )?,
    }
    out.flush()?;
    let answers = Arc::new(Answers { gate, known });
    let places = Arc::new(Semaphore::new(PLACES));
    loop {
        tokio::select! {
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => break,
            stream = accept(Some(&listener)) => match stream {
                Ok(stream) if stream.may_look(&access) => {
                    // Where there are too many, the browser tries again.
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                    let answers = Arc::clone(&answers);
                    tokio::task::spawn_local(async move {
                        let answer = |request| {
                            let answers = Arc::clone(&answers);
                            async move { answers.answer(&request) }
                        };
                        let _has_no_reader = converse(stream.duplex(), answer).await;
                        drop(place);
                    });
                    tokio::task::yield_now().await;
                }
                Ok(_) => {}
                Err(_) => sleep(AGAIN).await,
            },
        }
    }
    listener.remove(listen);
    Ok(())
}

impl Answers {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        match self.gate.admit(request) {
            Admission::Refused(status, why) => {
                let mut response = text(status, "text/plain; charset=utf-8", format!("{why}\n"));
                if status == StatusCode::METHOD_NOT_ALLOWED {
                    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                }
                response
            }
            Admission::Session => {
                let mut response = text(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", String::new());
                let headers = response.headers_mut();
                headers.insert(LOCATION, HeaderValue::from_static("/"));
                if let Ok(cookie) = HeaderValue::from_str(&self.gate.cookie()) {
                    headers.insert(SET_COOKIE, cookie);
                }
                response
            }
            Admission::Part(part) => {
                let (media, body) = self.part(part);
                text(StatusCode::OK, media, body)
            }
        }
    }

    fn part(&self, part: Part) -> (&'static str, String) {
        const HTML: &str = "text/html; charset=utf-8";
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match part {
            Part::Page => (HTML, render::page(&known()).into_string()),
            Part::Live => (HTML, render::live(&known()).into_string()),
            Part::Style => ("text/css; charset=utf-8", render::STYLE.to_owned()),
            Part::Script => ("text/javascript; charset=utf-8", render::SCRIPT.to_owned()),
        }
    }
}

/// An answer that a browser keeps nowhere, shows in no other page, and takes for nothing else than it is.
fn text(status: StatusCode, media: &'static str, body: String) -> Response<Full<Bytes>> {
    const ALWAYS: [(HeaderName, &str); 6] = [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, render::POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Where it is to listen: `127.0.0.1:PORT` or another loopback address, or an absolute path.
///
/// # Errors
/// What is wrong with it.
pub fn listen(text: &str) -> Result<Listen, String> {
    if text.starts_with('/') {
        return Ok(Listen::Unix(text.into()));
    }
    let address: std::net::SocketAddr = text.parse().map_err(|_| {
        format!(
            "{text:?} is neither a loopback address with a port, such as 127.0.0.1:8420, nor an absolute path"
        )
    })?;
    match address.ip().is_loopback() {
        true => Ok(Listen::Loopback(address)),
        false => Err(format!(
            "{address} is no loopback address: the page has no encryption of its own; reach it by SSH"
        )),
    }
}
