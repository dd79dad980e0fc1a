//! What the guard knows, as the object that `borderguard status` shows.

use std::collections::BTreeMap;

use guard_common::abi::Loss;
use guard_common::verdict::{Reason, Verdict};
use jiff::Timestamp;

use super::facts;
use super::guard::Guard;
use super::ledger::{Judgement, Rows};
use super::{action_name, ingress_name};
use crate::config::policy::{Action, Ingress};
use crate::control::status::{
    CounterStatus, DatabaseStatus, HookStatus, InterfaceStatus, LossStatus, PinStatus, PlaceStatus, Status,
    TotalStatus, VerdictStatus,
};
use crate::exemption::Summary;
use crate::geo::Info;
use crate::kernel::{Counters, KernelError, TotalCount};

/// Jurisdictions that a pin's row names.
const TOP: usize = 5;

impl Guard {
    /// Everything that is known, without what the event side adds.
    ///
    /// # Errors
    /// Where the kernel can't be asked.
    pub(super) fn status(&mut self) -> Result<Status, KernelError> {
        let exemptions = self.list_exemptions();
        let counters = self.kernel.counters()?;
        let rows = self.ledger.by_name(&counters);
        let now = Timestamp::now();
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            config: self.options.config.to_string_lossy().into_owned(),
            fingerprint: format!("{:016x}", self.policy.fingerprint),
            generation: self.generation(),
            since: format!("{:.0}", self.since),
            observe: self.policy.host.observe,
            problems: self.problems(&exemptions, now),
            interfaces: self.interfaces(),
            pins: self.pins(&rows),
            totals: counters.totals.iter().map(total).collect(),
            counters: counter_rows(&rows, &counters),
            database: self.database(now),
            exemptions,
            losses: losses(&counters),
            events: 0,
        })
    }

    fn problems(&self, exemptions: &[Summary], now: Timestamp) -> Vec<String> {
        let mut problems = Vec::new();
        let old = self.generation();
        problems.extend(
            self.refused
                .iter()
                .map(|why| format!("the config can't be used, generation {old} stays live: {why}")),
        );
        problems
            .extend(self.behind.iter().map(|why| format!("the kernel's tables are NOT up to date: {why}")));
        problems.extend(
            facts::missing_cgroups(&self.policy).iter().map(|path| {
                format!("the cgroup {path} is gone; nothing is known by it until it is made anew")
            }),
        );
        problems.extend(self.guarded.blind.clone());
        for (name, outcome) in &self.guarded.interfaces {
            problems.extend(outcome.problem.iter().map(|problem| format!("{name}: {problem}")));
        }
        problems.extend(self.guarded.order.iter().cloned());
        if !self.guards_something() {
            problems.push("NOTHING is guarded: no interface has the program".to_owned());
        }
        problems.extend(self.store.problems().iter().map(|problem| format!("exemption: {problem}")));
        problems.extend(self.gap.iter().map(|why| format!("the audit trail has a gap: {why}")));
        if self.policy.approval.is_none() && !exemptions.is_empty() {
            problems
                .push("approvals of exemptions are not verified: the config has no [approval]".to_owned());
        }
        problems.extend(self.stale_database(now));
        problems
    }

    /// Why the geo database should not be relied on any longer.
    pub(super) fn stale_database(&self, now: Timestamp) -> Option<String> {
        self.database.stale(now, self.policy.geo.max_age).map(|stale| stale.to_string())
    }

    fn interfaces(&self) -> Vec<InterfaceStatus> {
        let one = |(name, outcome): (&String, &super::interfaces::Outcome)| InterfaceStatus {
            name: name.clone(),
            index: outcome.index,
            hooks: outcome
                .attachments
                .iter()
                .map(|attachment| HookStatus {
                    hook: attachment.hook.name().to_owned(),
                    mode: attachment.how.name().to_owned(),
                })
                .collect(),
            problem: outcome.problem.clone(),
        };
        self.guarded.interfaces.iter().map(one).collect()
    }

    fn pins(&self, rows: &Rows<String>) -> Vec<PinStatus> {
        let observe = self.policy.host.observe;
        let one = |pin: &crate::config::policy::Pin| PinStatus {
            name: pin.name.clone(),
            home: pin.home.to_string(),
            action: action_name(if observe { Action::Observe } else { pin.action }).to_owned(),
            ingress: ingress_name(if observe { pin.ingress.min(Ingress::Flag) } else { pin.ingress })
                .to_owned(),
            line: pin.line,
            verdicts: verdicts(&pin.name, rows),
            top: top(&pin.name, rows),
        };
        self.policy.pins.iter().map(one).collect()
    }

    fn database(&self, now: Timestamp) -> DatabaseStatus {
        let Info { source, licence, generated, ranges_v4, ranges_v6, .. } = &self.database;
        DatabaseStatus {
            source: source.clone(),
            files: self.policy.geo.files.iter().map(|file| file.to_string_lossy().into_owned()).collect(),
            licence: licence.clone(),
            generated: generated.map(|generated| generated.to_string()),
            age_days: self.database.age(now).map(|age| age.as_hours() / 24),
            stale: self.stale_database(now),
            ranges_v4: *ranges_v4,
            ranges_v6: *ranges_v6,
        }
    }
}

