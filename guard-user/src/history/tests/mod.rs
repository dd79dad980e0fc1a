//! The flow history against oracles, and on a disk that does not do what it should.

mod disk;
mod filters;
mod holds;
mod threads;

use std::path::Path;
use std::sync::Arc;

use guard_common::verdict::{Reason, Verdict};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::reader::Reader;
use super::record::Past;
use super::writer::Bounds;
use crate::events::event::{Endpoint, Event, Process};
use crate::events::pinned_copy::PinnedCopy;
use crate::events::summary::{Group, Summary};
use crate::events::{Entry, tests::dropped};

/// Bounds that a few thousand records reach.
pub(super) fn bounds() -> Bounds {
    let days = |days: i64| SignedDuration::from_hours(24 * days);
    Bounds { max_size: 1 << 20, max_age: days(90), people_age: days(30) }
}

pub(super) fn start() -> Timestamp {
    dropped().time
}

/// The event of this number, so long after [`start`].
pub(super) fn event(number: u64, after: SignedDuration) -> Past {
    let time = start().checked_add(after).unwrap();
    Past::Event(Arc::new(Entry::Flow(Event { sequence: number, time, ..dropped() })))
}

/// Every record of a folder.
pub(super) fn all(folder: &Path) -> Vec<Past> {
    let mut reader = Reader::open(folder, None, Timestamp::MIN).unwrap();
    let mut records = Vec::new();
    while let Some(past) = reader.read_next().unwrap() {
        records.push(past);
    }
    records
}

pub(super) fn numbers(records: &[Past]) -> Vec<u64> {
    records.iter().filter_map(|past| past.id().map(|id| id.number)).collect()
}

/// Events, sums and losses of few names, so that filters find some of each.
pub(super) fn any_past() -> impl Strategy<Value = Past> {
    let pins = prop::sample::subsequence(vec!["mail", "backup", "etcd"], 0..3);
    let place = prop::sample::select(vec!["US", "BR", "unknown", "uncertain"]);
    let command = prop::sample::select(vec!["imap", "postgres: write", "a\"b\n\u{1b}[0m", ""]);
    let who = prop::option::weighted(0.8, (1_u32..5, command));
    let judged = (prop::sample::select(Verdict::ALL.to_vec()), prop::sample::select(Reason::ALL.to_vec()));
    let parts = (0_u8..8, 1_u64..50, 0_i64..5000, pins, place, who, judged, any::<bool>());
    parts.prop_map(|(kind, number, seconds, pins, place, who, (verdict, reason), is_v6)| {
        let time = start().checked_add(SignedDuration::from_millis(seconds * 700)).unwrap();
        let to = if is_v6 { "2001:db8::7" } else { "198.51.100.7" };
        let named = |(pid, command): (u32, &str)| Process {
            pid,
            command: command.into(),
            user: None,
            ..dropped().process.unwrap()
        };
        let process = who.map(named);
        let event = Event {
            sequence: number,
            time,
            pins: pins.iter().skip(1).map(|pin| (*pin).into()).collect(),
            tagged: pins.iter().map(|pin| (*pin).into()).collect(),
            jurisdiction: place.parse().unwrap(),
            verdict,
            reason,
            destination: Some(Endpoint { ip: to.parse().unwrap(), port: None }),
            cgroup: process.as_ref().and_then(|it| it.cgroup.clone()),
            cgroup_id: process.as_ref().map_or(0, |it| it.cgroup_id),
            process,
            ..dropped()
        };
        match kind {
            0 => Past::Lost { session: event.session, time, records: number },
            1 | 2 => {
                let group = (kind == 1).then(|| Group::of(&event));
                let mut summary = Summary::of(&event, pins.first().map(|pin| (*pin).into()), group);
                summary.add(&event);
                Past::Summary { session: event.session, summary }
            }
            3 => Past::Event(Arc::new(Entry::Copy(PinnedCopy {
                sequence: number,
                session: event.session,
                time,
                volumes: event.volumes,
                followed: Vec::new(),
                file: "/export/mail.tar".to_owned(),
                device: "8:1".to_owned(),
                inode: 9,
                process: event.process,
                people: event.people,
            }))),
            _ => Past::Event(Arc::new(Entry::Flow(event))),
        }
    })
}
