//! Geo sources: where the networks of the world are, as runs of jurisdictions for the table builder.
//!
//! [`special`] has the addresses that no source places. [`embedded`] is always there, [`mmdb`] reads a file that the operator brings, [`merge`] makes one of
//! several. None of them knows sites: those go over the database where the tables are compiled.
//!
//! An address's place is where its network is registered or announced, as the source's maker sees it.

mod built;
pub mod complete;
pub mod diff;
pub mod embedded;
pub mod merge;
pub mod mmdb;
mod runs;
pub mod special;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use guard_common::jurisdiction::Jurisdiction;
use jiff::{SignedDuration, Timestamp};

pub use built::Built;
pub use runs::{Address, Runs};

/// Everything that one source, or several merged ones, say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeoDb {
    /// The IPv4 space.
    pub v4: Runs<u32>,
    /// The IPv6 space. Addresses that carry an IPv4 address (mapped, 6to4, Teredo, NAT64) are placed by
    /// that one and may be `unknown` here.
    pub v6: Runs<u128>,
    /// Where it comes from.
    pub info: Info,
}

/// Where a database comes from, for `status`, `check` and the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// What it is, in a few words.
    pub source: String,
    /// The data's licence and its owner, where the source says so.
    pub licence: Option<String>,
    /// When the data was made.
    pub generated: Option<Timestamp>,
    /// What the file says to be (`database_type` of an MMDB), at most 64 characters, fit for a terminal; `None` where there is no
    /// file.
    pub database_type: Option<String>,
    /// The file that was read; `None` for the embedded and for a merged database.
    pub path: Option<PathBuf>,
    /// How many IPv4 runs there are, those of unknown place included.
    pub ranges_v4: usize,
    /// How many IPv6 runs there are, those of unknown place included.
    pub ranges_v6: usize,
    /// How many records the file's networks have; 0 where they are not counted.
    pub records: usize,
    /// The file's size in bytes.
    pub bytes: Option<u64>,
    /// SHA-256 of the file's bytes, 64 hexadecimal digits; `None` where there is no file.
    pub sha256: Option<String>,
    /// Why it, or one before it, was compared with none, and nobody has signed it since.
    pub unheld: Option<String>,
    /// By what it is known as the one that was taken: SHA-256 of its content as it is kept, 64 hexadecimal digits.
    pub digest: Option<String>,
    /// When the newest of each type was built that was in force, this one among them. Known of what is in force alone.
    pub built: Built,
    /// Networks whose record names no country that is known, which left them `unknown`, counted
    /// by the code that it names (`EU`, `AP` ...), or under [`NO_CODE`] where it names none.
    pub skipped: BTreeMap<String, usize>,
    /// What the operator should know of the database.
    pub warnings: Vec<Warning>,
    /// What was merged to this; empty for a single source.
    pub parts: Vec<Info>,
}

/// The key in [`Info::skipped`] for records that name no country, or something that is no code.
pub const NO_CODE: &str = "none";

/// Something about a database that is legal but may surprise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// It says nothing of IPv4.
    NoIpv4,
    /// It says nothing of IPv6.
    NoIpv6,
    /// It does not say when it was made.
    Undated,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoIpv4 => {
                "it has no IPv4 networks: every IPv4 address in no site is of unknown jurisdiction"
            }
            Self::NoIpv6 => {
                "it has no IPv6 networks: every IPv6 address in no site is of unknown jurisdiction"
            }
            Self::Undated => "it does not say when it was made: its age can't be watched",
        })
    }
}

/// Why a database should not be relied on any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staleness {
    /// It is older than allowed.
    Old {
        /// Its age.
        age: SignedDuration,
    },
    /// It says that it was made more than a day from now: its date or this host's clock is wrong.
    FromTheFuture {
        /// By how much.
        ahead: SignedDuration,
    },
    /// It does not say when it was made.
    Undated,
}

impl fmt::Display for Staleness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Old { age } => write!(f, "the geo database is {} days old", age.as_hours() / 24),
            Self::FromTheFuture { ahead } => write!(
                f,
                "the geo database says that it was made {} hours from now: its date or this host's clock is wrong",
                ahead.as_hours()
            ),
            Self::Undated => f.write_str("the geo database does not say when it was made"),
        }
    }
}

