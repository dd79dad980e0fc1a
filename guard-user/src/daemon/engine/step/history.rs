//! What the flow history is to keep, and what is under a legal hold.

use std::sync::Arc;

use jiff::Timestamp;

use crate::config::policy::Policy;
use crate::config::suggest::nearest;
use crate::daemon::engine::Action;
use crate::daemon::engine::state::Engine;
use crate::exemption::{Clocks, Summary};
use crate::health::{Problem, ProblemCode};
use crate::history::Settings;
use crate::history::hold::{Held, Transfer};
use crate::store::Kept;

impl Engine {
    /// Tells the flow history what to keep, where that has changed.
    pub(super) fn follow_history(&mut self, now: Clocks) {
        let policy = &self.config.policy;
        let names = &policy.history.hold.names;
        let is_told = self.told_history.as_ref().is_some_and(|(told, kept)| {
            Arc::ptr_eq(told, policy) && (names.is_empty() || kept.is_same(&self.kept))
        });
        if is_told {
            return;
        }
        self.told_history = Some((Arc::clone(policy), self.kept.clone()));
        let settings = history_settings(policy, &self.kept, now.wall);
        self.actions.push(Action::FlowHistory(Box::new(settings)));
    }

    /// The legal holds of a policy by which nothing is held. While the store can't be used, nobody knows what was loaded.
    fn unknown_holds<'p>(&self, policy: &'p Policy) -> Vec<&'p str> {
        let names = policy.history.hold.names.iter().map(String::as_str).filter(|_| self.kept.is_usable());
        names
            .filter(|name| policy.pins.iter().all(|pin| pin.name != *name) && !self.kept.was_loaded(name))
            .collect()
    }

    /// The legal holds in force by which nothing is held.
    pub(super) fn problems_of_holds(&self) -> Vec<Problem> {
        let unknown = self.unknown_holds(&self.config.policy);
        let problem = |name: &str| {
            let message = "it is neither a pin of the config nor the id of an exemption that was ever loaded: nothing is \
                           copied by it";
            Problem::of(ProblemCode::HoldUnknown, name, message)
        };
        unknown.into_iter().map(problem).collect()
    }

    /// What the answer to a reload says of such holds of this policy, with the name that may be meant.
    pub(super) fn words_of_holds(&self, policy: &Policy) -> String {
        let words = |name: &str| {
            let pins = policy.pins.iter().map(|pin| pin.name.as_str());
            let meant = nearest(name, pins.chain(self.kept.ids()));
            let meant = meant.map(|meant| format!(" (did you mean \"{meant}\"?)")).unwrap_or_default();
            format!(
                "; the legal hold \"{name}\"{meant} is neither a pin of the config nor the id of an exemption that was ever \
                 loaded: nothing is copied by it"
            )
        };
        self.unknown_holds(policy).into_iter().map(words).collect()
    }
}

/// What the flow history is to keep by this policy, and what its legal holds cover of these exemptions.
#[must_use]
pub fn history_settings(policy: &Policy, kept: &Kept, now: Timestamp) -> Settings {
    let names = &policy.history.hold.names;
    let exemptions = if names.is_empty() { Vec::new() } else { kept.list(now) };
    let held = names.iter().map(|name| Held {
        name: name.clone(),
        transfers: exemptions.iter().filter(|it| it.id == *name).flat_map(transfers).collect(),
    });
    Settings { config: policy.history.clone(), pins: policy.pin_names(), held: held.collect() }
}

/// What an exemption is about, a recipient each.
fn transfers(exemption: &Summary) -> Vec<Transfer> {
    let of = |recipient: &crate::exemption::summary::RecipientSummary| Transfer {
        pins: exemption.pins.clone(),
        jurisdiction: recipient.jurisdiction.clone(),
        // As the document was checked by it, each is one.
        cidrs: recipient.cidrs.iter().filter_map(|cidr| cidr.parse().ok()).collect(),
    };
    exemption.recipients.iter().map(of).collect()
}
