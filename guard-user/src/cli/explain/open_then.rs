//! Exemptions that were open at a moment, as the audit trail has it, with their documents out of the store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use guard_common::abi::MAX_EXEMPTIONS;
use jiff::{SignedDuration, Timestamp};

use crate::audit::{Kind, Stored};
use crate::control::client::{ask, unexpected};
use crate::control::protocol::{Request, Response};
use crate::exemption::{self, Clocks, division};
use crate::store::{NamedEntry, kernel_entries};

/// How near a change may be to a moment so that nobody can tell which of them came first: a record is of when the change was
/// asked for, and what opens is live a little later.
const NEAR: SignedDuration = SignedDuration::from_secs(1);

/// Exemptions by what the trail says of one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct OpenThen {
    /// Those that were open, with the numbers that the kernel knew them by, in the order in which they were opened.
    open: Vec<(Key, Vec<u16>)>,
    /// Those that an order held.
    stayed: BTreeSet<Key>,
    /// Why it may have been otherwise, in words.
    doubts: Vec<String>,
}

/// The id and the version of an exemption.
type Key = (String, u32);

impl OpenThen {
    /// Reads the trail up to a moment.
    pub(super) fn of(trail: &[Stored], time: Timestamp) -> Self {
        let mut then = Self::default();
        let is_of_exemptions =
            |record: &&Stored| Kind::OF_EXEMPTIONS.iter().any(|kind| kind.name() == record.kind);
        for record in trail.iter().filter(|record| record.time <= time) {
            then.take(record);
        }
        for record in trail {
            let is_near = record.time.duration_since(time).abs() <= NEAR;
            if record.kind == Kind::Gap.name() {
                let lost = &record.detail["lost"];
                then.doubts
                    .push(format!("record {} says that {lost} records before it were lost", record.sequence));
            } else if record.kind == Kind::ClockSet.name() && record.time > time {
                then.doubts.push(format!("record {} says that the clock was set since", record.sequence));
            } else if is_near && is_of_exemptions(&record) {
                then.doubts.push(format!(
                    "record {}, {} of {}, is within a second of it",
                    record.sequence, record.kind, record.subject
                ));
            }
        }
        then
    }

    /// Takes up what a record changed.
    fn take(&mut self, record: &Stored) {
        let Some(kind) = Kind::OF_EXEMPTIONS.into_iter().find(|kind| kind.name() == record.kind) else {
            return;
        };
        // An order on what was not loaded yet opens and closes nothing.
        let Some(version) = record.detail.get("version").and_then(|it| it.as_u64()?.try_into().ok()) else {
            return;
        };
        let key: Key = (record.subject.clone(), version);
        let slots = || {
            let slots = record.detail.get("slots").and_then(|it| it.as_array());
            slots.into_iter().flatten().filter_map(|it| u16::try_from(it.as_u64()?).ok()).collect()
        };
        self.open.retain(|(open, _)| *open != key);
        self.stayed.remove(&key);
        match kind {
            Kind::Load => self.open.push((key, slots())),
            Kind::Resume if record.detail.get("still_held").is_none() => self.open.push((key, Vec::new())),
            Kind::Resume | Kind::Stay => _ = self.stayed.insert(key),
            _ => {}
        }
    }

    /// Whether nothing speaks against it.
    pub(super) fn is_certain(&self) -> bool {
        self.doubts.is_empty()
    }

    /// In one sentence.
    pub(super) fn says(&self) -> String {
        let named = |(id, version): &Key| format!("{id} version {version}");
        let list = |keys: Vec<String>| match keys.is_empty() {
            true => "none".to_owned(),
            false => keys.join(", "),
        };
        let mut said = format!(
            "the exemptions are of then, as the audit trail has it: open was {}",
            list(self.open.iter().map(|(key, _)| named(key)).collect())
        );
        if !self.stayed.is_empty() {
            said += &format!("; held by an order was {}", list(self.stayed.iter().map(named).collect()));
        }
        if !self.open.is_empty() {
            said += "; what was left of quotas then is NOT KNOWN, and taken for all";
        }
        if !self.doubts.is_empty() {
            said += &format!(". It may have been OTHERWISE: {}", self.doubts.join("; "));
        }
        said
    }

