//! Where publishing stands: the generation that is live, and the one on its way.

use std::sync::Arc;

use super::basis::{Basis, Table};
use super::tampering::Again;
use crate::config::policy::Policy;
use crate::report::receipt::TableHashes;

/// Where publishing stands.
pub(super) struct Publishing {
    pub(super) generation: u64,
    /// When the live one went live.
    pub(super) since: Option<jiff::Timestamp>,
    pub(super) serial: u64,
    /// What the live generation is made of; `None` where that is not known.
    pub(super) live: Option<Basis>,
    pub(super) in_flight: Option<InFlight>,
    /// What could not be made live, and why. It is not tried again before it, or time, has changed.
    pub(super) failed: Option<Failed>,
    /// A table that was compiled already.
    pub(super) compiled: Option<(Basis, Table)>,
    /// Hashes of the live tables; empty before the first of this daemon.
    pub(super) hashes: TableHashes,
}

pub(super) struct InFlight {
    pub(super) basis: Basis,
    pub(super) began_ns: u64,
    pub(super) policy: Arc<Policy>,
    /// Whether it has the closings alone of what is wanted, for the whole does not fit.
    pub(super) is_part: bool,
    /// What of the live one is published anew by it.
    pub(super) again: Again,
}

pub(super) struct Failed {
    pub(super) basis: Basis,
    pub(super) why: String,
    /// Whether it may be tried again.
    pub(super) retry: bool,
}

impl Failed {
    pub(super) fn new(basis: Basis, why: String) -> Self {
        Self { basis, why, retry: false }
    }
}

/// How the live tables compare with what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tables {
    /// They are as they should be.
    Current,
    /// New ones are on their way, or wait for something that comes soon.
    OnTheWay,
    /// They could not be made live.
    Failed(String),
}

impl Publishing {
    pub(super) fn new(generation: u64) -> Self {
        Self {
            generation,
            since: None,
            serial: 0,
            live: None,
            in_flight: None,
            failed: None,
            compiled: None,
            hashes: TableHashes::default(),
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// What the live generation is made of; `None` where that is not known.
    pub(super) fn live(&self) -> Option<&Basis> {
        self.live.as_ref()
    }

    /// What failed is tried again at the next look.
    pub(super) fn try_again(&mut self) {
        if let Some(failed) = &mut self.failed {
            failed.retry = true;
        }
    }

    pub(super) fn keep_compiled(&mut self, compiled: Option<(Basis, Table)>) {
        self.compiled = compiled;
    }

    /// Whether no live or coming generation has an exemption in these slots.
    pub(super) fn is_without(&self, slots: &[u16]) -> bool {
        let has_none = |basis: &Basis| basis.exemptions.iter().all(|it| !slots.contains(&it.slot));
        self.live.as_ref().is_some_and(has_none)
            && self.in_flight.as_ref().is_none_or(|coming| has_none(&coming.basis))
    }

    /// Since when the present one is on its way, nanoseconds of `CLOCK_BOOTTIME`.
    pub(super) fn on_its_way_since(&self) -> Option<u64> {
        self.in_flight.as_ref().map(|coming| coming.began_ns)
    }

    /// Why the last try failed.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failed.as_ref().map(|failed| failed.why.as_str())
    }
}
