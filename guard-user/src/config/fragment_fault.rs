//! What can be wrong with a file of `policy.d`.

use super::finding::quoted;
use crate::text::visible;

/// Why a file of `policy.d` can't be a part of the config. Its `Display` is one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FragmentFault {
    /// A name that can't stand on a line of the whole text.
    #[error("{} is no name of a file in policy.d", quoted(name))]
    BadName {
        /// The name.
        name: String,
    },
    /// What such a file may not have.
    #[error("files in policy.d hold [[site]] tables alone, and this is `{}`", visible(key))]
    NotASite {
        /// The key.
        key: String,
    },
}

impl FragmentFault {
    /// What to do next, in one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::BadName { .. } => {
                "use a to z, A to Z, 0 to 9, hyphen, underscore, plus and dot; a file whose name does not end in .toml is not read"
                    .into()
            }
            Self::NotASite { .. } => {
                "begin each entry with the line [[site]], and write all else into the config's own file".into()
            }
        }
    }

    /// A short name that stays the same from release to release.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadName { .. } => "bad-fragment-name",
            Self::NotASite { .. } => "not-of-fragment",
        }
    }
}
