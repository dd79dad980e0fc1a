//! Lifts of orders by signed documents, which the store is asked for: it knows what they open, and who approved them.

use std::sync::Arc;

use crate::audit::Who;
use crate::control::protocol::SignedText;
use crate::daemon::engine::changes::{ChangeId, Looked};
use crate::daemon::engine::state::{Engine, Purpose};
use crate::daemon::engine::step::loads::signatures;
use crate::daemon::engine::{LiftJob, StoreJob, Ticket};
use crate::exemption::Clocks;
use crate::store::{Change, Key, StoreError, Target};

impl Engine {
    /// What has the store lift an order by this document, or look whether that would lift it.
    pub(super) fn lift_job(
        &self,
        (target, change): (&Target, &Change),
        (lift, dry_run): (&SignedText, bool),
        who: &Who,
    ) -> Option<StoreJob> {
        let Change::Resume { order, why } = change else { return None };
        Some(StoreJob::Lift(Box::new(LiftJob {
            target: target.clone(),
            latest: self.latest.at_least(self.now),
            order: order.clone(),
            why: why.clone(),
            bytes: lift.document.clone().into_bytes(),
            signatures: signatures(lift.signatures.clone()),
            who: who.clone(),
            dry_run,
            policy: Arc::clone(&self.config.policy),
        })))
    }

    /// Has it looked whether the document would lift the order: a dry run is refused for what the lift would be.
    pub(super) fn plan_lift(
        &mut self,
        ticket: Ticket,
        (target, change): (Target, Change),
        lift: &SignedText,
        who: &Who,
    ) {
        let Some(job) = self.lift_job((&target, &change), (lift, true), who) else { return };
        let id = self.changes.next_id();
        self.ask_store(Purpose::PlanLift(ChangeId(id)), job);
        self.changes.looked.push(Looked { id, ticket, target, change });
    }

    /// Answers what the lift would come to.
    pub(super) fn lift_planned(
        &mut self,
        change: ChangeId,
        result: Result<Vec<Key>, StoreError>,
        now: Clocks,
    ) {
        let at = self.changes.looked.iter().position(|it| it.id == change.0);
        let Some(Looked { ticket, target, change, .. }) = at.map(|at| self.changes.looked.remove(at)) else {
            return;
        };
        match result {
            Ok(keys) => self.plan_change(ticket, (&target, &change), keys, now),
            Err(error) => self.refuse_change(ticket, (&target, &change), None, &error),
        }
    }
}
