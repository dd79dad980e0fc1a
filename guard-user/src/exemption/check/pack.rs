//! Holds a new document against the rules that ask for particulars, and against those that hang on the law pack.

use guard_common::jurisdiction::Jurisdiction;
use jiff::{SignedDuration, Timestamp};
use toml::Spanned;
use toml::value::Datetime;

use super::facts::Facts;
use super::overlap::Receiver;
use crate::exemption::ground::{Basis, Ground, Role};
use crate::exemption::instrument::InstrumentKind;
use crate::exemption::law::pack::{Adequacy, DATA_ACT, E_EVIDENCE};
use crate::exemption::law::{Breach, Excepted, LawPack, Party};
use crate::exemption::particulars::{Certificate, DutyKind, Law, Module};
use crate::exemption::sink::Sink;

/// What a document rests on, where both words are right and fit each other.
#[derive(Clone, Copy)]
pub(super) struct Act {
    pub(super) kind: InstrumentKind,
    pub(super) ground: Ground,
    /// Where the type stands.
    pub(super) kind_at: usize,
    /// Where the ground stands.
    pub(super) ground_at: usize,
}

/// Reports what a new document does not say and has to.
pub(super) fn check_particulars(facts: &Facts<'_>, act: Act, sink: &mut Sink<'_>) {
    let particulars = facts.particulars;
    let raw = &facts.raw.particulars;
    let is_personal = act.ground.is_personal();
    let contradicts = facts.basis.is_some_and(|basis| (basis != Basis::NotPersonal) != is_personal)
        || !is_personal && raw.data_subjects.is_some();
    if contradicts {
        sink.error(act.kind_at, "instrument.type", Breach::NotPersonal);
    } else if is_personal && raw.lacks_data_subjects {
        sink.error(0, "data_subjects", Breach::NoDataSubjects);
    }
    check_module(facts, act, sink);
    if act.kind.has_parties() {
        let strangers = facts.receivers.iter().filter(|it| !particulars.parties.contains(&it.name));
        for receiver in strangers.filter(|it| !it.name.is_empty()) {
            let breach = Breach::NotAParty { name: receiver.name.clone(), who: Party::Recipient };
            sink.error(receiver.raw.at, "recipient", breach);
        }
        // Safeguards are between who sends and who receives.
        if let Some(name) = facts.raw.exporter.name.as_ref()
            && !particulars.parties.contains(name.get_ref())
        {
            let breach = Breach::NotAParty { name: name.get_ref().clone(), who: Party::Exporter };
            sink.error(name.span().start, "exporter.name", breach);
        }
    }
    check_authority(facts, act, sink);
    check_deletion(facts, sink);
    check_condition(facts, act, sink);
    check_notifications(facts, act, sink);
    if let Some(text) = &raw.certificate {
        let at = text.span().start;
        if raw.lacks_addressee {
            sink.error(at, "instrument.certificate", Breach::NoAddressee);
        }
        if particulars.certificate == Some(Certificate::Preservation) {
            sink.error(at, "instrument.certificate", Breach::PreservationOnly);
        }
    }
}

fn check_module(facts: &Facts<'_>, act: Act, sink: &mut Sink<'_>) {
    use Module::{Addendum, BcrC, BcrP, C2c, C2p, Idta, P2c, P2p};
    let law = facts.particulars.law;
    let is_needed = match act.kind {
        InstrumentKind::StandardClauses => act.ground == Ground::CommissionClauses || law == Law::Uk,
        InstrumentKind::CorporateRules => true,
        _ => return,
    };
    if is_needed && facts.raw.particulars.lacks_module {
        return sink.error(act.kind_at, "instrument.type", Breach::NoModule { kind: act.kind });
    }
    let (Some(module), Some(text)) = (facts.particulars.module, &facts.raw.particulars.module) else {
        return;
    };
    let role_fits = |role: Role| facts.role.is_none_or(|own| own == role);
    let fits = match (act.kind, module) {
        (InstrumentKind::StandardClauses, C2c | C2p) => law != Law::Uk && role_fits(Role::Controller),
        (InstrumentKind::StandardClauses, P2p | P2c) => law != Law::Uk && role_fits(Role::Processor),
        (InstrumentKind::StandardClauses, Idta | Addendum) => {
            law == Law::Uk && act.ground == Ground::AuthorityClauses
        }
        (InstrumentKind::CorporateRules, BcrC) => role_fits(Role::Controller),
        (InstrumentKind::CorporateRules, BcrP) => role_fits(Role::Processor),
        _ => false,
    };
    if !fits {
        sink.error(text.span().start, "instrument.module", Breach::ModuleMismatch { module });
    }
}

