//! The audit trail: what the daemon writes to it, and hands out of it.

use std::sync::OnceLock;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tracing::error;

use super::guard::Guard;
use crate::audit::{Checkpoint, Head, Kind, Record, Who};
use crate::control::access::Peer;
use crate::control::protocol::{ErrorKind, Response};
use crate::control::refusals::Refusal;
use crate::store::sha256;

/// Lines of the trail in one answer.
const LINES: usize = 1000;

/// The name of the daemon's own user, looked up once.
static OWN_NAME: OnceLock<Option<String>> = OnceLock::new();

/// Takes up the name of the daemon's own user.
pub(super) fn know_own_name(name: Option<String>) {
    let _only_at_the_start = OWN_NAME.set(name);
}

/// The user that asks over the control socket.
pub(super) fn who(peer: &Peer) -> Who {
    Who { uid: peer.uid, user: peer.user.as_deref().map(str::to_owned), pid: peer.pid }
}

/// The daemon itself.
pub(super) fn daemon() -> Who {
    let uid = rustix::process::geteuid().as_raw();
    Who { uid, user: OWN_NAME.get().cloned().flatten(), pid: Some(std::process::id()) }
}

/// A record of now.
pub(super) fn now(kind: Kind, who: &Who, subject: &str, why: &str, detail: Value) -> Record {
    let detail = match detail {
        Value::Object(detail) => detail,
        _ => Map::new(),
    };
    let (subject, why) = (subject.to_owned(), why.to_owned());
    Record { time: Timestamp::now(), kind, who: who.clone(), subject, why, detail }
}

/// The record of something that was asked for and refused.
pub(super) fn refusal(who: &Who, request: &str, subject: &str, message: &str) -> Record {
    now(Kind::Refusal, who, subject, "", json!({"request": request, "message": message}))
}

/// The record of a document that was refused: by its hash and the codes of its errors. Their text may quote
/// what is confidential in it.
pub(super) fn load_refused(who: &Who, name: &str, document: &[u8], codes: &[&'static str]) -> Record {
    let detail = json!({"request": "exemption-load", "sha256": sha256(document), "codes": codes});
    now(Kind::Refusal, who, name, "", detail)
}

/// The record of something that was asked for by one who may not.
pub(super) fn not_permitted(refusal: &Refusal) -> Record {
    let Refusal { peer, request, needed, left_out } = refusal;
    let detail = json!({
        "request": request,
        "needed": needed.name(),
        "rights": peer.rights.to_string(),
        "left_out": left_out,
    });
    now(Kind::NotPermitted, &who(peer), request.unwrap_or_default(), "", detail)
}

impl Guard {
    /// Appends to the audit trail. What can't be written is said loudly; nothing else stops for it.
    pub(super) fn record(&mut self, record: Record) {
        let (kind, subject) = (record.kind, record.subject.clone());
        if let Err(error) = self.store.audit(record) {
            error!("THE AUDIT TRAIL HAS A GAP: \"{kind}\" of \"{subject}\" could not be written: {error}");
            self.gap = Some(error.to_string());
        }
    }

    /// How the trail ends now. That it was handed out is a record, and the last one that it knows.
    pub(super) fn checkpoint(&mut self, who: &Who) -> Response {
        self.record(now(Kind::Checkpoint, who, "", "", json!({})));
        let Some(head) = self.store.last_audit_line().and_then(|line| Head::of_line(line).ok()) else {
            return Response::error(ErrorKind::Failed, "the audit trail can't be read");
        };
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Response::Checkpoint { text: Checkpoint::new(&host, Timestamp::now(), head).to_string() }
    }

    /// The lines of the trail from this sequence number on.
    pub(super) fn audit_lines(&self, from: u64) -> Response {
        match self.store.audit_lines(from, LINES) {
            Ok(lines) => Response::Audit { lines },
            Err(error) => Response::error(ErrorKind::Failed, error.to_string()),
        }
    }
}
