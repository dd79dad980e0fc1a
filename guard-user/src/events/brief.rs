//! Flows in brief, for who judges very many: hundreds at once, and what they have in common once.
//!
//! The line of an event, or of a record of the kernel, has all that is known of one flow, for people and for other programs. To
//! make and to read a line of its own for each flow of a full table takes most of the time of whoever judges them all.

use std::net::IpAddr;
use std::sync::Arc;

use guard_common::abi::{Hook, PlacedBy};
use guard_common::jurisdiction::Jurisdiction;
use guard_common::verdict::{Reason, Verdict};
use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use super::event::{Endpoint, Event, People, Phase, Process};
use super::stored;

/// How many of the last that flows had in common are held against the next flow: what is not found is there twice.
const NEAR: usize = 32;

/// What flows have in common, as an [`Event`] has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Common {
    /// Where in its flow's life an event stands; `None` of a record of the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The hook that judged.
    #[serde(with = "stored::hook")]
    pub hook: Hook,
    /// What was decided.
    #[serde(with = "stored::verdict")]
    pub verdict: Verdict,
    /// Why.
    #[serde(with = "stored::reason")]
    pub reason: Reason,
    /// Pins that forbid the destination.
    #[serde(with = "stored::shared_all")]
    pub pins: Vec<Arc<str>>,
    /// All pins of the flow.
    #[serde(with = "stored::shared_all")]
    pub tagged: Vec<Arc<str>>,
    /// Where the destination is.
    #[serde(with = "stored::jurisdiction")]
    pub jurisdiction: Jurisdiction,
    /// What placed it.
    #[serde(with = "stored::placed_by")]
    pub placed_by: PlacedBy,
    /// Whether its line says that the flow is in a tunnel.
    pub is_tunnelled: bool,
    /// Where the tunnel goes; of a record of the kernel that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<IpAddr>,
    /// Where that tunnel begins, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel_source: Option<IpAddr>,
    /// The interface's name, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "stored::shared_if_known")]
    pub interface: Option<Arc<str>>,
    /// Firewall mark of the last packet.
    pub mark: u32,
    /// Path of the sending socket's cgroup below the cgroup v2 root, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "stored::shared_if_known")]
    pub cgroup: Option<Arc<str>>,
    /// Who used or made that socket, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// Whether cgroup and process are there as far as they are known.
    pub people: People,
    /// Volumes whose data the sending socket may carry.
    #[serde(with = "stored::shared_all")]
    pub volumes: Vec<Arc<str>>,
    /// Id of the exemption that the flow passes by.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "stored::shared_if_known")]
    pub exemption: Option<Arc<str>>,
    /// The generation that judged the last packet.
    pub generation: u64,
    /// SHA-256 of the config that made it, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "stored::shared_if_known")]
    pub policy: Option<Arc<str>>,
}

/// What a reader may see of who sent.
#[derive(Clone, Copy)]
struct Sent<'a> {
    cgroup: Option<&'a Arc<str>>,
    process: Option<&'a Process>,
    people: People,
}

impl<'a> Sent<'a> {
    fn of(event: &'a Event, sees_people: bool) -> Self {
        match sees_people {
            true => {
                Self { cgroup: event.cgroup.as_ref(), process: event.process.as_ref(), people: event.people }
            }
            false => Self { cgroup: None, process: None, people: People::Hidden },
        }
    }
}

/// Whether the line of an event says that its flow is in a tunnel, or that of a record of the kernel.
fn is_tunnelled(event: &Event, phase: Option<Phase>) -> bool {
    if phase.is_some() { event.tunnel.is_some() } else { event.is_tunnelled }
}

impl Common {
    fn of(event: &Event, phase: Option<Phase>, sent: Sent<'_>) -> Self {
        Self {
            phase,
            hook: event.hook,
            verdict: event.verdict,
            reason: event.reason,
            pins: event.pins.clone(),
            tagged: event.tagged.clone(),
            jurisdiction: event.jurisdiction,
            placed_by: event.placed_by,
            is_tunnelled: is_tunnelled(event, phase),
            tunnel: phase.and(event.tunnel),
            tunnel_source: phase.and(event.tunnel_source),
            interface: event.interface.clone(),
            mark: event.mark,
            cgroup: sent.cgroup.cloned(),
            process: sent.process.cloned(),
            people: sent.people,
            volumes: event.volumes.clone(),
            exemption: event.exemption.clone(),
            generation: event.generation,
            policy: event.policy.clone(),
        }
    }

