//! Raw document in, checked document out, and every error on the way.

mod facts;
mod law;
mod overlap;
mod pack;
mod particulars;
mod width;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use toml::Spanned;
use toml::value::Datetime;

use self::facts::Facts;
use self::overlap::Receiver;
use super::document::{Approval, Assessment, Document, Exporter, Instrument, Recipient, Required};
use super::error::ErrorKind;
use super::ground::{Basis, Ground, Role};
use super::instrument::InstrumentKind;
use super::law::{Breach, By};
use super::limits::{EMERGENCY_MINUTES, LEAST_QUOTA, WINDOW_DAYS};
use super::particulars::Law;
use super::raw::{Raw, RawAssessment, RawInstrument, RawRecipient, RawRequired};
use super::sink::Sink;
use super::surroundings::{Standing, Surroundings};
use super::values::{count, country, digest, identity, line, moment, network, pin, quota, review, version};
use crate::config::each::{checked, choice, each, one};
use crate::config::values;

/// By whose articles errors are said: those of the law, and of data that is not personal those of the Data Act.
pub(super) fn by_of(raw: &Raw, surroundings: &Surroundings<'_>) -> By {
    let RawInstrument { kind, basis, .. } = &raw.instrument;
    let is =
        |text: &Option<Spanned<String>>, name: &str| text.as_ref().is_some_and(|text| text.get_ref() == name);
    let is_order = is(kind, InstrumentKind::ForeignOrder.name()) && is(basis, Basis::NotPersonal.name());
    match is_order || is(kind, InstrumentKind::DataActRequest.name()) {
        true => By::DataAct,
        false => By::Law(law_of(raw, surroundings)),
    }
}

/// The law that the document goes by, else the one at the home of its pins.
fn law_of(raw: &Raw, surroundings: &Surroundings<'_>) -> Law {
    if let Some(text) = &raw.particulars.law {
        return Law::of(text.get_ref()).unwrap_or(Law::Eu);
    }
    let named = raw.pins.iter().flat_map(|pins| &pins.items);
    let homes = surroundings.homes.unwrap_or_default();
    let mut homes = named.filter_map(|pin| homes.iter().find(|(name, _)| name == pin.get_ref()));
    let own = |home| {
        let is_inside = |law: &Law| surroundings.law.is_some_and(|pack| pack.is_inside(*law, home));
        [Law::Uk, Law::Ch].into_iter().find(is_inside)
    };
    homes.find_map(|(_, home)| own(*home)).unwrap_or(Law::Eu)
}

/// Checks everything. What comes back is right only where the sink has no errors; `None` where a value
/// is missing that a document can't be without.
pub(super) fn check(raw: &Raw, surroundings: &Surroundings<'_>, sink: &mut Sink<'_>) -> Option<Document> {
    let id = one(&raw.id, "id", sink, values::name);
    let number = raw.version.as_ref().and_then(|number| checked(number, "version", sink, version));
    let replaces = check_replaces(raw, number, sink);
    let pins = each(&raw.pins, "pins", sink, |name| pin(name, surroundings.pins));
    let hosts = each(&raw.hosts, "hosts", sink, line);
    let purpose = one(&raw.purpose, "purpose", sink, line);
    let data_categories = each(&raw.data_categories, "data_categories", sink, line);
    let time = |time: &Option<Spanned<Datetime>>, field, sink: &mut Sink<'_>| {
        time.as_ref().and_then(|time| checked(time, field, sink, moment))
    };
    let valid_from = time(&raw.valid_from, "valid_from", sink);
    let valid_until = time(&raw.valid_until, "valid_until", sink);
    let quota_bytes = raw.quota_bytes.as_ref().and_then(|number| checked(number, "quota_bytes", sink, quota));
    let emergency = one(&raw.emergency, "emergency", sink, line);
    let role = choice(&raw.exporter.role, "exporter.role", &Role::ALL.map(|it| (it.name(), it)), sink);
    let exporter = Exporter {
        name: one(&raw.exporter.name, "exporter.name", sink, line).unwrap_or_default(),
        role: role.unwrap_or(Role::Controller),
        contact: one(&raw.exporter.contact, "exporter.contact", sink, line).unwrap_or_default(),
    };
    let submitter = one(&raw.submitter, "approval.submitter", sink, identity);
    let required = check_required(&raw.required, sink);
    let assessment = raw.assessment.as_ref().map(|raw| check_assessment(raw, sink));
    let (kind, ground, instrument) = check_instrument(&raw.instrument, sink);
    let (receivers, recipients): (Vec<_>, Vec<_>) =
        raw.recipients.iter().map(|recipient| check_recipient(recipient, sink)).unzip();

    if let Some(id) = &id {
        check_earlier(raw, id, (number, replaces), surroundings, sink);
    }
    let particulars = particulars::check(raw, sink);
    if let Some(now) = surroundings.now {
        particulars::check_done(raw, now, sink);
    }
    if let (Some(now), Some(pack)) = (surroundings.now, surroundings.law)
        && pack.ends() <= now
    {
        sink.error(0, "", ErrorKind::LawPackExpired { by: pack.look_again_by, as_of: pack.as_of });
    }
    let review_by = assessment.as_ref().and_then(|assessment| assessment.review_by);
    if surroundings.now.is_some() {
        width::check(&receivers, surroundings.widest, sink);
        check_bounds(raw, quota_bytes, (valid_from, valid_until), sink);
    }
    let window = (valid_from, valid_until);
    let facts = Facts {
        raw,
        kind,
        ground,
        basis: instrument.as_ref().map(|it| it.basis),
        role,
        window,
        review_by,
        receivers,
        pins: &pins,
        particulars: &particulars,
        now: surroundings.now,
        homes: surroundings.homes,
        pack: surroundings.law,
    };
    law::check(&facts, sink);
    Some(Document {
        id: id?,
        version: number?,
        replaces,
        pins,
        hosts,
        purpose: purpose?,
        data_categories,
        valid_from: valid_from?,
        valid_until: valid_until?,
        quota_bytes,
        emergency,
        confidential: raw.confidential,
        instrument: instrument?,
        exporter,
        assessment,
        approval: Approval { submitter, required },
        recipients: recipients.into_iter().collect::<Option<_>>()?,
        particulars,
        // Of the bytes, which are not known here.
        sha256: String::new(),
    })
}

