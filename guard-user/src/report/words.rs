//! Codes and times in words.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::exemption::particulars::Law;
use crate::exemption::{Basis, Ground};

/// A moment to the second, in UTC.
pub(super) fn moment(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn known(code: &str) -> Option<Ground> {
    Ground::ALL.into_iter().find(|ground| ground.name() == code)
}

/// The law with the act that holds for what rests on the ground of this code.
pub(super) fn law(law: Law, ground: &str) -> String {
    format!("{law}: {}", law.act(known(ground)))
}

/// The ground with its code, in words that name the articles of the law. A code that this version does not know stays as it is.
pub(super) fn ground(law: Law, code: &str) -> String {
    known(code).map_or_else(|| code.to_owned(), |ground| format!("{code}: {}", law.ground(ground)))
}

/// Likewise the basis.
pub(super) fn basis(law: Law, code: &str) -> String {
    let known = Basis::ALL.into_iter().find(|basis| basis.name() == code);
    known.map_or_else(|| code.to_owned(), |basis| format!("{code}: {}", law.basis(basis)))
}

/// Where the law has the condition of the ground of this code.
pub(super) fn condition(law: Law, ground: &str) -> Option<&'static str> {
    law.condition(known(ground)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_words_and_times_their_seconds() {
        assert_eq!(ground(Law::Eu, "art-47-x"), "art-47-x");
        for (code, of) in Law::ALL.iter().flat_map(|of| Ground::ALL.map(|code| (code, *of))) {
            assert_eq!(ground(of, code.name()), format!("{code}: {}", of.ground(code)));
        }
        assert_eq!(
            basis(Law::Eu, "art-6-1-c"),
            "art-6-1-c: GDPR Art. 6(1)(c): a legal obligation under Union or member state law."
        );
        assert_eq!(law(Law::Ch, "art-45"), "ch: Federal Act on Data Protection (FADP)");
        assert_eq!(law(Law::Eu, "data-act-32-3"), "eu: Regulation (EU) 2023/2854 (Data Act)");
        assert_eq!(law(Law::Eu, "art-47-x"), "eu: Regulation (EU) 2016/679 (GDPR)");
        assert_eq!(moment("2026-12-01T08:05:09.25Z".parse().unwrap()), "2026-12-01 08:05:09 UTC");
    }
}
