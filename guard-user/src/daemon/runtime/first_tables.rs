//! The tables that a start begins with: by which database, and by what that is known.

use tracing::error;

use super::chosen::{self, Before};
use super::gate;
use super::last_database::Keeper;
use super::loader::{self, Reading};
use super::memory;
use super::patience::disk;
use crate::config::policy::Policy;
use crate::daemon::engine::{LoadFailure, Prepared};
use crate::geo::{Built, GeoDb, Info};
use crate::store::{KnownSpent, Store, last_database};

/// What the databases of a start are compared with: the one that is kept, where the audit trail says that it is the one.
pub(super) fn of_databases(store: &Store, keeper: &Keeper, (is_first, is_older): (bool, bool)) -> Before {
    if is_first {
        return Before::First;
    }
    if is_older {
        let why = "an older store was put back, whose audit trail does not say which was in force".to_owned();
        return Before::Gone(why, Built::default());
    }
    if !store.kept().is_usable() {
        let why = "the store can't be opened, whose audit trail says which it was".to_owned();
        return Before::Gone(why, Built::default());
    }
    match store.reader().and_then(|reader| reader.last_database()) {
        Ok(Some((digest, built))) => keeper.expect(digest, built),
        Ok(None) => {}
        Err(error) => return Before::Gone(error.to_string(), Built::default()),
    }
    Before::of(keeper, disk())
}

/// The database that is kept, where nobody knows whether it is the one that was: that is told until it is signed.
fn unheld_as(policy: &Policy, mut database: GeoDb, unheld: Option<String>) -> std::io::Result<GeoDb> {
    if let (Some(why), Some(_)) = (unheld, gate::asks(policy)) {
        let why = format!("{} is not known to be the one that was kept: {why}", last_database::FILE);
        database.info.unheld.get_or_insert(why);
        database.info.digest = Some(last_database::digest(&database)?);
    }
    Ok(database)
}

/// The tables to begin with: of the config and its databases, else of the last database that was good, else those
/// that the kernel has. Says why it is not the first.
pub(super) fn prepare(
    policy: Policy,
    generation: u64,
    (reading, before): (&Reading, Before),
    spent: &KnownSpent,
) -> Result<(Prepared, Option<String>), String> {
    let unheld = before.why_gone().map(str::to_owned);
    let read = loader::whole(&policy.geo, &reading.databases).and_then(|database| {
        let chosen = chosen::choose(&policy, database, before, (false, spent));
        let (held, database_waits) = (chosen.held(), chosen.waits.clone());
        let prepared = loader::prepare(policy.clone(), &chosen.database)?;
        chosen.keep(&reading.keeper);
        Ok(Prepared { database_waits, held, ..prepared })
    });
    let failed = match read {
        Ok(prepared) => return Ok((prepared, None)),
        Err(LoadFailure { message, .. }) => message,
    };
    error!("the geo database can't be used: {failed}");
    // By way of the keeper, who knows by the audit trail which it is: anyone can put another file there.
    let why_not = match reading.keeper.last(disk()) {
        Ok(Some(database)) => match unheld_as(&policy, database, unheld.clone()) {
            Err(error) => format!("the last one that was good can't be named: {error}"),
            Ok(database) => match loader::prepare(policy.clone(), &database) {
                Ok(prepared) => {
                    let Info { source, generated, .. } = &database.info;
                    let of = generated
                        .map(|date| format!(" of {}", date.strftime("%Y-%m-%d")))
                        .unwrap_or_default();
                    let why = format!("{failed}. The last one that was good is in force: {source}{of}");
                    if database.info.unheld.is_some() {
                        reading.keeper.keep(database);
                    }
                    memory::trim();
                    return Ok((prepared, Some(why)));
                }
                Err(LoadFailure { message, .. }) => {
                    format!("the last one that was good can't be used either: {message}")
                }
            },
        },
        Ok(None) => "no earlier one was kept".to_owned(),
        Err(error) => error,
    };
    if generation == 0 {
        return Err(format!("{failed}\n{why_not}"));
    }
    let why = format!(
        "{failed}; {why_not}. The geo tables that the kernel has stay in force, with the [[site]] entries of their \
         time: a change of those does not count yet"
    );
    // Whoever took a database away that was compared with none, and its file, does not end that this is told.
    let tables_unheld = unheld.filter(|_| gate::asks(&policy).is_some()).map(|why| {
        format!(
            "the geo tables that the kernel has are not known to be of the database that was in force: {why}"
        )
    });
    let mut prepared = loader::with_tables(policy, None);
    prepared.held.tables_unheld = tables_unheld;
    Ok((prepared, Some(why)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::sync::mpsc::unbounded_channel;

    use super::super::databases::Databases;
    use super::super::kept_config::ConfigKeeper;
    use super::*;
    use crate::config::{self, Surroundings};
    use crate::store::Spent;

    /// A policy whose database is not there.
    fn policy(more: &str) -> Policy {
        let text = format!(
            "[host]\ninterfaces = [\"eth0\"]\n[geo]\nfiles = [\"/no/such.mmdb\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
             permit = []\naction = \"drop\"\nselect.ports = [\"tcp/143\"]\n[approval]\nallowed_signers = \"/allowed\"\n\
             [[approval.signer]]\nidentity = \"anne@example.org\"\nroles = [\"dpo\"]\n[[approval.rule]]\n\
             required = [{{ role = \"dpo\", count = 1 }}]\n{more}"
        );
        config::parse(Path::new("policy.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap().policy
    }

    #[test]
    fn tables_of_the_kernel_that_nobody_can_compare_are_told_where_both_databases_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().to_owned();
        let inputs = unbounded_channel().0;
        let reading = Reading {
            keeper: Keeper::new(state.clone(), inputs.clone()),
            configs: ConfigKeeper::new(state, inputs),
            databases: Databases::new().unwrap(),
        };
        let begun = |more: &str, generation| {
            let before = Before::of(&reading.keeper, disk());
            prepare(policy(more), generation, (&reading, before), &Ok(Spent::default()))
        };
        let asked = "[approval.policy]\nrequired = [{ role = \"dpo\", count = 1 }]\n";
        let (prepared, why) = begun(asked, 7).unwrap();
        assert!(prepared.geo.is_none() && why.unwrap().contains("no earlier one was kept"));
        let told = prepared.held.tables_unheld.unwrap();
        assert!(
            told.contains("tables that the kernel has") && told.contains("geo.last is not there"),
            "{told}"
        );
        // Where nobody is asked to sign databases there is nothing to tell, and without tables there is nothing to go on by.
        assert_eq!(begun("", 7).unwrap().0.held.tables_unheld, None);
        assert!(begun(asked, 0).is_err());
    }
}