/// Refuses a quota and a window that nobody can mean.
fn check_bounds(
    raw: &Raw,
    quota: Option<u64>,
    window: (Option<Timestamp>, Option<Timestamp>),
    sink: &mut Sink<'_>,
) {
    if let (Some(number), Some(place)) = (quota.filter(|quota| *quota < LEAST_QUOTA), &raw.quota_bytes) {
        sink.error(place.span().start, "quota_bytes", ErrorKind::SmallQuota { number });
    }
    if let ((Some(from), Some(until)), Some(place)) = (window, &raw.valid_until) {
        let window = until.duration_since(from);
        if raw.emergency.is_some() && window > SignedDuration::from_mins(EMERGENCY_MINUTES) {
            // A part of a second is one too many.
            let seconds = window.as_secs() + i64::from(window.subsec_nanos() > 0);
            sink.error(place.span().start, "valid_until", ErrorKind::LongEmergency { seconds });
        }
        let days = until.duration_since(from).as_hours() / 24;
        if days > WINDOW_DAYS {
            sink.error(place.span().start, "valid_until", ErrorKind::LongWindow { days });
        }
    }
}

fn check_instrument(
    raw: &RawInstrument,
    sink: &mut Sink<'_>,
) -> (Option<InstrumentKind>, Option<Ground>, Option<Instrument>) {
    let kinds = InstrumentKind::ALL.map(|kind| (kind.name(), kind));
    let grounds = Ground::ALL.map(|ground| (ground.name(), ground));
    let bases = Basis::ALL.map(|basis| (basis.name(), basis));
    let kind = choice(&raw.kind, "instrument.type", &kinds, sink);
    let name = one(&raw.name, "instrument.name", sink, line);
    let article = one(&raw.article, "instrument.article", sink, line);
    let ground = choice(&raw.ground, "instrument.ground", &grounds, sink);
    let basis = choice(&raw.basis, "instrument.basis", &bases, sink);
    let authority = one(&raw.authority, "instrument.authority", sink, line);
    let reference = one(&raw.reference, "instrument.reference", sink, line);
    let agreement = one(&raw.agreement, "instrument.agreement", sink, line);
    let document_sha256 = one(&raw.document_sha256, "instrument.document_sha256", sink, digest);
    let whole = || {
        Some(Instrument {
            kind: kind?,
            name: name?,
            article: article?,
            ground: ground?,
            basis: basis?,
            authority: authority?,
            reference: reference?,
            agreement,
            document_sha256,
        })
    };
    (kind, ground, whole())
}

