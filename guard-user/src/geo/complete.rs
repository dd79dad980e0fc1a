//! What a database lacks without which it should not be relied on. A file of another kind, or one that was cut short
//! before it was packed, is a sound MMDB file and leaves most of the world unknown.

use std::fmt;
use std::path::PathBuf;

use super::{Info, Warning};

/// Something that databases lack. They are refused for it, unless the config says otherwise (`geo.incomplete`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// None of the files says anything of IPv4.
    Ipv4,
    /// None of the files says anything of IPv6.
    Ipv6,
    /// More than half of a file's records name no country.
    Countries {
        /// Its place among the files.
        index: usize,
        /// The file.
        path: PathBuf,
        /// Its records.
        records: usize,
        /// Those of them that name no country that is known.
        unplaced: usize,
    },
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4 => write!(f, "the geo database is not whole: {}", Warning::NoIpv4),
            Self::Ipv6 => write!(f, "the geo database is not whole: {}", Warning::NoIpv6),
            Self::Countries { path, records, unplaced, .. } => write!(
                f,
                "the geo database {} names no country in {unplaced} of its {records} records",
                path.display()
            ),
        }
    }
}

/// What one database lacks, or several merged ones. Each family may come from a file of its own.
#[must_use]
pub fn lacks(info: &Info) -> Vec<Lack> {
    let files = if info.parts.is_empty() { std::slice::from_ref(info) } else { info.parts.as_slice() };
    let without_countries = files.iter().enumerate().filter_map(|(index, file)| {
        let (records, unplaced) = (file.records, file.unplaced());
        let path = file.path.clone()?;
        (unplaced > records / 2).then_some(Lack::Countries { index, path, records, unplaced })
    });
    let families = info.warnings.iter().filter_map(|warning| match warning {
        Warning::NoIpv4 => Some(Lack::Ipv4),
        Warning::NoIpv6 => Some(Lack::Ipv6),
        Warning::Undated => None,
    });
    families.chain(without_countries).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, records: usize, unplaced: usize) -> Info {
        let mut info = Info { path: Some(name.into()), records, ..Info::default() };
        info.skipped.insert("EU".to_owned(), unplaced);
        info
    }

    #[test]
    fn each_file_is_held_to_its_records_and_all_together_to_the_families() {
        assert_eq!(lacks(&file("a", 10, 5)), []);
        let of_a = |index| Lack::Countries { index, path: "a".into(), records: 10, unplaced: 6 };
        assert_eq!(lacks(&file("a", 10, 6)), [of_a(0)]);
        let parts = vec![file("b", 100, 0), file("a", 10, 6)];
        let merged = Info { parts, warnings: vec![Warning::NoIpv6, Warning::Undated], ..Info::default() };
        assert_eq!(lacks(&merged), [Lack::Ipv6, of_a(1)]);
        let shown: Vec<String> = lacks(&merged).iter().map(ToString::to_string).collect();
        assert_eq!(shown[1], "the geo database a names no country in 6 of its 10 records");
        // The embedded database has no records to count, and both families.
        assert_eq!(lacks(&crate::geo::embedded::load().info), []);
    }
}
