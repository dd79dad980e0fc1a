//! What is added up: packets and bytes by kind of transfer, and by time for the charts.

use std::collections::BTreeMap;

use guard_common::verdict::{Reason, Verdict};
use jiff::civil::Date;

use super::model::{Report, Traffic};

/// Periods of more days are shown by month.
const MOST_DAYS: usize = 100;

/// What kind of transfer traffic was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It stayed in the pin's home jurisdiction.
    Home,
    /// It stayed on the link.
    Link,
    /// It crossed a border to where the pin may reach.
    Permitted,
    /// It crossed a border on an exemption.
    Exempted,
    /// It crossed a border though the pin forbids it: the pin only flags or observes, or a failsafe rule lets it.
    Forbidden,
    /// It was dropped.
    Refused,
}

impl Class {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 6] =
        [Self::Home, Self::Link, Self::Permitted, Self::Exempted, Self::Forbidden, Self::Refused];

    /// The class of a row of this report.
    #[must_use]
    pub fn of(row: &Traffic, report: &Report) -> Self {
        let is_home = || report.pins.iter().any(|pin| pin.name == row.pin && pin.home == row.jurisdiction);
        match Verdict::ALL.into_iter().find(|it| it.name() == row.verdict) {
            Some(Verdict::Drop) => Self::Refused,
            Some(Verdict::Pass) => Self::of_passed(&row.reason, is_home),
            // Words of another version say nothing of a permission.
            Some(Verdict::Observe | Verdict::Flag) | None => Self::Forbidden,
        }
    }

    /// Of what passed without being flagged for this reason.
    fn of_passed(reason: &str, is_home: impl Fn() -> bool) -> Self {
        match Reason::from_name(reason) {
            Some(Reason::Permitted | Reason::Untagged) if is_home() => Self::Home,
            Some(Reason::Permitted | Reason::Untagged) => Self::Permitted,
            Some(Reason::Exempt) => Self::Exempted,
            Some(Reason::LinkScope | Reason::NotIp) => Self::Link,
            // By a failsafe rule; for the others nothing passes.
            Some(
                Reason::Failsafe
                | Reason::Forbidden
                | Reason::PlaceUnknown
                | Reason::PlaceUncertain
                | Reason::ExemptionExpired
                | Reason::ExemptionNotYet
                | Reason::ExemptionExhausted
                | Reason::Truncated
                | Reason::BadHeader
                | Reason::TooDeep
                | Reason::TinyFragment
                | Reason::Opaque
                | Reason::NoTables
                | Reason::Busy
                | Reason::FailsafeExhausted,
            )
            | None => Self::Forbidden,
        }
    }

    /// Its name in the report.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Link => "link",
            Self::Permitted => "permitted",
            Self::Exempted => "exempted",
            Self::Forbidden => "forbidden, passed",
            Self::Refused => "refused",
        }
    }

    /// What it means, one sentence.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Home => "Stayed in the pin's home jurisdiction.",
            Self::Link => "Went to an address that can't be reached beyond the link, and crossed no border.",
            Self::Permitted => "Crossed a border to a jurisdiction that the pin may reach.",
            Self::Exempted => "Crossed a border on an exemption.",
            Self::Forbidden => {
                "Crossed a border that the pin forbids: the pin only flags or observes, or by a failsafe rule."
            }
            Self::Refused => "Was dropped and did not leave the host.",
        }
    }

    /// Whether the data crossed a border.
    #[must_use]
    pub const fn crossed(self) -> bool {
        matches!(self, Self::Permitted | Self::Exempted | Self::Forbidden)
    }
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

