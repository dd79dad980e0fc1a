//! The figures of a status, by metric.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::family::Metric;
use super::severity::severity;
use crate::control::status::Status;
use crate::exemption::{State, Summary};
use crate::health::{Health, ProblemCode};

/// A number as it is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A count.
    Count(u64),
    /// Seconds since the Unix epoch.
    At(Timestamp),
}

/// What the daemon knows beside its status.
#[derive(Clone, Copy, Debug)]
pub struct Daemon {
    /// When it started.
    pub start: Timestamp,
    /// When the status was read.
    pub read: Timestamp,
    /// Turns of its loop that took too long.
    pub slow_turns: u64,
}

/// Samples by metric, in the order of the table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values(BTreeMap<Metric, Vec<Sample>>);

/// One sample: the values of its labels, in the order of the table, and the number.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// As many as the metric has names.
    pub labels: Vec<String>,
    /// The number.
    pub value: Value,
}

impl Values {
    /// The metrics that have samples.
    pub fn iter(&self) -> impl Iterator<Item = (Metric, &[Sample])> {
        self.0.iter().map(|(metric, samples)| (*metric, samples.as_slice()))
    }

    /// Adds a count.
    pub fn count(&mut self, metric: Metric, labels: &[&str], count: u64) {
        self.add(metric, labels, Value::Count(count));
    }

    fn flag(&mut self, metric: Metric, labels: &[&str], is_so: bool) {
        self.count(metric, labels, u64::from(is_so));
    }

    fn size(&mut self, metric: Metric, labels: &[&str], size: usize) {
        self.count(metric, labels, size as u64);
    }

    /// Adds a moment, written as RFC 3339; none where nothing is written.
    fn at(&mut self, metric: Metric, text: Option<&str>) {
        if let Some(at) = text.and_then(|text| text.parse().ok()) {
            self.add(metric, &[], Value::At(at));
        }
    }

    fn add(&mut self, metric: Metric, labels: &[&str], value: Value) {
        debug_assert_eq!(labels.len(), metric.family().labels.len(), "{metric:?}");
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.0.entry(metric).or_default().push(Sample { labels, value });
    }
}

/// The figures of a status as one who may only look has it, and of the daemon beside it.
#[must_use]
pub fn of(status: &Status, daemon: Daemon) -> Values {
    let mut values = Values::default();
    of_daemon(&mut values, status, daemon);
    of_hooks(&mut values, status);
    of_traffic(&mut values, status);
    of_carriers(&mut values, status);
    of_database(&mut values, status);
    of_exemptions(&mut values, &status.exemptions);
    values
}

fn of_daemon(values: &mut Values, status: &Status, daemon: Daemon) {
    values.count(Metric::BuildInfo, &[&status.version, &status.kernel], 1);
    values.count(Metric::PolicyInfo, &[&status.fingerprint], 1);
    values.add(Metric::StartTime, &[], Value::At(daemon.start));
    values.add(Metric::SnapshotTime, &[], Value::At(daemon.read));
    for state in Health::ALL {
        values.flag(Metric::Health, &[state.name()], status.health == state);
    }
    for code in ProblemCode::ALL {
        let is_there = status.problems.iter().any(|problem| problem.code == *code);
        values.flag(Metric::Problem, &[code.as_str(), severity(*code)], is_there);
    }
    values.flag(Metric::Observe, &[], status.observe);
    values.flag(Metric::ApprovalRequired, &[], status.approval_required);
    values.count(Metric::Generation, &[], status.generation);
    values.at(Metric::GenerationTime, Some(&status.since));
    values.count(Metric::Events, &[], status.events);
    values.count(Metric::SlowTurns, &[], daemon.slow_turns);
    for loss in &status.losses {
        values.count(Metric::Lost, &[&loss.kind], loss.count);
    }
    let audit = &status.audit;
    values.at(Metric::AuditVerified, audit.verified.as_deref());
    if let Some(whole) = audit.whole {
        values.flag(Metric::AuditWhole, &[], whole);
    }
    if let Some(records) = audit.records {
        values.count(Metric::AuditRecords, &[], records);
    }
}

