//! Answers that are read from the store: single exemptions, the audit trail, and what crossed.

use guard_common::abi::Hook;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::json;

use crate::audit::{Checkpoint, Head, Kind, Stored, Who};
use crate::control::protocol::{ErrorKind, OpenExemption, Response};
use crate::daemon::engine::{Query, ReadJob, record_of};
use crate::exemption::Summary;
use crate::hostname::hostname;
use crate::report::{AuditHead, Organisation, PinEntry, Report, Traffic, Unattributed, redacted};
use crate::store::{Judged, Kept, Key, Reader, Store, StoreError, Use};

use super::entries::{Beside, entry_of};
use super::gaps::{Gap, of_trail};
use super::period::Period;
use super::unattributed::{Past, unattributed};
use super::{duties, receipt};

/// Lines of the trail in one answer.
const LINES: usize = 1000;

/// An answer, or what is to be read for it.
pub(super) enum Answer {
    /// It was read.
    Now(Response),
    /// It takes long to read: a change is not to wait for it.
    Beside(Box<Read>),
}

impl Answer {
    /// The answer, however long it takes.
    pub(super) fn read(self) -> Response {
        match self {
            Self::Now(response) => response,
            Self::Beside(read) => read.answer(),
        }
    }
}

/// What takes long to read, with a state of the store that no longer changes.
pub(super) struct Read {
    what: Long,
    reader: Reader,
    kept: Kept,
    job: ReadJob,
    now: Timestamp,
}

/// What takes long to read: the audit trail is part of it.
enum Long {
    /// Lines of the trail from this number on.
    Trail(u64),
    /// What crossed over these days.
    Report { from: Option<String>, until: Option<String> },
    /// What an exemption that is closed has let through, signed.
    Receipt(Key),
}

impl Read {
    /// The answer.
    pub(super) fn answer(self) -> Response {
        match &self.what {
            Long::Trail(from) => match self.reader.audit_lines(*from, LINES) {
                Ok(lines) => Response::Audit { lines },
                Err(error) => failed(&error),
            },
            Long::Report { from, until } => self.report(from.as_deref(), until.as_deref()),
            Long::Receipt(key) => self.receipt(key).unwrap_or_else(|error| failed(&error)),
        }
    }

    fn receipt(&self, key: &Key) -> Result<Response, StoreError> {
        let Self { reader, kept, job, now, .. } = self;
        let not_found = || StoreError::NotFound { id: key.0.clone() };
        let records = audit_records(reader)?;
        let counts = job.counts.as_deref().unwrap_or_default();
        let summary =
            kept.list_with(counts, *now).into_iter().find(|it| is(it, key)).ok_or_else(not_found)?;
        let record = kept.record(key);
        let orders = summary.orders.clone();
        let used_bytes = record.map(|record| record.used().bytes).unwrap_or_default();
        let booked = (reader.use_by_day()?, reader.presumed_by_day()?);
        let beside = Beside::of(&records, (kept, reader));
        let entry = entry_of(summary, (kept, &job.policy), (&records, &beside), (&booked.0, &booked.1));
        // What was before it was loaded or after it was closed is none of its own.
        let life = (entry.begin(), entry.end());
        let mut gaps = gaps(kept, job, &records, life);
        let day = |time: Timestamp| time.to_zoned(TimeZone::UTC).date();
        let days = day(life.0)..=day(life.1);
        let past = Past::of(records.iter().map(|(_, record)| record), life);
        let missing = unattributed(&reader.runs()?, |key| pins_of(kept, key), |it| days.contains(&it), past);
        gaps.extend(missing.iter().filter(|it| entry.pins.contains(&it.pin)).map(Unattributed::words));
        if !entry.not_needed.is_empty() {
            gaps.push(format!(
                "by the policy in force when this was made data passes without the exemption, and is not in its use: {}",
                entry.not_needed
            ));
        }
        if job.counts.is_none() && record.is_some_and(|record| !record.slots.is_empty()) {
            gaps.push("what the kernel has counted since the last look could not be read".to_owned());
        }
        Ok(receipt::receipt(receipt::Facts {
            policy: &job.policy,
            tables: &job.tables,
            now: *now,
            orders,
            entry,
            used_bytes,
            gaps,
            audit: audit_head(&records).ok_or_else(not_found)?,
        }))
    }

