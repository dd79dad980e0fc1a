//! Orders that stay exemptions. Each is kept by its reference until it is lifted by that, whatever becomes of the
//! exemptions meanwhile: one that is covered by several passes again when the last of them is lifted, and nothing that a
//! standing order covers is loaded.

use tracing::warn;

use super::change::Change;
use super::entry::Entry;
use super::instruments::is_nearly;
use super::standing::{Standing, covers};
use super::{Kept, Key, Store, StoreError};
use crate::audit::Who;
use crate::config::suggest::nearest;
use crate::exemption::order::row;
use crate::exemption::record::ApprovedBy;
use crate::exemption::summary::{OrderSummary, RevokedSummary};
use crate::exemption::{Document, OrderKind, StandingOrder, State, Summary, Target};
use crate::text::look_alike;

impl Kept {
    /// The orders that stand, in the order of what they cover.
    pub fn orders(&self) -> impl Iterator<Item = &StandingOrder> {
        self.standing().values().map(|it| &it.order)
    }

    /// The orders that cover this version of an exemption.
    pub fn orders_of(&self, key: &Key) -> Vec<&StandingOrder> {
        let Some(entry) = self.entry(key) else { return Vec::new() };
        self.orders().filter(|order| covers(&order.covers, key, entry)).collect()
    }

    /// A summary with the orders that cover the exemption.
    pub(super) fn with_orders(&self, key: &Key, summary: Summary) -> Summary {
        let mut orders: Vec<OrderSummary> =
            self.orders_of(key).into_iter().map(StandingOrder::summary).collect();
        orders.sort_by_key(|order| order.at);
        let oldest = orders.first().filter(|_| summary.state == State::Stayed);
        let stayed = oldest.map(|it| RevokedSummary { at: it.at, why: it.order.clone(), by: it.by });
        Summary { stayed: stayed.or(summary.stayed), orders, ..summary }
    }

    /// The first order that covers a document of these approvals, which is not loaded as long as that stands.
    pub(super) fn order_over(&self, document: &Document, approvals: &[ApprovedBy]) -> Option<&StandingOrder> {
        self.orders().find(|order| order.covers.covers(document, approvals))
    }

    /// The fingerprints of keys that are revoked, on the disk or not.
    #[must_use]
    pub fn revoked_keys(&self) -> Vec<String> {
        let revoked = self.orders().filter(|order| order.kind == OrderKind::RevokedKey);
        revoked.map(|order| order.covers.name().to_owned()).collect()
    }

    /// Whether the key of this fingerprint is revoked, and the disk has that.
    pub(super) fn has_revoked_key(&self, fingerprint: &str) -> bool {
        let is_it = |it: &&Standing| {
            it.order.kind == OrderKind::RevokedKey && it.order.covers.name() == fingerprint && !it.unsaved
        };
        self.standing().values().any(|it| is_it(&it))
    }

    /// Why the instrument of this very name has fallen, where it has and the disk has that.
    pub(super) fn fallen(&self, name: &str) -> Option<&str> {
        let is_it = |it: &&Standing| {
            it.order.kind == OrderKind::Fallen && it.order.covers.name() == name && !it.unsaved
        };
        self.standing().values().find(is_it).map(|it| it.order.order.as_str())
    }

    /// Whether this order stands already, and the disk has it: one that it did not take may be given again.
    pub(super) fn stands(&self, target: &Target, order: &str) -> bool {
        self.standing().get(&row(OrderKind::Stay, target, order)).is_some_and(|it| !it.unsaved)
    }

    /// Whether this order stands here, on the disk or not.
    pub(super) fn has_order(&self, target: &Target, order: &str) -> bool {
        self.standing().contains_key(&row(OrderKind::Stay, target, order))
    }

    /// Orders that stand here, which the disk refused to keep.
    pub fn unsaved_orders(&self) -> impl Iterator<Item = &StandingOrder> {
        self.standing().values().filter(|it| it.unsaved).map(|it| &it.order)
    }

    /// The keys of the rows of an order: of several where they can't be read, and are alike.
    pub(super) fn rows_of(&self, order: &StandingOrder) -> Vec<String> {
        let rows = self.standing().iter().filter(|(_, it)| it.order == *order);
        rows.map(|(row, _)| row.clone()).collect()
    }

