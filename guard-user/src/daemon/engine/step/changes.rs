//! Stays, resumptions, revocations and fallen instruments.
//!
//! A closing takes effect in the kernel without waiting for the disk: local sockets of its flows are closed while
//! their packets still pass, so that the other ends learn of it; then a generation without it goes live, while the
//! disk takes the change. The answer waits for both. A resumption is on the disk first.

use crate::audit::Who;
use crate::control::protocol::{ErrorKind, Request, Response, SignedText};
use crate::daemon::engine::changes::{ChangeId, DISK_NS, Deferred, Pending, SOCKETS_NS};
use crate::daemon::engine::error_kind::kind_of;
use crate::daemon::engine::publishing::Tables;
use crate::daemon::engine::state::{Engine, Purpose};
use crate::daemon::engine::step::asked::{Asked, change_of, done_word, ids, planned};
use crate::daemon::engine::{Action, StoreJob, Ticket, records};
use crate::exemption::Clocks;
use crate::store::{Change, Key, StoreError, Target};

/// How long a resumption waits for the last counts of what was closed just now, nanoseconds.
const SETTLING_NS: u64 = 2_000_000_000;

/// The signed document of a resumption.
const fn lift_of(request: &Request) -> Option<&SignedText> {
    match request {
        Request::ExemptionResume { lift, .. } => lift.as_ref(),
        _ => None,
    }
}

/// Whether a document is to be written for it and signed, so that it has none yet.
const fn is_to_sign(request: &Request) -> bool {
    matches!(request, Request::ExemptionResume { to_sign: true, dry_run: true, .. })
}

impl Engine {
    pub(super) fn change_exemptions(&mut self, ticket: Ticket, request: &Request, who: Who, now: Clocks) {
        self.change(ticket, request, who, (now, true));
    }

    fn change(&mut self, ticket: Ticket, request: &Request, who: Who, (now, may_wait): (Clocks, bool)) {
        let Some(asked) = change_of(request) else { return };
        let meant = self.meant(&asked, now);
        let Asked { target, change, dry_run, .. } = asked;
        let is_closing = !matches!(change, Change::Resume { .. });
        let lift = lift_of(request);
        let is_unsigned = lift.is_none() && !is_to_sign(request);
        let meant = match &meant {
            // Closing is easy, and opening takes others. A dry run is refused for what the lift would be.
            Ok(_) if !is_closing && is_unsigned && self.config.policy.approval.is_some() => {
                Err(StoreError::LiftNeeded)
            }
            _ => meant,
        };
        let keys = match meant {
            Ok(keys) => keys,
            Err(StoreError::NotResumable { .. }) if self.is_settling(&target) && may_wait => {
                self.changes.unsettled.push((now.boot_ns + SETTLING_NS, ticket, request.clone(), who));
                return;
            }
            Err(error) => {
                // What is about to be opened is closed as soon as it is.
                // What is wrong with its words is wrong whatever the store has.
                let is_of_words = matches!(
                    error,
                    StoreError::BadReason
                        | StoreError::UnseenInReason(_)
                        | StoreError::BadFingerprint { .. }
                        | StoreError::BlankInReference { .. }
                        | StoreError::NoSuchName { .. }
                );
                let may_open = !is_of_words && (self.is_being_opened(&target) || !self.kept.is_usable());
                if is_closing && !dry_run && may_open {
                    let id = self.changes.next_id();
                    self.closings.order(id, target);
                    let (request, until) = (request.clone(), Some(now.boot_ns + DISK_NS));
                    self.changes.deferred.push(Deferred { id, ticket, request, who, until });
                    return;
                }
                return self.refuse_change(ticket, (&target, &change), (!dry_run).then_some(&who), &error);
            }
        };
        if dry_run {
            return match lift.filter(|_| !is_closing) {
                Some(lift) => self.plan_lift(ticket, (target, change), lift, &who),
                None => self.plan_change(ticket, (&target, &change), keys, now),
            };
        }
        let id = self.changes.next_id();
        let slots = self.kept.slots_of(&keys);
        let mut sockets_until = None;
        if is_closing {
            self.close_now(&keys, now);
            let cut = self.cut_of(id, &keys, false, now);
            if !cut.accounts.is_empty() {
                self.actions.push(Action::CloseSockets(Box::new(cut)));
                sockets_until = Some(now.boot_ns + SOCKETS_NS);
            }
        }
        if is_closing {
            self.closings.order(id, target.clone());
            // Before the disk has it: a disk that hangs is no reason to open it at the next start.
            self.mark_where_needed(now);
        }
        let job =
            lift.and_then(|lift| self.lift_job((&target, &change), (lift, false), &who)).unwrap_or_else(
                || StoreJob::Change { target: target.clone(), change: change.clone(), who: who.clone() },
            );
        self.ask_store(Purpose::Change(ChangeId(id)), job);
        let candidate = match &change {
            Change::RevokeKey { .. } => self.candidate_by(target.name()),
            _ => None,
        };
        self.changes.pending.push(Pending {
            candidate,
            id,
            ticket,
            target,
            who,
            change,
            keys,
            slots,
            sockets_until,
            kept: None,
            published: None,
            reading: false,
        });
    }