    fn report(&self, from: Option<&str>, until: Option<&str>) -> Response {
        let period = match Period::read(from, until, self.now) {
            Ok(period) => period,
            Err(message) => return Response::error(ErrorKind::BadInput, message),
        };
        match try_report(self, period) {
            // Here and not where it is written: what a peer may not read does not leave the daemon.
            Ok(report) => Response::Report { report: Box::new(redacted(&report)) },
            Err(error) => failed(&error),
        }
    }
}

pub(super) fn failed(error: &StoreError) -> Response {
    Response::error(ErrorKind::Failed, error.to_string())
}

/// Answers a request. What the kernel has counted by now is saved first, where it could be read; the disk may refuse
/// that, and the answer has it all the same.
pub(super) fn answer(store: &mut Store, mut job: ReadJob, now: Timestamp) -> Answer {
    if let Some(counts) = &job.counts
        && let Err(error) = store.checkpoint_use(counts, now)
    {
        tracing::warn!("what the exemptions have used can't be saved: {error}");
    }
    if let Some(judged) = job.judged.take()
        && let Err(error) = store.record_counts(&judged, now)
    {
        job.gaps.push(format!("what crossed since the last look could not be saved: {error}"));
    }
    let what = match job.query.clone() {
        Query::Audit(from) => Long::Trail(from),
        Query::Report { from, until } => Long::Report { from, until },
        Query::Receipt { id, version, who } => {
            match receipt::give(store, &job, (&id, version), (&who, now)) {
                Ok(key) => Long::Receipt(key),
                Err(response) => return Answer::Now(response),
            }
        }
        Query::Done(done) => return Answer::Now(duties::done(store, *done, (now, job.generation))),
        Query::Show { id, version } => {
            let counts = job.counts.as_deref().unwrap_or_default();
            return Answer::Now(match show(store, (&id, version), (counts, job.sees_all), now) {
                Ok(response) => response,
                Err(error @ StoreError::NotFound { .. }) => {
                    Response::error(ErrorKind::NotFound, error.to_string())
                }
                Err(error) => failed(&error),
            });
        }
        Query::Open => return Answer::Now(open(store).unwrap_or_else(|error| failed(&error))),
        Query::Config(sha256) => return Answer::Now(config_text(store, &sha256)),
        Query::ReceiptNotWritten { id, version, why, who } => {
            return Answer::Now(receipt::not_written(store, (&id, version), &why, (&who, now)));
        }
        Query::Document(id, version) => return Answer::Now(document_text(store, id, version)),
        Query::Lift(sha256) => return Answer::Now(lift_document(store, &sha256)),
        Query::Checkpoint(who) => return Answer::Now(checkpoint(store, &who, now)),
    };
    match store.reader() {
        Ok(reader) => Answer::Beside(Box::new(Read { what, reader, kept: store.kept(), job, now })),
        Err(error) => Answer::Now(failed(&error)),
    }
}

fn config_text(store: &Store, sha256: &str) -> Response {
    match store.reader().and_then(|reader| reader.config_text(sha256)) {
        // A config that was in force is TOML, which is UTF-8.
        Ok(Some(text)) => Response::Config { text: String::from_utf8_lossy(&text).into_owned() },
        Ok(None) => {
            let message = format!(
                "no config with the SHA-256 \"{}\" is kept: records `start`, `reload` and `load` of the trail name them \
                 (`config_sha256`)",
                sha256.escape_debug()
            );
            Response::error(ErrorKind::NotFound, message)
        }
        Err(error) => failed(&error),
    }
}

