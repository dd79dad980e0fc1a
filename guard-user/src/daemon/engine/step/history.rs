//! What the flow history is to keep, and what is under a legal hold.

use std::sync::Arc;

use crate::daemon::engine::Action;
use crate::daemon::engine::state::Engine;
use crate::exemption::{Clocks, Summary};
use crate::history::Settings;
use crate::history::hold::{Held, Transfer};

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
        let exemptions = if names.is_empty() { Vec::new() } else { self.kept.list(now.wall) };
        let held = names.iter().map(|name| Held {
            name: name.clone(),
            transfers: exemptions.iter().filter(|it| it.id == *name).flat_map(transfers).collect(),
        });
        let settings =
            Settings { config: policy.history.clone(), pins: policy.pin_names(), held: held.collect() };
        self.actions.push(Action::FlowHistory(Box::new(settings)));
    }
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
