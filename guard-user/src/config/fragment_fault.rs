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
    /// A file that has the whole text already, beside files that would be added to it.
    #[error("it has the text of files of policy.d in it, and there are such files beside it")]
    Twice,
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
            Self::Twice => {
                "put it into a folder of its own to compare it; to take it, have it alone, or divide it where #= names a file".into()
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
            Self::Twice => "fragments-twice",
            Self::NotASite { .. } => "not-of-fragment",
        }
    }
}
