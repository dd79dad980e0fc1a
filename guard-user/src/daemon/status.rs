//! What the guard knows, as the object that `borderguard status` shows.

use std::collections::{BTreeMap, BTreeSet};

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
use crate::health::{Enforcement, Health, Problem, ProblemCode};
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
        let problems = self.problems(&exemptions, now);
        Ok(Status {
            health: self.health(&problems),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            config: self.options.config.to_string_lossy().into_owned(),
            fingerprint: format!("{:016x}", self.policy.fingerprint),
            generation: self.generation(),
            since: format!("{:.0}", self.since),
            observe: self.policy.host.observe,
            problems,
            interfaces: self.interfaces(),
            unguarded: self.unguarded(),
            pins: self.pins(&rows),
            totals: counters.totals.iter().map(total).collect(),
            counters: counter_rows(&rows, &counters),
            database: self.database(now),
            exemptions,
            losses: losses(&counters),
            events: 0,
        })
    }

    fn problems(&self, exemptions: &[Summary], now: Timestamp) -> Vec<Problem> {
        let old = self.generation();
        let mut problems = Vec::new();
        if self.enforcement() == Enforcement::Nothing {
            let why = match (self.policy.pins.is_empty(), old) {
                (true, _) => "the config has no pin",
                (_, 0) => "no generation is live",
                _ => "no interface has the program",
            };
            problems.push(Problem::new(ProblemCode::NothingGuarded, why));
        }
        problems.extend(self.refused.iter().map(|why| {
            let message = format!("the config can't be used, generation {old} stays live: {why}");
            Problem::new(ProblemCode::ConfigRefused, message)
        }));
        problems.extend(self.behind.iter().map(|why| {
            Problem::new(ProblemCode::TablesBehind, format!("the kernel's tables are NOT up to date: {why}"))
        }));
        problems.extend(facts::missing_cgroups(&self.policy).into_iter().map(|path| {
            Problem::of(
                ProblemCode::CgroupMissing,
                path,
                "it is gone; nothing is known by it until it is made anew",
            )
        }));
        problems.extend(self.guarded.problems());
        problems.extend(self.store.problems().iter().map(|problem| {
            Problem::of(ProblemCode::StoreDamaged, problem.place.as_str(), problem.reason.as_str())
        }));
        if self.store.is_ahead() {
            let message = "a stay or a revocation holds in the kernel, and the disk has not taken it yet";
            problems.push(Problem::new(ProblemCode::OrderNotKept, message));
        }
        problems.extend(self.gap.iter().map(|why| Problem::new(ProblemCode::AuditGap, why.as_str())));
        if self.policy.approval.is_none() && !exemptions.is_empty() {
            let message = "approvals of exemptions are not verified: the config has no [approval]";
            problems.push(Problem::new(ProblemCode::ApprovalsOff, message));
        }
        problems.extend(self.stale_database(now).map(|why| Problem::new(ProblemCode::DatabaseStale, why)));
        problems.sort();
        problems
    }

    /// The state of the guard with these problems.
    pub(super) fn health(&self, problems: &[Problem]) -> Health {
        Health::of(self.enforcement(), problems)
    }

    /// What the live generation does to packets that it forbids.
    fn enforcement(&self) -> Enforcement {
        let policy = &self.policy;
        if policy.pins.is_empty() || self.generation() == 0 || !self.guards_something() {
            return Enforcement::Nothing;
        }
        match policy.host.observe || policy.pins.iter().all(|pin| pin.action == Action::Observe) {
            true => Enforcement::Observes,
            false => Enforcement::Enforces,
        }
    }

    /// The names of interfaces by which a route leads and that are not guarded.
    fn unguarded(&self) -> Vec<String> {
        let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
        let routed = routed(&read("/proc/self/net/route"), &read("/proc/self/net/ipv6_route"));
        routed.into_iter().filter(|name| !self.guarded.has_egress(name)).collect()
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

/// The names of interfaces by which routes lead beyond this host and its links, of the tables that the kernel
/// shows as `/proc/net/route` and `/proc/net/ipv6_route` (proc_net(5)).
fn routed(ipv4: &str, ipv6: &str) -> BTreeSet<String> {
    let ipv4 = ipv4.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    let ipv6 = ipv6.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let network = words.next()?;
        // Link-scope and multicast routes are there for every interface that is up.
        let is_beyond = !network.starts_with("fe80") && !network.starts_with("ff");
        words.next_back().filter(|_| is_beyond)
    });
    ipv4.chain(ipv6).filter(|name| *name != "lo").map(str::to_owned).collect()
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
    let no_pin =
        |total: &&TotalCount| matches!(total.reason, Reason::NotIp | Reason::Untagged | Reason::NoTables);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_with_a_route_are_found_in_both_families() {
        let ipv4 = "Iface\tDestination\tGateway\neth0\t00000000\t010200C0\neth1\t0002A8C0\t00000000\n";
        let line = |network: &str, name: &str| {
            format!("{network} 00 {network} 00 {network} 00000400 1 0 1 {name}\n")
        };
        let ipv6 = line("20010db8000100000000000000000000", "wg0")
            + &line("fe800000000000000000000000000000", "up0")
            + &line("ff000000000000000000000000000000", "up0")
            + &line("00000000000000000000000000000000", "lo");
        let found: Vec<String> = routed(ipv4, &ipv6).into_iter().collect();
        assert_eq!(found, ["eth0", "eth1", "wg0"]);
        assert!(routed("", "\n").is_empty());
    }
}
