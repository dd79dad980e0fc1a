//! One record, and its line.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::kind::Kind;

/// Bytes of a line without its line break; more than any record has.
pub const LINE_BYTES: usize = 64 << 10;
/// Bytes of a record's subject, reason and user, each; a longer text is cut, and ends with how much is missing.
pub const TEXT_BYTES: usize = 2048;
/// Bytes of a record's detail as JSON; a longer one is left out, and its length kept instead.
pub const DETAIL_BYTES: usize = 16 << 10;

// A control character takes six bytes as JSON; the rest of a line has less than 1 KiB.
const _: () = assert!(3 * 6 * (TEXT_BYTES + 40) + DETAIL_BYTES + 1024 <= LINE_BYTES);

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When, by the host's clock.
    pub time: Timestamp,
    /// What.
    pub kind: Kind,
    /// Who did it.
    pub who: Who,
    /// What it is about: an exemption's id, an instrument's name, an interface; may be empty.
    pub subject: String,
    /// Why, in the words of the one who did it; may be empty.
    pub why: String,
    /// Further facts, by name.
    pub detail: Map<String, Value>,
}

impl Record {
    /// Whether it is about this version of an exemption.
    pub(crate) fn is_about(&self, (id, version): &(String, u32)) -> bool {
        self.subject == *id && self.detail.get("version") == Some(&json!(version))
    }
}

/// Who did it: the credentials that the kernel gives of a socket's other end (unix(7), `SO_PEERCRED`), or
/// the daemon's own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Who {
    /// The user.
    pub uid: u32,
    /// The user's name at the time, where the host has one.
    pub user: Option<String>,
    /// The process.
    #[serde(default)]
    pub pid: Option<u32>,
}

/// A record as its line has it, with its place in the chain.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// From 1, without a gap.
    pub sequence: u64,
    /// When.
    pub time: Timestamp,
    /// SHA-256 of the line before it, in hexadecimal digits; 64 zeroes for the first.
    pub previous: String,
    /// What; a newer release may know kinds that this one does not.
    pub kind: String,
    /// Who did it.
    pub who: Who,
    /// What it is about.
    pub subject: String,
    /// Why.
    pub why: String,
    /// Further facts, by name.
    pub detail: Map<String, Value>,
}

/// Why a line is not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this line is not a record of the audit trail: {reason}")]
pub struct NotARecord {
    /// What is wrong with it.
    pub reason: String,
}

impl Stored {
    /// Reads a line.
    ///
    /// # Errors
    /// Where it is not a record.
    pub fn read(line: &[u8]) -> Result<Self, NotARecord> {
        if line.len() > LINE_BYTES {
            return Err(NotARecord { reason: format!("it has more than {LINE_BYTES} bytes") });
        }
        serde_json::from_slice(line).map_err(|error| NotARecord { reason: error.to_string() })
    }
}

/// The record's line, without a line break, with this number and the hash of the line before it as text. It is written
/// here and not by a serializer, so that its keys keep the order that the script in docs/audit.md relies on.
pub(super) fn line(record: &Record, sequence: u64, previous: &str) -> String {
    let Record { time, kind, who, subject, why, detail } = record;
    let text = |text: &str| Value::String(bounded(text));
    let user = who.user.as_deref().map_or(Value::Null, text);
    let pid = who.pid.map(|pid| format!(r#","pid":{pid}"#)).unwrap_or_default();
    let detail = Value::Object(detail.clone()).to_string();
    let detail = match detail.len() <= DETAIL_BYTES {
        true => detail,
        false => json!({ "left_out_bytes": detail.len() }).to_string(),
    };
    format!(
        r#"{{"sequence":{sequence},"time":"{time}","previous":"{previous}","kind":"{kind}","who":{{"uid":{},"user":{user}{pid}}},"subject":{},"why":{},"detail":{detail}}}"#,
        who.uid,
        text(subject),
        text(why),
    )
}

/// The text, or as much of it as has room, with how much is missing.
fn bounded(text: &str) -> String {
    if text.len() <= TEXT_BYTES {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(TEXT_BYTES);
    let (kept, rest) = text.split_at(end);
    format!("{kept} [{} bytes more]", rest.len())
}