    /// Which exemptions a change would be made to.
    fn meant(&self, asked: &Asked, now: Clocks) -> Result<Vec<Key>, StoreError> {
        let Asked { target, change, not_loaded, .. } = asked;
        let keys = self.kept.affected(target, change, now.wall)?;
        let may_mean_nothing = matches!(change, Change::Stay { .. } | Change::Invalidate { .. });
        // While the store can't be read it is not known what it has: an order on more than one id is taken for what it may have.
        let is_for_any = *not_loaded || !(self.kept.is_usable() || matches!(target, Target::Id(_)));
        if may_mean_nothing && !is_for_any && !self.kept.is_known(target) {
            return Err(self.kept.unknown(target));
        }
        self.is_known_key(target, *not_loaded)?;
        Ok(keys)
    }

    /// Whether the last counts of what the target means are being settled, after which it can be resumed.
    fn is_settling(&self, target: &Target) -> bool {
        let Target::Id(id) = target else { return false };
        let key = self.kept.find(id, None).ok();
        key.is_some_and(|key| !self.kept.slots_of(&[key]).is_empty())
    }

    /// Takes up resumptions whose exemption is settled, or that have waited long enough.
    pub(super) fn take_up_unsettled(&mut self, now: Clocks) {
        for (until, ticket, request, who) in std::mem::take(&mut self.changes.unsettled) {
            let Some(Asked { target, .. }) = change_of(&request) else { continue };
            match now.boot_ns < until && self.is_settling(&target) {
                true => self.changes.unsettled.push((until, ticket, request, who)),
                false => self.change(ticket, &request, who, (now, false)),
            }
        }
    }

    /// Whether an operation of the store that is not done yet may open what the target means.
    fn is_being_opened(&self, target: &Target) -> bool {
        let resumed = |it: &Pending| {
            !it.is_closing()
                && it.kept.is_none()
                && match target {
                    Target::Id(id) => it.keys.iter().any(|(its, _)| its == id),
                    _ => true,
                }
        };
        let waits = |(_, _, request, _): &(u64, Ticket, Request, Who)| match (change_of(request), target) {
            (Some(Asked { target: Target::Id(its), .. }), Target::Id(id)) => its == *id,
            _ => true,
        };
        self.changes.pending.iter().any(resumed)
            || self.changes.unsettled.iter().any(waits)
            || self.loads.are_on_their_way()
    }

