//! The names of instruments, for an order that names one that nothing open rests on.

use super::Kept;
use super::entry::Entry;
use crate::exemption::Document;

/// What is known of a name on which no open exemption rests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Near {
    /// Exemptions rested on it, and all of them are closed.
    Closed,
    /// No exemption ever had it, and open ones have this one, which is nearly the same.
    Open(String),
    /// No exemption ever had it, and closed ones have this one, which is nearly the same.
    OfClosed(String),
}

impl Near {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Closed => "those that rested on it are closed".to_owned(),
            Self::Open(name) => {
                format!("open ones rest on \"{}\": give that name if it is meant", name.escape_debug())
            }
            Self::OfClosed(name) => format!("those that rested on \"{}\" are closed", name.escape_debug()),
        }
    }
}

impl Kept {
    /// What is known of a name on which no open exemption rests: an order with a slip in it closes nothing.
    pub(super) fn near(&self, name: &str) -> Option<Near> {
        let of = |wanted_open: bool| {
            let entries = self.entries().filter(move |(_, entry)| is_open(entry) == wanted_open);
            entries.filter_map(|(_, entry)| Some(entry.document.as_ref()?.instrument.name.as_str()))
        };
        if of(false).any(|its| its == name) {
            return Some(Near::Closed);
        }
        let nearly = |its: &&str| is_nearly(name, its);
        let open = of(true).find(nearly).map(|its| Near::Open(its.to_owned()));
        open.or_else(|| of(false).find(nearly).map(|its| Near::OfClosed(its.to_owned())))
    }

    /// Whether everybody who may look may read this name: an exemption that is not confidential has it. A name with
    /// a slip in it may be nearly one that is confidential.
    #[must_use]
    pub fn is_public_instrument(&self, name: &str) -> bool {
        let is_it = |document: &Document| !document.confidential && document.instrument.name == name;
        self.entries().any(|(_, entry)| entry.document.as_deref().is_some_and(is_it))
    }
}

/// Whether an order for its instrument would close it.
pub(super) fn is_open(entry: &Entry) -> bool {
    !entry.record.is_closed() || entry.unsaved
}

/// Whether two names differ by a slip: in blanks, signs and capitals, or in one letter of six.
fn is_nearly(one: &str, other: &str) -> bool {
    let letters = |name: &str| -> String {
        name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let (one, other) = (letters(one), letters(other));
    let most = (one.chars().count().max(other.chars().count()) / 6).max(1);
    let has_letters = !one.is_empty() && !other.is_empty();
    has_letters && strsim::damerau_levenshtein(&one, &other) <= most
}

#[cfg(test)]
mod tests {
    use super::is_nearly;

    #[test]
    fn slips_are_near_and_other_names_are_not() {
        let name = "US-Ireland MLAT 2001";
        for near in [
            "US\u{2013}Ireland MLAT (2001)",
            "us ireland mlat 2001",
            "US-Ireland MLTA 2001",
            "US-Ireland MLAT 2010",
        ] {
            assert!(is_nearly(name, near), "{near}");
        }
        for other in ["UK-Ireland treaty", "SCC 2021/914", "", "-"] {
            assert!(!is_nearly(name, other) && !is_nearly(other, name), "{other}");
        }
        assert!(is_nearly("SCC", "SCCs") && !is_nearly("SCC", "BCR") && !is_nearly("-", "a"));
    }
}
