//! The tables that were live last: kept for a start that can't read its database.

use std::path::Path;
use std::sync::Arc;

use tracing::warn;

use crate::compile::{self, HostFacts};
use crate::config::policy::Policy;
use crate::daemon::engine::Geo;
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
pub(super) fn keep(state: &Path, config: &Path, tables: Tables) {
    let (state, config) = (state.to_owned(), config.to_owned());
    let started = std::thread::Builder::new().name("last-tables".to_owned()).spawn(move || {
        let Tables { policy, geo, database, facts } = tables;
        // Without any exemption: what was open may not be by then.
        let table = match compile::policy_table(&policy, &[], &facts, 1) {
            Ok(table) => table,
            Err(error) => return warn!("the tables can't be kept for a start without a database: {error}"),
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
        if let Err(error) = last_tables::write(&state, &tables) {
            warn!("the tables can't be kept for a start without a database: {error}");
        }
        drop(tables);
        super::loader::trim_memory();
    });
    if let Err(error) = started {
        warn!("the tables can't be kept for a start without a database: no thread can be had: {error}");
    }
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
