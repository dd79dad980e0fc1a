//! Codes and times in words.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::exemption::{Basis, Ground};

/// A moment to the second, in UTC.
pub(super) fn moment(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// The ground of Chapter V with its code, in words. A code that this version does not know stays as it is.
pub(super) fn ground(code: &str) -> String {
    let known = Ground::ALL.into_iter().find(|ground| ground.name() == code);
    known.map_or_else(|| code.to_owned(), |ground| format!("{code}: {}", ground.meaning()))
}

/// Likewise the basis of Art. 6(1).
pub(super) fn basis(code: &str) -> String {
    let known = Basis::ALL.into_iter().find(|basis| basis.name() == code);
    known.map_or_else(|| code.to_owned(), |basis| format!("{code}: {}", basis.meaning()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_words_and_times_their_seconds() {
        assert_eq!(ground("art-47-x"), "art-47-x");
        for code in Ground::ALL {
            assert_eq!(ground(code.name()), format!("{code}: {}", code.meaning()));
        }
        assert_eq!(basis("art-6-1-c"), "art-6-1-c: A legal obligation under Union or member state law.");
        assert_eq!(moment("2026-12-01T08:05:09.25Z".parse().unwrap()), "2026-12-01 08:05:09 UTC");
    }
}
