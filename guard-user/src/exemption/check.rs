//! Raw document in, checked document out, and every error on the way.

use std::convert::Infallible;

use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::IpNetwork;
use jiff::Timestamp;
use toml::Spanned;
use toml::value::Datetime;

use super::document::{Document, Reach, Recipient, Surroundings};
use super::error::ErrorKind;
use super::instrument::Instrument;
use super::law;
use super::raw::{Raw, RawRecipient};
use crate::config;
use crate::config::each::{checked, choice, each, one};
use crate::config::error::Wanted;
use crate::config::groups::country_meant;
use crate::config::suggest::nearest;
use crate::config::values;

pub(super) type Sink<'t> = config::sink::Sink<'t, ErrorKind, Infallible>;

/// Checks everything. What comes back is right only where the sink has no errors; `None` where a value
/// is missing that a document can't be without.
pub(super) fn check(raw: &Raw, surroundings: &Surroundings<'_>, sink: &mut Sink<'_>) -> Option<Document> {
    let instruments = Instrument::ALL.map(|instrument| (instrument.name(), instrument));
    let id = one(&raw.id, "id", sink, values::name);
    let version = raw.version.as_ref().and_then(|number| checked(number, "version", sink, version));
    let instrument = choice(&raw.instrument, "instrument", &instruments, sink);
    let reference = one(&raw.reference, "reference", sink, line);
    let pins = each(&raw.pins, "pins", sink, |name| pin(name, surroundings.pins));
    let ports = each(&raw.ports, "ports", sink, values::ports);
    let valid_from = raw.valid_from.as_ref().and_then(|time| checked(time, "valid_from", sink, moment));
    let valid_until = raw.valid_until.as_ref().and_then(|time| checked(time, "valid_until", sink, moment));
    let quota_bytes = raw.quota_bytes.as_ref().and_then(|number| checked(number, "quota_bytes", sink, quota));
    let recipients = raw.recipients.iter().filter_map(|recipient| check_recipient(recipient, sink)).collect();

    check_window(&raw.valid_until, valid_from, valid_until, surroundings.now, sink);
    if let Some(id) = &id {
        check_earlier(raw, id, version, surroundings, sink);
    }
    if let (Some(text), Some(instrument)) = (&raw.instrument, instrument) {
        law::check(instrument, text.span().start, raw.has_quota, sink);
    }
    Some(Document {
        id: id?,
        version: version?,
        instrument: instrument?,
        reference: reference?,
        pins,
        ports,
        valid_from: valid_from?,
        valid_until: valid_until?,
        quota_bytes,
        recipients,
    })
}

fn check_recipient(raw: &RawRecipient, sink: &mut Sink<'_>) -> Option<Recipient> {
    let name = one(&raw.name, "recipient.name", sink, line);
    let networks = each(&raw.cidrs, "recipient.cidrs", sink, network);
    let jurisdictions = each(&raw.jurisdictions, "recipient.jurisdictions", sink, country);
    if raw.has_both {
        sink.error(raw.at, "recipient", ErrorKind::TwoReaches);
    }
    let reach = match networks.is_empty() {
        true => Reach::Jurisdictions(jurisdictions),
        false => Reach::Networks(networks),
    };
    Some(Recipient { name: name?, reach })
}

fn check_window(
    place: &Option<Spanned<Datetime>>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    now: Option<Timestamp>,
    sink: &mut Sink<'_>,
) {
    let (Some(at), Some(until)) = (place.as_ref().map(|time| time.span().start), until) else {
        return;
    };
    if let Some(from) = from.filter(|&from| until <= from) {
        sink.error(at, "valid_until", ErrorKind::ReversedWindow { from, until });
    } else if let Some(now) = now.filter(|&now| until <= now) {
        sink.error(at, "valid_until", ErrorKind::Expired { until, now });
    }
}

fn check_earlier(
    raw: &Raw,
    id: &str,
    version: Option<u32>,
    surroundings: &Surroundings<'_>,
    sink: &mut Sink<'_>,
) {
    let Some(earlier) = surroundings.earlier.and_then(|earlier| earlier(id)) else {
        return;
    };
    if earlier.open
        && let Some(text) = &raw.id
    {
        let kind = ErrorKind::StillOpen { id: id.to_owned(), version: earlier.version };
        sink.error(text.span().start, "id", kind);
    } else if let (Some(version), Some(number)) = (version, &raw.version)
        && version <= earlier.version
    {
        let kind = ErrorKind::OldVersion { id: id.to_owned(), version, earlier: earlier.version };
        sink.error(number.span().start, "version", kind);
    }
}

fn version(number: &i128) -> Result<u32, ErrorKind> {
    let version = u32::try_from(*number).ok().filter(|&version| version > 0);
    version.ok_or(ErrorKind::BadVersion { number: *number })
}

/// Bytes; `u64::MAX` stands for no bound in the kernel's tables and TOML has no such number.
fn quota(number: &i128) -> Result<u64, ErrorKind> {
    let bytes = i64::try_from(*number).ok().and_then(|bytes| u64::try_from(bytes).ok());
    bytes.filter(|&bytes| bytes > 0).ok_or(ErrorKind::BadQuota { number: *number })
}

/// One line for people.
fn line(text: &str) -> Result<String, ErrorKind> {
    const LONGEST: usize = 200;
    let bad = |reason| Err(ErrorKind::BadLine { text: text.to_owned(), reason });
    if text.trim().is_empty() {
        return bad("is empty");
    }
    if text.len() > LONGEST {
        return bad("has more than 200 bytes");
    }
    match text.chars().any(char::is_control) {
        true => bad("has a control character or a line break"),
        false => Ok(text.to_owned()),
    }
}

fn pin(name: &str, known: Option<&[String]>) -> Result<String, ErrorKind> {
    let name = values::name(name)?;
    match known {
        Some(known) if !known.contains(&name) => {
            let meant = nearest(&name, known.iter().map(String::as_str)).map(str::to_owned);
            Err(ErrorKind::UnknownPin { name, meant, known: known.to_vec() })
        }
        _ => Ok(name),
    }
}

fn network(text: &str) -> Result<IpNetwork, ErrorKind> {
    match values::cidr(text)? {
        network if network.prefix() == 0 => Err(ErrorKind::Everybody { network }),
        network => Ok(network),
    }
}

/// A country by its code: an exemption names whom it is for, which neither a group nor a mark does.
fn country(text: &str) -> Result<Jurisdiction, ErrorKind> {
    let wanted = Wanted::Country;
    let text = text.to_owned();
    Err(match text.parse::<Jurisdiction>() {
        Ok(jurisdiction) if jurisdiction.is_country() => return Ok(jurisdiction),
        Ok(_) => config::ErrorKind::MarkNotCountry { text, wanted },
        Err(_) if crate::groups::builtin(&text).is_some() => config::ErrorKind::GroupNotCountry { text },
        Err(_) => config::ErrorKind::BadJurisdiction { suggestion: country_meant(&text), text, wanted },
    }
    .into())
}

fn moment(time: &Datetime) -> Result<Timestamp, ErrorKind> {
    let text = time.to_string();
    if time.offset.is_none() {
        return Err(ErrorKind::NoZone { text });
    }
    text.parse().map_err(|_| ErrorKind::NoSuchTime { text })
}
