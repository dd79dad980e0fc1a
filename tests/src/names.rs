//! Names for what the tests make on the machine: `bg-<pid>-<number>-<label>`.
//!
//! The process id tells whose a thing is, so two runs never meet and leftovers of a killed run can be
//! told from what a running one still needs.
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::SetupError;

/// What every name starts with.
pub const PREFIX: &str = "bg-";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A name that nothing else of this process has, ending in `label`.
///
/// # Errors
/// [`SetupError::Label`] if the label is empty, longer than 20 bytes, or has other characters than
/// `a-z`, `0-9` and `-`.
pub fn unique(label: &str) -> Result<String, SetupError> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if label.is_empty() || label.len() > 20 || !label.bytes().all(fits) {
        return Err(SetupError::Label { label: label.to_owned() });
    }
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Ok(format!("{PREFIX}{}-{number}-{label}", std::process::id()))
}

/// The process id in one of our names; `None` if the name is not one of ours.
pub fn owner(name: &str) -> Option<u32> {
    let mut parts = name.strip_prefix(PREFIX)?.splitn(3, '-');
    let pid = parts.next()?.parse().ok()?;
    let _number: u32 = parts.next()?.parse().ok()?;
    parts.next().filter(|label| !label.is_empty())?;
    Some(pid)
}

/// Whether a name is one of ours and the process that made it is gone.
pub fn is_left_over(name: &str) -> bool {
    owner(name).is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_owner() {
        let name = unique("mail-host").unwrap();
        assert_eq!(owner(&name), Some(std::process::id()));
        assert!(!is_left_over(&name), "this process is alive");
        assert_ne!(name, unique("mail-host").unwrap());
    }

    #[test]
    fn other_names_are_not_ours() {
        for name in ["", "bg-", "bg-1", "bg-1-2", "bg-1-2-", "bg-x-2-a", "bg-1-y-a", "vm-1-2-a", "bg--1-2-a"]
        {
            assert_eq!(owner(name), None, "{name}");
            assert!(!is_left_over(name), "{name}");
        }
    }

    #[test]
    fn the_dead_leave_leftovers() {
        // Above the kernel's largest possible process id (PID_MAX_LIMIT, 2^22).
        assert!(is_left_over("bg-4194305-0-mail"));
    }

    #[test]
    fn labels_are_checked() {
        for label in ["", "Mail", "a/b", "..", "a b", "abcdefghijklmnopqrstu"] {
            assert!(matches!(unique(label), Err(SetupError::Label { .. })), "{label}");
        }
    }
}
