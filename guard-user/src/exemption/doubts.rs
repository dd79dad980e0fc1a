//! What a reader may doubt of a document: no error, for somebody may mean it.

use jiff::{SignedDuration, Timestamp};

use super::cited;
use super::document::Document;
use super::particulars::DutyKind;
use crate::text::visible;

/// How far a duty's days may be from the window before somebody may have mistyped the year.
const YEAR: SignedDuration = SignedDuration::from_hours(366 * 24);
/// How long a window may be without a look at its assessment in it.
const UNSEEN: SignedDuration = SignedDuration::from_hours(2 * 366 * 24);
/// Data subjects past which nobody calls their number limited.
const LIMITED_SUBJECTS: u32 = 100_000;

impl Document {
    /// What a reader may doubt, a sentence each: no error, for somebody may mean it.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let is_word = |text: &str| !text.trim().contains(' ');
        let purpose = is_word(&self.purpose)
            .then(|| "its purpose is one word: will a reader know what it is for?".to_owned());
        let large = self.recipients.iter().filter(|it| it.large_network.as_deref().is_some_and(is_word));
        let large =
            large.map(|it| format!("why the networks of \"{}\" are large is one word", visible(&it.name)));
        let keeps = self.particulars.retention.is_none() && self.particulars.delete_by.is_none();
        let keeps = (keeps && self.instrument.ground.is_personal()).then(|| {
            "it does not say how long the data is kept (retention, delete_by): Art. 30(1)(f) asks for it where possible"
                .to_owned()
        });
        let act = &self.instrument;
        let article = cited::doubt(&act.article, act.kind, act.ground, self.particulars.law);
        let doubts = purpose.into_iter().chain(article).chain(large).chain(keeps);
        doubts.chain(of_days_and_numbers(self)).collect()
    }
}

/// A sentence for each.
fn of_days_and_numbers(document: &Document) -> Vec<String> {
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
