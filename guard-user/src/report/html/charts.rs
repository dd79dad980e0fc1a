//! The charts of the page: bytes that crossed by jurisdiction, and exempted against refused.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::super::model::Report;
use super::super::sums::{self, Bucket, Class, Unit};
use super::chart::{COLOURS, Chart, Series, sum};

const COLOUR: [&str; COLOURS] = ["s0", "s1", "s2", "s3", "s4", "s5", "s6"];

pub(super) fn all(report: &Report) -> Markup {
    let (axis, unit) = sums::axis(report);
    let name = unit.name();
    let crossed = Chart {
        id: "chart-crossed",
        title: format!("Bytes that crossed a border, by {name} and jurisdiction"),
        description: "A bar for each time, piled up by jurisdiction; the numbers are in the table of what \
                      crossed a border."
            .to_owned(),
        axis: &axis,
        unit,
        series: by_jurisdiction(report, &axis, unit),
    };
    // Each has its own scale: what is refused is a few packets of flows that never came about.
    let single = |id, title: &str, class: Class, colour| Chart {
        id,
        title: format!("{title}, by {name}"),
        description: format!("A bar for each {name} with the bytes that were {}.", class.name()),
        axis: &axis,
        unit,
        series: vec![Series {
            name: class.name().to_owned(),
            colour,
            values: values(report, &axis, unit, |row_class, _| row_class == class),
        }],
    };
    html! {
        (crossed.draw())
        (single("chart-exempted", "Bytes that passed on an exemption", Class::Exempted, "s2").draw())
        (single("chart-refused", "Bytes that were refused", Class::Refused, "s1").draw())
        p.faint { "Each chart has a scale of its own." }
    }
}

/// The jurisdictions with most bytes in colours of their own, all others in the last.
fn by_jurisdiction(report: &Report, axis: &[Bucket], unit: Unit) -> Vec<Series> {
    let mut places: Vec<(&str, Vec<u64>)> = sums::by_jurisdiction(report)
        .into_iter()
        .filter(|(_, sums)| sums.keys().any(|class| class.crossed()))
        .map(|(place, _)| {
            (
                place,
                values(report, axis, unit, |class, jurisdiction| class.crossed() && jurisdiction == place),
            )
        })
        .collect();
    places.sort_by_key(|(_, values)| std::cmp::Reverse(sum(values)));
    let own = if places.len() <= COLOURS { places.len() } else { COLOURS - 1 };
    let others = places.split_off(own);
    let mut series: Vec<Series> = places
        .into_iter()
        .zip(COLOUR)
        .map(|((place, values), colour)| Series { name: place.to_owned(), colour, values })
        .collect();
    if !others.is_empty() {
        let added = |at: usize| {
            others.iter().filter_map(|(_, values)| values.get(at).copied()).fold(0, u64::saturating_add)
        };
        let name = format!("{} others", others.len());
        series.push(Series { name, colour: "s6", values: (0..axis.len()).map(added).collect() });
    }
    series
}

/// Bytes for each bucket of the rows that count. Rows outside the period are in the tables alone.
fn values(report: &Report, axis: &[Bucket], unit: Unit, counts: impl Fn(Class, &str) -> bool) -> Vec<u64> {
    let mut sums: BTreeMap<Bucket, u64> = BTreeMap::new();
    for row in &report.traffic {
        if counts(Class::of(row, report), &row.jurisdiction) {
            let bytes = sums.entry(unit.bucket(row.day)).or_default();
            *bytes = bytes.saturating_add(row.bytes);
        }
    }
    axis.iter().map(|bucket| sums.get(bucket).copied().unwrap_or(0)).collect()
}
