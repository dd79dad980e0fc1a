//! The days that a report is asked for.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// The days that a report is asked for, in UTC; without a first one from the beginning, without a last one until now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Period {
    from: Option<Date>,
    until: Option<Date>,
}

impl Period {
    /// Reads days such as `2026-11-23`.
    ///
    /// # Errors
    /// Where one is no day, the last is before the first, or the first is still to come.
    pub(super) fn read(from: Option<&str>, until: Option<&str>, now: Timestamp) -> Result<Self, String> {
        let day = |text: Option<&str>| {
            let day = text.map(str::parse::<Date>).transpose();
            day.map_err(|error| format!("this is no day such as 2026-11-23: {error}"))
        };
        let (from, until) = (day(from)?, day(until)?);
        if let (Some(from), Some(until)) = (from, until)
            && until < from
        {
            return Err(format!(
                "the last day, {until}, is before the first, {from}: the report would be empty"
            ));
        }
        if let Some(from) = from.filter(|from| start_of(*from) > now) {
            return Err(format!("the first day, {from}, is still to come: nothing is recorded of it yet"));
        }
        Ok(Self { from, until })
    }

    pub(super) fn has(&self, day: Date) -> bool {
        self.from.is_none_or(|from| day >= from) && self.until.is_none_or(|until| day <= until)
    }

    /// The first moment of it, and the first after it, which is never before that. `first` is the first day of which anything
    /// is recorded.
    pub(super) fn moments(&self, first: Option<Date>, now: Timestamp) -> (Timestamp, Timestamp) {
        let end = self.until.and_then(|day| day.tomorrow().ok()).map_or(now, start_of).min(now);
        let begin = self.from.or(first).map_or(end, start_of);
        match self.until {
            // It is over before anything was recorded: the day that was asked for.
            Some(until) if begin >= end => (start_of(until).min(end), end),
            _ => (begin.min(end), end),
        }
    }
}

/// The first moment of a day, in UTC.
pub(super) fn start_of(day: Date) -> Timestamp {
    day.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |midnight| midnight.timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> Timestamp {
        "2026-12-10T12:00:00Z".parse().unwrap()
    }

    fn day(number: i16) -> Date {
        Date::constant(2026, 12, 1).checked_add(jiff::Span::new().days(number)).unwrap()
    }

    #[test]
    fn days_that_no_report_can_be_of_are_refused_with_the_reason() {
        for (from, until, why) in [
            (Some("2026-12-11"), None, "2026-12-11, is still to come"),
            (Some("2027-01-01"), Some("2027-01-02"), "is still to come"),
            (Some("2026-12-05"), Some("2026-12-04"), "2026-12-04, is before the first, 2026-12-05"),
            (Some("2026-13-01"), None, "no day"),
            (None, Some(""), "no day"),
        ] {
            let refused = Period::read(from, until, now()).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
        let period = Period::read(None, Some("2026-11-20"), now()).unwrap();
        let asked = (start_of(Date::constant(2026, 11, 20)), start_of(Date::constant(2026, 11, 21)));
        assert_eq!(period.moments(Some(day(0)), now()), asked, "before anything was recorded");
        assert_eq!(Period::read(None, None, now()).unwrap().moments(None, now()), (now(), now()));
    }

    proptest! {
        /// What is within the days that were asked for, and recorded, is within the moments.
        #[test]
        fn a_period_never_begins_after_its_end(
            from in prop::option::of(-40..40_i16),
            until in prop::option::of(-40..40_i16),
            first in prop::option::of(-20..10_i16),
            at in -40..10_i16,
        ) {
            let text = |number: Option<i16>| number.map(|number| day(number).to_string());
            let Ok(period) = Period::read(text(from).as_deref(), text(until).as_deref(), now()) else {
                prop_assert!(from.zip(until).is_some_and(|(from, until)| until < from) || from.is_some_and(|it| it > 9));
                return Ok(());
            };
            let (begin, end) = period.moments(first.map(day), now());
            prop_assert!(begin <= end && end <= now());
            if let Some(from) = from { prop_assert_eq!(begin, start_of(day(from))); }
            let is_recorded = first.is_some_and(|first| at >= first);
            if is_recorded && period.has(day(at)) {
                prop_assert!(begin <= start_of(day(at)) && start_of(day(at)) <= end);
            }
        }
    }
}
