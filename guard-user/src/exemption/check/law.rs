//! Holds a document against each rule of law.

use jiff::SignedDuration;

use super::facts::Facts;
use super::overlap;
use super::pack::{self, Act};
use crate::exemption::ground::Ground;
use crate::exemption::instrument::InstrumentKind;
use crate::exemption::law::{Breach, DEROGATION_DAYS, ReviewAt};
use crate::exemption::sink::Sink;

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
    if let Some(breach) = other_law(facts, kind)
        && let Some(text) = &raw.ground
    {
        return sink.error(text.span().start, "instrument.ground", breach);
    }
    // Data Act, Art. 32(2): what rests on an agreement names it. What was loaded before keeps its end.
    let is_by_agreement = facts.now.is_some() && facts.ground == Some(Ground::DataActAgreement);
    if (kind == InstrumentKind::TreatyRequest || is_by_agreement) && raw.lacks_agreement {
        sink.error(at, "instrument.type", Breach::NoAgreement);
    }
    let is_safeguard = facts.now.is_some()
        && facts.ground.is_some_and(|ground| ground.is_safeguard() && kind.grounds().contains(&ground));
    if kind.needs_assessment() || is_safeguard {
        match &facts.raw.assessment {
            None => sink.error(at, "instrument.type", Breach::NoAssessment { kind }),
            Some(assessment) if assessment.lacks_review => {
                sink.error(at, "instrument.type", Breach::NoReviewDate { kind });
            }
            Some(_) => {}
        }
    }
    let (Some(ground), Some(text)) = (facts.ground, &raw.ground) else { return };
    let (kind_at, at) = (at, text.span().start);
    if !kind.grounds().contains(&ground) {
        return sink.error(at, "instrument.ground", Breach::GroundMismatch { kind, ground });
    }
    if ground.is_derogation() {
        check_derogation(facts, at, sink);
    }
    let whole = facts.receivers.iter().filter(|it| it.raw.lacks_cidrs);
    for receiver in whole.filter(|_| kind != InstrumentKind::AdequacyDecision) {
        if let Some(country) = receiver.jurisdiction {
            sink.error(receiver.raw.at, "recipient", Breach::WholeCountry { country, kind });
        }
    }
    // What was loaded before keeps its end: neither are its particulars asked for, nor does a newer pack judge it.
    if facts.now.is_some() {
        let act = Act { kind, ground, kind_at, ground_at: at };
        pack::check_particulars(facts, act, sink);
        if let Some(law) = facts.pack {
            pack::check_pack(facts, act, law, sink);
        }
    }
}

/// That the law does not have the ground of a new document: what else it would ask for on that ground is nothing to mend.
fn other_law(facts: &Facts<'_>, kind: InstrumentKind) -> Option<Breach> {
    let law = facts.particulars.law;
    let is_judged = facts.now.is_some() && facts.pack.is_some();
    let ground = facts.ground.filter(|ground| kind.grounds().contains(ground) && !law.has(*ground))?;
    is_judged.then_some(Breach::OtherLaw { law, ground, kind })
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
