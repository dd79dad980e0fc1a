//! What the daemon reads from the disk: the config and the geo databases.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::config::policy::{Geo, Policy};
use crate::config::{self, Checked, ConfigErrors, Surroundings, Warning};
use crate::geo::complete::{self, Lack};
use crate::geo::{GeoDb, embedded, merge, mmdb};

/// A config and its databases, without errors.
#[derive(Debug)]
pub struct Inputs {
    /// The policy.
    pub policy: Policy,
    /// What may surprise in it.
    pub warnings: Vec<Warning>,
    /// The databases as one.
    pub database: GeoDb,
}

/// Why inputs can't be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The config has errors: all of them, each with its place and a hint.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// Users that pins select are not known: all of them.
    #[error("{}: give their numbers; names are looked up in {USERS} alone", .0.join("\n"))]
    Users(Vec<String>),
    /// Databases can't be used: all of them, a line each.
    #[error("{}", lines(.0))]
    Databases(Vec<mmdb::Error>),
    /// Databases lack what they should have: all of it.
    #[error("{}\nName another one beside it (geo.files), or take it as it is (geo.incomplete)", lines(.0))]
    Incomplete(Vec<Lack>),
}

fn lines(errors: &[impl Display]) -> String {
    errors.iter().map(|error| format!("geo database: {error}")).collect::<Vec<_>>().join("\n")
}

/// Loads a config and its databases. With `observe` the policy observes, whatever the config says.
///
/// # Errors
/// [`InputError`].
pub fn load(file: &Path, observe: bool) -> Result<Inputs, InputError> {
    let Checked { policy, warnings } = load_config(file, observe)?;
    let database = load_database(&policy.geo)?;
    Ok(Inputs { policy, warnings, database })
}

/// Loads a config alone.
///
/// # Errors
/// [`InputError::Config`].
pub fn load_config(file: &Path, observe: bool) -> Result<Checked, InputError> {
    let mut checked = config::load(file, &Surroundings::new(None))?;
    checked.policy.host.observe |= observe;
    Ok(checked)
}

/// Where users are looked up by name. What a host has from a server in the network may take any time, and may not be
/// there when the guard starts.
const USERS: &str = "/etc/passwd";

/// Looks up the numbers of the users that pins select by name: for who makes tables of the policy.
///
/// # Errors
/// [`InputError::Users`].
pub fn look_up_users(policy: &mut Policy) -> Result<(), InputError> {
    let users = policy.pins.iter_mut().flat_map(|pin| &mut pin.select.users);
    let mut unknown = Vec::new();
    for user in users.filter(|user| user.uid.is_none()) {
        match uid_of(&user.text) {
            Ok(uid) => user.uid = Some(uid),
            Err(why) => unknown.push(why),
        }
    }
    if unknown.is_empty() { Ok(()) } else { Err(InputError::Users(unknown)) }
}

/// The number of a user of this host.
///
/// # Errors
/// Where there is none of the name, or that can't be told.
pub fn uid_of(name: &str) -> Result<u32, String> {
    let users = std::fs::read(USERS).map_err(|error| format!("{USERS} can't be read: {error}"))?;
    let users = String::from_utf8_lossy(&users);
    find_uid(&users, name).ok_or_else(|| format!("there is no user {name:?} in {USERS}"))
}

/// The number of a user, of lines as passwd(5) has them.
fn find_uid(users: &str, name: &str) -> Option<u32> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

/// Loads the databases of a config as one.
///
/// # Errors
/// [`InputError::Databases`], [`InputError::Incomplete`].
pub fn load_database(geo: &Geo) -> Result<GeoDb, InputError> {
    let (mut databases, mut errors) = (Vec::new(), Vec::new());
    for path in &geo.files {
        match mmdb::read(path) {
            Ok(database) => databases.push(database),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(InputError::Databases(errors));
    }
    let database = merge::merge(databases).unwrap_or_else(embedded::load);
    let lacks = complete::lacks(&database.info);
    match lacks.is_empty() || geo.incomplete {
        true => Ok(database),
        false => Err(InputError::Incomplete(lacks)),
    }
}

/// The file as an absolute path, so that a reload finds it wherever the daemon was started.
///
/// # Errors
/// Where the current folder can't be told.
pub fn absolute(file: &Path) -> std::io::Result<PathBuf> {
    std::path::absolute(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, text: &str) -> PathBuf {
        let file = folder.join("policy.toml");
        std::fs::write(&file, text).unwrap();
        file
    }

    const POLICY: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
                          action = \"drop\"\nselect.ports = [\"tcp/143\"]\n";

    #[test]
    fn users_are_looked_up_by_name_and_every_unknown_one_is_named() {
        let users = "root:x:0:0:root:/root:/bin/sh\npostgres:x:107:113::/:/bin/sh\nodd\nbad:x:y:\n";
        let found = |name| find_uid(users, name);
        assert_eq!(
            (found("postgres"), found("root"), found("odd"), found("bad"), found("")),
            (Some(107), Some(0), None, None, None)
        );
        let folder = tempfile::tempdir().unwrap();
        let text = POLICY.to_owned() + "select.users = [\"root\", 12, \"no-such-1\", \"no-such-2\"]\n";
        let mut policy = load_config(&write(folder.path(), &text), false).unwrap().policy;
        let error = look_up_users(&mut policy).unwrap_err().to_string();
        assert!(error.contains("no-such-1") && error.contains("no-such-2"), "{error}");
        policy.pins[0].select.users.truncate(2);
        look_up_users(&mut policy).unwrap();
        let uids: Vec<_> = policy.pins[0].select.users.iter().map(|user| user.uid).collect();
        assert_eq!(uids, [Some(0), Some(12)]);
    }

    #[test]
    fn the_flag_makes_a_policy_observe() {
        let folder = tempfile::tempdir().unwrap();
        let file = write(folder.path(), POLICY);
        assert!(!load_config(&file, false).unwrap().policy.host.observe);
        assert!(load_config(&file, true).unwrap().policy.host.observe);
    }

    #[test]
    fn every_bad_database_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("{POLICY}[geo]\nfiles = [\"/no/such/a.mmdb\", \"/no/such/b.mmdb\"]\n");
        let error = load(&write(folder.path(), &text), false).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 2, "{error}");
        assert!(error.contains("a.mmdb") && error.contains("b.mmdb"), "{error}");
    }

    #[test]
    fn without_files_the_embedded_database_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let inputs = load(&write(folder.path(), POLICY), false).unwrap();
        assert!(inputs.database.info.ranges_v4 > 100_000);
    }
}
