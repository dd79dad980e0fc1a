//! What a reader may doubt of a document's days and numbers: no error, for somebody may mean it.

use jiff::{SignedDuration, Timestamp};

use super::document::Document;
use super::particulars::DutyKind;

/// How far a duty's days may be from the window before somebody may have mistyped the year.
const YEAR: SignedDuration = SignedDuration::from_hours(366 * 24);
/// How long a window may be without a look at its assessment in it.
const UNSEEN: SignedDuration = SignedDuration::from_hours(2 * 366 * 24);
/// Data subjects past which nobody calls their number limited.
const LIMITED_SUBJECTS: u32 = 100_000;

/// A sentence for each.
pub(super) fn of_days_and_numbers(document: &Document) -> Vec<String> {
    let (begin, end) = (document.valid_from, document.valid_until);
    let mut doubts = Vec::new();
    for duty in &document.particulars.duties {
        let what = duty.kind;
        if let Some(done) = duty.done.filter(|done| begin.duration_since(*done) > YEAR) {
            let done = day(done);
            doubts.push(format!(
                "its duty {what} was done on {done}, it says, more than a year before its window"
            ));
        }
        let tells =
            matches!(duty.kind, DutyKind::TellAuthority | DutyKind::TellSubjects | DutyKind::TellCustomer);
        if tells && duty.done.is_none() && duty.due.duration_since(end) > YEAR {
            let by = day(duty.due);
            doubts.push(format!("its duty {what} is due before {by}, more than a year after its window"));
        }
    }
    let reviewed = document.assessment.as_ref().and_then(|it| it.review_by);
    if let Some(by) = reviewed.filter(|by| *by >= end && end.duration_since(begin) > UNSEEN) {
        let by = day(by);
        doubts.push(format!(
            "its window has more than two years, and nobody looks at its assessment again before {by}"
        ));
    }
    let subjects = document.particulars.condition.as_ref().and_then(|it| it.subjects);
    if let Some(many) = subjects.filter(|many| *many > LIMITED_SUBJECTS) {
        doubts.push(format!(
            "{many} data subjects: is that the limited number of Art. 49(1), second subparagraph?"
        ));
    }
    doubts
}

fn day(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d").to_string()
}