/// Art. 49(3): what public authorities do in the exercise of their powers.
fn check_authority(facts: &Facts<'_>, act: Act, sink: &mut Sink<'_>) {
    let is_not_theirs = matches!(
        act.ground,
        Ground::Consent | Ground::Contract | Ground::ContractForSubject | Ground::CompellingInterests
    );
    if is_not_theirs && facts.particulars.public_authority {
        let breach = Breach::PublicAuthority { ground: act.ground };
        sink.error(act.ground_at, "instrument.ground", breach);
    }
}

fn check_deletion(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let (by, place) = (facts.particulars.delete_by, &facts.raw.particulars.delete_by);
    if let (Some(by), Some(until), Some(place)) = (by, facts.window.1, place)
        && by < until
    {
        sink.error(place.span().start, "delete_by", Breach::EarlyDeletion { by, until });
    }
}

fn check_condition(facts: &Facts<'_>, act: Act, sink: &mut Sink<'_>) {
    let ground = act.ground;
    if !ground.is_derogation() && ground != Ground::DataActConditions {
        return;
    }
    let mut lacks = |key| sink.error(act.ground_at, "instrument.ground", Breach::NoCondition { ground, key });
    match &facts.raw.particulars.condition {
        None => lacks("[condition]"),
        Some(raw) if ground == Ground::PublicInterest && raw.lacks_recognised_by => lacks("recognised_by"),
        Some(raw) if ground == Ground::CompellingInterests && raw.lacks_subjects => lacks("subjects"),
        Some(_) => {}
    }
}

fn check_notifications(facts: &Facts<'_>, act: Act, sink: &mut Sink<'_>) {
    // Data Act, Art. 32(5): not as long as the request serves law enforcement and telling would harm that.
    let condition = facts.raw.particulars.condition.as_ref();
    let is_silent = condition.is_some_and(|condition| !condition.lacks_customer_not_told);
    let needed: &[DutyKind] = match act.ground {
        Ground::CompellingInterests => &[DutyKind::TellAuthority, DutyKind::TellSubjects],
        Ground::DataActAgreement | Ground::DataActConditions if !is_silent => &[DutyKind::TellCustomer],
        _ => &[],
    };
    for &duty in needed {
        if facts.particulars.duties.iter().all(|it| it.kind != duty) {
            sink.error(act.ground_at, "instrument.ground", Breach::NoNotification { duty });
        }
    }
}

/// Reports what the law pack does not allow.
pub(super) fn check_pack(facts: &Facts<'_>, act: Act, pack: &LawPack, sink: &mut Sink<'_>) {
    let law = facts.particulars.law;
    check_homes(facts, pack, sink);
    check_acts(facts, act, pack, sink);
    for (number, receiver) in facts.receivers.iter().enumerate() {
        check_receiver(facts, (number, receiver), act, pack, sink);
    }
    check_agreement(facts, act, pack, sink);
    for (raw, onward) in facts.raw.particulars.onward.iter().zip(&facts.particulars.onward) {
        let country = onward.jurisdiction;
        let is_wrong = match onward.ground {
            Ground::Adequacy => pack.adequacy(law, country, facts.window).is_none(),
            Ground::NoTransfer => !pack.is_inside(law, country),
            other => !law.has(other),
        };
        if let Some(place) = raw.ground.as_ref().filter(|_| is_wrong) {
            let breach = Breach::OnwardWithoutGround { country, ground: onward.ground };
            sink.error(place.span().start, "onward.ground", breach);
        } else if needs_certification(onward.ground, country, facts, pack) {
            let of = ToCertify {
                name: &onward.name,
                at: raw.at,
                section: "onward",
                lacks: [raw.lacks_certification, raw.lacks_checked_on],
                checked_on: (onward.certified.checked_on, raw.checked_on.as_ref()),
            };
            check_certification(facts, &of, pack, sink);
        }
    }
}

