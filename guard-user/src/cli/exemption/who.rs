//! Users by name and number, as the host that is asked on knows them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::cli::table::plain;
use crate::control::users::user_name;

/// Names that were looked up: a list may have the same user many times, and a look-up may ask a server.
static NAMES: Mutex<BTreeMap<u32, Option<String>>> = Mutex::new(BTreeMap::new());

/// A user as people know one: `root (0)`, and `the user 4711` where nobody has this number here.
pub(in crate::cli) fn who(uid: u32) -> String {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    match names.entry(uid).or_insert_with(|| user_name(uid)) {
        Some(name) => format!("{} ({uid})", plain(name)),
        None => format!("the user {uid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_name_and_number_or_the_number_alone() {
        assert_eq!((who(0).as_str(), who(0).as_str()), ("root (0)", "root (0)"));
        assert_eq!(who(u32::MAX - 7), format!("the user {}", u32::MAX - 7));
    }
}
