//! Tables in the kernel that somebody else has changed: what is told and recorded of them, and that the live generation is
//! published anew.

use jiff::SignedDuration;
use serde_json::json;

use crate::audit::Kind;
use crate::daemon::engine::Level;
use crate::daemon::engine::state::Engine;
use crate::daemon::engine::tampering::{Again, Told};
use crate::exemption::Clocks;
use crate::health::{Problem, ProblemCode};
use crate::kernel::{FROZEN, Mending, Tampered};

impl Engine {
    /// A look has found these tables changed. Whatever it was, packets may have looked things up by it that are remembered as
    /// long as the generation is live.
    pub(super) fn tampering_seen(&mut self, found: &[Tampered], now: Clocks) {
        for it in found {
            let Tampered { table, entries, first, mending, right_ns } = it;
            let again = match mending {
                Mending::NextGeo => Again::Geo,
                Mending::SetBack | Mending::Refused(_) | Mending::NextGeneration => Again::Policy,
                // It has what it had, and no generation has it otherwise.
                Mending::Frozen => Again::Nothing,
            };
            self.tampering.again = self.tampering.again.max(again);
            let (is_open, refused) = match mending {
                Mending::SetBack => (false, None),
                Mending::Refused(why) => (true, Some(why.clone())),
                Mending::NextGeneration | Mending::NextGeo => (true, None),
                Mending::Frozen => (true, Some(FROZEN.to_owned())),
            };
            let before = self.tampering.told.remove(table);
            // What was not right again is found once more, and is no news.
            if let Some(before) =
                before.as_ref().filter(|before| before.is_open && *mending != Mending::SetBack)
            {
                let first = if *mending == Mending::Frozen { &before.first } else { first };
                let told =
                    Told { between: before.between, is_open, refused, first: first.clone(), ..*before };
                self.tampering.told.insert(*table, told);
                continue;
            }
            let since = right_ns.map(|at| now.boot_ns.saturating_sub(at));
            let since =
                since.map(|since| SignedDuration::from_nanos(i64::try_from(since).unwrap_or(i64::MAX)));
            let right = match since {
                Some(since) => now.wall.checked_sub(since).ok(),
                // What the first look finds was so at the start.
                None => self.interfaces.looked.map(|looked| looked.wall).or(self.guarded_until),
            };
            let told = Told {
                between: (right, now),
                times: before.as_ref().map_or(0, |before| before.times) + 1,
                entries: *entries,
                first: first.clone(),
                again,
                is_open,
                refused,
                recorded_ns: before.as_ref().and_then(|before| before.recorded_ns),
                unrecorded: before.as_ref().map_or(0, |before| before.unrecorded) + 1,
                unrecorded_since: match &before {
                    Some(before) if before.unrecorded > 0 => before.unrecorded_since,
                    _ => right,
                },
            };
            self.log(Level::Error, format!("{table}: {}", told.words()));
            self.tampering.told.insert(*table, told);
        }
        let is_found = |table: &str| found.iter().any(|it| it.table == table);
        for (table, told) in &mut self.tampering.told {
            if told.refused.is_some() && !is_found(table) {
                (told.is_open, told.refused) = (false, None);
            }
        }
        self.record_tampering(|told| told.record_is_due(now), now);
    }

    /// Records what was found and is in no record, where one is due.
    pub(super) fn record_tampering(&mut self, is_due: impl Fn(&Told) -> bool, now: Clocks) {
        let due = self.tampering.told.iter_mut().filter(|(_, told)| is_due(told));
        let records: Vec<_> = due
            .map(|(table, told)| {
                let mut detail = json!({
                    "entries": told.entries,
                    "first": told.first,
                    "last_right": told.unrecorded_since.map(|right| right.to_string()),
                    "found": told.between.1.wall.to_string(),
                    "times": told.unrecorded,
                });
                if told.is_frozen_alone() {
                    detail["frozen"] = true.into();
                }
                (told.recorded_ns, told.unrecorded) = (Some(now.boot_ns), 0);
                (*table, detail)
            })
            .collect();
        for (table, detail) in records {
            self.record_of(Kind::Tampered, table, "", detail);
        }
    }

    /// A generation went live that was made for this: what it has anew is right again.
    pub(super) fn published_anew(&mut self, again: Again) {
        if again == Again::Nothing {
            return;
        }
        for told in self.tampering.told.values_mut() {
            told.is_open &= told.refused.is_some() || told.again > again;
        }
    }

    /// Somebody has asked for a reload, and knows of what was found by then.
    pub(super) fn forget_tampering(&mut self) {
        self.record_tampering(|told| told.unrecorded > 0, self.now);
        self.tampering.told.retain(|_, told| told.is_open);
    }

    pub(super) fn problems_of_tampering(&self) -> impl Iterator<Item = Problem> {
        let of = |table: &str, words: String| Problem::of(ProblemCode::TablesChanged, table, words);
        let told = self.tampering.told.iter().map(move |(table, told)| of(table, told.words()));
        // Of a daemon before this one, and what the counts say by themselves.
        let kept = self.kept.changed_tables().map(move |(table, words)| of(table, words.to_owned()));
        told.chain(kept)
    }
}
