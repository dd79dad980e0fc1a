//! Moments, and how far from now they are.

use jiff::Timestamp;

use crate::report::number::grouped;

/// A moment in UTC, and how far from now it is.
pub(super) fn moment(moment: Timestamp, now: Timestamp) -> String {
    told(moment, "%Y-%m-%d %H:%M:%S", now)
}

/// The same with parts of a second, where a document has them.
pub(super) fn exactly(moment: Timestamp, now: Timestamp) -> String {
    told(moment, "%Y-%m-%d %H:%M:%S%.f", now)
}

fn told(moment: Timestamp, form: &str, now: Timestamp) -> String {
    let seconds = moment.as_second().saturating_sub(now.as_second());
    let far = distance(seconds.unsigned_abs());
    let relative = match seconds {
        0 => "now".to_owned(),
        1.. => format!("in {far}"),
        _ => format!("{far} ago"),
    };
    format!("{} UTC ({relative})", moment.strftime(form))
}

/// A length of time in the largest unit that it has one of; days at most.
fn distance(seconds: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "day"), (3_600, "hour"), (60, "minute")];
    let (length, name) = UNITS.into_iter().find(|&(length, _)| seconds >= length).unwrap_or((1, "second"));
    let count = seconds / length;
    format!("{} {name}{}", grouped(count), if count == 1 { "" } else { "s" })
}
