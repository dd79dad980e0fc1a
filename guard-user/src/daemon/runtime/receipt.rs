//! The receipt of an exemption that is closed: filled from the store, and signed by the host's key. The daemon signs, for
//! it alone may read the key, and so that whoever asks can't have anything else signed.

use std::sync::OnceLock;

use jiff::Timestamp;
use serde_json::json;

use crate::approval::{RECEIPT, host_key};
use crate::audit::{Kind, Who};
use crate::config::policy::Policy;
use crate::control::protocol::{ErrorKind, Response};
use crate::daemon::engine::{ReadJob, record_of};
use crate::exemption::summary::OrderSummary;
use crate::exemption::{State, Summary};
use crate::hostname::hostname;
use crate::kernel::hashes;
use crate::report::receipt::{Exemption, Order, Program, Receipt, SCHEMA, TableHashes, VERSION};
use crate::report::{AuditHead, Change, DayUse, ExemptionEntry};
use crate::store::{Key, Store, StoreError, sha256};
use crate::text::visible;

/// What is said where the config names no key.
const NO_KEY: &str = "the config names no key of the host, so that nothing could be verified: write `record.host_key`, \
                      such as \"/etc/ssh/ssh_host_ed25519_key\", and reload";

/// What a receipt is made of.
pub(super) struct Facts<'r> {
    pub(super) policy: &'r Policy,
    pub(super) tables: &'r TableHashes,
    pub(super) now: Timestamp,
    pub(super) entry: ExemptionEntry,
    /// Bytes that count as used, by what the store has.
    pub(super) used_bytes: u64,
    pub(super) orders: Vec<OrderSummary>,
    pub(super) gaps: Vec<String>,
    pub(super) audit: AuditHead,
}

/// Finds what a receipt is asked of, and records that it is given: that record is the last one that it knows. What can't be
/// signed is not given.
pub(super) fn give(
    store: &mut Store,
    job: &ReadJob,
    (id, version): (&str, Option<u32>),
    (who, now): (&Who, Timestamp),
) -> Result<Key, Response> {
    let kept = store.kept();
    let not_found = |error: StoreError| Response::error(ErrorKind::NotFound, error.to_string());
    let key = kept.find(id, version).map_err(not_found)?;
    let is_it = |it: &Summary| (&it.id, it.version) == (&key.0, key.1);
    let state = kept.list_with(&[], now).iter().find(|it| is_it(it)).map(|summary| summary.state);
    if !state.is_some_and(State::is_closed) {
        let message = format!(
            "{id} version {} is {}, and a receipt is of what is closed: revoke it, or wait for its end. \
             `borderguard report` has what it let through so far",
            key.1,
            state.map_or("not known", State::name)
        );
        return Err(Response::error(ErrorKind::BadInput, message));
    }
    let Some(host_key) = &job.policy.record.host_key else {
        return Err(Response::error(ErrorKind::BadInput, NO_KEY));
    };
    // Its signature goes nowhere: it shows that the key can be used.
    host_key::sign(host_key, RECEIPT, b"")
        .map_err(|error| Response::error(ErrorKind::Failed, error.to_string()))?;
    let record = record_of(now, (Kind::Receipt, who), id, "", json!({"version": key.1}));
    store.audit(record).map_err(|error| Response::error(ErrorKind::Failed, error.to_string()))?;
    Ok(key)
}

/// Records that the receipt which was given last could not be written.
pub(super) fn not_written(
    store: &mut Store,
    (id, version): (&str, Option<u32>),
    why: &str,
    (who, now): (&Who, Timestamp),
) -> Response {
    let key = match store.kept().find(id, version) {
        Ok(key) => key,
        Err(error) => return Response::error(ErrorKind::NotFound, error.to_string()),
    };
    // It may have characters that turn the text around it. What the client has escaped already stays so.
    let why = visible(why);
    let record =
        record_of(now, (Kind::Receipt, who), id, &why, json!({"version": key.1, "not_written": true}));
    match store.audit(record) {
        Ok(()) => Response::Done {
            message: "recorded: the receipt could not be written".to_owned(),
            generation: 0,
            exemptions: Vec::new(),
        },
        Err(error) => Response::error(ErrorKind::Failed, error.to_string()),
    }
}

