//! Holds a document against each rule of law.

use jiff::{SignedDuration, Timestamp};

use super::overlap::{self, Receiver};
use crate::exemption::ground::Ground;
use crate::exemption::instrument::InstrumentKind;
use crate::exemption::law::{Breach, DEROGATION_DAYS, ReviewAt};
use crate::exemption::raw::Raw;
use crate::exemption::sink::Sink;
use crate::groups::{self, Scope};

/// What the rules look at. A value is `None` where it is not there, or has an error of its own, so that
/// nothing is reported twice.
pub(super) struct Facts<'r> {
    pub(super) raw: &'r Raw,
    pub(super) kind: Option<InstrumentKind>,
    pub(super) ground: Option<Ground>,
    pub(super) window: (Option<Timestamp>, Option<Timestamp>),
    pub(super) review_by: Option<Timestamp>,
    pub(super) receivers: Vec<Receiver<'r>>,
    pub(super) now: Option<Timestamp>,
}

/// Reports every rule that the document breaks, at the place where it does.
pub(super) fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    check_window(facts, sink);
    check_instrument(facts, sink);
    check_review(facts, sink);
    if facts.raw.has_no_recipient {
        sink.error(0, "recipient", Breach::NoRecipient);
    }
    overlap::check(&facts.receivers, sink);
}

fn check_window(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let (Some(until), Some(place)) = (facts.window.1, &facts.raw.valid_until) else { return };
    let at = place.span().start;
    if let Some(from) = facts.window.0.filter(|&from| until <= from) {
        sink.error(at, "valid_until", Breach::ReversedWindow { from, until });
    } else if let Some(now) = facts.now.filter(|&now| until <= now) {
        sink.error(at, "valid_until", Breach::Expired { until, now });
    }
}

fn check_instrument(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let raw = &facts.raw.instrument;
    let (Some(kind), Some(text)) = (facts.kind, &raw.kind) else { return };
    let at = text.span().start;
    // Whatever else it says: there is no way to make it right but to name another instrument.
    if kind == InstrumentKind::ForeignOrder {
        return sink.error(at, "instrument.type", Breach::ForeignOrderAlone);
    }
    if kind == InstrumentKind::TreatyRequest && raw.lacks_agreement {
        sink.error(at, "instrument.type", Breach::NoAgreement);
    }
    if kind.needs_assessment() {
        match &facts.raw.assessment {
            None => sink.error(at, "instrument.type", Breach::NoAssessment { kind }),
            Some(assessment) if assessment.lacks_review => {
                sink.error(at, "instrument.type", Breach::NoReviewDate { kind });
            }
            Some(_) => {}
        }
    }
    let (Some(ground), Some(text)) = (facts.ground, &raw.ground) else { return };
    let at = text.span().start;
    if !kind.grounds().contains(&ground) {
        return sink.error(at, "instrument.ground", Breach::GroundMismatch { kind, ground });
    }
    if ground.is_derogation() {
        check_derogation(facts, at, sink);
    }
    for receiver in &facts.receivers {
        check_receiver(receiver, kind, ground, sink);
    }
}

fn check_derogation(facts: &Facts<'_>, at: usize, sink: &mut Sink<'_>) {
    if !facts.raw.has_quota {
        sink.error(at, "instrument.ground", Breach::UnboundedDerogation);
    }
    if facts.raw.assessment.is_none() {
        sink.error(at, "instrument.ground", Breach::UndocumentedDerogation);
    }
    if let ((Some(from), Some(until)), Some(place)) = (facts.window, &facts.raw.valid_until)
        && until.duration_since(from) > SignedDuration::from_hours(24 * DEROGATION_DAYS)
    {
        sink.error(place.span().start, "valid_until", Breach::LongDerogation { from, until });
    }
}

fn check_receiver(receiver: &Receiver<'_>, kind: InstrumentKind, ground: Ground, sink: &mut Sink<'_>) {
    let (Some(country), Some(place)) = (receiver.jurisdiction, &receiver.raw.jurisdiction) else { return };
    let at = place.span().start;
    let field = "recipient.jurisdiction";
    let in_eea = groups::builtin("EEA").is_some_and(|eea| eea.contains(country));
    match (ground, in_eea) {
        (Ground::NoTransfer, false) => return sink.error(at, field, Breach::OutsideEea { country }),
        (Ground::NoTransfer, true) | (_, false) => {}
        (_, true) => return sink.error(at, field, Breach::InsideEea { country }),
    }
    let whole = receiver.raw.lacks_cidrs;
    if ground == Ground::Adequacy {
        match groups::decision(country) {
            None => return sink.error(at, field, Breach::NoAdequacyDecision { country }),
            Some(decision) => {
                let authority = kind == InstrumentKind::TreatyRequest;
                if let Scope::Part(whom) = decision.scope
                    && (whole || authority)
                {
                    let act = decision.act;
                    return sink.error(at, field, Breach::PartialAdequacy { country, act, whom, authority });
                }
            }
        }
    }
    if whole && kind != InstrumentKind::AdequacyDecision {
        sink.error(receiver.raw.at, "recipient", Breach::WholeCountry { country, kind });
    }
}

fn check_review(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let place = facts.raw.assessment.as_ref().and_then(|assessment| assessment.review_by.as_ref());
    let (Some(by), Some(place)) = (facts.review_by, place) else { return };
    let at = if facts.now.is_some_and(|now| by <= now) {
        ReviewAt::Now
    } else if facts.window.0.is_some_and(|from| by <= from) {
        ReviewAt::Begin
    } else {
        return;
    };
    sink.error(place.span().start, "assessment.review_by", Breach::ReviewOver { by, at });
}
