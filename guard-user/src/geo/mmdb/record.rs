//! One record of an MMDB file, in the shapes that the makers of geo databases use.
//!
//! | makers | country | anycast |
//! | --- | --- | --- |
//! | MaxMind, DB-IP | `country.iso_code`, `registered_country.iso_code`, `represented_country.iso_code` | `traits.is_anycast` |
//! | IPinfo, since Lite, Core and Plus | `country_code` (`country` is a name) | `is_anycast` |
//! | IPinfo before, IPLocate, ip-location-db | `country` or `country_code` | `anycast`, `is_anycast` |

use std::fmt;

use guard_common::jurisdiction::Jurisdiction;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::NO_CODE;

/// Where a record puts its network, and the code that was of no use if it puts it nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) place: Jurisdiction,
    pub(super) skipped: Option<Skipped>,
}

/// Why a record says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skipped {
    /// It names a code that no jurisdiction has, given in capitals.
    Unassigned([u8; 2]),
    /// It names no country, or something that is no code.
    NoCode,
}

impl Skipped {
    /// The key under which it is counted.
    pub(super) fn key(&self) -> &str {
        match self {
            Self::Unassigned(code) => std::str::from_utf8(code).unwrap_or(NO_CODE),
            Self::NoCode => NO_CODE,
        }
    }
}

/// What a record says of place, whatever its shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Record<'a> {
    country: Field<'a>,
    country_code: Field<'a>,
    registered_country: Field<'a>,
    represented_country: Field<'a>,
    is_anycast: bool,
}

impl Record<'_> {
    /// Decides the record's place.
    ///
    /// Each of these makes the place `uncertain`, as no country can be held to:
    /// - anycast: the packet goes wherever the nearest instance is;
    /// - no country, only a registered one: that is where the network's holder signed for it, not where
    ///   it is;
    /// - a represented country that is another one, as at a military base: two states may lay hands on
    ///   the data.
    pub(super) fn place(&self) -> Placed {
        let certain = |place| Placed { place, skipped: None };
        if self.is_anycast {
            return certain(Jurisdiction::UNCERTAIN);
        }
        let candidates = [self.country.iso_code, self.country_code.text, self.country.text];
        let Some(code) = candidates.into_iter().flatten().find_map(letters) else {
            return if self.registered_country.jurisdiction().is_some() {
                certain(Jurisdiction::UNCERTAIN)
            } else {
                Placed { place: Jurisdiction::UNKNOWN, skipped: Some(Skipped::NoCode) }
            };
        };
        match (Jurisdiction::from_alpha2(code), self.represented_country.jurisdiction()) {
            (None, _) => Placed { place: Jurisdiction::UNKNOWN, skipped: Some(Skipped::Unassigned(code)) },
            (Some(place), Some(represented)) if place != represented => certain(Jurisdiction::UNCERTAIN),
            (Some(place), _) => certain(place),
        }
    }
}

/// A text of two letters, in capitals.
fn letters(text: &str) -> Option<[u8; 2]> {
    match text.as_bytes() {
        &[first, second] if first.is_ascii_alphabetic() && second.is_ascii_alphabetic() => {
            Some([first.to_ascii_uppercase(), second.to_ascii_uppercase()])
        }
        _ => None,
    }
}

/// A value that may be a plain one or a map with more in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Field<'a> {
    /// The value, if it is a text.
    text: Option<&'a str>,
    /// The text under `iso_code`, if the value is a map.
    iso_code: Option<&'a str>,
    /// What is under `is_anycast`, if the value is a map, read as yes or no.
    is_anycast: bool,
}

impl<'a> Field<'a> {
    fn text(text: &'a str) -> Self {
        Self { text: Some(text), ..Self::default() }
    }

    fn jurisdiction(&self) -> Option<Jurisdiction> {
        self.iso_code.or(self.text).and_then(letters).and_then(Jurisdiction::from_alpha2)
    }
}

/// Texts that mean yes in databases that keep all their values as texts.
fn means_yes(text: &str) -> bool {
    ["true", "t", "yes", "1"].iter().any(|yes| text.eq_ignore_ascii_case(yes))
}

/// Takes every kind of value, so that a field of an unforeseen type counts as not said instead of making
/// the file unreadable. Maps are left to the visitor.
macro_rules! any_but_map {
    ($lifetime:lifetime, text: $text:expr, yes: $yes:expr) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any value")
        }

        fn visit_borrowed_str<E>(self, text: &$lifetime str) -> Result<Self::Value, E> {
            Ok($text(text))
        }

        fn visit_bool<E>(self, yes: bool) -> Result<Self::Value, E> {
            Ok($yes(yes))
        }

        fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
            Ok($yes(number != 0))
        }

        fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
            Ok($yes(number != 0))
        }

        fn visit_u128<E>(self, number: u128) -> Result<Self::Value, E> {
            Ok($yes(number != 0))
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok($yes(false))
        }

        fn visit_bytes<E>(self, _: &[u8]) -> Result<Self::Value, E> {
            Ok($yes(false))
        }

        fn visit_seq<A: SeqAccess<$lifetime>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok($yes(false))
        }
    };
}

/// A value that is plain; maps are not looked into.
#[derive(Clone, Copy, Default)]
struct Plain<'a> {
    text: Option<&'a str>,
    yes: bool,
}

impl<'a> Plain<'a> {
    fn text(text: &'a str) -> Self {
        Self { text: Some(text), yes: means_yes(text) }
    }

    fn yes(yes: bool) -> Self {
        Self { text: None, yes }
    }
}

impl<'de> Deserialize<'de> for Plain<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PlainVisitor;
        impl<'de> Visitor<'de> for PlainVisitor {
            type Value = Plain<'de>;

            any_but_map!('de, text: Plain::text, yes: Plain::yes);

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Plain::default())
            }
        }
        deserializer.deserialize_any(PlainVisitor)
    }
}

impl<'de> Deserialize<'de> for Field<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldVisitor;
        impl<'de> Visitor<'de> for FieldVisitor {
            type Value = Field<'de>;

            any_but_map!('de, text: Field::text, yes: |_| Field::default());

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut field = Field::default();
                while let Some(key) = map.next_key::<&str>()? {
                    match key {
                        "iso_code" => field.iso_code = map.next_value::<Plain<'_>>()?.text,
                        "is_anycast" => field.is_anycast = map.next_value::<Plain<'_>>()?.yes,
                        _ => _ = map.next_value::<IgnoredAny>()?,
                    }
                }
                Ok(field)
            }
        }
        deserializer.deserialize_any(FieldVisitor)
    }
}

impl<'de> Deserialize<'de> for Record<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RecordVisitor;
        impl<'de> Visitor<'de> for RecordVisitor {
            type Value = Record<'de>;

            // A record that is no map says nothing.
            any_but_map!('de, text: |_| Record::default(), yes: |_| Record::default());

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut record = Record::default();
                while let Some(key) = map.next_key::<&str>()? {
                    match key {
                        "country" => record.country = map.next_value()?,
                        "country_code" => record.country_code = map.next_value()?,
                        "registered_country" => record.registered_country = map.next_value()?,
                        "represented_country" => record.represented_country = map.next_value()?,
                        "traits" => record.is_anycast |= map.next_value::<Field<'_>>()?.is_anycast,
                        "is_anycast" | "anycast" => record.is_anycast |= map.next_value::<Plain<'_>>()?.yes,
                        _ => _ = map.next_value::<IgnoredAny>()?,
                    }
                }
                Ok(record)
            }
        }
        deserializer.deserialize_any(RecordVisitor)
    }
}
