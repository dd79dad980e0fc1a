//! The orders that were lifted, in memory and in their rows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use redb::WriteTransaction;
use serde::{Deserialize, Serialize};

use super::change::Change;
use super::entry::Entry;
use super::error::Problem;
use super::key::Key;
use super::standing::covers;
use super::tables::LIFTED_ORDERS;
use crate::exemption::order::row;
use crate::exemption::record::ApprovedBy;
use crate::exemption::{OrderKind, StandingOrder, Target};
use crate::text::visible;

/// An order that was lifted, and by whose keys the last time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LiftedOrder {
    pub(super) covers: Target,
    order: String,
    kind: OrderKind,
    /// Fingerprints; none where the config asked for no approvals.
    pub(super) keys: Vec<String>,
}

/// The orders that were lifted, by the keys of their rows.
pub(super) type LiftedOrders = BTreeMap<String, LiftedOrder>;

impl LiftedOrder {
    pub(super) fn new(order: &StandingOrder, by: &[ApprovedBy]) -> Self {
        Self {
            covers: order.covers.clone(),
            order: order.order.clone(),
            kind: order.kind,
            keys: by.iter().map(|it| it.fingerprint.clone()).collect(),
        }
    }

    pub(super) fn row(&self) -> String {
        row(self.kind, &self.covers, &self.order)
    }

    /// Keeps it in the place of what was kept of an earlier lift of the same order.
    pub(super) fn keep(&self, batch: &WriteTransaction) -> Result<(), redb::Error> {
        let bytes = serde_json::to_vec(self).map_err(|error| redb::Error::Io(error.into()))?;
        batch.open_table(LIFTED_ORDERS)?.insert(self.row().as_str(), bytes.as_slice())?;
        Ok(())
    }

    /// The order as it is given anew.
    pub(super) fn again(&self, given: (Timestamp, u32)) -> StandingOrder {
        match &self.covers {
            Target::Instrument(name) if self.kind == OrderKind::Fallen => {
                StandingOrder::fallen(name, &self.order, given)
            }
            covers => StandingOrder::new(covers, &self.order, given),
        }
    }

    /// What it does to what it covers.
    pub(super) fn change(&self) -> Change {
        match self.kind {
            OrderKind::Fallen => Change::Invalidate { why: self.order.clone() },
            OrderKind::Stay | OrderKind::RevokedKey => Change::Stay { order: self.order.clone() },
        }
    }

    /// Whether it stays or closes this.
    pub(super) fn holds(&self, key: &Key, entry: &Entry) -> bool {
        covers(&self.covers, key, entry)
            && match self.kind {
                OrderKind::Fallen => entry.can_be_closed(),
                OrderKind::Stay | OrderKind::RevokedKey => !entry.record.is_closed(),
            }
    }
}

/// The order in a row. That one can't be read is a problem: the revocation of its key would not give it again.
pub(super) fn read(row: &str, bytes: &[u8]) -> Result<LiftedOrder, Problem> {
    serde_json::from_slice(bytes).map_err(|error| Problem {
        place: format!("the lifted order {}", visible(row)),
        reason: format!(
            "by whose keys it was lifted can't be read: {error}; give the order again where one of them is revoked"
        ),
    })
}
