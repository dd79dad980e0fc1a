//! What a simulation came to, as text and as JSON.

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::read::Live;
use super::sides::{About, Side};
use crate::cli::differences::{amount, changes, write_kind};
use crate::cli::table::{plain, write_wrapped};
use crate::report::number::{bytes, grouped};
use crate::simulate::traffic::NotJudged;
use crate::simulate::{Amount, Kind, Sums, Traffic, Unguarded, Unrecorded};

/// What the flows cover.
pub(super) struct Window {
    pub(super) since: Option<Timestamp>,
    pub(super) events: u64,
    pub(super) records: u64,
    pub(super) untagged: u64,
    pub(super) first: Option<Timestamp>,
    pub(super) last: Option<Timestamp>,
    pub(super) not_judged: NotJudged,
    pub(super) live: Live,
    pub(super) missed: u64,
}

impl Window {
    pub(super) fn of(traffic: &Traffic) -> Self {
        Self {
            since: None,
            events: traffic.events,
            records: traffic.records,
            untagged: traffic.untagged,
            first: traffic.first,
            last: traffic.last,
            not_judged: traffic.not_judged,
            live: Live::default(),
            missed: 0,
        }
    }

    /// Whether flows may have been forgotten for others.
    fn is_full(&self) -> bool {
        // The kernel takes records back before the last place is taken: by processor and in batches.
        self.live.flows >= self.live.capacity / 10 * 9
    }
}

/// What a simulation came to.
pub(super) struct Told<'a> {
    pub(super) about: &'a About,
    pub(super) window: &'a Window,
    pub(super) sums: &'a Sums,
    pub(super) unrecorded: &'a Unrecorded,
}

/// Whether any verdict would be another one, or may be. Of an interface that is let go that is so without any flow: nothing judges
/// what goes by it later.
fn may_differ(sums: &Sums, unrecorded: &Unrecorded, let_go: &Unguarded) -> bool {
    sums.may_differ() || !unrecorded.forbidden.is_empty() || !let_go.names().is_empty()
}

