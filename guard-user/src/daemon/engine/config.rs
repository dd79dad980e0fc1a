//! The config that is live, and the one that is about to be.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::Ticket;
use super::basis::Geo;
use super::databases::Databases;
use super::input::{Prepared, Waits};
use super::unconfirmed::Unconfirmed;
use crate::audit::{Record, Who};
use crate::compile::HostFacts;
use crate::config::policy::{NamedPack, Policy};
use crate::exemption::LawPack;
use crate::geo::Info;
use crate::store::LeftUnconfirmed;
use crate::store::last_policy::LastPolicy;

/// The config.
pub(super) struct Config {
    pub(super) file: PathBuf,
    /// The one that is live, or is to be as soon as anything is.
    pub(super) policy: Arc<Policy>,
    /// The one that the daemon was started with: some of its keys count until it ends.
    pub(super) first: Arc<Policy>,
    /// Which one is live.
    pub(super) serial: u64,
    /// Whether the one before it asked for signatures of what it opens.
    pub(super) is_judged: bool,
    /// How many were taken up so far.
    pub(super) taken_up: u64,
    pub(super) database: Info,
    /// The cgroups that it names, as they were seen last.
    pub(super) cgroups: HostFacts,
    /// The one that is to take its place.
    pub(super) candidate: Option<Candidate>,
    /// Why the config as it is on the disk is not live.
    pub(super) refused: Option<String>,
    /// Why it was held against none: see [`Held`](super::input::Held).
    pub(super) unheld: Option<String>,
    /// What was read and opens, which is not taken before the disk has who signed it.
    pub(super) approving: Option<Box<Prepared>>,
    /// Until when that waits for the disk, nanoseconds of `CLOCK_BOOTTIME`.
    pub(super) approving_until: u64,
    /// Who signed what the start opened, which the disk has not yet: a host is guarded before it is recorded by whose word.
    pub(super) unrecorded: Vec<Record>,
    /// Why the disk refused that.
    pub(super) unrecorded_why: Option<String>,
    /// The config that was in force before the start, which is to be held against it.
    pub(super) of_trail: Option<LastPolicy>,
    /// Whether the live one is being held against that now.
    pub(super) is_being_held: bool,
    /// Whether it is not known yet what was in force before the start: until then the audit trail has nothing of what is live,
    /// which would be what the next start is held against.
    pub(super) is_unsure: bool,
    /// Whether the trail has no record of the start for that reason.
    pub(super) start_is_due: bool,
    /// When it is tried again to hold it, nanoseconds of `CLOCK_BOOTTIME`.
    pub(super) hold_again: Option<u64>,
    /// Since when it is being read, nanoseconds of `CLOCK_BOOTTIME`.
    pub(super) loading: Option<u64>,
    /// Who waits for it.
    pub(super) waiting: Vec<(Ticket, Who)>,
    /// Who asked while it was being read already: it is read once more for them.
    pub(super) late: Vec<(Ticket, Who)>,
    pub(super) again: bool,
    pub(super) databases: Databases,
    /// What was applied and is not confirmed.
    pub(super) unconfirmed: Option<Unconfirmed>,
    /// As [`Begin::left_unconfirmed`](super::state::Begin::left_unconfirmed), until that is recorded.
    pub(super) left_unconfirmed: Option<LeftUnconfirmed>,
    /// The law packs of the live policy and of the one on its way, or why they can't be used.
    pub(super) packs: BTreeMap<NamedPack, Result<Arc<LawPack>, String>>,
}

/// A config on its way.
pub(super) struct Candidate {
    pub(super) policy: Arc<Policy>,
    pub(super) serial: u64,
    pub(super) geo: Option<(Geo, Info)>,
    pub(super) cgroups: HostFacts,
    /// Whether none was live before it: then there is none to go back to.
    pub(super) is_first: bool,
    /// Whether config and databases were read again for it: the first one may have the last good database.
    pub(super) is_reload: bool,
    /// Whether the databases alone were read again for it, and the policy is the one that is live.
    pub(super) is_of_databases: bool,
    /// Why the databases on the disk are not its own and wait for a yes.
    pub(super) database_waits: Option<Waits>,
    /// Why the config that was live before is not any more: it was held against this one after its start.
    pub(super) refused: Option<String>,
    /// Why the live one was held against none, which is so again where this one can't be made live.
    pub(super) live_unheld: Option<String>,
}

