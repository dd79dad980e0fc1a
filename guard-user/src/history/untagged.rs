//! What the history is told of egress that no pin tags: how much more the kernel has counted since the look before.
//!
//! The kernel counts such packets by jurisdiction, and while the policy observes by peer and service too. Of each look the
//! greatest services get a record each, and what else went to a jurisdiction one together, so that all records of a
//! jurisdiction add up to its count. How much was told is in a file of the state directory, for the next run.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use guard_common::abi::{Count, Place, Side, UntaggedKey, UntaggedRecord};
use guard_common::jurisdiction::Jurisdiction;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::record::Past;
use crate::events::event::{People, Process};
use crate::events::untagged::{Service, Untagged};

/// Services of one look that have a record of their own.
pub const MOST: usize = 100;
/// The file of the state directory.
pub const FILE: &str = "untagged.told";

/// What the kernel has counted at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// When that was.
    pub at: Timestamp,
    /// By jurisdiction, read before the flows: no flow's packet is missing here for long.
    pub places: &'a [(Jurisdiction, Count)],
    /// By peer and service, as far as the kernel keeps them.
    pub flows: &'a [(UntaggedKey, UntaggedRecord)],
    /// SHA-256 of the config in force.
    pub policy: Option<&'a Arc<str>>,
}

/// What was told so far.
#[derive(Debug)]
pub struct Recorder {
    /// What of each flow was counted at the look before.
    seen: HashMap<UntaggedKey, Count>,
    told: Told,
    /// The config in force at the look before.
    policy: Option<Arc<str>>,
    file: PathBuf,
    has_failed: bool,
}

/// What records have told of these counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    /// Which counters.
    counters: String,
    /// When they were looked at last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    /// Packets and bytes by jurisdiction.
    places: BTreeMap<String, (u64, u64)>,
}

impl Recorder {
    /// Takes up what earlier runs have told of the counters of this name. What these flows have by now is not of this run: the
    /// rest of their jurisdiction has it, as far as it was not told.
    #[must_use]
    pub fn open(state: &Path, counters: &str, flows: &[(UntaggedKey, UntaggedRecord)]) -> Self {
        let mut recorder = Self::begun(state, counters, flows);
        let read =
            fs::read(&recorder.file).ok().and_then(|bytes| serde_json::from_slice::<Told>(&bytes).ok());
        if let Some(told) = read.filter(|told| told.counters == counters) {
            recorder.told = told;
        }
        recorder
    }

    /// Nothing was told yet of these counters.
    #[must_use]
    pub fn begun(state: &Path, counters: &str, flows: &[(UntaggedKey, UntaggedRecord)]) -> Self {
        let told = Told { counters: counters.to_owned(), ..Told::default() };
        Self { seen: counts(flows), told, policy: None, file: state.join(FILE), has_failed: false }
    }

    /// Whether any flow has more than at the look before.
    #[must_use]
    pub fn has_news(&self, flows: &[(UntaggedKey, UntaggedRecord)]) -> bool {
        flows.iter().any(|(key, record)| self.more(key, record).packets > 0)
    }

    /// What is to be told by this look, the greatest first and then the rest, without names of numbers.
    #[must_use]
    pub fn rows(&self, look: &Look<'_>) -> Vec<Untagged> {
        let mut news: Vec<(&UntaggedKey, &UntaggedRecord, Count)> =
            look.flows.iter().map(|(key, record)| (key, record, self.more(key, record))).collect();
        news.retain(|(_, _, count)| count.packets > 0);
        news.sort_by_key(|(key, _, count)| (std::cmp::Reverse(count.bytes), key.peer));
        news.truncate(MOST);
        let mut told = self.told.places.clone();
        let mut rows = Vec::new();
        for (key, record, count) in news {
            let Some(mut row) = self.of_service(key, record, look) else { continue };
            (row.packets, row.bytes) = (count.packets, count.bytes);
            add(&mut told, &row);
            rows.push(row);
        }
        for (jurisdiction, count) in look.places {
            let (packets, bytes) = told.get(jurisdiction.as_str()).copied().unwrap_or_default();
            let rest = self.row(*jurisdiction, look);
            let (packets, bytes) = (count.packets.saturating_sub(packets), count.bytes.saturating_sub(bytes));
            if (packets, bytes) != (0, 0) {
                rows.push(Untagged { packets, bytes, ..rest });
            }
        }
        rows
    }

