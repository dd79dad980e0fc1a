//! What came of a shadow, as text and as JSON.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::differences::{changes, write_kind};
use crate::cli::table::{plain, write_wrapped};
use crate::control::protocol::ShadowReport;
use crate::control::shadow::{ShadowAmount, ShadowDatabase};
use crate::report::number::{bytes, grouped};
use crate::simulate::{Amount, Kind, Sums, kind_of};

/// What came of it.
pub(super) struct Told<'a> {
    /// The daemon's config file, and the candidate's.
    pub(super) config: &'a str,
    pub(super) file: &'a Path,
    pub(super) then_sha256: &'a str,
    pub(super) without: &'a [String],
    pub(super) seconds: u64,
    pub(super) report: &'a ShadowReport,
    /// The flows of which the verdicts differ.
    pub(super) sums: &'a Sums,
    /// Whether flows may have been forgotten for others.
    pub(super) is_full: bool,
}

fn plus(sum: ShadowAmount, more: ShadowAmount) -> ShadowAmount {
    ShadowAmount {
        packets: sum.packets.saturating_add(more.packets),
        bytes: sum.bytes.saturating_add(more.bytes),
    }
}

impl Told<'_> {
    /// Whether any verdict would have been another one, or may have been.
    pub(super) fn may_differ(&self) -> bool {
        let ShadowReport { lost, not_noted, .. } = self.report;
        Kind::ALL.into_iter().any(|kind| self.of(kind).packets > 0)
            || lost.packets > 0
            || !not_noted.is_empty()
    }

    /// What differs in this way: of packets and bytes all, and of flows those that are kept.
    fn of(&self, kind: Kind) -> Amount {
        let is = |it: &&crate::control::shadow::ShadowDifference| {
            kind_of(&it.now.verdict, &it.then.verdict) == Some(kind)
        };
        let counted = self.report.differences.iter().filter(is);
        let ShadowAmount { packets, bytes } =
            counted.fold(ShadowAmount::default(), |sum, it| plus(sum, it.amount));
        Amount { flows: self.sums.of(kind).flows, packets, bytes }
    }

    /// The same verdict for another reason.
    fn other_reason(&self) -> ShadowAmount {
        let all = self.report.differences.iter();
        let same = all.filter(|it| kind_of(&it.now.verdict, &it.then.verdict).is_none());
        same.fold(ShadowAmount::default(), |sum, it| plus(sum, it.amount))
    }

    /// All packets that were judged by both.
    fn judged(&self) -> ShadowAmount {
        let differences =
            self.report.differences.iter().fold(self.report.lost, |sum, it| plus(sum, it.amount));
        plus(self.report.same, differences)
    }

    /// What differs and is of no flow that is kept.
    fn not_kept(&self) -> ShadowAmount {
        let sums = Kind::ALL.into_iter().map(|kind| {
            let (all, kept) = (self.of(kind), self.sums.of(kind));
            ShadowAmount {
                packets: all.packets.saturating_sub(kept.packets),
                bytes: all.bytes.saturating_sub(kept.bytes),
            }
        });
        sums.fold(ShadowAmount::default(), plus)
    }

    pub(super) fn json(&self) -> Value {
        let Self { report, .. } = self;
        let side = |config: String, sha256: Option<&str>, database: &ShadowDatabase| {
            json!({
                "config": config, "sha256": sha256, "database": database.source, "generated": database.generated,
            })
        };
        let [now, then] = &report.databases;
        let totals = Kind::ALL.into_iter().map(|kind| (kind.name().to_owned(), json!(self.of(kind))));
        json!({
            "now": side(self.config.to_owned(), report.policy.as_deref(), now),
            "then": side(self.file.to_string_lossy().into_owned(), Some(self.then_sha256), then),
            "generations": report.generations,
            "observes": report.observes,
            "exemptions": { "open": report.open, "added": report.added, "without": self.without },
            "seconds": self.seconds,
            "judged": self.judged(),
            "differs": self.may_differ(),
            "totals": Value::Object(totals.collect()),
            "changes": changes(self.sums),
            "same": report.same,
            "other_reason": self.other_reason(),
            "not_kept": self.not_kept(),
            "is_full": self.is_full,
            "capacity": report.capacity,
            "lost": report.lost,
            "not_noted": report.not_noted,
            "counts": report.differences,
        })
    }

    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.write_head(out)?;
        for kind in Kind::ALL {
            writeln!(out)?;
            write_kind(kind, self.of(kind), self.sums, out)?;
        }
        writeln!(out)?;
        for sentence in self.rest() {
            write_wrapped("- ", "  ", &plain(&sentence), out)?;
        }
        Ok(())
    }

    fn write_head(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { report, .. } = self;
        let mut line = |title: &str, text: &str| {
            write_wrapped(&format!("{title:<11}"), "           ", &plain(text), out)
        };
        let short = |sha256: &str| sha256.get(..12).unwrap_or_default().to_owned();
        let sha256 = report.policy.as_deref().map(short);
        let sha256 = sha256.map(|it| format!(", SHA-256 {it}...")).unwrap_or_default();
        let [first, last] = report.generations;
        let generations = match first == last {
            true => format!("generation {first}"),
            false => format!("generations {first} to {last}"),
        };
        line("in force", &format!("{}{sha256}, {generations}", self.config))?;
        line("candidate", &format!("{}, SHA-256 {}...", self.file.display(), short(self.then_sha256)))?;
        let database = |it: &ShadowDatabase| {
            let made = it.generated.as_ref().map(|made| format!(" of {made}")).unwrap_or_default();
            format!("{}{made}", it.source)
        };
        let [now, then] = report.databases.each_ref().map(database);
        line("database", &if now == then { now } else { format!("{now}; the candidate's: {then}") })?;
        let mut exemptions = format!("{} open", report.open);
        for added in &report.added {
            let how = if added.replaces { "in the place of the one that is open" } else { "added" };
            exemptions += &format!("; {} {how}, as if it was approved, loaded and in its window", added.id);
        }
        for id in self.without {
            exemptions += &format!("; {id} taken away");
        }
        line("exemptions", &exemptions)?;
        line("judged", &format!("{} in {} s, by both", packets(self.judged()), self.seconds))?;
        line("unchanged", &packets(report.same))
    }

    /// What is to be said beside what differs, a sentence each.
    fn rest(&self) -> Vec<String> {
        let Self { report, .. } = self;
        let mut said = Vec::new();
        said.extend(report.not_noted.iter().map(|it| format!("NOT KNOWN: {it}")));
        if report.lost.packets > 0 {
            said.push(format!(
                "NOT TOLD APART: {} with another verdict or another reason, for which there was no room",
                packets(report.lost)
            ));
        }
        let not_kept = self.not_kept();
        if not_kept.packets > 0 {
            said.push(format!(
                "of no flow above: {} with another verdict; the kernel keeps the {} flows that were seen last",
                packets(not_kept),
                grouped(report.capacity as u64)
            ));
        }
        let other_reason = self.other_reason();
        if other_reason.packets > 0 {
            said.push(format!("the same verdict for another reason: {}", packets(other_reason)));
        }
        if report.observes {
            said.push(
                "the daemon was told to observe (--observe): nothing is dropped now, nor would be".to_owned(),
            );
        }
        said.push(
            "not seen at all: what was not sent in this time, as the rest of a transfer that is dropped now, and calls that are \
             refused before there is a packet"
                .to_owned(),
        );
        said
    }
}

