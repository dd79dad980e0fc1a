//! Parts of the store's errors in words.

use crate::exemption::REVIEW;
use crate::text::escaped;

/// The orders that stand, in a sentence.
pub(super) fn listed(standing: &[String]) -> String {
    match standing {
        [] => String::new(),
        standing => format!("; these hold it: {}", standing.join("; ")),
    }
}

/// The name that may be meant.
pub(super) fn near_words(near: Option<&str>) -> String {
    match near {
        Some(near) => format!("; \"{}\" does: give that name if it is meant", escaped(near)),
        None => ": look at the name".to_owned(),
    }
}

/// What is due, in a sentence.
pub(super) fn due_words(due: &[String]) -> String {
    match due {
        [] => "nothing is due".to_owned(),
        due => {
            let words = |it: &String| match it.as_str() {
                REVIEW => format!("{REVIEW}, which a new version of the document does (`exemption renew`)"),
                _ => it.clone(),
            };
            format!("due are {}", due.iter().map(words).collect::<Vec<_>>().join(", "))
        }
    }
}

/// Whose keys may approve, in a sentence.
pub(super) fn signers_words(signers: &[String]) -> String {
    match signers {
        [] => "There are no allowed signers".to_owned(),
        signers => format!("The allowed signers are {}", signers.join(", ")),
    }
}
