//! Leaves the text of confidential exemptions out.

use super::life;
use super::model::{Change, ExemptionEntry, Report};
use crate::audit::Kind;

/// What stands in the place of text that is left out.
pub const WITHHELD: &str = "(withheld: confidential)";

/// The report as it may be shown: where it is to be redacted, confidential exemptions keep id, state, law, kind
/// of instrument and ground, pins, jurisdictions, times and numbers, and no other text.
pub(crate) fn redacted(report: &Report) -> Report {
    let mut report = report.clone();
    if report.redacted {
        report.exemptions.iter_mut().filter(|exemption| exemption.confidential).for_each(withhold);
    }
    report
}

fn withhold(exemption: &mut ExemptionEntry) {
    // Taken apart whole, so that a field that is added has to be thought of here.
    let ExemptionEntry {
        id: _,
        version: _,
        state: _,
        confidential: _,
        pins: _,
        hosts: _,
        // The pins' home says as much.
        law: _,
        // Pins and jurisdictions.
        not_needed: _,
        emergency,
        purpose,
        data_categories,
        instrument,
        exporter,
        assessment,
        recipients,
        particulars,
        valid_from: _,
        valid_until: _,
        quota_bytes: _,
        // It identifies a short document to anyone who can guess its text.
        document_sha256,
        approvals,
        changes,
        first_use: _,
        last_use: _,
        use_by_day,
        presumed: _,
    } = exemption;
    for text in [
        purpose,
        emergency,
        document_sha256,
        &mut instrument.name,
        &mut instrument.article,
        &mut instrument.authority,
        &mut instrument.reference,
        &mut instrument.agreement,
        &mut exporter.name,
        &mut exporter.contact,
    ] {
        hide(text);
    }
    hide_all(data_categories);
    if let Some(assessment) = assessment {
        hide(&mut assessment.reference);
        // As of all that is due it is not told when.
        hide(&mut assessment.review_by);
        hide_all(&mut assessment.measures);
    }
    for recipient in recipients {
        hide(&mut recipient.name);
        hide_all(&mut recipient.networks);
        hide_all(&mut recipient.ports);
    }
    particulars.iter_mut().for_each(|it| hide(&mut it.value));
    for recipient in use_by_day.iter_mut().filter_map(|used| used.recipient.as_mut()) {
        hide(recipient);
    }
    for approval in approvals {
        hide(&mut approval.identity);
        hide(&mut approval.key);
    }
    // Others have the times at which its instrument fell and was restored, and that instrument's name. What held it is its own.
    let own = life::of(changes);
    let is_stay = |it: &Change| it.what == Kind::Stay.name();
    let stays: Vec<Change> = changes.iter().filter(|it| is_stay(it)).cloned().collect();
    let mut places = 0_usize..;
    changes.retain(|it| {
        let is_own = places.next().is_some_and(|at| own.contains(&at));
        is_own || !it.is_of_instrument() || is_stay(it) || stays.iter().any(|stay| it.lifts(stay))
    });
    for change in changes {
        hide(&mut change.who);
        hide(&mut change.why);
        change.order.iter_mut().chain(&mut change.name).chain(&mut change.document_sha256).for_each(hide);
        for by in &mut change.signed_by {
            hide(&mut by.identity);
            hide(&mut by.key);
        }
    }
}

/// Puts the word in the place of a text, where there is one.
fn hide(text: &mut String) {
    if !text.is_empty() {
        WITHHELD.clone_into(text);
    }
}

/// Likewise in the place of a list: how many there are is not told.
fn hide_all(texts: &mut Vec<String>) {
    if !texts.is_empty() {
        *texts = vec![WITHHELD.to_owned()];
    }
}
