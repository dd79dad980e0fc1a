//! What the flow history is to keep, and what is under a legal hold.

use std::sync::Arc;

use jiff::Timestamp;

use crate::config::policy::Policy;
use crate::daemon::engine::Action;
use crate::daemon::engine::state::Engine;
use crate::exemption::{Clocks, Summary};
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