    /// As the kernel judged by them, for a policy with these pins; `clocks` are those of the moment.
    ///
    /// # Errors
    /// Where a document can't be had, or not be used any more.
    pub(super) fn entries(&self, socket: &Path, pins: &[String], clocks: &Clocks) -> Result<Vec<NamedEntry>> {
        let mut taken: BTreeMap<u16, &str> = BTreeMap::new();
        let mut entries = Vec::new();
        for ((id, version), known) in &self.open {
            let text = document(socket, id, *version)?;
            let document = exemption::parse(Path::new(id), text.as_bytes(), &Default::default())?;
            let wanted = division::slots_wanted(&document);
            // The numbers of one that was resumed are in no record: any that are free.
            let is_free = |slots: &[u16]| slots.iter().all(|slot| !taken.contains_key(slot));
            let slots: Vec<u16> = match known.is_empty() || !is_free(known) {
                true => (0..u16::try_from(MAX_EXEMPTIONS).unwrap_or(u16::MAX))
                    .filter(|slot| !taken.contains_key(slot))
                    .take(wanted)
                    .collect(),
                false => known.clone(),
            };
            let quota = document.quota_bytes.unwrap_or(u64::MAX);
            let of_it = kernel_entries(&document, &slots, pins, quota, clocks);
            taken.extend(slots.into_iter().map(|slot| (slot, id.as_str())));
            entries.extend(of_it.into_iter().map(|entry| (id.clone(), entry)));
        }
        Ok(entries)
    }
}

/// The text of a document that was loaded.
fn document(socket: &Path, id: &str, version: u32) -> Result<String> {
    match ask(socket, &Request::AuditDocument { id: id.to_owned(), version })? {
        Response::Document { text } => Ok(text),
        _ => Err(unexpected(socket).into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record(sequence: u64, minute: u8, kind: &str, subject: &str, detail: Value) -> Stored {
        Stored {
            sequence,
            time: format!("2026-11-23T11:{minute:02}:00Z").parse().unwrap(),
            previous: String::new(),
            kind: kind.to_owned(),
            who: crate::audit::Who { uid: 0, user: None, pid: None },
            subject: subject.to_owned(),
            why: String::new(),
            detail: detail.as_object().unwrap().clone(),
        }
    }

    #[test]
    fn what_was_open_at_each_moment_is_read_off_the_trail() {
        let version = |number: u32| json!({ "version": number });
        let trail = [
            record(1, 0, "start", "", json!({})),
            record(2, 1, "load", "a", json!({ "version": 1, "slots": [4, 5] })),
            record(3, 2, "load", "b", json!({ "version": 1, "slots": [6] })),
            record(4, 3, "stay", "a", version(1)),
            // Two orders: the first lift opens nothing.
            record(5, 4, "resume", "a", json!({ "version": 1, "still_held": true })),
            record(6, 5, "resume", "a", version(1)),
            record(7, 6, "supersede", "b", json!({ "version": 1, "by_version": 2 })),
            record(8, 6, "load", "b", json!({ "version": 2, "slots": [7] })),
            record(9, 7, "stay", "pin mail", json!({ "covers": "nothing yet" })),
            record(10, 8, "revoke", "a", version(1)),
            record(11, 9, "exhaust", "b", version(2)),
        ];
        let at = |minute: u8| {
            let time: Timestamp = format!("2026-11-23T11:{minute:02}:30Z").parse().unwrap();
            let then = OpenThen::of(&trail, time);
            assert!(then.is_certain());
            let open: Vec<String> =
                then.open.iter().map(|((id, version), slots)| format!("{id}{version}{slots:?}")).collect();
            (open.join(" "), then.stayed.iter().map(|it| it.0.as_str()).collect::<String>())
        };
        let told = |open: &str, stayed: &str| (open.to_owned(), stayed.to_owned());
        assert_eq!(at(0), told("", ""));
        assert_eq!(at(1), told("a1[4, 5]", ""));
        assert_eq!(at(2), told("a1[4, 5] b1[6]", ""));
        assert_eq!([at(3), at(4)], [told("b1[6]", "a"), told("b1[6]", "a")]);
        assert_eq!(at(5), told("b1[6] a1[]", ""));
        assert_eq!([at(6), at(7)], [told("a1[] b2[7]", ""), told("a1[] b2[7]", "")]);
        assert_eq!([at(8), at(9)], [told("b2[7]", ""), told("", "")]);
    }

    #[test]
    fn what_speaks_against_it_is_told() {
        let time: Timestamp = "2026-11-23T11:05:00Z".parse().unwrap();
        let load = record(1, 1, "load", "a", json!({ "version": 1, "slots": [0] }));
        for (other, why) in [
            (
                record(2, 5, "load", "b", json!({ "version": 1 })),
                "record 2, load of b, is within a second of it",
            ),
            (
                record(2, 7, "gap", "", json!({ "lost": 3 })),
                "record 2 says that 3 records before it were lost",
            ),
            (
                record(2, 7, "clock-set", "", json!({ "by_ms": 9 })),
                "record 2 says that the clock was set since",
            ),
        ] {
            let then = OpenThen::of(&[load.clone(), other], time);
            assert!(!then.is_certain() && then.says().contains(why), "{}", then.says());
        }
        let then = OpenThen::of(&[load], time);
        assert!(
            then.is_certain() && then.says().contains("open was a version 1; what was left"),
            "{}",
            then.says()
        );
        assert!(OpenThen::of(&[], time).says().ends_with("open was none"));
    }
}
