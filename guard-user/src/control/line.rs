//! The line by which a request goes over the socket, with the version that it is of.

use serde_json::Value;

use super::protocol::{ErrorKind, Request, Response};
use super::right::{Right, needed};

/// Version of the requests. A daemon refuses a change that a client of another one asks for: the same words may mean
/// something else there.
pub const API: u32 = 1;

impl Request {
    /// The line that goes over the socket, with its break.
    ///
    /// # Errors
    /// As of `serde_json`: of a request none.
    pub fn to_line(&self) -> serde_json::Result<String> {
        let mut object = serde_json::to_value(self)?;
        object["api"] = API.into();
        Ok(format!("{object}\n"))
    }
}

/// Reads a request. One that changes or discloses more than everybody may see has the version that it is of.
///
/// # Errors
/// What is wrong with it, as the response to send.
pub fn parse_request(line: &[u8]) -> Result<Request, Response> {
    let bad = |error: serde_json::Error| {
        Response::error(
            ErrorKind::BadRequest,
            format!(
                "the request can't be read: {error}; it is one JSON object such as {{\"request\":\"status\"}}"
            ),
        )
    };
    let mut object: Value = serde_json::from_slice(line).map_err(bad)?;
    let api = object.as_object_mut().and_then(|object| object.remove("api"));
    // Before what it asks for: a request that only another version knows is told to be of that.
    if let Some(api) = api.as_ref().filter(|api| **api != API) {
        return Err(of_another_version(&format!("is of version {api}")));
    }
    let request = serde_json::from_value(object).map_err(bad)?;
    let (_, right) = needed(&request);
    match api {
        None if right != Right::View => Err(of_another_version("does not say of which version it is")),
        _ => Ok(request),
    }
}

fn of_another_version(how: &str) -> Response {
    let message = format!(
        "nothing was done: the request {how}, and this daemon takes version {API} (\"api\":{API}): use the \
         borderguard program of the daemon's own version, {}",
        env!("CARGO_PKG_VERSION")
    );
    Response::error_with(ErrorKind::BadRequest, message, &["other-version"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> (String, Vec<String>) {
        match parse_request(line.as_bytes()) {
            Err(Response::Error { kind: ErrorKind::BadRequest, message, codes }) => (message, codes),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_change_that_a_client_of_another_version_asks_for_is_refused() {
        let other = API + 1;
        for line in [
            format!(r#"{{"request":"exemption-load","document":"a","name":"b","api":{other}}}"#),
            format!(r#"{{"request":"something-new","api":{other}}}"#),
            format!(r#"{{"request":"status","api":{other}}}"#),
            format!(r#"{{"request":"reload","api":"{API}"}}"#),
            r#"{"request":"exemption-load","document":"a","name":"b"}"#.to_owned(),
            r#"{"request":"exemption-revoke","id":"a"}"#.to_owned(),
            r#"{"request":"reload"}"#.to_owned(),
        ] {
            let (message, codes) = refused(&line);
            assert_eq!(codes, ["other-version"], "{line}");
            assert!(message.contains(env!("CARGO_PKG_VERSION")), "{message}");
        }
        // What everybody may see can be asked for by hand.
        for line in [r#"{"request":"status"}"#, r#"{"request":"exemption-list"}"#] {
            parse_request(line.as_bytes()).unwrap();
        }
        parse_request(format!(r#"{{"request":"reload","api":{API}}}"#).as_bytes()).unwrap();
    }
}