fn packets(count: ShadowAmount) -> String {
    let one = if count.packets == 1 { "packet" } else { "packets" };
    format!("{} {one}, {}", grouped(count.packets), bytes(count.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::shadow::{ShadowDifference, ShadowVerdict};

    fn difference(now: [&str; 2], then: [&str; 2], packets: u64) -> ShadowDifference {
        let side = |[verdict, reason]: [&str; 2]| ShadowVerdict {
            verdict: verdict.to_owned(),
            reason: reason.to_owned(),
            pins: Vec::new(),
        };
        let amount = ShadowAmount { packets, bytes: 100 * packets };
        let (hook, jurisdiction) = ("egress".to_owned(), "US".to_owned());
        ShadowDifference { hook, now: side(now), then: side(then), jurisdiction, amount }
    }

    fn report(differences: Vec<ShadowDifference>) -> ShadowReport {
        let database = || ShadowDatabase { source: "a test's".to_owned(), generated: None };
        ShadowReport {
            generations: [3, 5],
            policy: Some("0123456789abcdef".to_owned()),
            databases: [database(), database()],
            open: 1,
            added: Vec::new(),
            observes: false,
            not_noted: Vec::new(),
            same: ShadowAmount { packets: 90, bytes: 9000 },
            differences,
            lost: ShadowAmount::default(),
            flows: Vec::new(),
            capacity: 8192,
        }
    }

    fn told(report: &ShadowReport) -> (bool, Value, String) {
        let told = Told {
            config: "policy.toml",
            file: Path::new("new.toml"),
            then_sha256: "fedcba9876543210",
            without: &[],
            seconds: 60,
            report,
            sums: &Sums::default(),
            is_full: false,
        };
        let mut text = Vec::new();
        told.write(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        (told.may_differ(), told.json(), text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn packets_are_told_also_where_their_flows_are_not_kept() {
        let (pass, drop) = (["pass", "permitted"], ["drop", "forbidden"]);
        let other = ["drop", "exemption-exhausted"];
        let report = report(vec![
            difference(pass, drop, 3),
            difference(pass, other, 1),
            difference(drop, pass, 4),
            difference(drop, other, 2),
        ]);
        let (differs, json, text) = told(&report);
        assert!(differs);
        assert_eq!(json["totals"]["drops"], json!({ "flows": 0, "packets": 4, "bytes": 400 }));
        assert_eq!(json["totals"]["opens"]["packets"], 4);
        assert_eq!((&json["judged"]["packets"], &json["other_reason"]["packets"]), (&100.into(), &2.into()));
        assert_eq!(json["not_kept"], json!({ "packets": 8, "bytes": 800 }));
        for says in [
            "generations 3 to 5",
            "judged 100 packets, 9.8 KiB in 60 s, by both",
            "of no flow above: 8 packets, 800 B with another verdict; the kernel keeps the 8,192 flows",
            "the same verdict for another reason: 2 packets, 200 B",
        ] {
            assert!(text.contains(says), "{says}: {text}");
        }
    }

    #[test]
    fn what_is_not_known_is_no_agreement() {
        let (differs, json, text) = told(&report(Vec::new()));
        assert!(!differs && json["differs"] == false && text.contains("would open: nothing"), "{text}");
        let not_noted = ShadowReport { not_noted: vec!["the pin mail".to_owned()], ..report(Vec::new()) };
        let (differs, _, text) = told(&not_noted);
        assert!(differs && text.contains("NOT KNOWN: the pin mail"), "{text}");
        let lost = ShadowAmount { packets: 1, bytes: 60 };
        let (differs, json, text) = told(&ShadowReport { lost, ..report(Vec::new()) });
        assert!(differs && text.contains("NOT TOLD APART: 1 packet, 60 B"), "{text}");
        assert_eq!((&json["judged"]["packets"], &json["differs"]), (&91.into(), &true.into()));
    }
}
