//! Lifts an order by the document that says so, once it is known to be of that order and approved.

use jiff::Timestamp;

use super::approvals::{self, Moment};
use crate::approval::{self, ORDER, Requirement};
use crate::config::policy::Approvals;
use crate::daemon::engine::LiftJob;
use crate::exemption::record::ApprovedBy;
use crate::exemption::{Lift, LiftError, Opens};
use crate::store::{ApprovalError, Change, Kept, Key, Lifted, Store, StoreError, Target, sha256};

/// Does it, or in a dry run only says what it would be made to. Where the config asks for no approvals, what the document says is held against the order all the same.
pub(super) fn lift(store: &mut Store, job: LiftJob, now: Timestamp) -> Result<Vec<Key>, StoreError> {
    let document = Lift::parse(&job.bytes)?;
    let kept = store.kept();
    document.is_of(kept.order_to_lift(&job.target, job.order.as_deref())?, &job.why)?;
    let change = Change::Resume { order: job.order.clone(), why: job.why.clone() };
    let keys = kept.affected(&job.target, &change, now)?;
    document.has_all(&opens(&kept, &keys))?;
    let by = match &job.policy.approval {
        Some(config) => {
            let now = Moment { wall: now, latest: job.latest };
            approved(&kept, config, &document, (&keys, &job), now)?
        }
        None => Vec::new(),
    };
    let revoked = kept.revoked_keys();
    if let Some(it) = by.iter().find(|it| revoked.contains(&it.fingerprint)) {
        return Err(LiftError::RevokedKey { fingerprint: it.fingerprint.clone() }.into());
    }
    if job.dry_run {
        return Ok(keys);
    }
    let signatures = job.signatures.iter().map(|it| it.bytes.clone()).collect();
    let lifted = Lifted { sha256: sha256(&job.bytes), bytes: job.bytes, signatures, by };
    store.lift(&job.target, &change, &lifted, &job.who, now)
}

/// What passes again, as the document is to name it.
fn opens(kept: &Kept, keys: &[Key]) -> Vec<Opens> {
    let of = |key: &Key| {
        let sha256 = kept.record(key).map(|record| record.sha256.clone()).unwrap_or_default();
        Opens { id: key.0.clone(), version: key.1, sha256 }
    };
    keys.iter().map(of).collect()
}

/// Who approves it. An order on one exemption needs what its document needs by the rules; an emergency takes no rule's place
/// here. Any other order needs what every rule asks for: documents that it kept out may be loaded after it, and what
/// another order holds meanwhile may pass when that is lifted.
fn approved(
    kept: &Kept,
    config: &Approvals,
    lift: &Lift,
    (keys, job): (&[Key], &LiftJob),
    now: Moment,
) -> Result<Vec<ApprovedBy>, ApprovalError> {
    let mut documents: Vec<_> = keys.iter().filter_map(|key| kept.document_of(key)).collect();
    let of_one = match &job.target {
        Target::Id(id) => kept.find(id, None).ok(),
        _ => None,
    };
    documents.extend(of_one.as_ref().and_then(|key| kept.document_of(key)));
    let each: Result<Vec<Vec<Requirement<'_>>>, _> =
        documents.iter().map(|document| document.due_by_rules(&config.rules)).collect();
    let mut each = each.map_err(approval::NotApproved::from)?;
    if of_one.is_none() || each.is_empty() {
        each.push(approval::of_every_rule(&config.rules));
    }
    let required = approval::greatest(each);
    let candidate = approval::Candidate {
        bytes: &job.bytes,
        namespace: ORDER,
        submitter: lift.submitter.as_deref(),
        required: &required,
    };
    approvals::judged((config, &kept.revoked_keys()), &candidate, &job.signatures, &job.who, now)
}
