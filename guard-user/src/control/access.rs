//! Who may do what: root, the daemon's own user, and the groups of `[control.groups]`.

use std::fmt::Write as _;
use std::sync::Arc;

use super::peer::Credentials;
use super::right::{Right, Rights};

/// A Unix group with a right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The group's number.
    pub gid: u32,
    /// Its name, for messages.
    pub name: String,
    /// What it may do.
    pub right: Right,
}

/// Who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The daemon's own user, who may do everything, as root may.
    pub uid: u32,
    /// The groups.
    pub groups: Vec<Member>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Process; `None` where it is in another pid namespace.
    pub pid: Option<u32>,
    /// Effective user.
    pub uid: u32,
    /// The user's name; `None` where it has none, or none is known by now.
    pub user: Option<Arc<str>>,
    /// Effective group.
    pub gid: u32,
    /// What it may do.
    pub rights: Rights,
    /// Whether it is root or the daemon's own user.
    pub is_root: bool,
}

impl Access {
    /// The access of root and this process's user alone.
    #[must_use]
    pub fn of_root() -> Self {
        Self { uid: rustix::process::geteuid().as_raw(), groups: Vec::new() }
    }

    /// Who the peer is here.
    #[must_use]
    pub fn peer(&self, credentials: &Credentials) -> Peer {
        let Credentials { pid, uid, gid, .. } = *credentials;
        let is_root = uid == 0 || uid == self.uid;
        let rights = match is_root {
            true => Rights::default().with(Right::Everything),
            false => {
                let groups = self.groups.iter().filter(|group| credentials.has_group(group.gid));
                groups.map(|group| group.right).collect()
            }
        };
        Peer { pid, uid, user: None, gid, rights, is_root }
    }

    /// The message to a user who lacks the right to do this.
    #[must_use]
    pub fn refusal(&self, user: &str, request: &str, needed: Right) -> String {
        let mut text =
            format!("the user {user} may not use `{request}`: it takes the right `{needed}`, which ");
        let groups: Vec<String> = self
            .groups
            .iter()
            .filter(|group| group.right.includes(needed))
            .map(|group| format!("\"{}\"", group.name))
            .collect();
        // Writing to a string does not fail.
        let _written = match groups.as_slice() {
            [] => write!(text, "root alone has; name a group for it in `control.groups.{needed}`"),
            [one] => write!(text, "root and the Unix group {one} have; join it"),
            [rest @ .., last] => {
                let rest = rest.join(", ");
                write!(text, "root and the Unix groups {rest} and {last} have; join one of them")
            }
        };
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        let groups = [
            (70, "bg-view", Right::View),
            (71, "bg-compliance", Right::Exemptions),
            (72, "bg-sre", Right::Policy),
            (73, "bg-admin", Right::Everything),
        ];
        let groups = groups.map(|(gid, name, right)| Member { gid, name: name.to_owned(), right });
        Access { uid: 900, groups: groups.to_vec() }
    }

    fn rights(uid: u32, gid: u32, groups: &[u32]) -> Vec<Right> {
        let credentials = Credentials { pid: Some(1), uid, gid, groups: groups.to_vec() };
        access().peer(&credentials).rights.iter().collect()
    }

    #[test]
    fn root_the_daemons_user_and_the_groups_have_rights_and_nobody_else() {
        assert_eq!(rights(0, 5, &[]), [Right::Everything]);
        assert_eq!(rights(900, 5, &[70]), [Right::Everything]);
        assert_eq!(rights(1, 70, &[]), [Right::View]);
        assert_eq!(rights(1, 1, &[5, 71]), [Right::Exemptions]);
        assert_eq!(rights(1, 72, &[71, 70]), [Right::View, Right::Exemptions, Right::Policy]);
        assert_eq!(rights(1, 0, &[0, 900, 74]), []);
    }

    #[test]
    fn a_refusal_names_the_user_the_right_and_who_has_it() {
        let some = access().refusal("\"eve\" (7)", "reload", Right::Policy);
        assert_eq!(
            some,
            "the user \"eve\" (7) may not use `reload`: it takes the right `policy`, which root and the Unix \
             groups \"bg-sre\" and \"bg-admin\" have; join one of them"
        );
        let none = Access { uid: 0, groups: Vec::new() }.refusal("7", "reload", Right::Policy);
        assert!(none.ends_with("root alone has; name a group for it in `control.groups.policy`"), "{none}");
    }
}
