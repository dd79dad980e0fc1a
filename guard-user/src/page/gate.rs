//! Who gets something: nobody by a foreign name, from a foreign page, or without the session of the link that was printed.

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::{Mutex, PoisonError};

use hyper::header::{COOKIE, ORIGIN};
use hyper::{Method, Request, StatusCode};
use sha2::{Digest as _, Sha256};

use crate::web::host::{host, names_this_host};

/// Bytes of a secret: none can be guessed.
const SECRET: usize = 32;

/// What a request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// A refusal, and why.
    Refused(StatusCode, &'static str),
    /// The session, by the link that was printed.
    Session,
    /// What it asks for.
    Part(Part),
}

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The whole page.
    Page,
    /// Its parts as they are now.
    Live,
    /// Its style.
    Style,
    /// Its script.
    Script,
}

impl Part {
    const ALL: [(&'static str, Self); 4] =
        [("/", Self::Page), ("/live", Self::Live), ("/page.css", Self::Style), ("/page.js", Self::Script)];
}

/// The gate of one process.
#[derive(Debug)]
pub(super) enum Gate {
    /// Of a Unix socket: the kernel has said who comes.
    OfUser,
    /// Of TCP, to which any user of this host can connect.
    OfLink {
        /// What the link has in it; none once somebody used it.
        token: Mutex<Option<String>>,
        /// The session's secret.
        session: String,
        /// The port, which the name of the cookie has in it: cookies of one host are shared by its ports.
        port: u16,
    },
}

impl Gate {
    /// The gate for a port, with new secrets.
    pub(super) fn of_link(port: u16) -> io::Result<Self> {
        Ok(Self::OfLink { token: Mutex::new(Some(secret()?)), session: secret()?, port })
    }

    /// The path of the link, where there is one that was not used.
    pub(super) fn link(&self) -> Option<String> {
        match self {
            Self::OfUser => None,
            Self::OfLink { token, .. } => {
                let token = token.lock().unwrap_or_else(PoisonError::into_inner);
                token.as_ref().map(|token| format!("/?token={token}"))
            }
        }
    }

    /// The cookie that the session is known by, with what keeps it to this page: no script reads it, and no other site's
    /// page has it sent (RFC 6265bis).
    pub(super) fn cookie(&self) -> String {
        match self {
            Self::OfUser => String::new(),
            Self::OfLink { session, port, .. } => {
                format!("{}={session}; Path=/; HttpOnly; SameSite=Strict", cookie_name(*port))
            }
        }
    }

    /// What the request gets. The link's token is used up by the first request that has it and may have it.
    pub(super) fn admit<B>(&self, request: &Request<B>) -> Admission {
        const FOREIGN: Admission =
            Admission::Refused(StatusCode::FORBIDDEN, "ask for it by a loopback address");
        if !names_this_host(request) || !self.is_port_of(request) || !is_of_this_page(request) {
            return FOREIGN;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Admission::Refused(StatusCode::METHOD_NOT_ALLOWED, "GET alone");
        }
        let path = request.uri().path();
        if let Self::OfLink { token, session, port } = self {
            if let Some(given) = request.uri().query().and_then(|it| it.strip_prefix("token="))
                && path == "/"
                && *request.method() == Method::GET
            {
                let mut token = token.lock().unwrap_or_else(PoisonError::into_inner);
                return match token.as_ref().is_some_and(|token| is_same(token, given)) {
                    true => {
                        *token = None;
                        Admission::Session
                    }
                    false => Admission::Refused(
                        StatusCode::FORBIDDEN,
                        "this link was used, or is another one's: start `borderguard page` again",
                    ),
                };
            }
            if !cookies(request, &cookie_name(*port)).any(|value| is_same(session, value)) {
                return Admission::Refused(
                    StatusCode::FORBIDDEN,
                    "open the link that `borderguard page` printed",
                );
            }
        }
        match Part::ALL.iter().find(|(its, _)| *its == path) {
            Some((_, part)) => Admission::Part(*part),
            None => Admission::Refused(StatusCode::NOT_FOUND, "there is one page, at /"),
        }
    }

    /// Whether its `Host` has this port; behind a Unix socket a forwarded one has any.
    fn is_port_of<B>(&self, request: &Request<B>) -> bool {
        match self {
            Self::OfUser => true,
            Self::OfLink { port, .. } => host(request).is_some_and(|host| {
                let its = host.rsplit_once(':').map_or("80", |(_, port)| port);
                its.parse() == Ok(*port)
            }),
        }
    }
}

/// Whether no other page had it sent: by `Origin` (RFC 6454) and `Sec-Fetch-Site` (Fetch Metadata), where a browser says so.
fn is_of_this_page<B>(request: &Request<B>) -> bool {
    let same_origin = request.headers().get_all(ORIGIN).iter().all(|origin| {
        let origin = origin.to_str().ok().and_then(|it| it.strip_prefix("http://"));
        origin.is_some() && origin == host(request)
    });
    let same_site = request
        .headers()
        .get_all("sec-fetch-site")
        .iter()
        .all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"));
    same_origin && same_site
}

fn cookie_name(port: u16) -> String {
    format!("borderguard-page-{port}")
}

/// The values of the cookies of this name.
fn cookies<'a, B>(request: &'a Request<B>, name: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = request.headers().get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(move |(its, _)| *its == name).map(|(_, value)| value)
}

/// Whether both are the same, in a time that does not tell how much of them is.
fn is_same(secret: &str, given: &str) -> bool {
    Sha256::digest(secret) == Sha256::digest(given)
}

/// A secret in hexadecimal digits, of the kernel's random numbers.
fn secret() -> io::Result<String> {
    let mut bytes = [0; SECRET];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