    pub(super) fn plan_change(
        &mut self,
        ticket: Ticket,
        (target, change): (&Target, &Change),
        keys: Vec<Key>,
        now: Clocks,
    ) {
        let message = match change {
            Change::RevokeKey { .. } => {
                self.revoked_words(target, &keys, self.candidate_by(target.name()), true)
            }
            _ => planned(&self.kept, target, change, &keys),
        };
        if matches!(change, Change::Resume { .. }) {
            let exemptions = self.summaries(&keys, now);
            return self.answer(ticket, Response::Planned { message, exemptions });
        }
        let message = self.still_passes(target, &keys) + &message;
        let id = self.changes.next_id();
        let cut = self.cut_of(id, &keys, true, now);
        self.actions.push(Action::CloseSockets(Box::new(cut)));
        self.changes.counted.push((id, ticket, message, keys));
    }

    pub(super) fn refuse_change(
        &mut self,
        ticket: Ticket,
        (target, change): (&Target, &Change),
        recorded_for: Option<&Who>,
        error: &StoreError,
    ) {
        // One that is closed already: perhaps the tables could not be changed then, and now they can.
        self.publishing.try_again();
        if let Some(who) = recorded_for {
            self.record_refused_change((target, change), who, error);
        }
        let codes: Vec<&str> = error.code().into_iter().collect();
        self.answer(ticket, Response::error_with(kind_of(error), error.to_string(), &codes));
    }

    /// Records that a change was refused, with the hash of the order's words.
    fn record_refused_change(&mut self, (target, change): (&Target, &Change), who: &Who, error: &StoreError) {
        let of = (change.name(), target.name());
        let record = match target {
            // Every user who may look may read the trail.
            Target::Instrument(name) if !self.kept.is_public_instrument(name) => {
                records::refusal_without_name(self.now.wall, who, of, &error.without_names())
            }
            Target::Recipient(_) if !self.kept.is_public(target) => {
                records::refusal_without_name(self.now.wall, who, of, &error.without_names())
            }
            // Orders that stand there are named by the message.
            target if !self.kept.is_public(target) => {
                records::refusal(self.now.wall, who, of, &error.without_names())
            }
            _ => records::refusal(self.now.wall, who, of, &error.to_string()),
        };
        // The words may be confidential, or be what was refused: their hash proves them to who has them.
        let mut record = record;
        record.detail.insert("why_sha256".to_owned(), crate::store::sha256(change.why().as_bytes()).into());
        self.record(record);
    }

    pub(super) fn sockets_closed(&mut self, id: u64, flows: usize, problems: Vec<String>, now: Clocks) {
        self.changes.cuts.retain(|(its, _)| *its != id);
        for problem in problems {
            self.log(super::Level::Warn, problem);
        }
        if let Some(at) = self.changes.counted.iter().position(|(its, ..)| *its == id) {
            let (_, ticket, message, keys) = self.changes.counted.remove(at);
            let message = format!("{message}; live flows that would be cut: {flows}");
            let exemptions = self.summaries(&keys, now);
            return self.answer(ticket, Response::Planned { message, exemptions });
        }
        if let Some(pending) = self.changes.pending.iter_mut().find(|it| it.id == id) {
            pending.sockets_until = None;
        }
    }

    pub(super) fn change_kept(
        &mut self,
        change: ChangeId,
        result: Result<Vec<Key>, StoreError>,
        now: Clocks,
    ) {
        let at = self.changes.pending.iter().position(|it| it.id == change.0);
        let Some(mut pending) = at.map(|at| self.changes.pending.remove(at)) else {
            self.closings.ordered(change.0);
            let answered = self.changes.answered.remove(&change.0);
            if let Err(error) = result {
                self.log(super::Level::Error, format!("a closing could not be kept: {error}"));
                // What the disk did not take it takes with the next write.
                if let Some((target, change, who)) = answered.filter(|_| kind_of(&error) != ErrorKind::Failed)
                {
                    self.record_refused_change((&target, &change), &who, &error);
                }
            }
            return;
        };
        match &result {
            Ok(keys) if !pending.is_closing() => self.reopened(&keys.clone()),
            // What was loaded while an order was on its way is stayed with it.
            Ok(keys) => pending.keys.clone_from(keys),
            // Another version took the place of the one that was meant, while the order was on its way: it is the
            // one that the order means now.
            Err(_) if pending.is_closing() && self.means_another(&pending, now) => {
                self.close_another(&mut pending);
                self.changes.pending.push(pending);
                return;
            }
            // The store refuses it for what the exemption is by now, not for the disk: another order was first.
            // Nor does it take a document that does not lift the order.
            Err(error) if kind_of(error) != ErrorKind::Failed => {
                self.closings.ordered(change.0);
                let Pending { ticket, target, change, who, .. } = pending;
                return self.refuse_change(ticket, (&target, &change), Some(&who), error);
            }
            _ => {}
        }
        self.closings.ordered(change.0);
        pending.kept = Some(result.map(drop).map_err(|error| error.to_string()));
        self.changes.pending.push(pending);
    }