impl Told<'_> {
    /// Whether any verdict would be another one, or may be.
    pub(super) fn may_differ(&self) -> bool {
        may_differ(self.sums, self.unrecorded, &self.about.let_go)
    }

    pub(super) fn json(&self) -> Value {
        let Self { about, window, sums, unrecorded } = self;
        let side = |side: &Side, file: &str| json!({ "config": file, "sha256": side.sha256, "database": side.database, "generated": side.generated });
        let added = about.added.iter().map(|it| {
            let amount = sums.exempt.get(&it.id).copied().unwrap_or_default();
            json!({ "id": it.id, "replaces": it.replaces, "quota": it.quota, "would_let_pass": amount })
        });
        let totals = Kind::ALL.into_iter().map(|kind| (kind.name().to_owned(), json!(sums.of(kind))));
        let not_known = sums.not_known.iter().map(|(lacks, amount)| {
            json!({ "lacks": lacks, "flows": amount.flows, "packets": amount.packets, "bytes": amount.bytes })
        });
        json!({
            "now": side(&about.now, &about.file),
            "then": side(&about.then, &about.new.to_string_lossy()),
            "generation": window.live.generation,
            "observes": about.observes,
            "has_database_in_force": about.has_database,
            "interfaces": { "let_go": about.let_go.names(), "taken": about.taken },
            "exemptions": {
                "open": about.open, "added": added.collect::<Vec<_>>(), "without": about.without,
            },
            "window": {
                "since": window.since.map(|since| since.to_string()),
                "events": window.events,
                "first": window.first.map(|first| first.to_string()),
                "last": window.last.map(|last| last.to_string()),
                "records": window.records,
                "untagged": window.untagged,
                "table": window.live.flows,
                "capacity": window.live.capacity,
                "is_full": window.is_full(),
                "missed": window.missed,
                "not_judged": window.not_judged,
            },
            "differs": self.may_differ(),
            "totals": Value::Object(totals.collect()),
            "changes": changes(sums),
            "same": sums.same,
            "other_reason": sums.other_reason,
            "not_known": not_known.collect::<Vec<_>>(),
            "unrecorded": unrecorded,
        })
    }

    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.write_head(out)?;
        for kind in Kind::ALL {
            writeln!(out)?;
            write_kind(kind, self.sums.of(kind), self.sums, out)?;
        }
        writeln!(out)?;
        for sentence in self.rest() {
            write_wrapped("- ", "  ", &plain(&sentence), out)?;
        }
        Ok(())
    }

    fn write_head(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { about, window, sums, .. } = self;
        let mut line = |title: &str, text: &str| {
            write_wrapped(&format!("{title:<11}"), "           ", &plain(text), out)
        };
        let sha256 = |side: &Side| side.sha256.get(..12).unwrap_or_default().to_owned();
        line(
            "in force",
            &format!(
                "{}, SHA-256 {}..., generation {}",
                about.file,
                sha256(&about.now),
                window.live.generation
            ),
        )?;
        line("candidate", &format!("{}, SHA-256 {}...", about.new.display(), sha256(&about.then)))?;
        let database = |side: &Side| {
            let made = side.generated.as_ref().map(|made| format!(" of {made}")).unwrap_or_default();
            format!("{}{made}", side.database)
        };
        let (now, then) = (database(&about.now), database(&about.then));
        line("database", &if now == then { now } else { format!("{now}; the candidate's: {then}") })?;
        let mut exemptions = format!("{} open", about.open);
        for added in &about.added {
            let how = if added.replaces { "in the place of the one that is open" } else { "added" };
            exemptions += &format!("; {} {how}, as if it was approved, loaded and in its window", added.id);
        }
        for id in &about.without {
            exemptions += &format!("; {id} taken away");
        }
        line("exemptions", &exemptions)?;
        let untagged = match window.untagged {
            0 => String::new(),
            1 => " and 1 sum of what no pin tags".to_owned(),
            sums => format!(" and {} sums of what no pin tags", grouped(sums)),
        };
        let history = match (window.first, window.last) {
            (Some(first), Some(last)) => {
                format!("{} events of {first:.0} to {last:.0}", grouped(window.events))
            }
            _ => "no event".to_owned(),
        };
        let full = if window.is_full() { ", and is full" } else { "" };
        line(
            "seen",
            &format!(
                "{history}{untagged}; {} of {} flows in the kernel's table, which has room for {}{full}",
                grouped(window.records),
                grouped(window.live.flows),
                grouped(window.live.capacity)
            ),
        )?;
        line("unchanged", &amount(sums.same))
    }

    /// What is to be said beside what differs, a sentence each.
    fn rest(&self) -> Vec<String> {
        let Self { about, window, sums, unrecorded } = self;
        let mut said = Vec::new();
        let let_go = about.let_go.names();
        if !let_go.is_empty() {
            said.push(format!(
                "NOT GUARDED by the candidate, and guarded now: {}; what goes by that would be judged by nothing",
                let_go.join(", ")
            ));
        }
        if !about.taken.is_empty() {
            said.push(format!(
                "NOT SEEN: what leaves by {}, which the candidate would guard and nothing guards now",
                about.taken.join(", ")
            ));
        }
        for (lacks, it) in &sums.not_known {
            let lacks: Vec<&str> = lacks.iter().map(|lack| lack.words()).collect();
            said.push(format!(
                "NOT KNOWN of {}: it depends on {}, and nothing that was seen of them says so",
                amount(*it),
                lacks.join(", and ")
            ));
        }
        for row in &unrecorded.forbidden {
            said.push(format!(
                "NOT SEEN one by one: the pin {} permitted {} packets of {} to {}, since its counters began, where the candidate \
                 forbids that",
                row.pin, grouped(row.packets), bytes(row.bytes), row.jurisdiction
            ));
        }
        if sums.other_reason.flows > 0 {
            said.push(format!("the same verdict for another reason: {}", amount(sums.other_reason)));
        }
        for added in &about.added {
            let it = sums.exempt.get(&added.id).copied().unwrap_or_default();
            let over = added.quota.filter(|quota| *quota < it.bytes);
            let over = over.map(|quota| format!(", MORE than its quota of {}", bytes(quota)));
            said.push(format!("{} would let pass {}{}", added.id, amount(it), over.unwrap_or_default()));
        }
        if about.observes {
            said.push(
                "the daemon was told to observe (--observe): nothing is dropped now, nor would be".to_owned(),
            );
        }
        if !about.has_database {
            said.push(
                "the geo database in force can't be read by this user: that of the config in force was taken"
                    .to_owned(),
            );
        }
        let NotJudged { calls, unread, summed_up, untagged, lost } = window.not_judged;
        for (what, it) in [
            ("calls that were refused, which have no source", calls),
            ("flows whose addresses could not be read", unread),
            ("flows that the history has summed up", summed_up),
            ("egress without a pin, of which there is the sum of a jurisdiction alone", untagged),
            ("flows of which no packet can be made", sums.not_judged),
        ] {
            if it != Amount::default() {
                said.push(format!("not judged: {what}: {}", amount(it)));
            }
        }
        if lost + window.missed > 0 {
            said.push(format!(
                "missing: {} records or lines that were lost, damaged, or not in memory any more",
                grouped(lost + window.missed)
            ));
        }
        if !unrecorded.pins.is_empty() {
            said.push(format!(
                "permitted flows have no records, because record is not \"all\", of: {}",
                unrecorded.pins.join(", ")
            ));
        }
        said.push(
            "not seen at all: what went before the history begins or made room in the kernel's table"
                .to_owned(),
        );
        if !about.policies.0.host.observe {
            said.push(
                "NOT SEEN one by one: egress that no pin tags, of which the history has peers while host.observe is set alone; \
                 a pin that would know more of it drops more than this says"
                    .to_owned(),
            );
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_let_go_differs_where_no_flow_went_by_it() {
        let (sums, unrecorded) = (Sums::default(), Unrecorded::default());
        assert!(!may_differ(&sums, &unrecorded, &Unguarded::default()));
        let let_go = Unguarded::of(["eth0".to_owned()], |_| false);
        assert!(may_differ(&sums, &unrecorded, &let_go));
    }
}