    /// Whether it is what [`of`](Self::of) would make.
    fn is_of(&self, event: &Event, phase: Option<Phase>, sent: Sent<'_>) -> bool {
        // With the parts by name, so that none is forgotten.
        let Self {
            phase: of_phase,
            hook,
            verdict,
            reason,
            pins,
            tagged,
            jurisdiction,
            placed_by,
            is_tunnelled: in_tunnel,
            tunnel,
            tunnel_source,
            interface,
            mark,
            cgroup,
            process,
            people,
            volumes,
            exemption,
            generation,
            policy,
        } = self;
        *of_phase == phase
            && *generation == event.generation
            && *mark == event.mark
            && (*hook, *verdict, *reason) == (event.hook, event.verdict, event.reason)
            && (*jurisdiction, *placed_by) == (event.jurisdiction, event.placed_by)
            && *in_tunnel == is_tunnelled(event, phase)
            && (*tunnel, *tunnel_source) == (phase.and(event.tunnel), phase.and(event.tunnel_source))
            && *people == sent.people
            && process.as_ref() == sent.process
            && cgroup.as_ref() == sent.cgroup
            && (pins, tagged, volumes) == (&event.pins, &event.tagged, &event.volumes)
            && *interface == event.interface
            && *exemption == event.exemption
            && *policy == event.policy
    }
}

/// What is a flow's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Row", into = "Row")]
pub struct One {
    /// The number of what it has in common with others, among those of its batch.
    pub common: usize,
    /// The pinned storage's end; `None` where no address could be read.
    pub source: Option<Endpoint>,
    /// The peer's end, likewise.
    pub destination: Option<Endpoint>,
    /// IP protocol number.
    pub protocol: u8,
    /// The flow's last packet so far, by the wall clock.
    pub time: Timestamp,
    /// When the flow's record began.
    pub start: Timestamp,
    /// Packets: of an event those since the one before, of a record of the kernel all.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
}

/// An address with its port, as it is written.
type End = Option<(IpAddr, Option<u16>)>;
/// A flow as it is written: without names.
type Row = (usize, End, End, u8, Timestamp, Timestamp, u64, u64);

impl From<Row> for One {
    fn from((common, source, destination, protocol, time, start, packets, bytes): Row) -> Self {
        let end = |end: End| end.map(|(ip, port)| Endpoint { ip, port });
        Self {
            common,
            source: end(source),
            destination: end(destination),
            protocol,
            time,
            start,
            packets,
            bytes,
        }
    }
}

impl From<One> for Row {
    fn from(one: One) -> Self {
        let end = |end: Option<Endpoint>| end.map(|Endpoint { ip, port }| (ip, port));
        let One { common, source, destination, protocol, time, start, packets, bytes } = one;
        (common, end(source), end(destination), protocol, time, start, packets, bytes)
    }
}

/// Some flows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// What they have in common.
    pub common: Vec<Common>,
    /// The flows.
    pub flows: Vec<One>,
}

impl Batch {
    /// Takes up an event.
    pub fn add_event(&mut self, event: &Event, sees_people: bool) {
        self.add(event, Some(event.phase), (event.packets, event.bytes), sees_people);
    }

    /// Takes up a record of the kernel, of which an event was made.
    pub fn add_record(&mut self, event: &Event, sees_people: bool) {
        self.add(event, None, (event.flow_packets, event.flow_bytes), sees_people);
    }

    fn add(&mut self, event: &Event, phase: Option<Phase>, (packets, bytes): (u64, u64), sees_people: bool) {
        let sent = Sent::of(event, sees_people);
        let mut near = self.common.iter().enumerate().rev().take(NEAR);
        let known = near.find(|(_, it)| it.is_of(event, phase, sent)).map(|(number, _)| number);
        let common = known.unwrap_or_else(|| {
            self.common.push(Common::of(event, phase, sent));
            self.common.len() - 1
        });
        self.flows.push(One {
            common,
            source: event.source,
            destination: event.destination,
            protocol: event.protocol,
            time: event.time,
            start: event.flow_start,
            packets,
            bytes,
        });
    }

