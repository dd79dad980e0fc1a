//! What the daemon knows, as the object that `borderguard status` shows.

use std::collections::{BTreeMap, BTreeSet};

use guard_common::abi::{self, Bypass, Hook, Loss, Side};
use guard_common::verdict::{Reason, Verdict};

use crate::config::policy::{Action, Ingress, Pin};
use crate::control::status::{
    BypassAllowStatus, BypassCount, BypassStatus, CounterStatus, DatabaseStatus, HookStatus, InterfaceStatus,
    LossStatus, PinStatus, PlaceStatus, ProcessStatus, SocketsStatus, Status, TotalStatus, UnplacedStatus,
    UntaggedFlowStatus, UntaggedStatus, VerdictStatus,
};
use crate::daemon::engine::interfaces::Claim;
use crate::daemon::engine::state::Engine;
use crate::daemon::{action_name, ingress_name};
use crate::events::event::protocol_name;
use crate::events::event::{People, Process, unit};
use crate::exemption::{Clocks, Summary};
use crate::geo::Info;
use crate::health::Health;
use crate::kernel::{Counters, ObservedInterface, TotalCount, UntaggedCount, UntaggedFlow};
use crate::store::{Judgement, Rows};
use crate::unpinned;

/// Jurisdictions that a pin's row names.
const TOP: usize = 5;

