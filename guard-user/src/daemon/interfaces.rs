//! Which interfaces are guarded, which should be, and why one is not.

use std::collections::BTreeMap;

use guard_common::abi::Hook;
use serde_json::json;
use tracing::{error, info, warn};

use super::facts;
use super::guard::Guard;
use super::trail;
use crate::audit::Kind;
use crate::config::policy::{Ingress, Policy};
use crate::kernel::{Interface, KernelError, NamedAttachment, OrderProblem};

/// What became of each interface that the config names.
#[derive(Debug, Default)]
pub(super) struct Guarded {
    /// By name.
    pub(super) interfaces: BTreeMap<String, Outcome>,
    /// What is wrong with attachments, by interface and hook.
    pub(super) order: Vec<String>,
    /// Why the interfaces can't be looked at at all.
    pub(super) blind: Option<String>,
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Its index; `None` where there is no such interface.
    pub(super) index: Option<u32>,
    /// What is attached.
    pub(super) attachments: Vec<NamedAttachment>,
    /// Why it is not guarded as it should be.
    pub(super) problem: Option<String>,
}

impl Guarded {
    /// Takes up what became of an interface, and says so where it is news.
    fn set(&mut self, name: &str, outcome: Outcome) {
        let before = self.interfaces.get(name);
        if before == Some(&outcome) {
            return;
        }
        match (&outcome.problem, before.and_then(|before| before.problem.as_ref())) {
            (Some(problem), before) if before != Some(problem) => {
                error!("{name} is NOT guarded as it should be: {problem}")
            }
            (None, _) => {
                let hooks: Vec<String> = outcome
                    .attachments
                    .iter()
                    .map(|attachment| format!("{} by {}", attachment.hook.name(), attachment.how.name()))
                    .collect();
                info!("{name} is guarded: {}", hooks.join(", "));
            }
            _ => {}
        }
        self.interfaces.insert(name.to_owned(), outcome);
    }
}

impl Guard {
    /// Attaches to every interface that the config names, and lets go of those that it names no more.
    pub(super) fn attach_all(&mut self) {
        self.guarded.interfaces.retain(|_, outcome| outcome.problem.is_some());
        self.look_at_interfaces();
    }

    /// Looks at the interfaces again: something may have come, gone or changed.
    pub fn look_at_interfaces(&mut self) {
        let all = match Interface::all() {
            Ok(all) => all,
            Err(error) => return self.cannot_look(&error),
        };
        // Where pins select interfaces, their numbers must be in the tables before packets come from them.
        let facts = self.present_facts(&all);
        let changed = facts.cgroups != self.facts.cgroups
            || (facts::selects_interfaces(&self.policy) && facts.interfaces != self.facts.interfaces);
        if changed {
            self.renew_or_say("the change of interfaces or cgroups is NOT in the kernel's tables yet");
        }
        let wanted: Vec<&Interface> =
            all.iter().filter(|interface| is_wanted(&self.policy, &interface.name)).collect();
        let attached = match self.kernel.attachments() {
            Ok(attached) => attached,
            Err(error) => return self.cannot_look(&error),
        };
        self.guarded.blind = None;
        self.release_unwanted(&wanted, &attached);
        for interface in wanted {
            let known = self.guarded.interfaces.get(&interface.name);
            let is_guarded = known
                .is_some_and(|outcome| outcome.problem.is_none() && outcome.index == Some(interface.index));
            if !is_guarded {
                self.attach_one(interface, &attached);
            }
        }
        self.note_missing(&all);
    }

    fn cannot_look(&mut self, error: &KernelError) {
        error!("the network interfaces can't be looked at: {error}");
        self.guarded.blind = Some(format!("the network interfaces can't be looked at: {error}"));
    }

    fn attach_one(&mut self, interface: &Interface, before: &[NamedAttachment]) {
        let ingress = wants_ingress(&self.policy);
        let (attachments, problem) = match self.kernel.attach_and_list(interface, ingress) {
            Ok(attachments) => (attachments, None),
            Err(error) => {
                // Where ingress alone fails, egress stays guarded.
                let attached = self.kernel.attachments().unwrap_or_default();
                let own = attached.into_iter().filter(|attachment| attachment.index == interface.index);
                (own.collect(), Some(error.to_string()))
            }
        };
        // A reload attaches again, and so does a daemon that takes over: what was there is no news.
        let is_new = |made: &NamedAttachment| {
            !before.iter().any(|found| (found.index, found.hook) == (made.index, made.hook))
        };
        if attachments.iter().any(is_new) {
            let hooks: Vec<String> = attachments.iter().map(|it| it.hook.name().to_owned()).collect();
            let detail = json!({"hooks": hooks, "index": interface.index});
            self.record(trail::now(Kind::Attach, &trail::daemon(), &interface.name, "", detail));
        }
        self.guarded.set(&interface.name, Outcome { index: Some(interface.index), attachments, problem });
    }

