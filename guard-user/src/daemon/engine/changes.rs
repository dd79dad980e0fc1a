//! The changes of exemptions that are not answered yet.

use std::collections::BTreeMap;

use super::Ticket;
use crate::audit::Who;
use crate::control::protocol::Request;
use crate::exemption::Clocks;
use crate::store::{Change, Key, Target};

/// How long a closing waits for the sockets of its flows to be closed, nanoseconds: their number may be large, and
/// the cut must not be late for it. It is done within 2 ms as a rule, and a busy host needs more.
pub(super) const SOCKETS_NS: u64 = 20_000_000;

/// How long the answer to a closing that holds in the kernel waits for the disk, nanoseconds.
pub(super) const DISK_NS: u64 = 2_000_000_000;

/// The number of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChangeId(pub(super) u64);

/// The changes that are not answered yet.
#[derive(Default)]
pub(super) struct Changes {
    last: u64,
    pub(super) pending: Vec<Pending>,
    /// Dry runs that wait for the number of flows.
    pub(super) counted: Vec<(u64, Ticket, String, Vec<Key>)>,
    /// Dry runs that wait for the store.
    pub(super) looked: Vec<Looked>,
    /// Cuts of what is over that the next generation waits for, and until when.
    pub(super) cuts: Vec<(u64, u64)>,
    /// Resumptions of what was closed just now: they wait until its last counts are settled, and until when.
    pub(super) unsettled: Vec<(u64, Ticket, Request, Who)>,
    /// Closings of what is about to be opened, or of what a store has that can't be read: looked at again when the store
    /// has done that.
    pub(super) deferred: Vec<Deferred>,
    /// Closings that were answered before the disk did.
    pub(super) answered: BTreeMap<u64, (Target, Change, Who)>,
}

/// A lift that is not to be done, and of which the store is asked whether it would be.
pub(super) struct Looked {
    pub(super) id: u64,
    pub(super) ticket: Ticket,
    pub(super) target: Target,
    pub(super) change: Change,
}

/// A closing that waits for the store.
pub(super) struct Deferred {
    pub(super) id: u64,
    pub(super) ticket: Ticket,
    pub(super) request: Request,
    pub(super) who: Who,
    /// Until when the answer waits, nanoseconds of `CLOCK_BOOTTIME`; `None` once it was given.
    pub(super) until: Option<u64>,
}

/// One change.
pub(super) struct Pending {
    pub(super) id: u64,
    pub(super) ticket: Ticket,
    pub(super) target: Target,
    pub(super) who: Who,
    pub(super) change: Change,
    pub(super) keys: Vec<Key>,
    pub(super) slots: Vec<u16>,
    /// The config that waited for its confirmation and goes back by it.
    pub(super) candidate: Option<String>,
    /// Until when it waits for sockets to be closed; `None` once it need not.
    pub(super) sockets_until: Option<u64>,
    /// What the disk said.
    pub(super) kept: Option<Result<(), String>>,
    /// What the kernel came to, and when.
    pub(super) published: Option<(Result<(), String>, u64)>,
    /// Whether the counts for the answer are being read.
    pub(super) reading: bool,
}

impl Pending {
    pub(super) fn is_closing(&self) -> bool {
        !matches!(self.change, Change::Resume { .. })
    }
}

impl Changes {
    pub(super) fn next_id(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The number of a cut that the next generation waits for.
    pub(super) fn wait_for_cut(&mut self, now: Clocks) -> u64 {
        let id = self.next_id();
        self.cuts.push((id, now.boot_ns + SOCKETS_NS));
        id
    }

    /// Whether an order on its way revokes this one.
    pub(super) fn is_being_revoked(&self, key: &Key) -> bool {
        let revokes = |it: &Pending| {
            let change = &it.change;
            matches!(change, Change::Revoke { .. } | Change::Invalidate { .. } | Change::RevokeKey { .. })
        };
        self.pending.iter().any(|it| revokes(it) && it.keys.contains(key))
    }

    /// Whether a generation has to wait a little for sockets to be closed first.
    pub(super) fn wait_for_sockets(&self, now: Clocks) -> bool {
        if self.cuts.iter().any(|(_, until)| now.boot_ns < *until) {
            return true;
        }
        self.pending.iter().any(|it| it.sockets_until.is_some_and(|until| now.boot_ns < until))
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        let of = |it: &Pending| {
            let disk = it.published.as_ref().filter(|_| it.kept.is_none()).map(|(_, at)| at + DISK_NS);
            it.sockets_until.into_iter().chain(disk).min()
        };
        let cuts = self.cuts.iter().map(|(_, until)| *until);
        let unsettled = self.unsettled.iter().map(|(until, ..)| *until);
        let deferred = self.deferred.iter().filter_map(|it| it.until);
        self.pending.iter().filter_map(of).chain(cuts).chain(unsettled).chain(deferred).min()
    }
}