fn document_text(store: &Store, id: String, version: u32) -> Response {
    let key = (id, version);
    match store.reader().and_then(|reader| reader.document(&key)) {
        // A document that was loaded is TOML, which is UTF-8.
        Ok(Some(text)) => Response::Document { text: String::from_utf8_lossy(&text).into_owned() },
        Ok(None) => {
            let message = format!(
                "the store has no version {version} of an exemption \"{}\": `borderguard exemption list` shows what was loaded",
                key.0.escape_debug()
            );
            Response::error(ErrorKind::NotFound, message)
        }
        Err(error) => failed(&error),
    }
}

fn lift_document(store: &Store, sha256: &str) -> Response {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    match store.reader().and_then(|reader| reader.lift_document(sha256)) {
        Ok(Some((bytes, signatures))) => {
            Response::Lift { document: text(bytes), signatures: signatures.into_iter().map(text).collect() }
        }
        Ok(None) => {
            let message = format!(
                "no document with the SHA-256 \"{}\" by which an order was lifted is kept: records `resume` of the trail name \
                 them (`document_sha256`), and earlier versions of this program kept none",
                sha256.escape_debug()
            );
            Response::error(ErrorKind::NotFound, message)
        }
        Err(error) => failed(&error),
    }
}

fn checkpoint(store: &mut Store, who: &Who, now: Timestamp) -> Response {
    // That it was handed out is a record, and the last one that it knows.
    if let Err(error) = store.audit(record_of(now, (Kind::Checkpoint, who), "", "", json!({}))) {
        return failed(&error);
    }
    let Some(head) = store.last_audit_line().and_then(|line| Head::of_line(line).ok()) else {
        return Response::error(ErrorKind::Failed, "the audit trail can't be read");
    };
    Response::Checkpoint { text: Checkpoint::new(hostname(), now, head).to_string() }
}

fn show(
    store: &Store,
    (id, version): (&str, Option<u32>),
    (counts, sees_all): (&[(u16, Use)], bool),
    now: Timestamp,
) -> Result<Response, StoreError> {
    let kept = store.kept();
    let key = kept.find(id, version)?;
    let not_found = || StoreError::NotFound { id: id.to_owned() };
    let summary = kept.list_with(counts, now).into_iter().find(|it| is(it, &key));
    let summary = summary.ok_or_else(not_found)?;
    let approvals = kept.record(&key).map(|record| record.approvals.clone()).unwrap_or_default();
    let hidden = summary.confidential && !sees_all;
    let stored = store.stored(&key)?.filter(|_| !hidden);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let signatures = stored.iter().flat_map(|it| &it.signatures).map(|bytes| text(bytes)).collect();
    Ok(Response::Exemption {
        exemption: Box::new(if hidden { summary.redacted() } else { summary }),
        approvals: if hidden { Vec::new() } else { approvals },
        document: stored.as_ref().map(|it| text(&it.bytes)),
        signatures,
    })
}

/// The exemptions that are open, as the kernel judges by them.
fn open(store: &Store) -> Result<Response, StoreError> {
    let open = store.open_documents()?.into_iter();
    let exemptions = open.map(|open| OpenExemption {
        document: String::from_utf8_lossy(&open.bytes).into_owned(),
        slots: open.slots,
        left: open.left,
    });
    Ok(Response::Open { exemptions: exemptions.collect() })
}