    /// Lets go of what an earlier config or daemon attached to and this config does not name, and of
    /// interfaces that are gone.
    fn release_unwanted(&mut self, wanted: &[&Interface], attached: &[NamedAttachment]) {
        let mut names: Vec<&str> = attached.iter().map(|attachment| attachment.interface.as_str()).collect();
        names.dedup();
        for name in names {
            if wanted.iter().any(|interface| interface.name == name) {
                continue;
            }
            match self.kernel.release_name(name) {
                Ok(_) => {
                    info!("{name} is not guarded any more: it is gone, or the config does not name it");
                    self.record(trail::now(Kind::Detach, &trail::daemon(), name, "", json!({})));
                }
                Err(error) => warn!("{name} can't be let go: {error}"),
            }
        }
        let names_it =
            |name: &str| self.policy.host.interfaces.iter().any(|pattern| pattern.as_str() == name);
        self.guarded.interfaces.retain(|name, outcome| {
            let is_there = wanted.iter().any(|interface| interface.name == *name);
            is_there || (outcome.index.is_none() && names_it(name))
        });
    }

    /// An interface that the config names by its full name and that is not there.
    fn note_missing(&mut self, all: &[Interface]) {
        let literal = self.policy.host.interfaces.iter().filter(|pattern| !pattern.is_glob());
        let missing: Vec<String> = literal
            .map(|pattern| pattern.as_str().to_owned())
            .filter(|name| all.iter().all(|interface| interface.name != *name))
            .collect();
        for name in missing {
            let problem = "there is no such interface; it is guarded as soon as it appears".to_owned();
            self.guarded.set(&name, Outcome { index: None, attachments: Vec::new(), problem: Some(problem) });
        }
    }

    /// Looks at every attachment: is it there, is it first? What was taken off is attached again.
    pub fn check_attachments(&mut self) {
        let problems = match self.kernel.check_order() {
            Ok(problems) => problems,
            Err(error) => return self.cannot_look(&error),
        };
        let again: Vec<String> = problems
            .iter()
            .filter(|problem| !matches!(problem, OrderProblem::NotFirst { .. }))
            .map(|problem| problem.attachment().interface.clone())
            .collect();
        let order: Vec<String> = problems.iter().map(ToString::to_string).collect();
        for problem in order.iter().filter(|problem| !self.guarded.order.contains(problem)) {
            error!("{problem}");
        }
        for name in &again {
            self.guarded.interfaces.remove(name);
        }
        let taken_off = !again.is_empty() || self.some_attachment_is_gone();
        self.guarded.order = order;
        if taken_off {
            self.look_at_interfaces();
        }
    }

    /// Whether an attachment that was made is not among those that there are: its pin was removed.
    fn some_attachment_is_gone(&mut self) -> bool {
        let Ok(there) = self.kernel.attachments() else { return false };
        let gone: Vec<String> = self
            .guarded
            .interfaces
            .iter()
            .filter(|(_, outcome)| {
                let is_there = |made: &NamedAttachment| {
                    there.iter().any(|found| (found.index, found.hook) == (made.index, made.hook))
                };
                outcome.problem.is_none() && !outcome.attachments.iter().all(is_there)
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in &gone {
            error!("{name}: something has taken Border Guard off; it is attached again");
            self.guarded.interfaces.remove(name);
        }
        !gone.is_empty()
    }

    /// Whether every interface that the config names is guarded.
    #[must_use]
    pub fn guards_something(&self) -> bool {
        let egress = |attachment: &NamedAttachment| attachment.hook == Hook::Egress;
        self.guarded.interfaces.values().any(|outcome| outcome.attachments.iter().any(egress))
    }
}

fn is_wanted(policy: &Policy, name: &str) -> bool {
    policy.host.interfaces.iter().any(|pattern| pattern.matches(name))
}

fn wants_ingress(policy: &Policy) -> bool {
    policy.pins.iter().any(|pin| pin.ingress != Ingress::Off)
}
