//! Checks of single values of a document: what stands there in, checked value or what is wrong with it
//! out.

use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::IpNetwork;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use toml::value::Datetime;

use super::error::ErrorKind;
use super::limits::MAX_SIGNERS;
use crate::config;
use crate::config::error::Wanted;
use crate::config::groups::country_meant;
use crate::config::suggest::nearest;
use crate::config::values;
use crate::text::Unseen;

pub(super) fn version(number: &i128) -> Result<u32, ErrorKind> {
    let version = u32::try_from(*number).ok().filter(|&version| version > 0);
    version.ok_or(ErrorKind::BadVersion { number: *number })
}

/// Bytes; `u64::MAX` stands for no bound in the kernel's tables and TOML has no such number.
pub(super) fn quota(number: &i128) -> Result<u64, ErrorKind> {
    let bytes = i64::try_from(*number).ok().and_then(|bytes| u64::try_from(bytes).ok());
    bytes.filter(|&bytes| bytes > 0).ok_or(ErrorKind::BadQuota { number: *number })
}

/// How many signers.
pub(super) fn count(number: &i128) -> Result<u32, ErrorKind> {
    let count = u32::try_from(*number).ok().filter(|count| (1..=MAX_SIGNERS).contains(count));
    count.ok_or(ErrorKind::BadCount { number: *number })
}

/// One line for people.
pub(super) fn line(text: &str) -> Result<String, ErrorKind> {
    const LONGEST: usize = 200;
    let bad = |reason: &str| Err(ErrorKind::BadLine { text: text.to_owned(), reason: reason.to_owned() });
    if text.trim().is_empty() {
        return bad("is empty");
    }
    if text.len() > LONGEST {
        return bad("has more than 200 bytes");
    }
    // What two readers do not see alike, or not at all: a signer would sign another text than it seems.
    if let Some(unseen) = Unseen::find(text) {
        return bad(&unseen.to_string());
    }
    if text.trim() != text {
        return bad("begins or ends with a blank");
    }
    Ok(text.to_owned())
}

pub(super) fn pin(name: &str, known: Option<&[String]>) -> Result<String, ErrorKind> {
    let name = values::name(name)?;
    match known {
        Some(known) if !known.contains(&name) => {
            let meant = nearest(&name, known.iter().map(String::as_str)).map(str::to_owned);
            Err(ErrorKind::UnknownPin { name, meant, known: known.to_vec() })
        }
        _ => Ok(name),
    }
}

pub(super) fn network(text: &str) -> Result<IpNetwork, ErrorKind> {
    match values::cidr(text)? {
        network if network.prefix() == 0 => Err(ErrorKind::Everybody { network }),
        network => Ok(network),
    }
}

/// A country by its code: an exemption names whom it is for, which neither a group nor a mark does.
pub(super) fn country(text: &str) -> Result<Jurisdiction, ErrorKind> {
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

pub(super) fn moment(time: &Datetime) -> Result<Timestamp, ErrorKind> {
    let text = time.to_string();
    if time.offset.is_none() {
        return Err(ErrorKind::NoZone { text });
    }
    text.parse().map_err(|_| ErrorKind::NoSuchTime { text })
}

/// The moment by which something has to be done: a date counts to its end in UTC.
pub(super) fn review(time: &Datetime) -> Result<Timestamp, ErrorKind> {
    if time.time.is_some() || time.date.is_none() {
        return moment(time);
    }
    let text = time.to_string();
    let end = text.parse::<Date>().and_then(|date| date.checked_add(1.day()));
    let end = end.and_then(|next| next.to_zoned(TimeZone::UTC)).map(|next| next.timestamp());
    end.map_err(|_| ErrorKind::NoSuchTime { text })
}

/// The day on which something was done, by its begin in UTC.
pub(super) fn day(time: &Datetime) -> Result<Timestamp, ErrorKind> {
    if time.time.is_some() || time.date.is_none() {
        return moment(time);
    }
    let text = time.to_string();
    let begin = text.parse::<Date>().and_then(|date| date.to_zoned(TimeZone::UTC));
    begin.map(|begin| begin.timestamp()).map_err(|_| ErrorKind::NoSuchTime { text })
}

/// How many data subjects.
pub(super) fn subjects(number: &i128) -> Result<u32, ErrorKind> {
    let count = u32::try_from(*number).ok().filter(|&count| count > 0);
    count.ok_or(ErrorKind::BadSubjects { number: *number })
}

/// SHA-256 in hexadecimal; small letters come out.
pub(super) fn digest(text: &str) -> Result<String, ErrorKind> {
    const DIGITS: usize = 64;
    match text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(ErrorKind::BadDigest { text: text.to_owned() }),
    }
}

/// An identity as signatures go by it: like an e-mail address, without what has a meaning of its own in
/// an `allowed_signers` file (patterns, negation, lists, quotes; ssh-keygen(1), ALLOWED SIGNERS).
pub(super) fn identity(text: &str) -> Result<String, ErrorKind> {
    const LONGEST: usize = 254;
    let local = |byte: u8| byte.is_ascii_alphanumeric() || b"._%+-".contains(&byte);
    let domain = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    let good = text.len() <= LONGEST
        && text.split_once('@').is_some_and(|(before, after)| {
            !before.is_empty() && !after.is_empty() && before.bytes().all(local) && after.bytes().all(domain)
        });
    match good {
        true => Ok(text.to_owned()),
        false => Err(ErrorKind::BadIdentity { text: text.to_owned() }),
    }
}
