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

/// That a version of an exemption has no such duty to be done, and which version has, or what is due instead.
pub(super) fn no_duty_words(
    (id, own): (&str, u32),
    duty: &str,
    is_done: bool,
    due: &[(u32, String)],
) -> String {
    let of = format!("of version {own} of the exemption \"{}\"", escaped(id));
    let told = match is_done {
        true => format!("\"{}\" is noted as done already {of}", escaped(duty)),
        false => format!("nothing called \"{}\" is due {of}", escaped(duty)),
    };
    // They are in the order in which they are due.
    match due.iter().find(|(_, name)| name == duty) {
        Some((other, _)) => {
            format!("{told}, and it is due of version {other}: name that by --version {other}")
        }
        None => format!("{told}: {}", due_words(own, due)),
    }
}

/// What is due, in a sentence; what is due of other versions than this one has them.
fn due_words(own: u32, due: &[(u32, String)]) -> String {
    match due {
        [] => "nothing is due".to_owned(),
        due => {
            let words = |(version, name): &(u32, String)| {
                let of = if *version == own { String::new() } else { format!(" of version {version}") };
                match name.as_str() {
                    REVIEW => {
                        format!("{REVIEW}{of}, which a new version of the document does (`exemption renew`)")
                    }
                    _ => format!("{name}{of}"),
                }
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
