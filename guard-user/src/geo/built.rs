//! When databases were built that were in force, so that an older one that is put back is seen.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Info;

/// When the newest database of each type was built that was in force on this host.
///
/// A type is what the file says of itself (`database_type` of the MMDB format, as `GeoLite2-Country`), and the time its
/// `build_epoch`: both are in the bytes that are signed, so that nobody can give a signed file others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Built(BTreeMap<String, Timestamp>);

impl Built {
    /// Takes in a database that comes into force now. One that says to be of a time to come counts as of now: else it would
    /// make every later one an older one.
    pub fn advance(&mut self, database: &Info, now: Timestamp) {
        for file in database.files() {
            let Some((kind, built)) = file.database_type.as_ref().zip(file.generated) else { continue };
            let newest = self.0.entry(kind.clone()).or_insert(Timestamp::MIN);
            *newest = built.min(now).max(*newest);
        }
    }

    /// When the newest database of this file's type was built, where this one is older, or does not say when it was.
    #[must_use]
    pub fn newer_than(&self, file: &Info) -> Option<Timestamp> {
        let newest = *self.0.get(file.database_type.as_ref()?)?;
        file.generated.is_none_or(|built| built < newest).then_some(newest)
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn file(kind: &str, second: Option<i64>) -> Info {
        Info { database_type: Some(kind.to_owned()), generated: second.map(at), ..Info::default() }
    }

    #[test]
    fn the_newest_of_each_type_is_known_whatever_came_after_it() {
        let mut built = Built::default();
        let both = Info { parts: vec![file("days", Some(90)), file("months", Some(30))], ..Info::default() };
        for database in [both, file("days", Some(80)), file("days", None), file("undated", None)] {
            built.advance(&database, at(1_000));
        }
        for (kind, second, newer) in [
            ("days", Some(89), Some(90)),
            ("days", Some(90), None),
            ("days", Some(91), None),
            ("days", None, Some(90)),
            ("months", Some(29), Some(30)),
            ("months", Some(31), None),
            ("undated", None, None),
            ("new", Some(1), None),
        ] {
            assert_eq!(built.newer_than(&file(kind, second)), newer.map(at), "{kind} {second:?}");
        }
    }

    #[test]
    fn one_of_a_time_to_come_makes_later_ones_no_older_ones() {
        let mut built = Built::default();
        built.advance(&file("days", Some(5_000)), at(100));
        assert_eq!(built.newer_than(&file("days", Some(101))), None);
        assert_eq!(built.newer_than(&file("days", Some(99))), Some(at(100)));
    }
}