/// The receipt of this exemption, signed.
pub(super) fn receipt(facts: Facts<'_>) -> Response {
    let policy = facts.policy;
    let Some(host_key) = &policy.record.host_key else {
        return Response::error(ErrorKind::BadInput, NO_KEY);
    };
    let text = match filled(facts).text() {
        Ok(text) => text,
        Err(error) => return Response::error(ErrorKind::Failed, error.to_string()),
    };
    match host_key::sign(host_key, RECEIPT, text.as_bytes()) {
        Ok(host_key::Signed { signature, public_key }) => {
            let time_stamp = policy.record.time_stamp.clone();
            Response::Receipt { text, signature, public_key, time_stamp }
        }
        Err(error) => Response::error(ErrorKind::Failed, error.to_string()),
    }
}

fn filled(facts: Facts<'_>) -> Receipt {
    let Facts { policy: _, tables, now, entry, used_bytes, orders, gaps, audit } = facts;
    let sum = |of: fn(&DayUse) -> u64| entry.use_by_day.iter().map(of).fold(0_u64, u64::saturating_add);
    let bytes = sum(|row| row.bytes);
    let mut receipt = Receipt {
        schema: SCHEMA.to_owned(),
        version: VERSION,
        host: hostname().to_owned(),
        made_at: now,
        program: program().clone(),
        tables: tables.clone(),
        signers: entry.approvals,
        orders: orders.iter().map(order).collect(),
        history: history(entry.changes),
        recipients: entry.recipients,
        packets: sum(|row| row.packets),
        bytes,
        // All that counts as used and was not counted, whenever that was.
        presumed_bytes: Some(used_bytes.saturating_sub(bytes)),
        use_by_day: entry.use_by_day,
        gaps,
        audit,
        exemption: Exemption {
            id: entry.id,
            version: entry.version,
            state: entry.state,
            confidential: entry.confidential,
            document_sha256: entry.document_sha256,
            pins: entry.pins,
            emergency: entry.emergency,
            purpose: entry.purpose,
            law: Some(entry.law),
            instrument: entry.instrument,
            exporter: entry.exporter,
            valid_from: entry.valid_from,
            valid_until: entry.valid_until,
            review_by: entry.assessment.and_then(|it| it.review_by.parse().ok()),
            quota_bytes: entry.quota_bytes,
        },
    };
    // What of it does not agree where a clock was set, and is right all the same.
    let to_be_told = receipt.to_be_told();
    receipt.gaps.extend(to_be_told);
    receipt
}

/// What a receipt has of what became of it: a fall of its instrument from before it was loaded closed others, and the restoration
/// after that has its reason.
fn history(mut changes: Vec<Change>) -> Vec<Change> {
    let loaded = changes.iter().position(|it| it.what == Kind::Load.name()).unwrap_or_default();
    let mut places = 0_usize..;
    changes.retain(|it| places.next().is_some_and(|at| at >= loaded) || it.what != Kind::Invalidate.name());
    changes
}

fn order(order: &OrderSummary) -> Order {
    let OrderSummary { order, kind, covers, name, at, by: _ } = order.clone();
    Order { order, kind, covers, name, at }
}

/// The program that runs. Its file is read once: it may be another one after an upgrade.
fn program() -> &'static Program {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM.get_or_init(|| Program {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        // This name leads to the file that runs, also where another one has its path by now.
        sha256: std::fs::read("/proc/self/exe").map(|bytes| sha256(&bytes)).unwrap_or_default(),
        kernel_program_sha256: hashes::program_sha256(),
    })
}