    /// The order that is to be lifted: that of this reference, or the only one on this target.
    ///
    /// # Errors
    /// [`StoreError::NoSuchOrder`], and [`StoreError::OrderUnclear`] where several could be meant.
    pub(crate) fn order_to_lift(
        &self,
        target: &Target,
        order: Option<&str>,
    ) -> Result<&StandingOrder, StoreError> {
        // A key that was revoked approves nothing any more, whoever wants it back.
        let can_be_lifted = |it: &&StandingOrder| it.covers == *target && it.kind != OrderKind::RevokedKey;
        let on_it = || self.orders().filter(can_be_lifted);
        let of_it = || {
            let of_id = match target {
                Target::Id(id) => self.version_of(id).map(|key| self.orders_of(&key)).unwrap_or_default(),
                _ => Vec::new(),
            };
            let others = of_id.into_iter().filter(|it| it.covers != *target);
            // Whoever writes an instrument's name in another way is told how it was written.
            let is_alike = |it: &&StandingOrder| match (target, &it.covers) {
                (Target::Instrument(one), Target::Instrument(other))
                | (Target::Recipient(one), Target::Recipient(other))
                | (Target::Pin(one), Target::Pin(other)) => one != other && is_nearly(one, other),
                _ => false,
            };
            let others = others.chain(self.orders().filter(is_alike));
            on_it().chain(others).map(ToString::to_string).collect::<Vec<_>>()
        };
        // An order may have been kept where nothing was loaded, and be lifted by now: how one is given there is no hint for a
        // lift, but where its name is a slip.
        let is_slip = || match target {
            Target::Id(_) => true,
            Target::Instrument(name) => self.near(name).is_some(),
            target => self.near_name(target).is_some(),
        };
        let lacks = |standing: Vec<String>| match standing.is_empty() && !self.is_known(target) && is_slip() {
            true => self.unknown(target),
            false => StoreError::NoSuchOrder { target: target.clone(), standing },
        };
        let Some(order) = order else {
            // Where another one holds it too, whoever lifts "the order" may mean that.
            return match (on_it().next(), of_it()) {
                (Some(order), all) if all.len() == 1 => Ok(order),
                (Some(_), standing) => Err(StoreError::OrderUnclear { target: target.clone(), standing }),
                (None, standing) => Err(lacks(standing)),
            };
        };
        on_it().find(|it| it.order == order).ok_or_else(|| lacks(of_it()))
    }

    /// The stayed exemptions that pass again once this order is lifted: those that no other one covers.
    pub(super) fn held_by_alone(&self, order: &StandingOrder) -> Vec<Key> {
        let alone = |key: &Key| self.orders_of(key).into_iter().all(|it| it == order);
        let held =
            self.entries().filter(|(key, entry)| entry.is_stayed() && covers(&order.covers, key, entry));
        held.map(|(key, _)| key.clone()).filter(alone).collect()
    }

    /// What is stayed by an order and by others as well.
    pub(super) fn held_by_others(&self, order: &StandingOrder) -> Vec<(Key, Entry)> {
        let alone = self.held_by_alone(order);
        let held = self.entries().filter(|(key, entry)| {
            entry.is_stayed() && covers(&order.covers, key, entry) && !alone.contains(key)
        });
        held.map(|(key, entry)| (key.clone(), entry.clone())).collect()
    }

    /// What is stayed by an order and by others as well, each with those others.
    #[must_use]
    pub(crate) fn held_beside(&self, order: &StandingOrder) -> Vec<String> {
        let held = self.held_by_others(order).into_iter();
        held.map(|(key, _)| {
            let others = self.orders_of(&key).into_iter().filter(|it| *it != order);
            format!("{} ({})", key.0, others.map(ToString::to_string).collect::<Vec<_>>().join(", "))
        })
        .collect()
    }

    /// The orders on an instrument, and on those whose names look like its: each of them keeps the same documents out. Not the
    /// one that is lifted.
    #[must_use]
    pub(crate) fn on_alike(&self, target: &Target, lifted: Option<&StandingOrder>) -> Vec<String> {
        let Target::Instrument(name) = target else { return Vec::new() };
        let is_alike =
            |it: &&StandingOrder| matches!(&it.covers, Target::Instrument(its) if look_alike(its, name));
        let others = self.orders().filter(is_alike).filter(|it| Some(*it) != lifted);
        others.map(ToString::to_string).collect()
    }

    /// What is stayed of a target, each with the orders that hold it.
    #[must_use]
    pub fn still_held(&self, target: &Target) -> Vec<String> {
        let held = self.entries().filter(|(key, entry)| entry.is_stayed() && covers(target, key, entry));
        held.map(|(key, _)| {
            let orders: Vec<String> = self.orders_of(key).into_iter().map(ToString::to_string).collect();
            format!("{} ({})", key.0, orders.join(", "))
        })
        .collect()
    }

