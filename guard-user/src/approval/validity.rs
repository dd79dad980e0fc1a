//! The times of an `allowed_signers` line: `YYYYMMDD[Z]`, `YYYYMMDDHHMM[Z]` or `YYYYMMDDHHMMSS[Z]`.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};

/// Which end of a key's validity a time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The first second at which it is valid.
    After,
    /// The last second at which it is valid.
    Before,
}

/// Reads a time. One without `Z` is in the zone of this host, and OpenSSH's releases disagree on what that
/// means in summer: 9.2 reads it as standard time, and the clock on the wall shows another hour. Of all
/// readings the one counts by which the key is valid for less long.
pub(super) fn read(text: &str, zone: &TimeZone, end: End) -> Option<Timestamp> {
    let (digits, utc) = text.strip_suffix('Z').map_or((text, false), |digits| (digits, true));
    let civil = civil(digits)?;
    let after_the_epoch = |time: &Timestamp| *time > Timestamp::UNIX_EPOCH;
    if utc {
        return Offset::UTC.to_timestamp(civil).ok().filter(after_the_epoch);
    }
    let readings = offsets(zone, civil)?.into_iter().map(|offset| offset.to_timestamp(civil));
    let readings: Vec<Timestamp> = readings.collect::<Result<_, _>>().ok()?;
    let strictest = match end {
        End::After => readings.into_iter().max(),
        End::Before => readings.into_iter().min(),
    };
    strictest.filter(after_the_epoch)
}

fn civil(digits: &str) -> Option<DateTime> {
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |part| part.parse().ok());
    let year = digits.get(..4)?.parse().ok()?;
    let date = Date::new(year, number(4, 6)?, number(6, 8)?).ok()?;
    let time = Time::new(number(8, 10)?, number(10, 12)?, number(12, 14)?, 0).ok()?;
    Some(date.to_datetime(time))
}

/// The offsets from UTC that a local time can be meant with: those of the zone around it, and the standard
/// time next to it on either side.
fn offsets(zone: &TimeZone, civil: DateTime) -> Option<Vec<Offset>> {
    let ambiguous = zone.to_ambiguous_timestamp(civil);
    let (earlier, later) = (ambiguous.earlier().ok()?, ambiguous.later().ok()?);
    let standard = |mut found: Option<Offset>, offset: Offset, dst: bool| {
        if !dst {
            found.get_or_insert(offset);
        }
        found
    };
    let before = zone
        .preceding(earlier)
        .take(NEAR)
        .fold(None, |found, transition| standard(found, transition.offset(), transition.dst().is_dst()));
    let after = zone
        .following(later)
        .take(NEAR)
        .fold(None, |found, transition| standard(found, transition.offset(), transition.dst().is_dst()));
    let around = [zone.to_offset(earlier), zone.to_offset(later)];
    Some(around.into_iter().chain(before).chain(after).collect())
}

/// Changes of the clock on either side among which the nearest standard time is looked for.
const NEAR: usize = 4;
