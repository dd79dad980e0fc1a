//! The records of the audit trail that the daemon writes.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::audit::{Kind, Record, Who};
use crate::control::refusals::Refusal;
use crate::exemption::limits::DOCUMENT_BYTES;
use crate::exemption::summary::HIDDEN;
use crate::store::sha256;

/// What the audit trail lacks since the daemon's start.
#[derive(Default)]
pub(super) struct Gap {
    /// Why the last record could not be written.
    pub(super) why: String,
    /// Records of which the trail does not say yet that it lacks them.
    pub(super) unrecorded: Option<LostRecords>,
    /// Those of which a record is on its way that says it.
    pub(super) on_its_way: Option<LostRecords>,
}

/// Records that could not be written.
#[derive(Clone, Copy)]
pub(super) struct LostRecords {
    /// How many.
    pub(super) count: u64,
    /// When the first and the last one were given up.
    pub(super) between: (Timestamp, Timestamp),
}

impl LostRecords {
    /// These and those that were given up later.
    pub(super) fn and(self, later: Option<Self>) -> Self {
        later.map_or(self, |later| Self {
            count: self.count.saturating_add(later.count),
            between: (self.between.0, later.between.1),
        })
    }
}

impl Gap {
    /// Whether a loss is still to be recorded.
    pub(super) const fn is_open(&self) -> bool {
        self.unrecorded.is_some() || self.on_its_way.is_some()
    }
}

/// The daemon itself; its user's name is for the caller to look up.
#[must_use]
pub fn daemon(user: Option<String>) -> Who {
    let uid = rustix::process::geteuid().as_raw();
    Who { uid, user, pid: Some(std::process::id()) }
}

/// A record.
#[must_use]
pub fn record_of(
    now: Timestamp,
    (kind, who): (Kind, &Who),
    subject: &str,
    why: &str,
    detail: Value,
) -> Record {
    let detail = match detail {
        Value::Object(detail) => detail,
        _ => Map::new(),
    };
    let (subject, why) = (subject.to_owned(), why.to_owned());
    Record { time: now, kind, who: who.clone(), subject, why, detail }
}

/// The record of something that was asked for and refused.
pub(super) fn refusal(now: Timestamp, who: &Who, (request, subject): (&str, &str), message: &str) -> Record {
    record_of(now, (Kind::Refusal, who), subject, "", json!({"request": request, "message": message}))
}

/// The same, where the subject is the name of something confidential, or may be: the record has its hash.
pub(super) fn refusal_without_name(
    now: Timestamp,
    who: &Who,
    (request, subject): (&str, &str),
    message: &str,
) -> Record {
    let subject = sha256(subject.as_bytes());
    let detail = json!({"request": request, "message": message, "subject_sha256": subject});
    record_of(now, (Kind::Refusal, who), HIDDEN, "", detail)
}

/// The record of a document that was refused: by its hash and the codes of its errors. Their text may quote
/// what is confidential in it. Of one that is too long only the beginning was sent, whose hash would be that of no file.
pub(super) fn load_refused(
    now: Timestamp,
    who: &Who,
    (name, document): (&str, &[u8]),
    codes: &[&'static str],
) -> Record {
    let detail = match document.len() > DOCUMENT_BYTES {
        true => json!({"request": "exemption-load", "longer_than_bytes": DOCUMENT_BYTES, "codes": codes}),
        false => json!({"request": "exemption-load", "sha256": sha256(document), "codes": codes}),
    };
    record_of(now, (Kind::Refusal, who), name, "", detail)
}

/// The record of something that was asked for by one who may not.
#[must_use]
pub fn not_permitted(now: Timestamp, refusal: &Refusal) -> Record {
    let Refusal { peer, request, needed, left_out } = refusal;
    let detail = json!({
        "request": request,
        "needed": needed.name(),
        "rights": peer.rights.to_string(),
        "left_out": left_out,
    });
    let user = peer.user.as_deref().map(str::to_owned);
    let who = Who { uid: peer.uid, user, pid: peer.pid };
    record_of(now, (Kind::NotPermitted, &who), request.unwrap_or_default(), "", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_document_has_its_own_hash_or_none() {
        let who = daemon(None);
        let detail = |length: usize| {
            let document = vec![b'#'; length];
            load_refused(Timestamp::UNIX_EPOCH, &who, ("m.toml", &document), &["file-too-long"]).detail
        };
        let whole = detail(DOCUMENT_BYTES);
        assert_eq!(whole["sha256"], json!(sha256(&vec![b'#'; DOCUMENT_BYTES])));
        assert!(!whole.contains_key("longer_than_bytes"));
        let cut = detail(DOCUMENT_BYTES + 1);
        assert_eq!((&cut["longer_than_bytes"], cut.contains_key("sha256")), (&json!(DOCUMENT_BYTES), false));
    }
}