fn check_homes(facts: &Facts<'_>, pack: &LawPack, sink: &mut Sink<'_>) {
    let law = facts.particulars.law;
    for (pin, home) in facts.homes.into_iter().flatten().filter(|(pin, _)| facts.pins.contains(pin)) {
        // The law at home decides, also where the document names none and another is milder.
        let own = [Law::Uk, Law::Ch].into_iter().find(|own| pack.is_inside(*own, *home));
        let place = facts.raw.pins.as_ref().and_then(|pins| pins.items.first());
        if let (Some(own), Some(place), Law::Eu) = (own, place, law) {
            let breach = Breach::HomeLaw { pin: pin.clone(), home: *home, law: own };
            sink.error(place.span().start, "pins", breach);
        }
    }
    // The GDPR reaches data that is elsewhere as well (its Art. 3); the other two are milder, and hold at home alone.
    let (Some(homes), Some(text)) = (facts.homes, &facts.raw.particulars.law) else { return };
    let covered = facts.pins.iter().filter_map(|pin| homes.iter().find(|(name, _)| name == pin));
    for (pin, home) in covered.filter(|(_, home)| law != Law::Eu && !pack.is_inside(law, *home)) {
        let breach = Breach::OtherHome { pin: pin.clone(), home: *home, law };
        sink.error(text.span().start, "law", breach);
    }
}

/// Dates of application, and whom an act binds.
fn check_acts(facts: &Facts<'_>, act: Act, pack: &LawPack, sink: &mut Sink<'_>) {
    let certificate = facts.raw.particulars.certificate.as_ref();
    let (id, at, field) = match certificate {
        Some(text) => (E_EVIDENCE, text.span().start, "instrument.certificate"),
        None if act.kind == InstrumentKind::DataActRequest => (DATA_ACT, act.kind_at, "instrument.type"),
        None => return,
    };
    let Some(of) = pack.act(id) else { return };
    let since = crate::exemption::law::pack::begin_of(of.since);
    if facts.window.0.is_some_and(|from| from < since) {
        sink.error(at, field, Breach::NotYetApplicable { act: of.name.clone(), since });
    }
    if certificate.is_none() {
        return;
    }
    for receiver in &facts.receivers {
        let (Some(country), Some(place)) = (receiver.jurisdiction, &receiver.raw.jurisdiction) else {
            continue;
        };
        if pack.is_inside(facts.particulars.law, country) && !of.bound.contains(&country) {
            let breach = Breach::NotBound { country, act: of.name.clone() };
            sink.error(place.span().start, "recipient.jurisdiction", breach);
        }
    }
}

