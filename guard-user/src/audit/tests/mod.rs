//! Tests of the audit trail.

mod broken;
mod checkpoint;
mod documentation;
mod line;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Head, Kind, Record, Who};

pub(super) fn record(number: usize) -> Record {
    Record {
        time: "2026-11-20T10:00:00Z".parse().unwrap(),
        kind: Kind::ALL[number % Kind::ALL.len()],
        who: Who { uid: 1001, user: Some("aoife".to_owned()), pid: Some(77) },
        subject: format!("mlat-{number}"),
        why: "stayed by the court".to_owned(),
        detail: Map::from_iter([("number".to_owned(), json!(number))]),
    }
}

/// The lines of these records, and the head.
pub(super) fn trail(records: &[Record]) -> (Vec<String>, Head) {
    let mut head = Head::START;
    let lines = records.iter().map(|record| {
        let (line, next) = head.append(record);
        head = next;
        line
    });
    (lines.collect(), head)
}

prop_compose! {
    pub(super) fn any_record()(
        seconds in 0..4_000_000_000_i64,
        nanoseconds in 0..1_000_000_000_i32,
        kind in prop::sample::select(Kind::ALL),
        uid in any::<u32>(),
        user in prop::option::of("\\PC{0,8}"),
        pid in prop::option::of(any::<u32>()),
        subject in any::<String>(),
        why in any::<String>(),
        detail in prop::collection::btree_map(any::<String>(), any::<String>(), 0..3),
    ) -> Record {
        let detail = detail.into_iter().map(|(key, value)| (key, Value::String(value))).collect();
        let time = jiff::Timestamp::new(seconds, nanoseconds).unwrap();
        Record { time, kind, who: Who { uid, user, pid }, subject, why, detail }
    }
}