    /// Whether it has no flow.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// The line that has it, without a break.
    #[must_use]
    pub fn to_line(&self) -> String {
        // It is made of names and numbers, of which none fails; who reads an empty line would say so.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads such a line.
    ///
    /// # Errors
    /// Where it is none.
    pub fn read(line: &str) -> serde_json::Result<Self> {
        let batch: Self = serde_json::from_str(line)?;
        match batch.flows.iter().all(|one| one.common < batch.common.len()) {
            true => Ok(batch),
            false => Err(serde_json::Error::custom("a flow refers to what is not there")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::dropped;
    use super::*;

    #[test]
    fn flows_of_a_kind_say_what_they_have_in_common_once() {
        let mut batch = Batch::default();
        for port in 1..=100 {
            let destination = Some(Endpoint { ip: IpAddr::from([198, 51, 100, 7]), port: Some(port) });
            batch.add_event(&Event { destination, ..dropped() }, true);
        }
        batch.add_event(&dropped(), false);
        batch.add_event(&Event { source: None, destination: None, ..dropped() }, true);
        batch.add_record(&Event { flow_packets: 9, flow_bytes: 900, ..dropped() }, true);
        let numbers: Vec<usize> = batch.flows.iter().map(|one| one.common).collect();
        assert_eq!(numbers, [vec![0_usize; 100], vec![1, 0, 2]].concat());
        let hidden = &batch.common[1];
        assert_eq!((&hidden.process, &hidden.cgroup, hidden.people), (&None, &None, People::Hidden));
        let record = (&batch.common[2], &batch.flows[102]);
        assert_eq!((record.0.phase, record.1.packets, record.1.bytes), (None, 9, 900));
        let line = batch.to_line();
        assert!(!line.contains('\n') && !line.contains("meaning"), "{line}");
        assert_eq!(Batch::read(&line).unwrap(), batch);
        batch.flows[0].common = 3;
        assert!(Batch::read(&batch.to_line()).is_err() && Batch::read("").is_err());
    }

    #[test]
    fn what_differs_in_any_part_is_not_taken_for_common() {
        let usual = dropped();
        let sent = Sent::of(&usual, true);
        let common = Common::of(&usual, Some(usual.phase), sent);
        assert!(common.is_of(&usual, Some(usual.phase), sent));
        for other in [
            Event { phase: Phase::Continued, ..dropped() },
            Event { hook: Hook::Ingress, ..dropped() },
            Event { verdict: Verdict::Flag, ..dropped() },
            Event { reason: Reason::PlaceUnknown, ..dropped() },
            Event { pins: Vec::new(), ..dropped() },
            Event { tagged: Vec::new(), ..dropped() },
            Event { jurisdiction: Jurisdiction::UNKNOWN, ..dropped() },
            Event { placed_by: PlacedBy::Database, ..dropped() },
            Event { tunnel: Some(IpAddr::from([192, 0, 2, 1])), ..dropped() },
            Event { tunnel_source: Some(IpAddr::from([192, 0, 2, 1])), ..dropped() },
            Event { interface: None, ..dropped() },
            Event { mark: 7, ..dropped() },
            Event { cgroup: Some("a.slice".into()), ..dropped() },
            Event { process: None, ..dropped() },
            Event { people: People::Removed, ..dropped() },
            Event { volumes: Vec::new(), ..dropped() },
            Event { exemption: Some("mlat-1".into()), ..dropped() },
            Event { generation: 4, ..dropped() },
            Event { policy: None, ..dropped() },
        ] {
            let sent = Sent::of(&other, true);
            assert!(!common.is_of(&other, Some(other.phase), sent), "{other:?}");
            assert_ne!(Common::of(&other, Some(other.phase), sent), common);
        }
        assert!(!common.is_of(&usual, None, sent));
        assert!(!common.is_of(&usual, Some(usual.phase), Sent::of(&usual, false)));
    }
}
