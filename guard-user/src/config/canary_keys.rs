//! The keys of a pin's canary for the [table of keys](super::keys::KEYS), and their check.

use jiff::SignedDuration;

use super::canary::Canary;
use super::each::one;
use super::error::ErrorKind;
use super::read::{Section, Text};
use super::schema::{Key, Kind, Need};
use super::sink::{Report, Sink};
use super::values;

/// Where it is said within which time they have to come back, and not how often there are any.
const HOURLY: SignedDuration = SignedDuration::from_hours(1);
/// The least that there may be between two.
const LEAST: SignedDuration = SignedDuration::from_secs(1);

pub(super) const EVERY: Key = Key {
    section: "pin",
    name: "canary",
    kind: Kind::Text,
    need: Need::Optional("none is sent"),
    example: r#""1h""#,
    meaning: "How often the daemon sends a frame that the pin forbids by each guarded interface, to see that it is dropped, \
              counted and logged ([canaries](canary.md)); `1s` at least. Written as `geo.max_age`.",
};

pub(super) const RETURNED_WITHIN: Key = Key {
    section: "pin",
    name: "canary_returned_within",
    kind: Kind::Text,
    need: Need::Optional("it need not come back"),
    example: r#""10m""#,
    meaning: "Within this time what collects the event log has to hand each canary back, by `borderguard canary confirm`. \
              Without `canary` one is sent each hour. Written as `geo.max_age`.",
};

/// The keys as they stand there.
#[derive(Debug)]
pub(super) struct RawCanary {
    every: Option<Text>,
    returned_within: Option<Text>,
}

pub(super) fn read(pin: &Section<'_, '_>, sink: &mut dyn Report) -> RawCanary {
    RawCanary { every: pin.text("canary", sink), returned_within: pin.text("canary_returned_within", sink) }
}

pub(super) fn check(raw: &RawCanary, sink: &mut Sink<'_>) -> Option<Canary> {
    let every = one(&raw.every, "pin.canary", sink, at_least_a_second);
    let returned_within = one(&raw.returned_within, "pin.canary_returned_within", sink, at_least_a_second);
    match (every, returned_within) {
        (None, None) => None,
        (every, returned_within) => Some(Canary { every: every.unwrap_or(HOURLY), returned_within }),
    }
}

fn at_least_a_second(text: &str) -> Result<SignedDuration, ErrorKind> {
    values::duration(text).and_then(|duration| match duration >= LEAST {
        true => Ok(duration),
        false => {
            Err(ErrorKind::BadDuration { text: text.to_owned(), reason: "it must be a second at least" })
        }
    })
}