    /// The open exemptions by which data of the same pins may go to recipients of these, which are closed now.
    #[must_use]
    pub fn open_beside(&self, closed: &[Key]) -> Vec<Key> {
        let documents: Vec<&Document> =
            closed.iter().filter_map(|key| self.entry(key)?.document.as_deref()).collect();
        let overlaps = |document: &Document| documents.iter().any(|closed| overlap(closed, document));
        let open = self.entries().filter(|(_, entry)| entry.is_active());
        let beside = open.filter(|(_, entry)| entry.document.as_deref().is_some_and(overlaps));
        beside.map(|(key, _)| key.clone()).collect()
    }

    /// What was ever loaded that has a recipient of this name, or of one that looks like it.
    pub fn documents_to<'k>(&'k self, recipient: &'k str) -> impl Iterator<Item = &'k Document> {
        let documents = self.entries().filter_map(|(_, entry)| entry.document.as_deref());
        documents.filter(move |it| it.recipients.iter().any(|it| look_alike(&it.name, recipient)))
    }

    /// The ids of stayed exemptions by which data of the same pins may go to recipients of this one.
    #[must_use]
    pub fn stayed_beside(&self, document: &Document) -> Vec<String> {
        let beside = self.entries().filter(|((id, _), entry)| {
            *id != document.id
                && entry.is_stayed()
                && entry.document.as_deref().is_some_and(|stayed| overlap(stayed, document))
        });
        beside.map(|((id, _), _)| id.clone()).collect()
    }

    /// The name of a recipient or a pin of what was ever loaded that is nearly this one.
    fn near_name(&self, target: &Target) -> Option<String> {
        let documents = self.entries().filter_map(|(_, entry)| entry.document.as_deref());
        let names: Vec<&str> = match target {
            Target::Recipient(_) => {
                documents.flat_map(|it| it.recipients.iter().map(|it| it.name.as_str())).collect()
            }
            Target::Pin(_) => documents.flat_map(|it| it.pins.iter().map(String::as_str)).collect(),
            _ => Vec::new(),
        };
        let near = names.iter().find(|its| is_nearly(target.name(), its)).copied();
        // Names of pins are short: the distance that names of the config may have is theirs too.
        let by_letters = || match target {
            Target::Pin(name) => nearest(name, names.iter().copied()),
            _ => None,
        };
        near.or_else(by_letters).map(str::to_owned)
    }

    /// That nothing which was ever loaded is meant.
    #[must_use]
    pub fn unknown(&self, target: &Target) -> StoreError {
        match target {
            Target::Id(id) => StoreError::NotFound { id: id.clone() },
            Target::Instrument(name) => {
                StoreError::NoSuchInstrument { name: name.clone(), near: self.near(name) }
            }
            target => StoreError::NothingCovered { target: target.clone(), near: self.near_name(target) },
        }
    }
}

/// Whether data of one pin may go to one recipient by both: where one of them names no networks, everybody in its country
/// is meant.
fn overlap(one: &Document, other: &Document) -> bool {
    one.pins.iter().any(|pin| other.pins.contains(pin))
        && one.recipients.iter().any(|a| {
            other.recipients.iter().any(|b| match (a.networks.as_slice(), b.networks.as_slice()) {
                ([], _) | (_, []) => a.jurisdiction == b.jurisdiction,
                (a, b) => {
                    a.iter().any(|a| b.iter().any(|b| a.contains(b.network()) || b.contains(a.network())))
                }
            })
        })
}

impl Store {
    /// Gives the orders once more that a store before this one stood for and could not keep. Those on exemptions alone come
    /// again by themselves, from whoever closed them in the kernel.
    pub fn take_orders_of(&mut self, before: &Kept) {
        self.give_again(before.unsaved_orders());
    }

    /// Gives these orders, unless they stand.
    pub(super) fn give_again<'o>(&mut self, orders: impl IntoIterator<Item = &'o StandingOrder>) {
        for order in orders {
            let why = || order.order.clone();
            let change = match order.kind {
                OrderKind::Stay => Change::Stay { order: why() },
                OrderKind::Fallen => Change::Invalidate { why: why() },
                OrderKind::RevokedKey => Change::RevokeKey { why: why() },
            };
            let who = Who { uid: order.by, user: None, pid: None };
            match self.change(&order.covers, &change, &who, order.at) {
                Ok(_) | Err(StoreError::OrderStands { .. }) => {}
                // It stands here all the same where the disk refused, and is a problem then.
                Err(error) => warn!("an order that the store could not keep before: {error}"),
            }
        }
    }
}
