//! The names of instruments, for an order that names one on which nothing that was ever loaded rests.

use crate::text::escaped;

/// A name that is nearly the one that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Near {
    /// Open exemptions rest on it.
    Open(String),
    /// Exemptions that are closed rested on it.
    OfClosed(String),
}

impl Near {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Open(name) => {
                format!("open exemptions rest on \"{}\": give that name if it is meant", escaped(name))
            }
            Self::OfClosed(name) => {
                format!("exemptions that rested on \"{}\" are closed", escaped(name))
            }
        }
    }
}

/// Whether two names differ by a slip: in blanks, signs and capitals, or in one letter of six.
#[must_use]
pub fn is_nearly(one: &str, other: &str) -> bool {
    let letters = |name: &str| -> String {
        name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let (one, other) = (letters(one), letters(other));
    let (length, length_of_other) = (one.chars().count(), other.chars().count());
    let most = (length.max(length_of_other) / 6).max(1);
    // Names of other lengths are not compared letter by letter: a request can have megabytes.
    let may_be_near = length > 0 && length_of_other > 0 && length.abs_diff(length_of_other) <= most;
    may_be_near && strsim::damerau_levenshtein(&one, &other) <= most
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
        assert!(!is_nearly(name, &"a".repeat(4 << 20)), "and takes no time");
        assert!(is_nearly("SCC", "SCCs") && !is_nearly("SCC", "BCR") && !is_nearly("-", "a"));
    }
}
