//! A change of exemptions, and what becomes of a record by it.

use jiff::Timestamp;

use super::entry::Entry;
use super::quota;
use crate::audit::Kind;
use crate::exemption::lifecycle::Event;
use crate::exemption::record::{Record, Status};

/// What is to become of exemptions. Texts are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing passes until the order is lifted, and nothing that it covers is loaded.
    Stay {
        /// The order that stays it.
        order: String,
    },
    /// An order is lifted: what no other one covers passes again.
    Resume {
        /// The order's reference; `None` where there is one alone.
        order: Option<String>,
        /// Why.
        why: String,
    },
    /// It is closed for good.
    Revoke {
        /// Why.
        why: String,
    },
    /// The instrument that it rests on has fallen: it is closed for good.
    Invalidate {
        /// Why.
        why: String,
    },
    /// A key that approved it approves nothing any more: it is closed for good.
    RevokeKey {
        /// Why.
        why: String,
    },
}

impl Change {
    /// What stands for an order of which only the mark in the kernel is left.
    #[must_use]
    pub fn of_mark(now: Timestamp) -> Self {
        let order = format!(
            "an order, a stay or a revocation, that had been begun before {now} and whose text the disk had not taken; it is in force since then"
        );
        Self::Stay { order }
    }

    pub(super) const fn event(&self) -> Event {
        match self {
            Self::Stay { .. } => Event::Stay,
            Self::Resume { .. } => Event::Resume,
            Self::Revoke { .. } => Event::Revoke,
            Self::Invalidate { .. } => Event::Invalidate,
            Self::RevokeKey { .. } => Event::Revoke,
        }
    }

    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Stay { .. } => Kind::Stay,
            Self::Resume { .. } => Kind::Resume,
            Self::Revoke { .. } => Kind::Revoke,
            Self::Invalidate { .. } => Kind::Invalidate,
            Self::RevokeKey { .. } => Kind::RevokeKey,
        }
    }

    /// Whether an order is given or lifted by it, or stands from then on.
    pub(super) const fn is_of_order(&self) -> bool {
        !matches!(self, Self::Revoke { .. })
    }

    /// Whether the exemption is what this makes of it already, and the disk did not take that.
    pub(super) fn is_repeated_for(&self, entry: &Entry) -> bool {
        let wanted = match self {
            Self::Revoke { .. } | Self::Invalidate { .. } | Self::RevokeKey { .. } => {
                entry.record.is_closed()
            }
            Self::Stay { .. } | Self::Resume { .. } => false,
        };
        wanted && entry.unsaved
    }

    /// What is asked for, as the control socket has it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Stay { .. } => "exemption-stay",
            Self::Resume { .. } => "exemption-resume",
            Self::Revoke { .. } => "exemption-revoke",
            Self::Invalidate { .. } => "instrument-invalidate",
            Self::RevokeKey { .. } => "approval-revoke",
        }
    }

    /// The words of the order, or why it is done.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Stay { order } => order,
            Self::Resume { why, .. }
            | Self::Revoke { why }
            | Self::Invalidate { why }
            | Self::RevokeKey { why } => why,
        }
    }
}

/// The record after a change that is allowed, in these places where it is open again.
pub(super) fn changed(entry: &Entry, change: &Change, slots: Vec<u16>, (at, by): (Timestamp, u32)) -> Record {
    let record = entry.record.clone();
    match change {
        // What several orders hold has the first of them.
        Change::Stay { .. } if matches!(record.status, Status::Stayed { .. }) => record,
        Change::Stay { order } => {
            Record { status: Status::Stayed { at, order: order.clone(), by }, ..record }
        }
        // It was revoked before; the reason is added to those that were given.
        Change::Revoke { .. } | Change::Invalidate { .. } | Change::RevokeKey { .. }
            if matches!(record.status, Status::Revoked { .. }) =>
        {
            record
        }
        Change::Revoke { why } | Change::Invalidate { why } | Change::RevokeKey { why } => {
            Record { status: Status::Revoked { at, why: why.clone(), by }, ..record }
        }
        Change::Resume { .. } => {
            let granted = match entry.document.as_ref().and_then(|document| document.quota_bytes) {
                Some(quota) => {
                    record.granted.max(record.used().bytes.saturating_add(quota::slice(quota)).min(quota))
                }
                None => u64::MAX,
            };
            Record { status: Status::Active {}, slots, granted, ..record }
        }
    }
}
