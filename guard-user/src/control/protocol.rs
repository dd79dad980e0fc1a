//! Requests and responses: one JSON object a line.

use serde::{Deserialize, Serialize};

use super::status::Status;
use crate::exemption::Summary;

/// What a client asks of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// What is guarded, how, and what was counted.
    Status {},
    /// What was seen: the events that are in memory, oldest first.
    Events {
        /// Whether to go on with each event as it comes.
        #[serde(default)]
        follow: bool,
        /// The last so many of those in memory; all of them without it.
        #[serde(default)]
        limit: Option<usize>,
        /// How an event looks.
        #[serde(default)]
        format: EventFormat,
    },
    /// Read config, databases and exemptions again and publish a new generation.
    Reload {},
    /// Take up an exemption.
    ExemptionLoad {
        /// The document's text.
        document: String,
        /// The file's name as the client has it, for messages.
        name: String,
    },
    /// Which exemptions there are.
    ExemptionList {},
    /// End an exemption for good.
    ExemptionRevoke {
        /// Its id.
        id: String,
        /// Why, for the record.
        #[serde(default)]
        why: String,
    },
}

/// How an event looks in an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "kebab-case")]
pub enum Response {
    /// To `status`.
    Status {
        /// All of it.
        status: Box<Status>,
    },
    /// To `events`: one event, as the line that the log has.
    Event {
        /// The line, without its break.
        line: String,
    },
    /// To `events`: events that were not sent, because the client read too slowly.
    Missed {
        /// How many.
        events: u64,
    },
    /// To `events`: that was all.
    End {},
    /// To `exemption-list`.
    Exemptions {
        /// All of them, in the order of ids and versions.
        exemptions: Vec<Summary>,
    },
    /// It is done, and the kernel judges by it.
    Done {
        /// What was done, one sentence.
        message: String,
        /// The generation that is live now.
        generation: u64,
    },
    /// It was not done, and nothing has changed.
    Error {
        /// What kind of error, for programs.
        kind: ErrorKind,
        /// What happened, and what to do next.
        message: String,
    },
}

/// Why a request was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The request is no JSON object of a known kind, too long, or did not come in time.
    BadRequest,
    /// The peer lacks the right that the request takes.
    NotPermitted,
    /// A config, a database or an exemption document can't be used.
    BadInput,
    /// There is no such thing as the request names.
    NotFound,
    /// The kernel or the disk refused.
    Failed,
    /// Too many clients are connected, or the daemon is ending.
    Busy,
}

impl Response {
    /// An error response.
    #[must_use]
    pub fn error(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Error { kind, message: message.into() }
    }

    /// The line that goes over the socket, with its break.
    #[must_use]
    pub fn to_line(&self) -> String {
        let mut line = serde_json::to_string(self).unwrap_or_else(|error| {
            // A response is made of strings and integers; no value of it fails to serialize.
            let message = serde_json::Value::String(format!("the answer can't be written: {error}"));
            format!("{{\"response\":\"error\",\"kind\":\"failed\",\"message\":{message}}}")
        });
        line.push('\n');
        line
    }
}

/// Reads a request.
///
/// # Errors
/// What is wrong with it, as the response to send.
pub fn parse_request(line: &[u8]) -> Result<Request, Response> {
    serde_json::from_slice(line).map_err(|error| {
        Response::error(
            ErrorKind::BadRequest,
            format!(
                "the request can't be read: {error}; it is one JSON object such as {{\"request\":\"status\"}}"
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_look_as_documented() {
        let cases = [
            (json!({"request": "status"}), Request::Status {}),
            (
                json!({"request": "events"}),
                Request::Events { follow: false, limit: None, format: EventFormat::Text },
            ),
            (
                json!({"request": "events", "follow": true, "limit": 3, "format": "json"}),
                Request::Events { follow: true, limit: Some(3), format: EventFormat::Json },
            ),
            (json!({"request": "reload"}), Request::Reload {}),
            (
                json!({"request": "exemption-load", "document": "a", "name": "b"}),
                Request::ExemptionLoad { document: "a".into(), name: "b".into() },
            ),
            (json!({"request": "exemption-list"}), Request::ExemptionList {}),
            (
                json!({"request": "exemption-revoke", "id": "x", "why": "y"}),
                Request::ExemptionRevoke { id: "x".into(), why: "y".into() },
            ),
        ];
        for (text, request) in cases {
            assert_eq!(parse_request(text.to_string().as_bytes()).unwrap(), request);
            let written = serde_json::to_vec(&request).unwrap();
            assert_eq!(parse_request(&written).unwrap(), request);
        }
    }

    #[test]
    fn what_is_no_request_gets_a_clear_error() {
        for text in ["", "status", "{}", "[]", r#"{"request":"stop"}"#, r#"{"request":"status","x":1}"#] {
            let Err(Response::Error { kind, message }) = parse_request(text.as_bytes()) else {
                panic!("{text} was taken")
            };
            assert_eq!(kind, ErrorKind::BadRequest);
            assert!(message.contains("the request can't be read"), "{message}");
        }
    }

    #[test]
    fn responses_are_one_line_each() {
        let response = Response::error(ErrorKind::NotFound, "two\nlines");
        let line = response.to_line();
        assert_eq!(line, "{\"response\":\"error\",\"kind\":\"not-found\",\"message\":\"two\\nlines\"}\n");
        assert_eq!(serde_json::from_str::<Response>(&line).unwrap(), response);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _either = parse_request(&bytes);
        }

        #[test]
        fn documents_come_through_whole(document in any::<String>(), name in any::<String>()) {
            let request = Request::ExemptionLoad { document, name };
            let line = serde_json::to_string(&request).unwrap();
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(parse_request(line.as_bytes()).unwrap(), request);
        }
    }
}