    /// Takes note of the look, and of the rows by it that were given to the history.
    pub fn took<'a>(&mut self, look: &Look<'_>, given: impl Iterator<Item = &'a Untagged>) {
        given.for_each(|row| add(&mut self.told.places, row));
        self.told.at = Some(look.at);
        self.seen = counts(look.flows);
        self.policy = look.policy.cloned();
        let written = self.write();
        if let (Err(error), false) = (&written, self.has_failed) {
            warn!(
                "what the flow history has of egress without a pin can't be kept in {}: {error}; the next run tells it again",
                self.file.display()
            );
        }
        self.has_failed = written.is_err();
    }

    /// How much more a flow has than at the look before. One that the kernel forgot meanwhile began anew.
    fn more(&self, key: &UntaggedKey, record: &UntaggedRecord) -> Count {
        let before = self.seen.get(key).copied().unwrap_or_default();
        let Count { packets, bytes } = record.count;
        match packets.checked_sub(before.packets).zip(bytes.checked_sub(before.bytes)) {
            Some((packets, bytes)) => Count { packets, bytes },
            None => record.count,
        }
    }

    fn row(&self, jurisdiction: Jurisdiction, look: &Look<'_>) -> Untagged {
        Untagged {
            first: self.told.at,
            last: look.at,
            jurisdiction,
            service: None,
            cgroup_id: 0,
            cgroup: None,
            process: None,
            people: People::Shown,
            packets: 0,
            bytes: 0,
            policy: look.policy.filter(|policy| self.policy.as_ref() == Some(policy)).cloned(),
        }
    }

    /// Without the amounts; `None` for what no version of the kernel program writes.
    fn of_service(&self, key: &UntaggedKey, record: &UntaggedRecord, look: &Look<'_>) -> Option<Untagged> {
        let (place, side) = (Place(key.place), Side::from_index(key.side)?);
        let service = Service {
            peer: key.peer.into(),
            placed_by: place.placed_by(),
            protocol: key.proto,
            side,
            port: (side != Side::None).then_some(key.port),
            interface: None,
            ifindex: key.ifindex,
        };
        let rest = self.row(place.jurisdiction(), look);
        let process = Process::of(&record.process);
        Some(Untagged { service: Some(service), cgroup_id: key.cgroup, process, ..rest })
    }

    fn write(&self) -> io::Result<()> {
        let new = self.file.with_extension("told.new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(&self.told)?)?;
        fs::rename(&new, &self.file)
    }
}

/// Reads what was counted since the history got it last.
#[derive(Clone)]
pub struct Pending(Arc<dyn Fn() -> Result<Vec<Past>, String> + Send + Sync>);