impl Sum {
    pub(super) fn add(&mut self, packets: u64, bytes: u64) {
        self.packets = self.packets.saturating_add(packets);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// The sum of each class.
pub(super) fn by_class(report: &Report) -> [(Class, Sum); Class::ALL.len()] {
    let mut sums = Class::ALL.map(|class| (class, Sum::default()));
    for row in &report.traffic {
        let class = Class::of(row, report);
        for (_, sum) in sums.iter_mut().filter(|(other, _)| *other == class) {
            sum.add(row.packets, row.bytes);
        }
    }
    sums
}

/// The jurisdictions to which data crossed a border or would have, with the sums of each class.
pub(super) fn by_jurisdiction(report: &Report) -> BTreeMap<&str, BTreeMap<Class, Sum>> {
    let mut sums: BTreeMap<&str, BTreeMap<Class, Sum>> = BTreeMap::new();
    for row in &report.traffic {
        let class = Class::of(row, report);
        if class.crossed() || class == Class::Refused {
            let place = sums.entry(&row.jurisdiction).or_default();
            place.entry(class).or_default().add(row.packets, row.bytes);
        }
    }
    sums
}

/// A time on the charts' axis: a day, or the first day of a month.
pub(super) type Bucket = Date;

/// The axis of the charts: every day of the period, or every month of a long one; with the length in words.
pub(super) fn axis(report: &Report) -> (Vec<Bucket>, Unit) {
    let day = |time: jiff::Timestamp| time.to_zoned(jiff::tz::TimeZone::UTC).date();
    let first = day(report.from);
    // The moment after the period belongs to it no more.
    let last = day(report.until.checked_sub(jiff::SignedDuration::from_nanos(1)).unwrap_or(report.until));
    let days: Vec<Date> =
        first.series(jiff::Span::new().days(1)).take_while(|day| *day <= last).take(MOST_DAYS + 1).collect();
    if days.len() <= MOST_DAYS {
        return (days, Unit::Day);
    }
    let months = first.first_of_month().series(jiff::Span::new().months(1));
    (months.take_while(|month| *month <= last).collect(), Unit::Month)
}

/// How long a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Day,
    Month,
}

impl Unit {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The bucket of a day.
    pub(super) fn bucket(self, day: Date) -> Bucket {
        match self {
            Self::Day => day,
            Self::Month => day.first_of_month(),
        }
    }

    /// The bucket's name.
    pub(super) fn label(self, bucket: Bucket) -> String {
        let day = bucket.to_string();
        match self {
            Self::Day => day,
            // Without the day of the month.
            Self::Month => day.rsplit_once('-').map_or(day.clone(), |(month, _)| month.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample::sample;
    use super::*;

    #[test]
    fn every_reason_has_the_kind_that_it_is_and_what_stays_on_the_link_crosses_no_border() {
        let report = sample();
        let first = report.traffic.first().unwrap();
        let of = |verdict: Verdict, reason: &str, place: &str| {
            let (verdict, reason, jurisdiction) = (verdict.name().into(), reason.into(), place.into());
            Class::of(&Traffic { verdict, reason, jurisdiction, ..first.clone() }, &report)
        };
        for reason in Reason::ALL {
            let expected = match reason {
                Reason::Permitted | Reason::Untagged => Class::Permitted,
                Reason::Exempt => Class::Exempted,
                Reason::LinkScope | Reason::NotIp => Class::Link,
                _ => Class::Forbidden,
            };
            assert_eq!(of(Verdict::Pass, reason.name(), "US"), expected, "{}", reason.name());
            assert_eq!(of(Verdict::Drop, reason.name(), "IE"), Class::Refused);
            assert_eq!(of(Verdict::Flag, reason.name(), "US"), Class::Forbidden);
        }
        assert_eq!(of(Verdict::Pass, "permitted", "IE"), Class::Home);
        assert_eq!(of(Verdict::Pass, "link-scope", "unknown"), Class::Link);
        assert!(!Class::Link.crossed());
        // What a later version may say.
        assert_eq!(of(Verdict::Pass, "by-grace", "IE"), Class::Forbidden);
        let link = Traffic { reason: "link-scope".into(), jurisdiction: "unknown".into(), ..first.clone() };
        let report = Report { traffic: vec![link], ..report };
        assert!(by_jurisdiction(&report).is_empty());
    }
}
