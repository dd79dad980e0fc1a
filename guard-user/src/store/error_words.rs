//! Parts of the store's errors in words.

use guard_common::abi::MAX_EXEMPTIONS;

use crate::exemption::REVIEW;
use crate::text::escaped;

/// The orders that stand, in a sentence.
pub(super) fn listed(standing: &[String]) -> String {
    match standing {
        [] => String::new(),
        standing => format!("; these hold it: {}", standing.join("; ")),
    }
}

/// The orders that stand where none such does, in a sentence, or where those are named that do.
pub(super) fn none_such(standing: &[String]) -> String {
    match standing {
        [] => "; it may be lifted already: `borderguard exemption orders` names those that stand".to_owned(),
        standing => listed(standing),
    }
}

/// Too few slots of the kernel's table are free, in a sentence, with what to do. What is renewed goes on until its new version is
/// live, and what it counted is saved after that: each needs places of its own.
pub(super) fn no_slot_words(wanted: usize, free: usize, renewed: usize) -> String {
    let needed = match wanted {
        1 => "1 place for a recipient is needed".to_owned(),
        _ => format!("{wanted} places for recipients are needed, one for each"),
    };
    let are = if free == 1 { "is" } else { "are" };
    let what_to_do = match renewed {
        0 => "revoke an exemption that is not needed".to_owned(),
        _ => format!(
            "revoke another exemption that is not needed, or load this one once the version that it renews is over, which has \
             {renewed} of them until this one is live"
        ),
    };
    format!("{needed}, and {free} of the kernel's {MAX_EXEMPTIONS} {are} free: {what_to_do}")
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