fn check_receiver(
    facts: &Facts<'_>,
    (number, receiver): (usize, &Receiver<'_>),
    Act { kind, ground, .. }: Act,
    pack: &LawPack,
    sink: &mut Sink<'_>,
) {
    let law = facts.particulars.law;
    let (Some(country), Some(place)) = (receiver.jurisdiction, &receiver.raw.jurisdiction) else { return };
    let (at, field) = (place.span().start, "recipient.jurisdiction");
    match (ground, pack.is_inside(law, country)) {
        (Ground::NoTransfer, false) => return sink.error(at, field, Breach::OutsideEea { country, law }),
        (Ground::NoTransfer, true) | (_, false) => {}
        (_, true) => return sink.error(at, field, Breach::InsideEea { country, law }),
    }
    if ground == Ground::Adequacy {
        let Some(decision) = pack.adequacy(law, country, facts.window) else {
            return sink.error(at, field, Breach::NoAdequacyDecision { country });
        };
        let authority = kind.is_asked_for();
        if let Some(whom) = &decision.covers
            && (receiver.raw.lacks_cidrs || authority)
        {
            let (act, whom) = (decision.act.clone(), whom.clone());
            return sink.error(at, field, Breach::PartialAdequacy { country, act, whom, authority });
        }
        if let Some(lack) = lack_of_words(facts, decision, receiver, authority) {
            let (act, purposes) = (decision.act.clone(), decision.excepts.clone().unwrap_or_default());
            let breach = Breach::ExceptedPurpose { country, act, purposes, lack };
            return sink.error(at, field, breach);
        }
    }
    if needs_certification(ground, country, facts, pack) {
        let on = facts.particulars.certified.get(number).and_then(|it| it.checked_on);
        let of = ToCertify {
            name: &receiver.name,
            at: receiver.raw.at,
            section: "recipient",
            lacks: [receiver.raw.lacks_certification, receiver.raw.lacks_checked_on],
            checked_on: (on, receiver.raw.checked_on.as_ref()),
        };
        check_certification(facts, &of, pack, sink);
    }
}

/// What a document lacks that rests on a decision which is not for every purpose.
fn lack_of_words(
    facts: &Facts<'_>,
    decision: &Adequacy,
    receiver: &Receiver<'_>,
    is_asked_for: bool,
) -> Option<Excepted> {
    decision.excepts.as_ref()?;
    if is_asked_for {
        return Some(Excepted::Authority);
    }
    if receiver.raw.lacks_cidrs {
        return Some(Excepted::Everybody);
    }
    facts.raw.particulars.condition.is_none().then_some(Excepted::Words)
}

/// Whether a ground holds for who is in a register alone.
fn needs_certification(ground: Ground, country: Jurisdiction, facts: &Facts<'_>, pack: &LawPack) -> bool {
    let decision = || pack.adequacy(facts.particulars.law, country, facts.window);
    match ground {
        Ground::Certification => true,
        Ground::Adequacy => decision().is_some_and(|decision| decision.register.is_some()),
        _ => false,
    }
}

/// Whoever has to be certified, as the document has it.
struct ToCertify<'f> {
    name: &'f str,
    /// Where it begins.
    at: usize,
    section: &'static str,
    /// Whether `certification` and `checked_on` are missing.
    lacks: [bool; 2],
    /// The day, and where it stands.
    checked_on: (Option<Timestamp>, Option<&'f Spanned<Datetime>>),
}

fn check_certification(facts: &Facts<'_>, of: &ToCertify<'_>, pack: &LawPack, sink: &mut Sink<'_>) {
    let missing = of.lacks.into_iter().zip(["certification", "checked_on"]);
    if let Some((_, key)) = missing.into_iter().find(|(lacks, _)| *lacks) {
        let breach = Breach::NoCertification { recipient: of.name.to_owned(), key };
        return sink.error(of.at, of.section, breach);
    }
    let ((Some(on), Some(place)), Some(now)) = (of.checked_on, facts.now) else { return };
    let days = pack.certification_days;
    let since = now.duration_since(on);
    if since.is_negative() || since > SignedDuration::from_hours(24 * i64::from(days)) {
        let breach = Breach::StaleCertification { on, days, now };
        sink.error(place.span().start, format!("{}.checked_on", of.section), breach);
    }
}

fn check_agreement(facts: &Facts<'_>, act: Act, pack: &LawPack, sink: &mut Sink<'_>) {
    let raw = &facts.raw.particulars;
    let is_direct = act.kind == InstrumentKind::DirectRequest;
    let (Some(id), Some(text)) = (&facts.particulars.agreement_id, &raw.agreement_id) else {
        if is_direct && raw.lacks_agreement_id {
            let breach = Breach::NoAgreementInForce { id: None, country: None, known: false };
            sink.error(act.kind_at, "instrument.type", breach);
        }
        return;
    };
    let at = text.span().start;
    let agreement = pack.agreement(id);
    let refused =
        |country| Breach::NoAgreementInForce { id: Some(id.clone()), country, known: agreement.is_some() };
    let Some(agreement) = agreement else {
        return sink.error(at, "instrument.agreement_id", refused(None));
    };
    let law = facts.particulars.law;
    let stranger = facts.receivers.iter().filter_map(|it| it.jurisdiction).find(|country| {
        is_direct && !agreement.direct || !agreement.is_in_force(law, *country, facts.window.0)
    });
    // One error is enough: the agreement is what is wrong.
    if let Some(country) = stranger.filter(|_| act.kind.is_asked_for()) {
        return sink.error(at, "instrument.agreement_id", refused(Some(country)));
    }
    let homes = facts.homes.into_iter().flatten().filter(|(pin, _)| facts.pins.contains(pin));
    for (pin, home) in homes.filter(|(_, home)| !agreement.home.contains(home)) {
        let breach = Breach::AgreementOfOthers { id: id.clone(), pin: pin.clone(), home: *home };
        sink.error(at, "instrument.agreement_id", breach);
    }
}
