//! By what canaries are planned, and that one is handed back.

use std::sync::Arc;

use crate::canary::{self, Guarded};
use crate::control::protocol::{ErrorKind, Response};
use crate::daemon::engine::state::Engine;
use crate::daemon::engine::{Action, Canaries, Ticket};

impl Engine {
    /// Tells who sends canaries by what they are planned, where that has changed and a generation is live.
    pub(super) fn follow_canaries(&mut self) {
        let policy = &self.config.policy;
        if self.told_canaries.is_none() && policy.pins.iter().all(|pin| pin.canary.is_none()) {
            return;
        }
        let Some(live) = self.publishing.live() else { return };
        // Those that lost the program too: just there something has to be said.
        let observed = self.interfaces.observed.iter().flat_map(|observed| &observed.interfaces);
        let guarded = observed.filter(|it| policy.guards(&it.interface.name)).filter_map(|it| {
            let link = it.interface.link_type.link()?;
            Some(Guarded { index: it.interface.index, name: it.interface.name.as_str().into(), link })
        });
        let canaries =
            Canaries { policy: Arc::clone(policy), facts: live.facts.clone(), guarded: guarded.collect() };
        if self.told_canaries.as_ref().is_some_and(|told| told.is_same(&canaries)) {
            return;
        }
        self.told_canaries = Some(canaries.clone());
        self.actions.push(Action::Canaries(Box::new(canaries)));
    }

    pub(super) fn confirm_canary(&mut self, ticket: Ticket, name: &str) {
        match canary::number(name) {
            Some(number) => self.actions.push(Action::ConfirmCanary(ticket, number)),
            None => {
                let message =
                    "a canary has a number of 16 hexadecimal digits, as its line in the event log has it";
                self.answer(ticket, Response::error(ErrorKind::BadInput, message));
            }
        }
    }
}
