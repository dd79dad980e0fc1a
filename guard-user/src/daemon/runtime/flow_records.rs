//! The kernel's flow records with their names, for who asks for all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jiff::Timestamp;

use crate::control::users::Names;
use crate::events::flow_records::{FlowRecords, Named, Source};
use crate::events::names::SharedNames;
use crate::exemption::Clocks;
use crate::kernel::{View, cgroup};

/// Reads them from a view of its own, which has every map open and so is there for the time of an answer alone. A name that
/// is not known yet is looked up for the next time.
pub(super) fn source(pin_path: PathBuf, names: SharedNames, users: Names, session: Timestamp) -> Source {
    Source::new(move || {
        let clock = Clocks::read();
        let view = View::open(&pin_path).map_err(|error| error.to_string())?;
        let records = view.flows().map_err(|error| error.to_string())?;
        let ids = records.iter().flat_map(|(_, record)| [record.cgroup, record.process.cgroup]);
        let ids: BTreeSet<u64> = ids.filter(|id| *id != 0).collect();
        let uids = records.iter().filter(|(_, record)| record.process.is_known());
        let uids: BTreeSet<u32> = uids.map(|(_, record)| record.process.uid).collect();
        let cgroups = cgroup::paths(&ids).into_iter().map(|(id, path)| (id, path.into()));
        let known = uids.into_iter().filter_map(|uid| Some((uid, users.known(uid)?.into())));
        let named = Named { cgroups: cgroups.collect(), users: known.collect::<BTreeMap<_, _>>() };
        let (capacity, generations) = (view.flow_capacity(), names.get());
        Ok(FlowRecords { records, capacity, generations, named, clock, session })
    })
}
