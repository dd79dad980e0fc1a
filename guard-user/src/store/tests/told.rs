//! What exemptions are, and what the audit trail tells of that.

use std::collections::BTreeMap;

use super::trail;
use crate::exemption::record::{Record, Status};
use crate::store::{Key, Store};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Is {
    Open,
    Stayed,
    Closed,
}

impl Is {
    pub(super) fn of(record: &Record) -> Self {
        match record.status {
            Status::Active {} => Self::Open,
            Status::Stayed { .. } => Self::Stayed,
            _ => Self::Closed,
        }
    }
}

/// What the trail says that each exemption is.
pub(super) fn told(store: &Store) -> BTreeMap<Key, Is> {
    let mut told = BTreeMap::new();
    let mut approvals = 0;
    for record in trail(store) {
        // An order that changed nothing of what is loaded is of no version.
        let Some(version) = record.detail.get("version") else {
            assert!(record.detail.contains_key("covers"), "{record:?}");
            continue;
        };
        let key: Key = (record.subject, u32::try_from(version.as_u64().unwrap()).unwrap());
        let (from, to): (&[Option<Is>], Is) = match record.kind.as_str() {
            "approval" => {
                approvals += 1;
                continue;
            }
            "load" => {
                assert_eq!(std::mem::take(&mut approvals), 2, "the approvals of a load come before it");
                (&[None], Is::Open)
            }
            "stay" => (&[Some(Is::Open), Some(Is::Stayed)], Is::Stayed),
            // One of its orders was lifted, and another one holds it.
            "resume" if record.detail.contains_key("still_held") => (&[Some(Is::Stayed)], Is::Stayed),
            "resume" => (&[Some(Is::Stayed)], Is::Open),
            "exhaust" => (&[Some(Is::Open)], Is::Closed),
            "revoke" => (&[Some(Is::Open), Some(Is::Stayed), Some(Is::Closed)], Is::Closed),
            "invalidate" | "revoke-key" | "expire" | "supersede" => {
                (&[Some(Is::Open), Some(Is::Stayed)], Is::Closed)
            }
            other => panic!("nobody did that: {other}"),
        };
        let before = told.insert(key.clone(), to);
        assert!(from.contains(&before), "{key:?}: {} came after {before:?}", record.kind);
    }
    assert_eq!(approvals, 0, "no approval without its load");
    told
}
