//! The map of the world: where pinned data went and was not let go, by jurisdiction.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use maud::{Markup, html};

use super::table::{number, table, word};
use crate::live::known::Known;
use crate::live::rates::{Amount, Counter};
use crate::report::number::{bytes, grouped};
use crate::text::visible;

/// Units of the map, see make_map.py.
const WIDTH: u32 = 720;
const HEIGHT: u32 = 290;

/// A country of the map.
struct Country {
    /// Its code (ISO 3166-1 alpha-2); none where it has none there.
    code: Option<&'static str>,
    name: &'static str,
    centre: (u32, u32),
    outline: &'static str,
}

static COUNTRIES: LazyLock<Vec<Country>> = LazyLock::new(|| {
    let country = |line: &'static str| {
        let mut parts = line.split('\t');
        let (number, name, centre, outline) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let code = number.parse().ok().and_then(rust_iso3166::from_numeric).map(|it| it.alpha2);
        let (x, y) = centre.split_once(' ')?;
        Some(Country { code, name, centre: (x.parse().ok()?, y.parse().ok()?), outline })
    };
    include_str!("map.tsv").lines().filter_map(country).collect()
});

/// What there was with one jurisdiction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) passed: Amount,
    pub(super) forbidden: Amount,
    pub(super) untagged: Amount,
}

impl Place {
    /// The class of the outline, and the word for it.
    const fn kind(&self) -> (&'static str, &'static str) {
        if self.forbidden.packets > 0 {
            ("forbidden", "forbidden")
        } else if self.passed.packets > 0 {
            ("passed", "passed")
        } else {
            ("untagged", "without a pin")
        }
    }
}

/// Every jurisdiction that anything was for; the empty one where nothing was placed.
pub(super) fn places(known: &Known) -> BTreeMap<String, Place> {
    let mut places: BTreeMap<String, Place> = BTreeMap::new();
    let counts = known.counts.iter().flat_map(|counts| counts.iter());
    for (counter, amount) in counts {
        let (place, part): (&String, fn(&mut Place) -> &mut Amount) = match counter {
            Counter::Pinned { jurisdiction, verdict, .. } if verdict == "pass" => {
                (jurisdiction, |it| &mut it.passed)
            }
            Counter::Pinned { jurisdiction, .. } => (jurisdiction, |it| &mut it.forbidden),
            Counter::Untagged { jurisdiction } => (jurisdiction, |it| &mut it.untagged),
            Counter::Total { .. } => continue,
        };
        let part = part(places.entry(place.clone()).or_default());
        *part = part.and(amount);
    }
    places
}

/// The map, and the same as a table, which also has what is too small for the map.
pub(super) fn map(known: &Known) -> Markup {
    let places = places(known);
    let of = |country: &Country| country.code.and_then(|code| places.get(code));
    html! {
        figure {
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-labelledby="map-title" {
                title #map-title { "Map of the world: where pinned data went, and where it was forbidden. The table below has the same." }
                rect.sea width=(WIDTH) height=(HEIGHT) {}
                @for country in COUNTRIES.iter() {
                    @match of(country) {
                        Some(place) => path class=(place.kind().0) d=(country.outline) {
                            title { (country.name) ": " (place.kind().1) }
                        },
                        None => path.land d=(country.outline) {},
                    }
                }
                @for country in COUNTRIES.iter() {
                    @if let Some(place) = of(country) {
                        @let (x, y) = country.centre;
                        @if place.forbidden.packets > 0 { path.cross d=(format!("M{} {}l8 8m0-8l-8 8", x.saturating_sub(4), y.saturating_sub(4))) {} }
                        @else if place.passed.packets > 0 { circle.dot cx=(x) cy=(y) r="3" {} }
                    }
                }
            }
            figcaption {
                ul.legend {
                    li { span.key.forbidden { "✕" } " something was forbidden" }
                    li { span.key.passed { "●" } " everything passed" }
                    li { span.key.untagged {} " egress without a pin alone" }
                }
            }
        }
        @if places.is_empty() { p { "Nothing was sent yet." } } @else { (by_jurisdiction(&places)) }
    }
}

fn by_jurisdiction(places: &BTreeMap<String, Place>) -> Markup {
    let mut rows: Vec<(&String, &Place)> = places.iter().collect();
    rows.sort_by_key(|(_, place)| std::cmp::Reverse((place.forbidden.packets, place.passed.bytes)));
    table(
        "By jurisdiction",
        &[
            word("place"),
            number("passed"),
            number("forbidden packets"),
            number("forbidden bytes"),
            number("without a pin"),
        ],
        html! {
            @for (name, place) in rows {
                tr {
                    th scope="row" { @if name.is_empty() { "(not placed)" } @else { (visible(name)) } }
                    td.n { (bytes(place.passed.bytes)) }
                    td.n { (grouped(place.forbidden.packets)) }
                    td.n { (bytes(place.forbidden.bytes)) }
                    td.n { (bytes(place.untagged.bytes)) }
                }
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_map_is_a_country_in_its_bounds() {
        let lines = include_str!("map.tsv").lines().count();
        assert_eq!(COUNTRIES.len(), lines);
        assert!(COUNTRIES.iter().filter(|it| it.code.is_some()).count() > 160);
        for country in COUNTRIES.iter() {
            let (x, y) = country.centre;
            assert!(x <= WIDTH && y <= HEIGHT, "{}", country.name);
            let is_path = |letter: char| letter.is_ascii_digit() || "Mlz -".contains(letter);
            assert!(
                country.outline.starts_with('M') && country.outline.chars().all(is_path),
                "{}",
                country.name
            );
        }
        let code = |name: &str| COUNTRIES.iter().find(|it| it.name == name).and_then(|it| it.code);
        assert_eq!((code("Ireland"), code("United States of America")), (Some("IE"), Some("US")));
    }
}
