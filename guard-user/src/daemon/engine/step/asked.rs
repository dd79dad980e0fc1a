//! What a request asks to be changed, and its words.

use std::collections::BTreeSet;

use crate::control::protocol::Request;
use crate::daemon::engine::changes::Pending;
use crate::daemon::engine::state::Engine;
use crate::exemption::needless::{Needless, NotNeeded, failsafe_words, milder_words, needless, not_needed};
use crate::exemption::{Document, OrderKind, StandingOrder};
use crate::store::{Change, Kept, Key, Target};
use crate::text::escaped;

/// A change that is asked for.
pub(super) struct Asked {
    pub(super) target: Target,
    pub(super) change: Change,
    /// Whether it may mean nothing that was ever loaded.
    pub(super) not_loaded: bool,
    pub(super) dry_run: bool,
}

pub(super) fn change_of(request: &Request) -> Option<Asked> {
    let (target, change, dry_run) = match request {
        Request::ExemptionStay { target, order, dry_run, .. } => {
            (target.clone(), Change::Stay { order: order.clone() }, *dry_run)
        }
        Request::ExemptionResume { target, order, why, dry_run, .. } => {
            (target.clone(), Change::Resume { order: order.clone(), why: why.clone() }, *dry_run)
        }
        Request::ExemptionRevoke { id, why, dry_run } => {
            (Target::Id(id.clone()), Change::Revoke { why: why.clone() }, *dry_run)
        }
        Request::InstrumentInvalidate { name, why, dry_run, .. } => {
            (Target::Instrument(name.clone()), Change::Invalidate { why: why.clone() }, *dry_run)
        }
        Request::ApprovalRevoke { key, why, dry_run, .. } => {
            (Target::Key(key.clone()), Change::RevokeKey { why: why.clone() }, *dry_run)
        }
        _ => return None,
    };
    let not_loaded = matches!(
        request,
        Request::ExemptionStay { not_loaded: true, .. }
            | Request::InstrumentInvalidate { not_loaded: true, .. }
            | Request::ApprovalRevoke { unknown: true, .. }
    );
    Some(Asked { target, change, not_loaded, dry_run })
}

/// What a change is called once it is made.
pub(super) fn done_word(change: &Change) -> &'static str {
    match change {
        Change::Stay { .. } => "stayed",
        Change::Resume { .. } => "resumed",
        Change::Revoke { .. } => "revoked",
        Change::Invalidate { .. } => "closed with its instrument",
        Change::RevokeKey { .. } => "closed with a key that approved it",
    }
}

/// What a change would come to, in words.
pub(super) fn planned(kept: &Kept, target: &Target, change: &Change, keys: &[Key]) -> String {
    match (keys, change) {
        ([], Change::Resume { order, .. }) => {
            let lifted = kept.order_to_lift(target, order.as_deref()).ok();
            let held = lifted.map(|lifted| kept.held_beside(lifted)).unwrap_or_default();
            let is_fallen = lifted.is_some_and(|order| order.kind == OrderKind::Fallen);
            let order = lifted.map_or_else(|| "the order".to_owned(), order_words);
            let nothing = format!("{order} would be lifted; nothing passes again by that");
            let said = match held.as_slice() {
                [] if is_fallen => format!("{nothing}: what was closed with the instrument stays closed"),
                [] => format!("{nothing}: nothing is stayed by it"),
                held => format!("{nothing}, for other orders still hold: {}", held.join("; ")),
            };
            said + &kept_out(kept, target, lifted)
        }
        ([], Change::Invalidate { .. }) => format!("would be kept: {}", fallen(target)),
        ([], _) => "nothing that is open is covered".to_owned(),
        (keys, change) => format!("would be {}: {}", done_word(change), ids(keys)),
    }
}

/// An order as the subject of a sentence.
fn order_words(order: &StandingOrder) -> String {
    match order.kind {
        OrderKind::Fallen => {
            format!("the order that {} has fallen (\"{}\")", order.covers, escaped(&order.order))
        }
        OrderKind::Stay | OrderKind::RevokedKey => format!("the order {order}"),
    }
}

/// That other orders on the same instrument, or on one whose name looks like its, keep its documents out; empty where there
/// is none beside the one that is lifted.
fn kept_out(kept: &Kept, target: &Target, lifted: Option<&StandingOrder>) -> String {
    match kept.on_alike(target, lifted).as_slice() {
        [] => String::new(),
        others => format!(
            "; nothing that rests on an instrument of this name is loaded as long as these stand: {}",
            others.join("; ")
        ),
    }
}

/// What it means that an instrument has fallen on which nothing rests that is open.
pub(super) fn fallen(instrument: &Target) -> String {
    format!(
        "{instrument} has fallen; nothing that is open rests on it, and nothing that rests on it is loaded until it is restored"
    )
}

