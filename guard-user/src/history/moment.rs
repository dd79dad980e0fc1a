//! Moments as the command line takes them.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

/// On which end of a day a date is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// From the day's begin on.
    Begin,
    /// Until the day is over.
    Over,
}

/// Reads a moment: as RFC 3339 has it, a date in UTC, `now`, or so long before now, such as `-2h`.
///
/// # Errors
/// What a moment looks like.
pub fn parse(text: &str, now: Timestamp, end: End) -> Result<Timestamp, String> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let bad = || {
        format!(
            "{text:?} is no moment: write 2026-11-23T12:00:00Z, a date in UTC such as 2026-11-23, now, or so long before now, \
             such as -2h, -30m or -7d"
        )
    };
    if text == "now" {
        return Ok(now);
    }
    if let Some(span) = text.strip_prefix('-') {
        return before(span, now).ok_or_else(bad);
    }
    let day: Date = text.parse().map_err(|_| bad())?;
    let day = if end == End::Over { day.tomorrow().map_err(|_| bad())? } else { day };
    day.to_zoned(TimeZone::UTC).map(|day| day.timestamp()).map_err(|_| bad())
}

/// So long before now.
fn before(span: &str, now: Timestamp) -> Option<Timestamp> {
    if !span.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let span: Span = span.parse().ok()?;
    if span.get_years() != 0 || span.get_months() != 0 {
        return None;
    }
    let long = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .ok()
        .filter(|it| *it >= SignedDuration::ZERO)?;
    now.checked_sub(long).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_each_form() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let read = |text| parse(text, now, End::Begin).map(|it| it.to_string());
        for (text, expected) in [
            ("2026-11-23T11:59:00+01:00", "2026-11-23T10:59:00Z"),
            ("2026-11-22", "2026-11-22T00:00:00Z"),
            ("now", "2026-11-23T12:00:00Z"),
            ("-2h", "2026-11-23T10:00:00Z"),
            ("-90m", "2026-11-23T10:30:00Z"),
            ("-1d 2h", "2026-11-22T10:00:00Z"),
            ("-1w", "2026-11-16T12:00:00Z"),
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
        assert_eq!(parse("2026-11-22", now, End::Over).unwrap().to_string(), "2026-11-23T00:00:00Z");
        for text in ["", "-", "--2h", "2h", "-2", "-1mo", "-1y", "yesterday", "2026-13-01", "-99999999999h"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
