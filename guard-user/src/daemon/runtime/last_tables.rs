//! The tables that were live last: kept for a start that can't read its database.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use crate::compile::{self, HostFacts};
use crate::config::policy::Policy;
use crate::daemon::engine::{Geo, Input, Surroundings};
use crate::geo::Info;
use crate::store::boot_id;
use crate::store::last_tables::{self, Compiled, DatabaseInfo, LastTables, TablesError};

/// What went live.
pub(super) struct Tables {
    pub(super) policy: Arc<Policy>,
    pub(super) geo: Geo,
    pub(super) database: Info,
    pub(super) facts: HostFacts,
}

/// Writes them in a thread of its own: they are some 30 MB, and nobody waits for them.
pub(super) fn keep(state: &Path, config: &Path, tables: Tables, inputs: &UnboundedSender<Input>) {
    let (state, config) = (state.to_owned(), config.to_owned());
    let (answer, last) = (inputs.clone(), inputs.clone());
    let started = std::thread::Builder::new().name("last-tables".to_owned()).spawn(move || {
        let Tables { policy, geo, database, facts } = tables;
        // Without any exemption: what was open may not be by then.
        let table = match compile::policy_table(&policy, &[], &facts, 1) {
            Ok(table) => table,
            Err(error) => return tell(&answer, Some(error.to_string())),
        };
        let database = DatabaseInfo {
            source: database.source,
            licence: database.licence,
            generated: database.generated,
            ranges_v4: database.ranges_v4,
            ranges_v6: database.ranges_v6,
        };
        let about = Compiled { config, boot: boot_id().unwrap_or_default(), database };
        let tables = LastTables::new(&policy, table, geo.0, about);
        tell(&answer, last_tables::write(&state, &tables).err().map(|error| error.to_string()));
        drop(tables);
        super::loader::trim_memory();
    });
    if let Err(error) = started {
        tell(&last, Some(format!("no thread can be had: {error}")));
    }
}

/// Says whether they are kept.
fn tell(inputs: &UnboundedSender<Input>, why: Option<String>) {
    let why = why.map(|why| format!("the tables can't be kept for a start without a database: {why}"));
    if let Some(why) = &why {
        warn!("{why}");
    }
    let _nobody_is_left = inputs.send(Input::Surroundings(Surroundings::TablesNotKept(why)));
}

/// The geo tables that were live last, and where they come from; `None` where none were kept.
///
/// # Errors
/// Where they can't be read, or are damaged.
pub(super) fn read(state: &Path) -> Result<Option<(Geo, Info)>, TablesError> {
    let Some(LastTables { about, geo, .. }) = last_tables::read(state)? else { return Ok(None) };
    let DatabaseInfo { source, licence, generated, ranges_v4, ranges_v6 } = about.database;
    let info = Info { source, licence, generated, ranges_v4, ranges_v6, ..Info::default() };
    Ok(Some((Geo(geo), info)))
}