    fn means_another(&self, pending: &Pending, now: Clocks) -> bool {
        let affected = self.kept.affected(&pending.target, &pending.change, now.wall);
        affected.is_ok_and(|keys| keys != pending.keys)
    }

    fn close_another(&mut self, pending: &mut Pending) {
        let now = self.now;
        if let Ok(keys) = self.kept.affected(&pending.target, &pending.change, now.wall) {
            self.close_now(&keys, now);
            pending.slots = self.kept.slots_of(&keys);
            pending.keys = keys;
            pending.published = None;
        }
        let job = StoreJob::Change {
            target: pending.target.clone(),
            change: pending.change.clone(),
            who: pending.who.clone(),
        };
        self.ask_store(Purpose::Change(ChangeId(pending.id)), job);
    }

    pub(super) fn changes_are_late(&mut self, now: Clocks) {
        self.changes.cuts.retain(|(_, until)| now.boot_ns < *until);
        self.deferred_are_late(now);
        for pending in &mut self.changes.pending {
            if pending.sockets_until.is_some_and(|until| now.boot_ns >= until) {
                pending.sockets_until = None;
            }
            if let Some((_, at)) = &pending.published
                && pending.kept.is_none()
                && now.boot_ns >= at + DISK_NS
            {
                let why = "the disk has not answered yet".to_owned();
                pending.kept = Some(Err(why));
            }
        }
    }

    /// Takes up closings of what was about to be opened, once it is there, or once it will not be.
    pub(super) fn take_up_deferred(&mut self, now: Clocks) {
        for it in std::mem::take(&mut self.changes.deferred) {
            let Some(asked) = change_of(&it.request) else { continue };
            let is_there = self.meant(&asked, now).is_ok();
            if !is_there && (self.is_being_opened(&asked.target) || !self.kept.is_usable()) {
                self.changes.deferred.push(it);
                continue;
            }
            let Deferred { id, ticket, request, who, .. } = it;
            self.change_exemptions(ticket, &request, who, now);
            self.closings.ordered(id);
        }
    }

    /// Answers closings that wait for the store for too long. They go on waiting.
    fn deferred_are_late(&mut self, now: Clocks) {
        let mut answers = Vec::new();
        for it in
            self.changes.deferred.iter_mut().filter(|it| it.until.is_some_and(|until| now.boot_ns >= until))
        {
            it.until = None;
            let Some(Asked { target, change, .. }) = change_of(&it.request) else { continue };
            answers.push((it.ticket, format!("{} {}", change.name(), target.name())));
        }
        let why = match self.kept.is_usable() {
            true => "the disk has not answered what is to be done before it",
            false => {
                "the store can't be read, so that what it has of this is not known; every exemption is closed"
            }
        };
        for (ticket, order) in answers {
            let message = format!(
                "{order}: noted, and not kept yet: {why}. Nothing that this order closes is opened; it is kept as soon as \
                 the disk lets it. Where the daemon ends before, give it again"
            );
            self.log(
                super::Level::Error,
                "an order is noted, and not kept yet: see `borderguard status`".to_owned(),
            );
            self.answer(ticket, Response::error(ErrorKind::Failed, message));
        }
    }