impl Pending {
    /// A source that this function is. It may wait for the kernel.
    pub fn new(read: impl Fn() -> Result<Vec<Past>, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The records as the history would get them now.
    ///
    /// # Errors
    /// Why the kernel can't be asked.
    pub fn read(&self) -> Result<Vec<Past>, String> {
        (self.0)()
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

fn counts(flows: &[(UntaggedKey, UntaggedRecord)]) -> HashMap<UntaggedKey, Count> {
    flows.iter().map(|(key, record)| (*key, record.count)).collect()
}

fn add(told: &mut BTreeMap<String, (u64, u64)>, row: &Untagged) {
    let (packets, bytes) = told.entry(row.jurisdiction.as_str().to_owned()).or_default();
    *packets = packets.saturating_add(row.packets);
    *bytes = bytes.saturating_add(row.bytes);
}

#[cfg(test)]
mod tests {
    use guard_common::abi::PlacedBy;
    use guard_common::packet::Addr;
    use proptest::prelude::*;

    use super::*;

    fn place(code: &str) -> Jurisdiction {
        code.parse().unwrap()
    }

    fn key(peer: u32, jurisdiction: Jurisdiction) -> UntaggedKey {
        UntaggedKey {
            peer: Addr::from_v4(peer),
            place: Place::new(jurisdiction, PlacedBy::Site).0,
            port: 443,
            proto: 6,
            side: Side::Remote as u8,
            ..UntaggedKey::default()
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// A packet to one of many peers.
        Send(u32, u64),
        /// The kernel forgets a peer's flow, as where another one needs the place.
        Forget(u32),
        /// A look; whether the history takes what it is given.
        Look(bool),
        Restart,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0_u32..300, 1_u64..2000).prop_map(|(peer, bytes)| Step::Send(peer, bytes)),
            1 => (0_u32..300).prop_map(Step::Forget),
            2 => prop::bool::weighted(0.9).prop_map(Step::Look),
            1 => Just(Step::Restart),
        ]
    }

    proptest! {
        #[test]
        fn records_add_up_to_what_the_kernel_counted(steps in prop::collection::vec(step(), 0..400)) {
            let folder = tempfile::tempdir().unwrap();
            let of = |peer: u32| place(["US", "BR", "unknown"][peer as usize % 3]);
            let mut flows: HashMap<u32, Count> = HashMap::new();
            let mut places: BTreeMap<Jurisdiction, Count> = BTreeMap::new();
            let mut told: BTreeMap<String, (u64, u64)> = BTreeMap::new();
            let list = |flows: &HashMap<u32, Count>| -> Vec<(UntaggedKey, UntaggedRecord)> {
                let record = |count| UntaggedRecord { count, ..UntaggedRecord::default() };
                flows.iter().map(|(peer, count)| (key(*peer, of(*peer)), record(*count))).collect()
            };
            let mut recorder = Recorder::open(folder.path(), "boot/1", &[]);
            let mut seconds = 0;
            let mut look = |recorder: &mut Recorder, flows: &HashMap<u32, Count>, places: &BTreeMap<Jurisdiction, Count>, is_taken: bool| {
                let (flows, places) = (list(flows), places.iter().map(|(place, count)| (*place, *count)).collect::<Vec<_>>());
                seconds += 1;
                let at = Timestamp::from_second(seconds).unwrap();
                let look = Look { at, places: &places, flows: &flows, policy: None };
                let rows = recorder.rows(&look);
                assert!(rows.iter().filter(|row| row.service.is_some()).count() <= MOST);
                assert!(rows.iter().all(|row| row.first.is_none_or(|first| first < at)));
                recorder.took(&look, rows.iter().filter(|_| is_taken));
                rows.iter().filter(|_| is_taken).for_each(|row| add(&mut told, row));
            };
            for step in steps {
                match step {
                    Step::Send(peer, bytes) => {
                        for count in [flows.entry(peer).or_default(), places.entry(of(peer)).or_default()] {
                            count.packets += 1;
                            count.bytes += bytes;
                        }
                    }
                    Step::Forget(peer) => _ = flows.remove(&peer),
                    Step::Look(is_taken) => look(&mut recorder, &flows, &places, is_taken),
                    Step::Restart => recorder = Recorder::open(folder.path(), "boot/1", &list(&flows)),
                }
            }
            look(&mut recorder, &flows, &places, true);
            let counted: BTreeMap<String, (u64, u64)> =
                places.iter().map(|(place, it)| (place.as_str().to_owned(), (it.packets, it.bytes))).collect();
            prop_assert_eq!(told, counted);
        }
    }

    #[test]
    fn the_greatest_are_named_and_a_config_is_where_it_was_one() {
        let folder = tempfile::tempdir().unwrap();
        let us = place("US");
        let mut recorder = Recorder::open(folder.path(), "boot/1", &[]);
        let flows = |scale: u64| -> Vec<(UntaggedKey, UntaggedRecord)> {
            let count = |peer: u32| Count { packets: scale, bytes: scale * u64::from(peer + 1) };
            (0..150)
                .map(|peer| (key(peer, us), UntaggedRecord { count: count(peer), ..Default::default() }))
                .collect()
        };
        let (old, new): (Arc<str>, Arc<str>) = ("old".into(), "new".into());
        for (scale, policy, expected) in [(1, &old, None), (2, &old, Some("old")), (3, &new, None)] {
            let flows = flows(scale);
            let sum = |of: fn(&Count) -> u64| flows.iter().map(|(_, record)| of(&record.count)).sum();
            let places = [(us, Count { packets: sum(|it| it.packets), bytes: sum(|it| it.bytes) })];
            let at = Timestamp::from_second(i64::try_from(scale).unwrap()).unwrap();
            let look = Look { at, places: &places, flows: &flows, policy: Some(policy) };
            assert!(recorder.has_news(&flows));
            let rows = recorder.rows(&look);
            assert_eq!(rows.len(), MOST + 1);
            assert_eq!(rows[0].service.as_ref().unwrap().peer.to_string(), "0.0.0.149");
            assert_eq!((rows[0].packets, rows[0].bytes), (1, 150));
            assert_eq!((rows[MOST].packets, rows[MOST].service.as_ref()), (50, None));
            assert_eq!(rows[0].policy.as_deref(), expected);
            recorder.took(&look, rows.iter());
            assert!(!recorder.has_news(&flows) && recorder.rows(&look).is_empty());
        }
        // Of other counters nothing was told yet.
        assert_eq!(Recorder::open(folder.path(), "boot/1", &[]).told.places["US"].0, 450);
        assert_eq!(Recorder::open(folder.path(), "boot/2", &[]).told.places.len(), 0);
    }
}