fn of_hooks(values: &mut Values, status: &Status) {
    // Every guarded interface has the program for ingress where any pin wants it.
    let wants_ingress = status.pins.iter().any(|pin| pin.ingress != "off");
    for (hook, is_wanted) in [("egress", true), ("ingress", wants_ingress)] {
        let has = |it: &&crate::control::status::InterfaceStatus| it.hooks.iter().any(|at| at.hook == hook);
        let wanted = if is_wanted { status.interfaces.len() } else { 0 };
        values.size(Metric::HooksWanted, &[hook], wanted);
        values.size(Metric::HooksAttached, &[hook], status.interfaces.iter().filter(has).count());
    }
    let faulty = status.interfaces.iter().filter(|it| it.problem.is_some()).count();
    values.size(Metric::InterfacesFaulty, &[], faulty);
    values.size(Metric::InterfacesUnguarded, &[], status.unguarded.len());
    for asked in &status.bypass.asked {
        values.count(Metric::BypassCalls, &[&asked.way, "refused"], asked.refused);
        values.count(Metric::BypassCalls, &[&asked.way, "allowed"], asked.allowed);
    }
}

fn of_traffic(values: &mut Values, status: &Status) {
    for row in &status.totals {
        let labels = [row.hook.as_str(), &row.verdict, &row.reason];
        values.count(Metric::Packets, &labels, row.packets);
        values.count(Metric::Bytes, &labels, row.bytes);
    }
    // What has no pin is in the totals.
    for row in &status.counters {
        let Some(pin) = row.pin.as_deref() else { continue };
        let place = row.jurisdiction.as_deref().unwrap_or_default();
        let labels = [pin, place, &row.hook, &row.verdict, &row.reason];
        values.count(Metric::PinPackets, &labels, row.packets);
        values.count(Metric::PinBytes, &labels, row.bytes);
    }
    for row in &status.untagged.jurisdictions {
        values.count(Metric::UntaggedPackets, &[&row.jurisdiction], row.packets);
        values.count(Metric::UntaggedBytes, &[&row.jurisdiction], row.bytes);
    }
    values.count(Metric::UnplacedPackets, &[], status.unplaced.packets);
    values.count(Metric::UnplacedBytes, &[], status.unplaced.bytes);
}

fn of_carriers(values: &mut Values, status: &Status) {
    let carriers = &status.carriers;
    values.size(Metric::Carriers, &[], carriers.count);
    values.count(Metric::Copies, &[], carriers.copies);
    for state in ["reported", "accepted", "carrier"] {
        let count = carriers.relays.iter().filter(|relay| relay.state == state).count();
        values.size(Metric::Relays, &[state], count);
    }
    for mounted in [true, false] {
        let count = carriers.volumes.iter().filter(|volume| volume.mounted == mounted).count();
        values.size(Metric::Volumes, &[if mounted { "true" } else { "false" }], count);
    }
}

fn of_database(values: &mut Values, status: &Status) {
    let database = &status.database;
    values.count(Metric::DatabaseInfo, &[&database.source], 1);
    values.at(Metric::DatabaseTime, database.generated.as_deref());
    values.flag(Metric::DatabaseStale, &[], database.stale.is_some());
    values.size(Metric::DatabaseRanges, &["ipv4"], database.ranges_v4);
    values.size(Metric::DatabaseRanges, &["ipv6"], database.ranges_v6);
}

/// Of each exemption that has a place in the kernel's tables, of which there are 256, and is not confidential.
fn of_exemptions(values: &mut Values, exemptions: &[Summary]) {
    for state in State::LISTED {
        let count = exemptions.iter().filter(|it| it.state == state).count();
        values.size(Metric::Exemptions, &[state.name()], count);
    }
    for it in exemptions.iter().filter(|it| it.slot.is_some() && !it.confidential) {
        let version = it.version.to_string();
        let labels = [it.id.as_str(), &version];
        values.count(Metric::ExemptionBytes, &labels, it.used_bytes);
        values.count(Metric::ExemptionPackets, &labels, it.used_packets);
        if let Some(quota) = it.quota_bytes {
            values.count(Metric::ExemptionQuota, &labels, quota);
        }
        values.add(Metric::ExemptionFrom, &labels, Value::At(it.valid_from));
        values.add(Metric::ExemptionUntil, &labels, Value::At(it.valid_until));
    }
}