    /// Answers what is done in the kernel and on the disk.
    pub(super) fn settle_changes(&mut self, now: Clocks) {
        if self.changes.pending.is_empty() {
            return;
        }
        let tables = self.tables(now);
        let mut pending = std::mem::take(&mut self.changes.pending);
        for it in pending.iter_mut().filter(|it| it.published.is_none() && it.sockets_until.is_none()) {
            let outcome = match (it.is_closing(), &tables) {
                // What else is not current is no matter to who closes.
                (true, _) if self.publishing.is_without(&it.slots) => Some(Ok(())),
                (true, Tables::Failed(why)) => Some(Err(why.clone())),
                (true, _) => None,
                // A resumption that the disk refused changes nothing.
                (false, _) if it.kept.as_ref().is_some_and(Result::is_err) => Some(Ok(())),
                (false, _) if it.kept.is_none() => None,
                (false, Tables::Current) => Some(Ok(())),
                (false, Tables::Failed(why)) => Some(Err(why.clone())),
                (false, Tables::OnTheWay) => None,
            };
            let Some(outcome) = outcome else { continue };
            if it.is_closing() && outcome.is_ok() {
                // And those that were opened in between.
                let cut = self.cut_of(0, &it.keys, false, now);
                if !cut.accounts.is_empty() {
                    self.actions.push(Action::CloseSockets(Box::new(cut)));
                }
            }
            it.published = Some((outcome, now.boot_ns));
        }
        let wants_uses = |it: &Pending| it.published.is_some() && it.kept.is_some() && !it.reading;
        for it in pending.iter_mut().filter(|it| wants_uses(it)) {
            it.reading = true;
            self.quotas.read_for_answers();
        }
        self.changes.pending = pending;
    }

    /// The kernel's counts are read: whoever waited for them is answered.
    pub(super) fn answer_changes(&mut self, now: Clocks) {
        let pending = std::mem::take(&mut self.changes.pending);
        let (done, rest): (Vec<_>, Vec<_>) =
            pending.into_iter().partition(|it| it.reading && it.kept.is_some() && it.published.is_some());
        self.changes.pending = rest;
        for it in done {
            if it.is_closing()
                && self.asked.values().any(|(_, asked)| *asked == Purpose::Change(ChangeId(it.id)))
            {
                let of = (it.target.clone(), it.change.clone(), it.who.clone());
                self.changes.answered.insert(it.id, of);
            }
            let response = self.outcome_of(&it, now);
            if let Response::Error { message, .. } = &response {
                self.log(super::Level::Error, message.clone());
            }
            self.answer(it.ticket, response);
        }
    }

    fn outcome_of(&mut self, it: &Pending, now: Clocks) -> Response {
        let names = match it.keys.is_empty() {
            true => it.target.words(),
            false => ids(&it.keys),
        };
        let word = done_word(&it.change);
        let published = it.published.as_ref().map_or(Ok(()), |(outcome, _)| outcome.clone());
        let kept = it.kept.clone().unwrap_or(Ok(()));
        let message = match (it.is_closing(), published, kept) {
            (true, Err(error), _) => format!(
                "{names}: {word}, but packets may STILL PASS: the kernel's tables can't be changed: {error}. Do it \
                 again"
            ),
            (true, Ok(()), Err(error)) => format!(
                "{}{names}: no packet passes any more by it, but that could not be kept: {error}. The next write keeps it, \
                 and doing it again is one; until then a restart of the daemon or the host may open it",
                self.still_passes(&it.target, &it.keys)
            ),
            (false, _, Err(error)) => format!("{names}: not resumed: {error}"),
            (false, Err(error), Ok(())) => format!(
                "{names}: resumed, but the kernel's tables can't be changed, so nothing passes yet: {error}. It is \
                 tried again every few seconds"
            ),
            (_, Ok(()), Ok(())) => {
                if !it.keys.is_empty() {
                    self.log(super::Level::Info, format!("{word}: {names}"));
                }
                let exemptions = self.summaries(&it.keys, now);
                let generation = self.publishing.generation();
                let message = self.done_message(it);
                return Response::Done { message, generation, exemptions };
            }
        };
        Response::error(ErrorKind::Failed, message)
    }
}