impl Config {
    pub(super) fn new(file: PathBuf, policy: Arc<Policy>) -> Self {
        Self {
            file,
            first: Arc::clone(&policy),
            policy,
            serial: 0,
            is_judged: false,
            taken_up: 0,
            database: Info::default(),
            cgroups: HostFacts::default(),
            candidate: None,
            refused: None,
            unheld: None,
            approving: None,
            approving_until: 0,
            unrecorded: Vec::new(),
            unrecorded_why: None,
            of_trail: None,
            is_being_held: false,
            is_unsure: false,
            start_is_due: false,
            hold_again: None,
            loading: None,
            waiting: Vec::new(),
            late: Vec::new(),
            again: false,
            databases: Databases::default(),
            unconfirmed: None,
            left_unconfirmed: None,
            packs: BTreeMap::new(),
        }
    }

    /// Whether the first one is still on its way, and nothing has kept it from being live.
    pub(super) fn is_to_come(&self) -> bool {
        self.refused.is_none() && self.candidate.as_ref().is_some_and(|candidate| candidate.is_first)
    }

    /// Keys of a policy that count from the start alone and had another value then, each with what counts.
    pub(super) fn waiting_for_restart(&self, next: &Policy) -> Vec<(&'static str, String)> {
        let first = &self.first;
        let paths = [
            ("control.socket", &first.control.socket, &next.control.socket),
            ("state.directory", &first.state.directory, &next.state.directory),
            ("state.mark_directory", &first.state.mark_directory, &next.state.mark_directory),
            ("state.pin_path", &first.state.pin_path, &next.state.pin_path),
        ];
        let paths = paths.into_iter().filter(|(_, now, next)| now != next);
        let mut waiting: Vec<_> = paths
            .map(|(key, now, _)| (key, format!("it is {} until the daemon is started again", now.display())))
            .collect();
        if first.control.groups != next.control.groups {
            waiting.push((
                "control.groups",
                "they count as they were until the daemon is started again".to_owned(),
            ));
        }
        if first.metrics != next.metrics {
            let now = first.metrics.as_ref().map_or_else(|| "off".to_owned(), ToString::to_string);
            waiting.push(("metrics.listen", format!("it is {now} until the daemon is started again")));
        }
        if next.sockets.refuse && !first.sockets.refuse {
            let told = "no call is refused until the daemon is started again";
            waiting.push(("sockets.refuse", told.to_owned()));
        }
        waiting
    }

    /// Whether the live one asks for signatures of what opens, of the next config or of geo databases.
    pub(super) fn asks(&self) -> bool {
        self.policy.approval.as_ref().is_some_and(|approvals| !approvals.policy.is_empty())
    }

    /// Whether the programs that were loaded at the start can refuse calls.
    pub(super) fn first_refuses(&self) -> bool {
        self.first.sockets.refuse
    }

    /// Whether the programs that were loaded at the start can refuse calls, and this policy wants it.
    pub(super) fn refuses_calls(&self) -> bool {
        self.first_refuses() && self.wanted().refuses_calls()
    }

    /// Whether it is being read, or one is on its way to be live. A first one that can't be made live must not keep its
    /// correction out.
    pub(super) fn is_busy(&self) -> bool {
        self.loading.is_some() || self.candidate.as_ref().is_some_and(|candidate| !candidate.is_first)
    }

    /// Since when it is being read again.
    pub(super) fn loading_since(&self) -> Option<u64> {
        self.loading
    }

    /// The policy that is to be live.
    pub(super) fn wanted(&self) -> &Arc<Policy> {
        self.candidate.as_ref().map_or(&self.policy, |candidate| &candidate.policy)
    }

    /// The cgroups of the policy that is to be live, as they were seen last.
    pub(super) fn wanted_cgroups(&self) -> &HostFacts {
        self.candidate.as_ref().map_or(&self.cgroups, |candidate| &candidate.cgroups)
    }

    /// Likewise, to be seen anew.
    pub(super) fn wanted_cgroups_mut(&mut self) -> &mut HostFacts {
        self.candidate.as_mut().map_or(&mut self.cgroups, |candidate| &mut candidate.cgroups)
    }

    /// The number of the policy that is to be live.
    pub(super) fn wanted_serial(&self) -> u64 {
        self.candidate.as_ref().map_or(self.serial, |candidate| candidate.serial)
    }

    /// The names of the live pins.
    pub(super) fn pins(&self) -> Vec<String> {
        self.policy.pins.iter().map(|pin| pin.name.clone()).collect()
    }
}