/// What crossed and what was refused, over these days.
fn try_report(read: &Read, period: Period) -> Result<Report, StoreError> {
    let Read { reader, kept, job, now, .. } = read;
    let now = *now;
    let (counted, records) = (reader.counts_by_day()?, audit_records(reader)?);
    let (mut used, mut presumed) = (reader.use_by_day()?, reader.presumed_by_day()?);
    let recorded = records.first().map(|(_, record)| record.time.to_zoned(TimeZone::UTC).date());
    let first = counted.iter().filter_map(|row| date(&row.day)).chain(recorded).min();
    let (begin, end) = period.moments(first, now);
    let past = Past::of(records.iter().map(|(_, record)| record), (begin, end));
    let missing = unattributed(&reader.runs()?, |key| pins_of(kept, key), |day| period.has(day), past);
    let mut traffic = Vec::new();
    for row in counted {
        let (Some(day), Judged { pin, hook, jurisdiction, verdict, reason }) = (date(&row.day), row.judged)
        else {
            continue;
        };
        // What is refused at a call would have been egress.
        if period.has(day) && hook != Hook::Ingress.name() {
            let (packets, bytes) = (row.packets, row.bytes);
            traffic.push(Traffic { day, pin, jurisdiction, verdict, reason, packets, bytes });
        }
    }
    used.retain(|row| date(&row.day).is_some_and(|day| period.has(day)));
    presumed.retain(|row| date(&row.day).is_some_and(|day| period.has(day)));
    let counts = job.counts.as_deref().unwrap_or_default();
    let is_used = |it: &Summary| {
        let mut keys = used.iter().map(|row| &row.key).chain(presumed.iter().map(|row| &row.key));
        keys.any(|key| is(it, key))
    };
    let summaries = kept.list_with(counts, now).into_iter().filter(|it| {
        if is_used(it) {
            return true;
        }
        // What was loaded by a clock that was ahead is there all the same.
        let loaded_by_then = end >= now || it.loaded_at.is_none_or(|loaded| loaded < end);
        let closed_before = it.revoked.as_ref().is_some_and(|revoked| revoked.at < begin);
        loaded_by_then && it.valid_until > begin && !closed_before
    });
    let beside = Beside::of(&records, (kept, reader));
    let entry = |summary| entry_of(summary, (kept, &job.policy), (&records, &beside), (&used, &presumed));
    let exemptions = summaries.map(entry).collect();
    let pin =
        |pin: &crate::config::policy::Pin| PinEntry { name: pin.name.clone(), home: pin.home.to_string() };
    let record = &job.policy.record;
    Ok(Report {
        host: hostname().to_owned(),
        organisation: Organisation {
            controller: record.controller.clone(),
            joint_controller: record.joint_controller.clone(),
            representative: record.representative.clone(),
            dpo: record.dpo.clone(),
        },
        mark: record.mark.clone(),
        from: begin,
        until: end,
        made_at: now,
        generation: job.generation,
        redacted: !job.sees_all,
        pins: job.policy.distinct_pins().map(pin).collect(),
        exemptions,
        traffic,
        gaps: {
            let mut gaps = gaps(kept, job, &records, (begin, end));
            gaps.extend(missing.iter().map(Unattributed::words));
            gaps
        },
        unattributed: missing,
        audit_head: audit_head(&records),
    })
}

/// The last of these records of the trail.
fn audit_head(records: &[(String, Stored)]) -> Option<AuditHead> {
    records.last().map(|(line, record)| AuditHead {
        sequence: record.sequence,
        sha256: Head::of_line(line).map(|head| head.hash_text()).unwrap_or_default(),
        time: record.time,
    })
}

/// Every record of the trail with its line.
fn audit_records(reader: &Reader) -> Result<Vec<(String, Stored)>, StoreError> {
    let lines = reader.audit_lines(0, usize::MAX)?;
    let read = |line: String| Stored::read(line.as_bytes()).ok().map(|record| (line, record));
    Ok(lines.into_iter().filter_map(read).collect())
}

/// Where what is told of this time may miss something, a sentence each.
fn gaps(
    kept: &Kept,
    job: &ReadJob,
    records: &[(String, Stored)],
    (from, until): (Timestamp, Timestamp),
) -> Vec<String> {
    // What can't be read now may be of any time.
    let mut gaps: Vec<String> = kept.problems().iter().map(ToString::to_string).collect();
    gaps.extend(job.gaps.iter().cloned());
    let of_trail = of_trail(records.iter().map(|(_, record)| record)).into_iter();
    gaps.extend(of_trail.filter(|gap| gap.overlaps(from, until)).map(|Gap { words, .. }| words));
    gaps
}

/// The pins of an exemption; `None` where its document can't be read.
fn pins_of<'k>(kept: &'k Kept, key: &Key) -> Option<&'k [String]> {
    kept.document_of(key).map(|document| document.pins.as_slice())
}

fn is(summary: &Summary, (id, version): &Key) -> bool {
    (&summary.id, summary.version) == (id, *version)
}

fn date(text: &str) -> Option<Date> {
    text.parse().ok()
}
