//! The receipt of an exemption that is closed: filled from the store, and signed by the host's key. The daemon signs, for
//! it alone may read the key, and so that whoever asks can't have anything else signed.

use std::sync::OnceLock;

use crate::approval::{RECEIPT, host_key};
use crate::control::protocol::{ErrorKind, Response};
use crate::exemption::summary::OrderSummary;
use crate::kernel::hashes;
use crate::report::receipt::{Exemption, Order, Program, Receipt, SCHEMA, VERSION};
use crate::store::{Key, StoreError, sha256};

use super::reads::{Read, audit_head, audit_records, entry_of, failed, gaps};

/// What is said where the config names no key.
const NO_KEY: &str = "the config names no key of the host, so that nothing could be verified: write `record.host_key`, \
                      such as \"/etc/ssh/ssh_host_ed25519_key\", and reload";

/// The receipt of this exemption, signed.
pub(super) fn receipt(read: &Read, key: &Key) -> Response {
    let Some(host_key) = &read.job.policy.record.host_key else {
        return Response::error(ErrorKind::BadInput, NO_KEY);
    };
    let text = match filled(read, key).map(|receipt| receipt.text()) {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => return Response::error(ErrorKind::Failed, error.to_string()),
        Err(error) => return failed(&error),
    };
    match host_key::sign(host_key, RECEIPT, text.as_bytes()) {
        Ok(host_key::Signed { signature, public_key }) => {
            let time_stamp = read.job.policy.record.time_stamp.clone();
            Response::Receipt { text, signature, public_key, time_stamp }
        }
        Err(error) => Response::error(ErrorKind::Failed, error.to_string()),
    }
}

fn filled(read: &Read, key: &Key) -> Result<Receipt, StoreError> {
    let records = audit_records(&read.reader)?;
    let not_found = || StoreError::NotFound { id: key.0.clone() };
    let counts = read.job.counts.as_deref().unwrap_or_default();
    let summaries = read.kept.list_with(counts, read.now);
    let summary =
        summaries.into_iter().find(|it| (&it.id, it.version) == (&key.0, key.1)).ok_or_else(not_found)?;
    let orders = summary.orders.iter().map(order).collect();
    let record = read.kept.record(key);
    let entry = entry_of(summary, record, &records, &read.reader.use_by_day()?);
    let mut gaps = gaps(&read.kept, &read.job, &records);
    if read.job.counts.is_none() && record.is_some_and(|record| !record.slots.is_empty()) {
        gaps.push("what the kernel has counted since the last look could not be read".to_owned());
    }
    let sum = |of: fn(&crate::report::DayUse) -> u64| {
        entry.use_by_day.iter().map(of).fold(0_u64, u64::saturating_add)
    };
    Ok(Receipt {
        schema: SCHEMA.to_owned(),
        version: VERSION,
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        made_at: read.now,
        program: program().clone(),
        tables: read.job.tables.clone(),
        signers: entry.approvals,
        orders,
        history: entry.changes,
        recipients: entry.recipients,
        packets: sum(|row| row.packets),
        bytes: sum(|row| row.bytes),
        use_by_day: entry.use_by_day,
        gaps,
        audit: audit_head(&records).ok_or_else(not_found)?,
        exemption: Exemption {
            id: entry.id,
            version: entry.version,
            state: entry.state,
            confidential: entry.confidential,
            document_sha256: entry.document_sha256,
            pins: entry.pins,
            purpose: entry.purpose,
            instrument: entry.instrument,
            exporter: entry.exporter,
            valid_from: entry.valid_from,
            valid_until: entry.valid_until,
            quota_bytes: entry.quota_bytes,
        },
    })
}

fn order(order: &OrderSummary) -> Order {
    let OrderSummary { order, kind, covers, name, at, by: _ } = order.clone();
    Order { order, kind, covers, name, at }
}

/// The program that runs. Its file is read once: it may be another one after an upgrade.
pub(super) fn program() -> &'static Program {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM.get_or_init(|| Program {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        // This name leads to the file that runs, also where another one has its path by now.
        sha256: std::fs::read("/proc/self/exe").map(|bytes| sha256(&bytes)).unwrap_or_default(),
        kernel_program_sha256: hashes::program_sha256(),
    })
}
