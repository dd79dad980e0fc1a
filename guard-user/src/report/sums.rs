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
    pub const ALL: [Self; 5] = [Self::Home, Self::Permitted, Self::Exempted, Self::Forbidden, Self::Refused];

    /// The class of a row of this report.
    #[must_use]
    pub fn of(row: &Traffic, report: &Report) -> Self {
        let is_home = || report.pins.iter().any(|pin| pin.name == row.pin && pin.home == row.jurisdiction);
        match row.verdict.as_str() {
            verdict if verdict == Verdict::Drop.name() => Self::Refused,
            verdict if verdict != Verdict::Pass.name() => Self::Forbidden,
            _ if row.reason == Reason::Exempt.name() => Self::Exempted,
            _ if row.reason == Reason::Failsafe.name() => Self::Forbidden,
            _ if is_home() => Self::Home,
            _ => Self::Permitted,
        }
    }

    /// Its name in the report.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Home => "home",
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
        if class != Class::Home {
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
