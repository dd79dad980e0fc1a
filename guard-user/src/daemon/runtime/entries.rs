//! An exemption as reports and receipts have it: what its document says, what became of it and what it let through.

use super::recipients::{days_of, presumed_of};
use super::{fallen, history, lifted_later};
use crate::audit::Stored;
use crate::config::Policy;
use crate::exemption::needless::{self, NotNeeded};
use crate::exemption::particulars::Law;
use crate::exemption::{Document, Summary};
use crate::report::{
    ApprovalEntry, AssessmentEntry, Change, DayUse, ExemptionEntry, ExporterEntry, InstrumentEntry,
    PASSES_FORBIDDEN, ParticularEntry, RecipientEntry,
};
use crate::store::{self, Kept, Key, Reader, Record};

/// What belongs to exemptions that have no record of it.
pub(super) struct Beside<'r> {
    falls: Vec<fallen::Act<'r>>,
    lifts: Vec<lifted_later::Act<'r>>,
}

impl<'r> Beside<'r> {
    pub(super) fn of(records: &'r [(String, Stored)], of: (&Kept, &Reader)) -> Self {
        Self { falls: fallen::acts(records, of), lifts: lifted_later::acts(records, of) }
    }

    fn told(&self, key: &Key, document: &Document) -> Vec<(u64, Change)> {
        let mut told = fallen::beside(&self.falls, key, document);
        told.extend(lifted_later::beside(&self.lifts, key));
        told
    }
}

/// An exemption with what it let through of these rows and what the trail has of it, of its instrument and of what held it.
pub(super) fn entry_of(
    summary: Summary,
    (kept, policy): (&Kept, &Policy),
    (records, beside): (&[(String, Stored)], &Beside<'_>),
    (used, presumed): (&[store::DayUse], &[store::DayPresumed]),
) -> ExemptionEntry {
    let key = (summary.id.clone(), summary.version);
    let days = days_of(&summary, used.iter().filter(|row| row.key == key));
    let presumed = presumed_of(presumed.iter().filter(|row| row.key == key));
    let record = kept.record(&key);
    let trail = records.iter().map(|(_, record)| record);
    let document = kept.document_of(&key);
    let beside = document.map(|document| beside.told(&key, document)).unwrap_or_default();
    let changes = history::all(trail, &key, (record, document), &kept.done_beside(&key), beside);
    let not_needed = document.map(|document| not_needed(document, policy));
    let not_needed = not_needed.unwrap_or_default();
    ExemptionEntry { not_needed, presumed, ..exemption(summary, record, days, changes) }
}

/// Where data passes without an exemption by this policy.
fn not_needed(document: &Document, policy: &Policy) -> String {
    let NotNeeded { permitted, forbidden } = needless::not_needed(document, policy);
    let passes = format!("{PASSES_FORBIDDEN}{forbidden}");
    let both = [permitted, if forbidden.is_empty() { forbidden } else { passes }];
    both.into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join("; ")
}

fn exemption(
    summary: Summary,
    record: Option<&Record>,
    use_by_day: Vec<DayUse>,
    changes: Vec<Change>,
) -> ExemptionEntry {
    // Among the particulars is another law than that of the Union alone.
    let law = summary.particulars.iter().find(|it| it.key == "law").map(|it| it.value.clone());
    let act = summary.instrument;
    let approvals = record.map(|record| record.approvals.as_slice()).unwrap_or_default();
    let seen = record.and_then(|record| record.seen);
    ExemptionEntry {
        id: summary.id,
        version: summary.version,
        state: summary.state.to_string(),
        confidential: summary.confidential,
        pins: summary.pins,
        purpose: summary.purpose,
        data_categories: summary.data_categories,
        hosts: summary.hosts,
        law: law.unwrap_or_else(|| Law::Eu.name().to_owned()),
        not_needed: String::new(),
        emergency: summary.emergency.unwrap_or_default(),
        instrument: InstrumentEntry {
            kind: act.kind,
            name: act.name,
            article: act.article,
            ground: act.ground,
            basis: act.basis,
            authority: act.authority,
            reference: act.reference,
            agreement: act.agreement.unwrap_or_default(),
        },
        exporter: ExporterEntry {
            name: summary.exporter.name,
            role: summary.exporter.role,
            contact: summary.exporter.contact,
        },
        assessment: summary.assessment.map(|assessment| AssessmentEntry {
            reference: assessment.reference,
            review_by: assessment.review_by.map(|by| by.to_string()).unwrap_or_default(),
            measures: assessment.measures,
        }),
        recipients: summary
            .recipients
            .into_iter()
            .map(|it| RecipientEntry {
                name: it.name,
                jurisdiction: it.jurisdiction,
                networks: it.cidrs,
                anywhere: it.anywhere,
                ports: it.ports,
            })
            .collect(),
        particulars: summary
            .particulars
            .into_iter()
            .map(|it| ParticularEntry { key: it.key, value: it.value })
            .collect(),
        valid_from: summary.valid_from,
        valid_until: summary.valid_until,
        quota_bytes: summary.quota_bytes,
        document_sha256: record.map(|record| record.sha256.clone()).unwrap_or_default(),
        approvals: approvals
            .iter()
            .map(|approval| ApprovalEntry {
                identity: approval.identity.clone(),
                roles: approval.role.iter().cloned().collect(),
                key: approval.fingerprint.clone(),
            })
            .collect(),
        changes,
        first_use: seen.map(|(first, _)| first),
        last_use: seen.map(|(_, last)| last),
        use_by_day,
        presumed: Vec::new(),
    }
}
