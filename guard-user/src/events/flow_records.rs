//! The kernel's flow records with names: the permitted flows too, of which there are no events.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use guard_common::abi::{self, FlowKey, FlowRecord};
use jiff::Timestamp;

use super::brief::Batch;
use super::enrich::{Context, enrich, enrich_in_brief};
use super::envelope::Envelope;
use super::event::{Event, People, Phase};
use super::flows::Added;
use super::names::Generations;
use crate::exemption::Clocks;

/// What makes an event of what the kernel has.
type Enrich = fn(&abi::Event, Phase, Added, Context<'_>) -> Event;

/// The names of numbers that no generation has.
#[derive(Clone, Debug, Default)]
pub struct Named {
    /// Paths of cgroups below the cgroup v2 root, by id; those that are gone are left out.
    pub cgroups: BTreeMap<u64, Arc<str>>,
    /// Names of users, by number, as far as they are known.
    pub users: BTreeMap<u32, Arc<str>>,
}

/// Every flow record of the kernel at one moment.
#[derive(Debug)]
pub struct FlowRecords {
    /// The records, in no order.
    pub records: Vec<(FlowKey, FlowRecord)>,
    /// The most records that the kernel has room for: with one flow more, the one that was seen last longest ago goes.
    pub capacity: usize,
    /// The names of the last generations.
    pub generations: Arc<Generations>,
    /// The names of cgroups and users.
    pub named: Named,
    /// The clocks when the records were read.
    pub clock: Clocks,
    /// When the daemon started.
    pub session: Timestamp,
}

impl FlowRecords {
    /// The newest generation, and SHA-256 of its config where that is known.
    #[must_use]
    pub fn generation(&self) -> Option<(u64, Option<&str>)> {
        self.generations.newest().map(|names| (names.generation, names.policy.as_deref()))
    }

    /// The lines of some of the records, of the kind `flow`; from a reader without the right to see them, users, commands,
    /// processes and cgroups are hidden.
    pub fn lines(&self, from: usize, count: usize, sees_people: bool) -> impl Iterator<Item = String> {
        let envelope = Envelope::outside(self.session);
        self.records.iter().skip(from).take(count).map(move |(key, record)| {
            let event = self.event(key, record, enrich);
            let event = if sees_people { event } else { event.without_people(People::Hidden) };
            event.to_flow_json(&envelope)
        })
    }

    /// The same in brief.
    #[must_use]
    pub fn batch(&self, from: usize, count: usize, sees_people: bool) -> Batch {
        let mut batch = Batch::default();
        for (key, record) in self.records.iter().skip(from).take(count) {
            batch.add_record(&self.event(key, record, enrich_in_brief), sees_people);
        }
        batch
    }

    fn event(&self, key: &FlowKey, record: &FlowRecord, enrich: Enrich) -> Event {
        let context = Context { names: &self.generations, clock: self.clock, session: self.session };
        let raw = abi::Event { key: *key, record: *record, ..abi::Event::default() };
        let added = Added { packets: record.packets, bytes: record.bytes };
        let mut event = enrich(&raw, Phase::Continued, added, context);
        let path = |id: u64| self.named.cgroups.get(&id).cloned();
        event.cgroup = event.cgroup.take().or_else(|| path(event.cgroup_id));
        if let Some(process) = &mut event.process {
            process.user = self.named.users.get(&process.uid).cloned();
            process.cgroup = path(process.cgroup_id);
        }
        event
    }
}

/// Reads them. That takes as long as a large map does, so that nothing else is to wait for it.
#[derive(Clone)]
pub struct Source(Arc<dyn Fn() -> Result<FlowRecords, String> + Send + Sync>);

impl Source {
    /// A source that this function is.
    pub fn new(read: impl Fn() -> Result<FlowRecords, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The records as they are now.
    ///
    /// # Errors
    /// Why the kernel can't be asked.
    pub fn read(&self) -> Result<FlowRecords, String> {
        (self.0)()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use guard_common::abi::{Hook, NO_EXEMPTION, Process};
    use guard_common::packet::Addr;
    use guard_common::verdict::{Reason, Verdict};
    use serde_json::Value;

    use super::super::fields::flow_fields;
    use super::*;

    /// More flow records than are given out at once, each of another port.
    pub(crate) fn source() -> Source {
        Source::new(|| {
            let process = Process { pid: 7, uid: 97, cgroup: 9, ..Process::default() };
            let record = FlowRecord {
                first_ns: 1,
                last_ns: 2,
                packets: 3,
                bytes: 300,
                tag: 1,
                verdict: Verdict::Pass as u8,
                reason: Reason::Permitted as u8,
                exemption: NO_EXEMPTION,
                layers: 2,
                cgroup: 9,
                process,
                ..FlowRecord::default()
            };
            let key = |dport| FlowKey {
                src: Addr::from_v4(0xc000_020a),
                dst: Addr::from_v4(0xc633_6407),
                sport: 143,
                dport,
                proto: 6,
                hook: Hook::Egress as u8,
                ..FlowKey::default()
            };
            let named = Named {
                cgroups: BTreeMap::from([(9, "a.slice/b.service".into())]),
                users: BTreeMap::from([(97, "dovecot".into())]),
            };
            Ok(FlowRecords {
                records: (1..=300).map(|dport| (key(dport), record)).collect(),
                capacity: 1000,
                generations: Arc::default(),
                named,
                clock: Clocks { boot_ns: 2, wall: "2026-11-23T12:00:00Z".parse().unwrap() },
                session: "2026-11-23T11:00:00Z".parse().unwrap(),
            })
        })
    }

    #[test]
    fn a_record_is_a_line_with_what_it_has_of_an_event() {
        let records = source().read().unwrap();
        let lines: Vec<Value> =
            records.lines(299, 5, true).map(|line| serde_json::from_str(&line).unwrap()).collect();
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!(line["kind"], "flow");
        assert_eq!((&line["destination"]["port"], &line["flow_bytes"]), (&300.into(), &300.into()));
        assert_eq!(
            (&line["cgroup"], &line["process"]["unit"]),
            (&"a.slice/b.service".into(), &"b.service".into())
        );
        assert_eq!((&line["process"]["user"], &line["is_tunnelled"]), (&"dovecot".into(), &true.into()));
        assert!(flow_fields().all(|field| line.get(field.name).is_some()), "{line}");
        // An event's name and amounts are not a record's.
        for key in ["id", "phase", "action", "packets", "bytes", "tunnel"] {
            assert!(line.get(key).is_none(), "{key}");
        }
        let hidden: Value = serde_json::from_str(&records.lines(0, 1, false).next().unwrap()).unwrap();
        assert_eq!((&hidden["people"], &hidden["cgroup"]), (&"hidden".into(), &Value::Null));
        assert!(hidden["process"].is_null() && !hidden.to_string().contains("dovecot"), "{hidden}");
    }

    #[test]
    fn in_brief_a_record_has_what_its_line_has() {
        let records = source().read().unwrap();
        let batch = records.batch(298, 5, true);
        assert_eq!((batch.common.len(), batch.flows.len()), (1, 2));
        let (common, last) = (&batch.common[0], &batch.flows[1]);
        assert_eq!((common.phase, common.is_tunnelled), (None, true));
        assert_eq!(common.cgroup.as_deref(), Some("a.slice/b.service"));
        assert_eq!(common.process.as_ref().and_then(|it| it.user.as_deref()), Some("dovecot"));
        assert_eq!((last.destination.and_then(|it| it.port), last.packets, last.bytes), (Some(300), 3, 300));
        let line: Value = serde_json::from_str(&records.lines(299, 1, true).next().unwrap()).unwrap();
        assert_eq!(line["time"], last.time.to_string());
        assert_eq!(line["flow_start"], last.start.to_string());
        let hidden = records.batch(0, 300, false).to_line();
        assert!(!hidden.contains("dovecot") && !hidden.contains("b.service"), "{hidden}");
    }

    #[test]
    fn the_docs_have_every_field_of_a_flow_record() {
        let docs = include_str!("../../../docs/simulate.md");
        let names: Vec<&str> = flow_fields().map(|field| field.name).collect();
        let shown = docs.split("<!-- flow fields: begin -->").nth(1).unwrap();
        let shown = shown.split("<!-- flow fields: end -->").next().unwrap();
        let shown: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        assert_eq!(shown, names);
    }
}
