//! A config that was applied and is not confirmed yet, with what it takes to go back from it.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::Ticket;
use super::basis::Geo;
use super::input::{Held, Prepared, Waits};
use crate::approval::Signature;
use crate::audit::Who;
use crate::compile::HostFacts;
use crate::config::policy::Policy;
use crate::exemption::LawPack;
use crate::geo::Info;

/// A candidate as it came over the socket.
#[derive(Debug)]
pub struct Applied {
    /// Its file as the client has it, for messages and records.
    pub name: PathBuf,
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// The signatures over them.
    pub signatures: Vec<Signature>,
}

/// Which config is to be read.
#[derive(Clone, Debug)]
pub enum LoadOf {
    /// The daemon's file as it is now.
    File,
    /// Likewise, and nothing is kept or changed: this request asks what a reload would do.
    Plan(Ticket),
    /// A candidate, of which nothing is kept. Tables are made of the live policy too, by the database in force, for going back.
    Candidate(Arc<Applied>, Arc<Policy>),
    /// A candidate that is live and is confirmed: it is written to the daemon's file, which has this policy's text until then, and
    /// is kept.
    Confirmed(Arc<Applied>, Arc<Policy>),
}

/// The candidate that is live, or about to be, until it is confirmed.
pub(super) struct Unconfirmed {
    pub(super) applied: Arc<Applied>,
    /// Who applied it.
    pub(super) who: Who,
    /// For how long it is live without a confirmation, in seconds.
    pub(super) seconds: u64,
    /// Whether it is meant that no interface is guarded by it.
    pub(super) guard_nothing: bool,
    /// Until when, nanoseconds of `CLOCK_BOOTTIME`: a wall clock that is set changes nothing.
    pub(super) until_ns: u64,
    /// The same by the wall clock, for people.
    pub(super) until: Timestamp,
    /// The keys that signed what it opens.
    pub(super) keys: Vec<String>,
    /// What it takes to go back; `None` until the candidate was read.
    pub(super) before: Option<Before>,
    pub(super) step: Step,
    /// Why the way back failed, and when it is tried again, nanoseconds of `CLOCK_BOOTTIME`.
    pub(super) stuck: Option<(String, u64)>,
}

/// How far it is.
pub(super) enum Step {
    /// It is read and made live, for this request.
    Applied(Ticket),
    /// It is live, and waits for a yes.
    Waits,
    /// It is written to the disk and kept, for this request of this one.
    Confirmed(Ticket, Who),
    /// The config before it is made live again: who wanted that, why, and the request, where it was asked for.
    GoesBack(Who, &'static str, Option<Ticket>),
}

/// The config that is live before the candidate, with its tables: no file is read to go back.
pub(super) struct Before {
    pub(super) policy: Arc<Policy>,
    geo: Option<(Geo, Info)>,
    waits: Option<Waits>,
    cgroups: HostFacts,
    law: Option<Result<Arc<LawPack>, String>>,
    /// As it is of the config.
    unheld: Option<String>,
}

impl Before {
    /// Of what the loader made of it, with what the engine knows of it.
    pub(super) fn of(prepared: Prepared, waits: Option<Waits>, unheld: Option<String>) -> Self {
        let Prepared { policy, geo, cgroups, law, .. } = prepared;
        Self { policy, geo, waits, cgroups, law, unheld }
    }

    /// What is kept of it as that which the next config is held against.
    pub(super) fn held(&self) -> Held {
        Held { unheld: self.unheld.clone(), ..Held::default() }
    }

    /// It, to be made live again: it was in force, so that nobody has to sign that.
    pub(super) fn prepared(&self) -> Prepared {
        Prepared {
            policy: Arc::clone(&self.policy),
            warnings: Vec::new(),
            geo: self.geo.clone(),
            database_waits: self.waits.clone(),
            cgroups: self.cgroups.clone(),
            held: self.held(),
            law: self.law.clone(),
            before: None,
        }
    }
}
