//! Flows as they come in brief: what many have in common is read once, and each comes to what its line would come to.

use std::path::PathBuf;
use std::sync::Arc;

use guard_common::abi::Hook;
use guard_common::verdict::Reason;

use super::{Amount, Key, Names, Seen, Traffic};
use crate::events::brief::{Batch, Common, One};
use crate::events::event::{Endpoint, People, unit};
use crate::explain::flow::End;
use crate::explain::{Flow, Surroundings};

/// What flows have in common, as [`Seen`] has it.
struct Shared {
    names: usize,
    is_event: bool,
    is_forbidden: bool,
    hook: Hook,
    from: Surroundings,
    tunnel: Option<String>,
    no_people: Option<String>,
    tagged: Vec<String>,
    policy: Option<String>,
    judged: (u64, Reason),
    is_tunnelled: bool,
    sender: String,
}

impl Shared {
    fn of(common: &Common, names: usize) -> Self {
        Self {
            names,
            is_event: common.phase.is_some(),
            is_forbidden: !common.pins.is_empty(),
            hook: common.hook,
            from: surroundings(common),
            tunnel: common.tunnel.map(|to| match common.tunnel_source {
                Some(from) => format!("from {from} to {to}"),
                None => format!("to {to}"),
            }),
            no_people: (common.people != People::Shown).then(|| common.people.name().to_owned()),
            tagged: owned(&common.tagged),
            policy: common.policy.as_deref().map(str::to_owned),
            judged: (common.generation, common.reason),
            is_tunnelled: common.is_tunnelled,
            sender: sender_of(common),
        }
    }

    /// A flow that has it, with its own ends.
    fn seen(&self, one: &One, (source, destination): (Endpoint, Endpoint)) -> Seen {
        let end = |Endpoint { ip, port }: Endpoint| End { address: ip, port };
        let (storage, peer) = (end(source), end(destination));
        let is_ingress = self.hook == Hook::Ingress;
        let flow = Flow {
            time: one.time,
            hook: self.hook,
            source: if is_ingress { peer } else { storage },
            destination: if is_ingress { storage } else { peer },
            protocol: one.protocol,
            from: self.from.clone(),
            tunnel: self.tunnel.clone(),
            no_people: self.no_people.clone(),
        };
        Seen {
            flow,
            tagged: self.tagged.clone(),
            policy: self.policy.clone(),
            judged: Some(self.judged),
            is_tunnelled: self.is_tunnelled,
            sender: self.sender.clone(),
            amount: Amount::default(),
            unknown_end: None,
        }
    }
}

impl Traffic {
    /// Takes up flows in brief: events of the history, and records of the kernel.
    pub fn brief(&mut self, batch: &Batch) {
        let mut shared = Vec::with_capacity(batch.common.len());
        for common in &batch.common {
            let names = self.number_of(names(common));
            shared.push(Shared::of(common, names));
        }
        for one in &batch.flows {
            if let Some(shared) = shared.get(one.common) {
                self.add(one, shared);
            }
        }
    }

    fn add(&mut self, one: &One, shared: &Shared) {
        let within = self.within(Some(one.time));
        if within == [false; 2] {
            return;
        }
        let amount = Amount { flows: 0, packets: one.packets, bytes: one.bytes };
        let is_call = shared.hook.is_of_calls();
        let (false, Some(source), Some(destination)) = (is_call, one.source, one.destination) else {
            if within[0] {
                self.judge_not(is_call, amount);
            }
            return;
        };
        let seen = shared.seen(one, (source, destination));
        let key = Key::of(&seen.flow, shared.names);
        match shared.is_event {
            true => self.add_event(key, seen, amount),
            false => self.add_record(key, seen, amount, (shared.is_forbidden, Some(one.start))),
        }
    }
}

fn owned(texts: &[Arc<str>]) -> Vec<String> {
    texts.iter().map(|text| (**text).to_owned()).collect()
}

fn names(common: &Common) -> Names {
    let name = |name: &str| Some(name.to_owned());
    Names {
        single: [
            name(common.hook.name()),
            name(common.verdict.name()),
            name(common.reason.name()),
            name(common.jurisdiction.as_str()),
            name(common.placed_by.name()),
            common.exemption.as_deref().and_then(name),
        ],
        tagged: owned(&common.tagged),
        pins: owned(&common.pins),
    }
}

/// Where a flow's packets came from, as far as that is said.
fn surroundings(common: &Common) -> Surroundings {
    let process = common.process.as_ref();
    let user = process.map(|it| {
        let name = it.user.as_deref().map(str::to_owned);
        (name.unwrap_or_else(|| it.uid.to_string()), it.uid)
    });
    let cgroup = common.cgroup.as_ref().or_else(|| process.and_then(|it| it.cgroup.as_ref()));
    Surroundings {
        interface: common.interface.as_deref().map(str::to_owned),
        mark: common.mark,
        cgroup: cgroup.map(|path| (**path).to_owned()),
        user,
        volumes: common.volumes.iter().map(|path| PathBuf::from(&**path)).collect(),
        process: process.map(|it| format!("{} ({})", it.command, it.pid)),
        ..Surroundings::default()
    }
}

/// Who sent, as groups are named.
pub(crate) fn sender_of(common: &Common) -> String {
    if common.people != People::Shown {
        return format!("({})", common.people.name());
    }
    let unit_of = |path: &str| unit(path).unwrap_or(path).to_owned();
    match (&common.process, common.cgroup.as_deref()) {
        (Some(process), _) => match process.unit() {
            Some(unit) => format!("{} ({unit})", process.command),
            None => process.command.to_string(),
        },
        (None, cgroup) => cgroup.map_or_else(|| "(not known)".to_owned(), unit_of),
    }
}