pub(super) fn ids(keys: &[Key]) -> String {
    keys.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>().join(", ")
}

impl Engine {
    /// What was done, and what still holds or still passes beside it.
    pub(super) fn done_message(&self, it: &Pending) -> String {
        let mut message = match (it.keys.as_slice(), &it.change) {
            ([], Change::Stay { .. }) => {
                let covered = &it.target;
                format!(
                    "the order is kept; nothing that is open is covered, and nothing of {covered} is loaded until it \
                         is lifted"
                )
            }
            ([], Change::Invalidate { .. }) => fallen(&it.target),
            (keys, Change::RevokeKey { .. }) => {
                self.revoked_words(&it.target, keys, it.candidate.clone(), false)
            }
            ([], Change::Resume { .. }) => "the order is lifted; nothing passes again by that".to_owned(),
            (keys, change) => format!("{}: {}", done_word(change), ids(keys)),
        };
        if matches!(it.change, Change::Resume { .. }) {
            let still = self.kept.still_held(&it.target);
            if !still.is_empty() {
                message += &format!("; other orders still hold: {}", still.join("; "));
            }
            message += &kept_out(&self.kept, &it.target, None);
        } else {
            message = self.still_passes(&it.target, &it.keys) + &message;
        }
        message
    }

    /// That data of what is closed, or would be, passes by the policy itself and by other exemptions, to be written before what closes
    /// it; empty where it does not.
    pub(super) fn still_passes(&self, target: &Target, keys: &[Key]) -> String {
        let mut others = self.kept.open_beside(keys);
        // What would be closed is open meanwhile.
        others.retain(|key| !keys.contains(key));
        self.passes_by_policy(target, keys) + &self.passes_beside(&others)
    }

    /// That data of what was closed passes by these too, now or once their windows begin, to be written before what closes it;
    /// empty where there are none.
    fn passes_beside(&self, beside: &[Key]) -> String {
        let begins = |key: &Key| {
            let from = self.kept.document_of(key)?.valid_from;
            (from > self.now.wall).then_some(from)
        };
        let (later, now): (Vec<Key>, Vec<Key>) =
            beside.iter().cloned().partition(|key| begins(key).is_some());
        let mut said = String::new();
        if !now.is_empty() {
            said += &format!("data of these pins STILL PASSES to the same recipients by {}; ", ids(&now));
        }
        let of_later = |key: &Key| Some(format!("{} once it begins ({})", key.0, begins(key)?));
        let later: Vec<String> = later.iter().filter_map(of_later).collect();
        if !later.is_empty() {
            said += &format!("data of these pins WILL PASS to the same recipients by {}; ", later.join(", "));
        }
        said
    }

    /// That data which these exemptions are for, or which an order on this covers, passes by the policy itself, to be written before
    /// what closes them; empty where it does not.
    fn passes_by_policy(&self, target: &Target, keys: &[Key]) -> String {
        let policy = &self.config.policy;
        let mut documents: Vec<&Document> =
            keys.iter().filter_map(|key| self.kept.document_of(key)).collect();
        if documents.is_empty() {
            documents = match target {
                Target::Recipient(name) => self.kept.documents_to(name).collect(),
                // What it approved may be closed already.
                Target::Key(fingerprint) => self.kept.documents_approved_with(fingerprint).collect(),
                _ => Vec::new(),
            };
        }
        let passing: Vec<Needless<'_>> =
            documents.iter().flat_map(|document| needless(document, policy)).collect();
        let of_pins =
            |pins: &[String]| [milder_words(policy, pins), failsafe_words(policy, None, pins)].concat();
        let beside = match target {
            Target::All => of_pins(&self.config.pins()),
            Target::Pin(name) => of_pins(std::slice::from_ref(name)),
            _ => documents.iter().flat_map(|it| failsafe_words(policy, Some(it), &it.pins)).collect(),
        };
        let by_rules = passing.iter().map(ToString::to_string);
        let all: BTreeSet<String> = by_rules.chain(beside).collect();
        match all.into_iter().collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => none,
            why => format!("data STILL PASSES by the policy itself, whatever exemptions there are: {why}; "),
        }
    }

    /// That a document is not needed for some of what it is for; empty where it is.
    pub(super) fn not_needed(&self, document: &Document) -> String {
        let NotNeeded { permitted, forbidden } = not_needed(document, &self.config.policy);
        let mut said = String::new();
        if !permitted.is_empty() {
            said += &format!("; NOT NEEDED, and with no use that is counted, as far as {permitted}");
        }
        if !forbidden.is_empty() {
            said +=
                &format!("; data PASSES WITHOUT IT, and not all of that is counted as its use: {forbidden}");
        }
        said
    }
}