impl Info {
    /// What it was read from: its parts, or itself.
    #[must_use]
    pub fn files(&self) -> &[Self] {
        if self.parts.is_empty() { std::slice::from_ref(self) } else { &self.parts }
    }

    /// How old the data is; negative for a date to come, `None` where the database has no date.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Option<SignedDuration> {
        self.generated.map(|generated| now.duration_since(generated))
    }

    /// Whether and why the data is stale. Makers stamp their files in their own time zones and clocks are
    /// a little off, so a date up to a day ahead passes as new.
    #[must_use]
    pub fn stale(&self, now: Timestamp, max_age: SignedDuration) -> Option<Staleness> {
        let Some(age) = self.age(now) else { return Some(Staleness::Undated) };
        if age > max_age {
            Some(Staleness::Old { age })
        } else if age < SignedDuration::from_hours(-24) {
            // No timestamp is so far off that its distance does not fit.
            Some(Staleness::FromTheFuture { ahead: age.checked_neg().unwrap_or(SignedDuration::MAX) })
        } else {
            None
        }
    }

    /// Records that name no country that is known.
    #[must_use]
    pub fn unplaced(&self) -> usize {
        self.skipped.values().sum()
    }

    fn count_skipped(&mut self, code: &str) {
        if let Some(count) = self.skipped.get_mut(code) {
            *count += 1;
        } else {
            self.skipped.insert(code.to_owned(), 1);
        }
    }
}

impl GeoDb {
    /// Puts the two spaces under what is known of their source, and fills in the counts and warnings.
    fn assemble(v4: Runs<u32>, v6: Runs<u128>, mut info: Info) -> Self {
        info.ranges_v4 = v4.count();
        info.ranges_v6 = v6.count();
        info.warnings = [
            (!v4.says_anything(), Warning::NoIpv4),
            (!v6.says_anything(), Warning::NoIpv6),
            (info.generated.is_none(), Warning::Undated),
        ]
        .into_iter()
        .filter_map(|(holds, warning)| holds.then_some(warning))
        .collect();
        Self { v4, v6, info }
    }

    /// The jurisdiction of an address as the database alone has it: no site is looked at, and an IPv4
    /// address inside an IPv6 one is not looked for.
    #[must_use]
    pub fn lookup(&self, address: std::net::IpAddr) -> Jurisdiction {
        match address {
            std::net::IpAddr::V4(v4) => self.v4.lookup(v4.into()),
            std::net::IpAddr::V6(v6) => self.v6.lookup(v6.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(generated: Option<&str>) -> Info {
        Info { generated: generated.map(|text| text.parse().unwrap()), ..Info::default() }
    }

    #[test]
    fn age_and_staleness() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let month = SignedDuration::from_hours(30 * 24);
        let fresh = made(Some("2026-11-01T12:00:00Z"));
        assert_eq!(fresh.age(now), Some(SignedDuration::from_hours(22 * 24)));
        assert_eq!(fresh.stale(now, month), None);
        let exact = made(Some("2026-10-24T12:00:00Z"));
        assert_eq!(exact.stale(now, month), None);
        let old = made(Some("2026-10-24T11:59:59Z"));
        let reason = old.stale(now, month).unwrap();
        assert!(matches!(reason, Staleness::Old { .. }));
        assert_eq!(reason.to_string(), "the geo database is 30 days old");
    }

    #[test]
    fn a_date_to_come_passes_for_a_day_and_a_missing_one_never() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let max = SignedDuration::from_hours(24);
        assert_eq!(made(Some("2026-11-24T12:00:00Z")).stale(now, max), None);
        let ahead = SignedDuration::from_hours(48);
        assert_eq!(
            made(Some("2026-11-25T12:00:00Z")).stale(now, max),
            Some(Staleness::FromTheFuture { ahead })
        );
        assert_eq!(made(None).stale(now, max), Some(Staleness::Undated));
        assert_eq!(made(None).age(now), None);
        let first = Info { generated: Some(Timestamp::MIN), ..Info::default() };
        assert!(first.stale(Timestamp::MAX, max).is_some());
        let last = Info { generated: Some(Timestamp::MAX), ..Info::default() };
        assert!(last.stale(Timestamp::MIN, max).is_some());
    }
}
