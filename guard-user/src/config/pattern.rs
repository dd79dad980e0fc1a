//! Names of network interfaces, and patterns of them.

use std::fmt;

/// The name of a network interface, or a glob over names in which `*` stands for any characters and
/// `?` for exactly one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfacePattern(String);

impl InterfacePattern {
    /// A pattern whose text was checked.
    pub(in crate::config) fn new(text: String) -> Self {
        Self(text)
    }

    /// The pattern as the config has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a glob and not the name of one interface.
    #[must_use]
    pub fn is_glob(&self) -> bool {
        self.0.contains(['*', '?'])
    }

    /// Whether the interface of this name is meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        glob(self.0.as_bytes(), name.as_bytes())
    }
}

/// Whether the text of one [`InterfacePattern`] matches all that another one matches, as far as that is told by looking at
/// them: it never says so where it is not.
#[must_use]
pub fn covers(pattern: &str, other: &str) -> bool {
    let is_glob = |text: &str| text.contains(['*', '?']);
    // A `*` takes whatever stands in the other one; a `?` would take its `*` for one character.
    let is_told = !is_glob(other) || !pattern.contains('?');
    pattern == other || is_told && glob(pattern.as_bytes(), other.as_bytes())
}

impl fmt::Display for InterfacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `name` is matched by a glob of `*` and `?`. Only the last `*` is ever tried again, so that
/// the time is at most the product of the lengths.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(&byte) = name.get(read) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == byte => {
                at += 1;
                read += 1;
            }
            _ => match star {
                Some((after, taken)) => {
                    star = Some((after, taken + 1));
                    at = after + 1;
                    read = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The obvious glob, exponential in the number of stars.
    fn slow_glob(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => (0..=name.len()).any(|taken| slow_glob(rest, &name[taken..])),
            ([b'?', rest @ ..], [_, name @ ..]) => slow_glob(rest, name),
            ([wanted, rest @ ..], [byte, name @ ..]) => wanted == byte && slow_glob(rest, name),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn what_covers_a_pattern_matches_all_that_it_matches(
            one in "[ab*?]{0,5}", other in "[ab*?]{0,5}", name in "[ab]{0,6}",
        ) {
            let matches = |pattern: &str| glob(pattern.as_bytes(), name.as_bytes());
            prop_assert!(!covers(&one, &other) || !matches(&other) || matches(&one));
        }

        #[test]
        fn globs_match_what_the_obvious_glob_matches(pattern in "[ab*?]{0,8}", name in "[ab]{0,8}") {
            let fast = InterfacePattern::new(pattern.clone()).matches(&name);
            prop_assert_eq!(fast, slow_glob(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