fn verdicts(pin: &str, rows: &Rows<String>) -> Vec<VerdictStatus> {
    let mut sums = [(0, 0); Verdict::COUNT];
    for ((_, judgement), (packets, bytes)) in rows.iter().filter(|((name, _), _)| name == pin) {
        if let Some(sum) = sums.get_mut(judgement.verdict() as usize) {
            *sum = (sum.0 + packets, sum.1 + bytes);
        }
    }
    Verdict::ALL
        .into_iter()
        .zip(sums)
        .map(|(verdict, (packets, bytes))| VerdictStatus {
            verdict: verdict.name().to_owned(),
            packets,
            bytes,
        })
        .collect()
}

fn top(pin: &str, rows: &Rows<String>) -> Vec<PlaceStatus> {
    let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for ((_, judgement), (packets, bytes)) in rows.iter().filter(|((name, _), _)| name == pin) {
        if is_placed(*judgement) {
            let sum = sums.entry(judgement.jurisdiction().as_str()).or_default();
            *sum = (sum.0 + packets, sum.1 + bytes);
        }
    }
    let mut places: Vec<PlaceStatus> = sums
        .into_iter()
        .map(|(jurisdiction, (packets, bytes))| PlaceStatus {
            jurisdiction: jurisdiction.to_owned(),
            packets,
            bytes,
        })
        .collect();
    places.sort_by_key(|place| std::cmp::Reverse(place.bytes));
    places.truncate(TOP);
    places
}

/// Whether packets of this outcome had a destination that was placed.
fn is_placed(judgement: Judgement) -> bool {
    matches!(
        judgement.reason(),
        Reason::Permitted
            | Reason::Exempt
            | Reason::Forbidden
            | Reason::PlaceUnknown
            | Reason::PlaceUncertain
            | Reason::ExemptionExpired
            | Reason::ExemptionNotYet
            | Reason::ExemptionExhausted
    )
}

fn total(row: &TotalCount) -> TotalStatus {
    TotalStatus {
        hook: row.hook.name().to_owned(),
        verdict: row.verdict.name().to_owned(),
        reason: row.reason.name().to_owned(),
        packets: row.count.packets,
        bytes: row.count.bytes,
    }
}

/// The counts by pin, and of those packets that have none.
fn counter_rows(rows: &Rows<String>, counters: &Counters) -> Vec<CounterStatus> {
    let of_pins = rows.iter().map(|((name, judgement), (packets, bytes))| CounterStatus {
        pin: Some(name.clone()),
        jurisdiction: is_placed(*judgement).then(|| judgement.jurisdiction().to_string()),
        hook: judgement.hook().name().to_owned(),
        verdict: judgement.verdict().name().to_owned(),
        reason: judgement.reason().name().to_owned(),
        packets: *packets,
        bytes: *bytes,
    });
    let no_pin = |total: &&TotalCount| {
        matches!(total.reason, Reason::NotIp | Reason::Untagged | Reason::NoTables | Reason::Busy)
    };
    let of_none = counters.totals.iter().filter(no_pin).map(|total| CounterStatus {
        pin: None,
        jurisdiction: None,
        hook: total.hook.name().to_owned(),
        verdict: total.verdict.name().to_owned(),
        reason: total.reason.name().to_owned(),
        packets: total.count.packets,
        bytes: total.count.bytes,
    });
    of_pins.chain(of_none).collect()
}

fn losses(counters: &Counters) -> Vec<LossStatus> {
    Loss::ALL
        .into_iter()
        .zip(counters.lost)
        .map(|(loss, count)| LossStatus { kind: loss.name().to_owned(), count })
        .collect()
}