impl Engine {
    /// Everything that is known.
    pub(super) fn status(&self, exemptions: Vec<Summary>, now: Clocks) -> Status {
        let sample = &self.reads.sample;
        let counters = &sample.counters;
        let rows = self.counts.by_name(counters);
        let problems = self.problems(now);
        let policy = &self.config.policy;
        let since = self.publishing.since.map(|since| format!("{since:.0}")).unwrap_or_default();
        let mut losses = losses(counters);
        let told = [
            ("evicted", sample.evicted),
            ("log", sample.log_lost),
            ("diagnostics", sample.diagnostics_lost),
            ("history", sample.history_lost.0),
            ("hold", sample.history_lost.1),
        ];
        for (kind, count) in told {
            losses.push(LossStatus { kind: kind.to_owned(), count });
        }
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            config: self.config.file.to_string_lossy().into_owned(),
            fingerprint: format!("{:016x}", policy.fingerprint),
            generation: self.publishing.generation(),
            since,
            observe: policy.host.observe,
            approval_required: policy.approval.is_some(),
            health: Health::of(self.enforcement(), &problems),
            problems,
            unconfirmed: self.unconfirmed_status(now),
            interfaces: self.interface_rows(),
            unguarded: self.unguarded(),
            bypass: self.bypass_status(counters),
            protect: self.protect_status(),
            sockets: self.sockets_status(),
            carriers: self.carriers_status(now),
            unplaced: UnplacedStatus {
                times: self.cgroups.placed,
                milliseconds: self.cgroups.took_ns.div_ceil(1_000_000),
                packets: counters.unplaced.packets,
                bytes: counters.unplaced.bytes,
            },
            untagged: UntaggedStatus {
                jurisdictions: untagged_places(counters),
                // The kernel keeps those of an earlier time when it observed.
                flows: sample
                    .untagged
                    .iter()
                    .filter(|_| policy.host.observe)
                    .map(|flow| self.untagged_flow(flow))
                    .collect(),
            },
            unpinned: sample.reachable.as_ref().map(|reachable| unpinned::of(policy, reachable)),
            pins: self.pin_rows(&rows),
            totals: counters.totals.iter().map(total).collect(),
            counters: counter_rows(&rows, counters),
            database: self.database(now),
            exemptions,
            holds: policy.history.hold.names.clone(),
            audit: self.verified.clone(),
            losses,
            events: sample.events,
            people: People::Shown.name().to_owned(),
        }
    }

    /// Interfaces that are guarded, and those that should be.
    fn interface_rows(&self) -> Vec<InterfaceStatus> {
        let Some(observed) = &self.interfaces.observed else { return Vec::new() };
        let claimed = observed.interfaces.iter().filter(|it| self.claim(it) != Claim::None);
        let mut rows: Vec<InterfaceStatus> = claimed.map(|it| self.interface_row(it)).collect();
        for pattern in self.config.policy.host.interfaces.iter().filter(|pattern| !pattern.is_glob()) {
            if rows.iter().all(|row| row.name != pattern.as_str()) {
                rows.push(InterfaceStatus {
                    name: pattern.as_str().to_owned(),
                    index: None,
                    hooks: Vec::new(),
                    problem: Some(
                        "there is no such interface; it is guarded as soon as it appears".to_owned(),
                    ),
                });
            }
        }
        rows.sort_by(|one, other| one.name.cmp(&other.name));
        rows
    }

    fn interface_row(&self, it: &ObservedInterface) -> InterfaceStatus {
        let hook = |attachment: &crate::kernel::Attachment| HookStatus {
            hook: attachment.hook.name().to_owned(),
            mode: attachment.how.name().to_owned(),
        };
        InterfaceStatus {
            name: it.interface.name.clone(),
            index: Some(it.interface.index),
            hooks: it.attachments.iter().map(hook).collect(),
            problem: self.interface_problem(it),
        }
    }

    /// Interfaces by which packets can leave and that are not guarded.
    fn unguarded(&self) -> Vec<String> {
        let Some(observed) = &self.interfaces.observed else { return Vec::new() };
        let exits: BTreeSet<u32> = self.unguarded_exits().map(|it| it.index).collect();
        let is_open = |it: &&ObservedInterface| {
            it.at(Hook::Egress).is_none() && (it.has_route || exits.contains(&it.interface.index))
        };
        let open = observed.interfaces.iter().filter(is_open);
        open.map(|it| it.interface.name.clone()).collect()
    }

    fn bypass_status(&self, counters: &Counters) -> BypassStatus {
        let allow = |(path, is_there): (&str, bool)| BypassAllowStatus { cgroup: path.to_owned(), is_there };
        let count = |way: Bypass| BypassCount {
            way: way.name().to_owned(),
            refused: counters.bypasses_of(way, false),
            allowed: counters.bypasses_of(way, true),
        };
        BypassStatus {
            refused: self.config.policy.refuses_bypass(),
            cgroup: format!("/{}", self.config.policy.bypass.cgroup),
            attached: self.bypass.is_attached(),
            allow: self.bypass.allowed().map(allow).collect(),
            asked: Bypass::ALL.into_iter().map(count).collect(),
        }
    }

    fn sockets_status(&self) -> SocketsStatus {
        let wanted = &self.config.policy.sockets;
        SocketsStatus {
            noted: wanted.note,
            cgroup: format!("/{}", wanted.cgroup),
            attached: self.noting.is_attached(),
            refused: self.refuses_calls(),
            not_refused: self.why_no_call_is_refused(),
        }
    }

    /// Whether the live tables have calls refused, and the hooks are there that do it.
    fn refuses_calls(&self) -> bool {
        let live = self.publishing.live.as_ref();
        live.is_some_and(|live| live.facts.refuse_in != 0) && self.noting.is_attached()
    }

    /// The network namespace in which the live tables have calls refused; 0: in none.
    #[cfg(test)]
    pub(in crate::daemon::engine) fn refuses_in(&self) -> u64 {
        self.publishing.live.as_ref().map_or(0, |live| live.facts.refuse_in)
    }

    fn why_no_call_is_refused(&self) -> Option<String> {
        let policy = &self.config.policy;
        if !policy.sockets.refuse || self.refuses_calls() {
            return None;
        }
        Some(match self.interfaces.refuse_in() {
            _ if policy.host.observe => "while `host.observe` is set, nothing is refused".to_owned(),
            _ if !self.config.first_refuses() => "the daemon has to be started again for it".to_owned(),
            _ if !self.noting.is_attached() => "the hooks are not attached".to_owned(),
            Err(why) => why,
            Ok(_) => "the tables that have them refused are on their way".to_owned(),
        })
    }

    fn untagged_process(&self, noted: &abi::Process) -> Option<ProcessStatus> {
        let sample = &self.reads.sample;
        let process = Process::of(noted)?;
        let cgroup = sample.cgroups.get(&process.cgroup_id).cloned();
        Some(ProcessStatus {
            pid: process.pid,
            command: process.command.into(),
            uid: process.uid,
            user: sample.users.get(&process.uid).cloned(),
            unit: cgroup.as_deref().and_then(unit).map(str::to_owned),
            cgroup,
        })
    }

    fn untagged_flow(&self, flow: &UntaggedFlow) -> UntaggedFlowStatus {
        let observed = self.interfaces.observed.as_ref();
        let interface = observed
            .and_then(|observed| observed.interfaces.iter().find(|it| it.interface.index == flow.ifindex));
        let protocol = protocol_name(flow.protocol).map_or_else(|| flow.protocol.to_string(), str::to_owned);
        UntaggedFlowStatus {
            peer: flow.peer.to_string(),
            jurisdiction: flow.place.jurisdiction().to_string(),
            protocol,
            side: flow.side.name().to_owned(),
            port: (flow.side != Side::None).then_some(flow.port),
            interface: interface.map(|it| it.interface.name.clone()),
            cgroup: self.reads.sample.cgroups.get(&flow.cgroup).cloned(),
            process: self.untagged_process(&flow.process),
            packets: flow.count.packets,
            bytes: flow.count.bytes,
        }
    }

    fn pin_rows(&self, rows: &Rows<String>) -> Vec<PinStatus> {
        let observe = self.config.policy.host.observe;
        let one = |pin: &Pin| PinStatus {
            name: pin.name.clone(),
            home: pin.home.to_string(),
            action: action_name(if observe { Action::Observe } else { pin.action }).to_owned(),
            ingress: ingress_name(if observe { pin.ingress.min(Ingress::Flag) } else { pin.ingress })
                .to_owned(),
            line: pin.line,
            verdicts: verdicts(&pin.name, rows),
            top: top(&pin.name, rows),
        };
        self.config.policy.distinct_pins().map(one).collect()
    }

    fn database(&self, now: Clocks) -> DatabaseStatus {
        let Info { source, licence, generated, ranges_v4, ranges_v6, .. } = &self.config.database;
        DatabaseStatus {
            source: source.clone(),
            files: self
                .config
                .policy
                .geo
                .files
                .iter()
                .map(|file| file.to_string_lossy().into_owned())
                .collect(),
            licence: licence.clone(),
            generated: generated.map(|generated| generated.to_string()),
            age_days: self.config.database.age(now.wall).map(|age| age.as_hours() / 24),
            stale: self.stale_database(now),
            ranges_v4: *ranges_v4,
            ranges_v6: *ranges_v6,
        }
    }
}

fn untagged_places(counters: &Counters) -> Vec<PlaceStatus> {
    let place = |row: &UntaggedCount| PlaceStatus {
        jurisdiction: row.jurisdiction.to_string(),
        packets: row.count.packets,
        bytes: row.count.bytes,
    };
    let mut places: Vec<PlaceStatus> = counters.untagged.iter().map(place).collect();
    places.sort_by_key(|place| std::cmp::Reverse(place.bytes));
    places
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
        Reason::Failsafe
            | Reason::Permitted
            | Reason::Exempt
            | Reason::Forbidden
            | Reason::PlaceUnknown
            | Reason::PlaceUncertain
            | Reason::ExemptionExpired
            | Reason::ExemptionNotYet
            | Reason::ExemptionExhausted
            | Reason::FailsafeExhausted
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
