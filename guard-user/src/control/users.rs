//! Numbers and names of Unix users and groups, from whatever source of names the host has (nsswitch.conf(5)).

use std::io;

use nix::unistd::{Group, Uid, User};

/// The number of a group; `None` where there is no such group.
///
/// # Errors
/// Where the source of names can't be asked.
pub fn group_id(name: &str) -> io::Result<Option<u32>> {
    // A name with a zero byte in it is nobody's, and would be cut there.
    if name.contains('\0') {
        return Ok(None);
    }
    Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
}

/// A user as messages name one: by name and number, or by number alone where it has no name or the source of
/// names does not answer. It may wait for a server in the network.
#[must_use]
pub fn user_words(uid: u32) -> String {
    match user_name(uid) {
        Some(name) => format!("{name:?} ({uid})"),
        None => format!("{uid}"),
    }
}

/// The name of a user; `None` where it has none or the source of names does not answer. It may wait for a
/// server in the network.
#[must_use]
pub fn user_name(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_name() {
        assert_eq!(group_id("root").unwrap(), Some(0));
        assert_eq!(group_id("no-such-group-here").unwrap(), None);
        assert_eq!(group_id("a\0b").unwrap(), None);
    }

    #[test]
    fn users_are_named_where_they_have_a_name() {
        assert_eq!(user_words(0), "\"root\" (0)");
        assert_eq!(user_words(4_000_000_001), "4000000001");
    }
}