fn check_assessment(raw: &RawAssessment, sink: &mut Sink<'_>) -> Assessment {
    Assessment {
        reference: one(&raw.reference, "assessment.reference", sink, line).unwrap_or_default(),
        review_by: raw.review_by.as_ref().and_then(|by| checked(by, "assessment.review_by", sink, review)),
        measures: each(&raw.measures, "assessment.measures", sink, line),
    }
}

fn check_required(raw: &[RawRequired], sink: &mut Sink<'_>) -> Vec<Required> {
    let mut lines = BTreeMap::new();
    let mut required = Vec::with_capacity(raw.len());
    for entry in raw {
        let role = one(&entry.role, "approval.required.role", sink, values::name);
        let count = entry.count.as_ref();
        let count = count.and_then(|number| checked(number, "approval.required.count", sink, count_of));
        if let (Some(role), Some(text)) = (&role, &entry.role) {
            let at = text.span().start;
            if let Some(&first_line) = lines.get(role) {
                let kind = Breach::RepeatedRole { role: role.clone(), first_line };
                sink.error(at, "approval.required.role", kind);
            } else {
                lines.insert(role.clone(), sink.line(at));
            }
        }
        if let (Some(role), Some(count)) = (role, count) {
            required.push(Required { role, count });
        }
    }
    required
}

fn count_of(number: &i128) -> Result<u32, ErrorKind> {
    match number {
        0 => Err(Breach::NobodyApproves.into()),
        number => count(number),
    }
}

fn check_recipient<'r>(raw: &'r RawRecipient, sink: &mut Sink<'_>) -> (Receiver<'r>, Option<Recipient>) {
    let name = one(&raw.name, "recipient.name", sink, line);
    let jurisdiction = one(&raw.jurisdiction, "recipient.jurisdiction", sink, country);
    let items = raw.cidrs.iter().flat_map(|list| &list.items);
    let placed: Vec<_> = items
        .filter_map(|item| {
            let checked = checked(item, "recipient.cidrs", sink, |text| network(text))?;
            Some((item.span().start, checked))
        })
        .collect();
    let ports = each(&raw.ports, "recipient.ports", sink, values::ports);
    let large_network = one(&raw.large_network, "recipient.large_network", sink, line);
    let networks = placed.iter().map(|&(_, network)| network).collect();
    let shown = name.clone().unwrap_or_default();
    let whole = || {
        Some(Recipient {
            name: name?,
            jurisdiction: jurisdiction?,
            networks,
            anywhere: raw.anywhere.unwrap_or(false),
            large_network,
            ports,
        })
    };
    (Receiver { raw, name: shown, jurisdiction, networks: placed }, whole())
}

fn check_replaces(raw: &Raw, number: Option<u32>, sink: &mut Sink<'_>) -> Option<u32> {
    let replaced = checked(raw.replaces.as_ref()?, "replaces", sink, version)?;
    if let (Some(version), Some(place)) = (number, &raw.replaces)
        && replaced >= version
    {
        sink.error(place.span().start, "replaces", ErrorKind::ReplacesLater { version, replaced });
    }
    Some(replaced)
}

fn check_earlier(
    raw: &Raw,
    id: &str,
    (version, replaces): (Option<u32>, Option<u32>),
    surroundings: &Surroundings<'_>,
    sink: &mut Sink<'_>,
) {
    let Some(look) = surroundings.earlier else { return };
    let earlier = look(id);
    let of = |standing| earlier.filter(|earlier| earlier.standing == standing).map(|it| it.version);
    let (open, over) = (of(Standing::Open), of(Standing::Over));
    // What it replaces is no matter of a document that was loaded already.
    if let (Some(version), Some(number), Some(earlier)) = (version, &raw.version, earlier)
        && version <= earlier.version
        && (replaces.is_some() || open.is_none())
    {
        let (id, is_open, replaces) = (id.to_owned(), open.is_some(), replaces.is_some());
        let kind = ErrorKind::OldVersion { id, version, earlier: earlier.version, is_open, replaces };
        sink.error(number.span().start, "version", kind);
    } else if let (Some(replaced), Some(place)) = (replaces, &raw.replaces)
        && open.or(over) != Some(replaced)
    {
        let kind = ErrorKind::ReplacesClosed { id: id.to_owned(), replaced, open };
        sink.error(place.span().start, "replaces", kind);
    } else if let (None, Some(version), Some(text)) = (replaces, open, &raw.id) {
        sink.error(text.span().start, "id", ErrorKind::StillOpen { id: id.to_owned(), version });
    }
}
