//! What the engine is told: requests, what workers have done and seen, and the passing of time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use guard_common::abi::ExemptionUse;

use super::basis::{Basis, Geo, Table};
use super::ids::{StoreId, Ticket};
use crate::approval::AllowedSigners;
use crate::audit::{Kind, Record, Who};
use crate::compile::HostFacts;
use crate::config::Warning;
use crate::config::bypass::Bypass;
use crate::config::policy::Policy;
use crate::config::sockets::Sockets;
use crate::control::protocol::{ErrorKind, Request, Response};
use crate::exemption::{Document, LawPack};
use crate::geo::Info;
use crate::health::Problem;
use crate::kernel::{
    Carriers, Counters, Elsewhere, Interface, Observed, Reachable, Running, ShadowSeen, Stray, Told,
    UntaggedFlow,
};
use crate::store::last_policy::LastPolicy;
use crate::store::{Admission, ApprovedBy, Cursor, Kept, Key, Lost, MarkFault, PinCounts, StoreError};

/// Who asks, and what they may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Their credentials, for the audit trail.
    pub who: Who,
    /// Whether they may read what is confidential.
    pub sees_all: bool,
    /// Whether they may see users, commands, processes and cgroups.
    pub sees_people: bool,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The audit trail was verified: how many records it has, else what is wrong with it.
    Verified(Result<u64, String>),
    /// A request, from a peer that has the right to it.
    Request {
        /// Its number.
        ticket: Ticket,
        /// What is asked.
        request: Request,
        /// Who asks.
        asker: Asker,
    },
    /// Something that is to be recorded in the audit trail.
    Record(Record),
    /// Records that an earlier daemon could not write, and of which the trail does not say so.
    RecordsLost(Lost),
    /// Why it is kept nowhere that records are lost; nothing where it is.
    LossUnkept(Option<String>),
    /// The config is to be read again, because of SIGHUP.
    Hangup,
    /// Other geo databases are in the place of those that are in use.
    DatabasesReplaced,
    /// Network interfaces or cgroups may be others now.
    Changed,
    /// Time has passed.
    Tick,
    /// Nothing was looked at from this moment on until now.
    Absent(jiff::Timestamp),
    /// Kernel and host were looked at.
    Observed(Result<Box<Sight>, String>),
    /// A generation was published, or was not.
    Published(Box<PublishOutcome>),
    /// The program was attached to an interface, or was not.
    Attached {
        /// The interface's index.
        index: u32,
        /// Why not.
        result: Result<(), String>,
    },
    /// An interface was let go, or was not.
    Released {
        /// The interface.
        interface: Interface,
        /// How many packets it had sent by then, where that is known; or why not.
        result: Result<Option<u64>, String>,
    },
    /// Ways past the hooks are refused as it was wanted, or are not.
    BypassSet {
        /// Whether they were to be refused anywhere.
        is_on: bool,
        /// Why not.
        result: Result<(), String>,
    },
    /// Who makes and uses sockets is noted as it was wanted, or is not.
    NotingSet(Result<(), String>),
    /// Others are kept from what is the guard's as it was wanted, or are not.
    ProtectionSet(Result<(), String>),
    /// The entry of a stray was removed, or was not.
    Forgotten {
        /// The stray.
        stray: Stray,
        /// Why not.
        result: Result<(), String>,
    },
    /// Entries in bpffs were made anew, or were not.
    Restored(Result<(), String>),
    /// The kernel was to keep by which time is judged.
    TimeNoted(Result<(), String>),
    /// How live packets were judged that are traced, or why that can't be told.
    Traced(Result<Told, String>),
    /// What came of a shadow so far, or why packets can't be judged twice, and the cgroups that the candidate selects.
    Shadowed(Result<Box<ShadowSight>, String>),
    /// The candidate of the shadow of this name was read and made tables of, or can't be.
    ShadowLoaded(String, Result<Box<ShadowPrepared>, LoadFailure>),
    /// What came of a shadow has names: the answer to this request.
    ShadowTold(Ticket, Response),
    /// The ordinary programs are in the place of the tracing ones, or are not.
    PutBack(Result<(), String>),
    /// What the kernel has counted for exemptions, by slot.
    Uses(Result<Vec<ExemptionUse>, String>),
    /// The counts of these slots were reset, or were not.
    UsesReset {
        /// The slots.
        slots: Vec<u16>,
        /// Why not.
        result: Result<(), String>,
    },
    /// Slots were marked as held or freed of the mark, or were not.
    Held {
        /// The slots.
        slots: Vec<u16>,
        /// Whether they were to be marked.
        held: bool,
        /// Why not all of them are.
        result: Result<(), String>,
    },
    /// What the kernel has counted, and what was lost on the way.
    Sampled(Result<Box<Sample>, String>),
    /// Sockets of flows that are cut are closed, as far as they could be.
    SocketsClosed {
        /// The number of the cut.
        id: u64,
        /// Sockets that carried such a flow.
        flows: usize,
        /// What could not be done, for the log.
        problems: Vec<String>,
    },
    /// The store has done something.
    Stored {
        /// What it was asked.
        id: StoreId,
        /// What came of it.
        outcome: StoreOutcome,
        /// The exemptions as the disk has them now.
        kept: Kept,
    },
    /// A request that only reads was answered beside the store.
    Read {
        /// What was asked of the store.
        id: StoreId,
        /// The answer.
        response: Response,
    },
    /// Config and databases were read, or can't be used.
    Loaded(Result<Box<Prepared>, LoadFailure>),
    /// Likewise, to say what a reload would do.
    Planned(Ticket, Result<Box<Prepared>, LoadFailure>),
    /// A state of the daemon's surroundings that is a problem, or is none any more.
    Surroundings(Surroundings),
    /// The store, which could not be opened at the start, is a new one and the kernel had no tables: that start was this host's
    /// first, and there was no config before it.
    FirstStart,
    /// The store, which could not be opened at the start, is open now: this config was in force before that start, which was
    /// not held against it; `None` where there was none, or it asks for no signatures.
    ConfigOfTrail(Result<Option<LastPolicy>, String>),
    /// The daemon ends.
    Stop {
        /// Whether the host goes down with it: then exemptions are closed and settled first.
        with_host: bool,
    },
}

/// What was seen at one moment.
#[derive(Clone, Debug)]
pub struct Sight {
    /// The kernel's side.
    pub observed: Observed,
    /// The cgroups that were asked for.
    pub cgroups: HostFacts,
    /// Those by which ways past the hooks are refused.
    pub bypass: BypassFacts,
    /// The one in which it is noted who makes and uses sockets.
    pub noting: NotingFacts,
}

/// What was seen of a shadow.
#[derive(Debug)]
pub struct ShadowSight {
    /// What the kernel has of it.
    pub seen: ShadowSeen,
    /// Whether that is the end of it.
    pub is_last: bool,
    /// The cgroups that the candidate selects.
    pub cgroups: HostFacts,
}

/// A candidate for a shadow, checked and turned into tables.
#[derive(Debug)]
pub struct ShadowPrepared {
    /// Its policy.
    pub policy: Arc<Policy>,
    /// Its geo tables.
    pub geo: Geo,
    /// What they were made of.
    pub database: Info,
    /// The cgroups that it names.
    pub cgroups: HostFacts,
    /// Exemptions that it has besides those that are open.
    pub documents: Vec<Document>,
    /// Whether it observes because the daemon was told to, whatever it says itself.
    pub observes: bool,
}

/// The cgroup in which it is noted who makes and uses sockets, as it is on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotingFacts {
    /// What was asked for.
    pub asked: Sockets,
    /// Whether who sends is to be noted too.
    pub senders: bool,
    /// Where the cgroup is to be.
    pub place: PathBuf,
    /// Its id; `None` where it is absent.
    pub cgroup: Option<u64>,
    /// The volumes that pins select.
    pub volumes: VolumeFacts,
}

/// The volumes that pins select, as they are on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeFacts {
    /// The devices of what is mounted at each of the paths that were asked for; none where nothing is.
    pub devices: BTreeMap<PathBuf, BTreeSet<u32>>,
    /// Id of the cgroup `init.scope`; 0 where there is none.
    pub init_scope: u64,
    /// Why the mounts can't be looked at.
    pub blind: Option<String>,
}

impl VolumeFacts {
    /// The paths that were asked for.
    #[must_use]
    pub fn asked(&self) -> BTreeSet<PathBuf> {
        self.devices.keys().cloned().collect()
    }
}

/// The cgroups by which ways past the hooks are refused, as they are on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BypassFacts {
    /// What was asked for.
    pub asked: Bypass,
    /// Where the cgroup is to be to whose processes they are refused.
    pub place: PathBuf,
    /// Its id; `None` where it is absent.
    pub cgroup: Option<u64>,
    /// The ids of those to whose processes they are not, in the order of what was asked for; `None` for an absent one.
    pub allowed: Vec<Option<u64>>,
}

/// What came of publishing.
#[derive(Debug)]
pub struct PublishOutcome {
    /// Which one.
    pub serial: u64,
    /// The generation that is live now.
    pub generation: u64,
    /// Why it failed, or what it took, for the log.
    pub result: Result<String, String>,
    /// The counters as they were when the new one went live, where they were asked for.
    pub counters: Option<Counters>,
    /// SHA-256 of the table of policy and exemptions, where it went live.
    pub policy_sha256: Option<String>,
    /// SHA-256 of the geo tables, where new ones went live with it.
    pub geo_sha256: Option<String>,
}

/// Counters of one moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// The kernel's.
    pub counters: Counters,
    /// Flows that no pin tags and that sent most bytes.
    pub untagged: Vec<UntaggedFlow>,
    /// Who carries data of volumes.
    pub carriers: Carriers,
    /// Those of these processes that still run, at most 100.
    pub carrying: BTreeMap<u32, Running>,
    /// By what this host can be reached; `None` where the kernel does not tell, and where nobody asked.
    pub reachable: Option<Reachable>,
    /// What the cgroups of those flows, of their processes and of carriers are called, by id.
    pub cgroups: BTreeMap<u64, String>,
    /// What the users of those processes are called.
    pub users: BTreeMap<u32, String>,
    /// Flows whose records were evicted before they were settled.
    pub evicted: u64,
    /// Lines of the event log that were lost.
    pub log_lost: u64,
    /// Lines of diagnostics that were lost.
    pub diagnostics_lost: u64,
    /// Records that the flow history did not take, and events under a legal hold that were not copied.
    pub history_lost: (u64, u64),
    /// The number of the last event.
    pub events: u64,
    /// Up to when flows were reported.
    pub cursor: Option<Cursor>,
    /// What is wrong with the reporting of events.
    pub problems: Vec<Problem>,
    /// Whether what is shown and not booked was read too: untagged flows, carriers, names, and by what it can be reached.
    pub is_whole: bool,
}

/// A config and its databases, checked and turned into tables.
#[derive(Debug)]
pub struct Prepared {
    /// The policy.
    pub policy: Arc<Policy>,
    /// What may surprise in it.
    pub warnings: Vec<Warning>,
    /// Its geo tables; `None` keeps those that the kernel has.
    pub geo: Option<(Geo, Info)>,
    /// What of the databases on the disk is not in these, and why.
    pub database_waits: Option<Waits>,
    /// The cgroups that it names.
    pub cgroups: HostFacts,
    /// What came of holding it against the one before.
    pub held: Held,
    /// The law pack that it names, or why that can't be used; `None` where it names none.
    pub law: Option<Result<Arc<LawPack>, String>>,
    /// Of a candidate: the live one, with tables of its own, for going back.
    pub before: Option<Box<Prepared>>,
}

/// What of the databases on the disk is not in force, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waits {
    /// All of it, for a yes: it changes much.
    All(String),
    /// What it opens, for signatures; what it closes is in force.
    Openings(String),
}

impl Waits {
    /// Why.
    #[must_use]
    pub fn why(&self) -> &str {
        let (Self::All(why) | Self::Openings(why)) = self;
        why
    }
}

/// What came of holding a config, and its databases, against those before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Who signed what opens, and what opens and nobody has to sign.
    pub signed: Vec<SignedFile>,
    /// Why the config, or one before it that it was held against, was held against none itself, and nobody has signed it
    /// since.
    pub unheld: Option<String>,
    /// Why nobody knows whether the geo tables that the kernel has, and that stay in force, are of the database that was; `None`
    /// where others take their place.
    pub tables_unheld: Option<String>,
    /// Why the one that a start was given is refused, where this one is the one in force.
    pub refused: Option<String>,
    /// Whether no config in force was kept beside the store.
    pub none_kept: bool,
    /// What is to be kept as that which the next config is held against, which may be nothing, once what opens is on record; `None`
    /// where that was done as it was read.
    pub to_keep: Option<Option<LastPolicy>>,
}

/// A config or a database that opens, and that has the signatures which that needs, or needs none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedFile {
    /// The file.
    pub file: PathBuf,
    /// SHA-256 of the file's bytes, 64 hexadecimal digits.
    pub sha256: String,
    /// What it opens, in a sentence.
    pub opens: String,
    /// Who signed; nobody where no signature is asked for.
    pub by: Vec<ApprovedBy>,
}

/// Why config or databases can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadFailure {
    /// Whether the input or the host is at fault.
    pub kind: ErrorKind,
    /// What happened.
    pub message: String,
}

/// What came of an operation of the store.
#[derive(Debug)]
pub enum StoreOutcome {
    /// An exemption was loaded, or would be.
    Loaded(Result<Box<LoadedExemption>, RefusedLoad>),
    /// Exemptions were changed.
    Changed(Result<Vec<Key>, StoreError>),
    /// Uses were saved, quotas extended and what is over closed.
    Tended {
        /// What was closed, and why.
        closed: Vec<(Key, Kind)>,
        /// What the disk refused.
        refused: Vec<String>,
    },
    /// Something was saved, or was not.
    Saved(Result<(), StoreError>),
    /// Whose the counts were that an earlier daemon left, or why that can't be read.
    WhoseCounts(Result<PinCounts, String>),
    /// The file of allowed signers, or why it can't be used.
    Signers(Result<AllowedSigners, String>),
    /// The answer to a request that only reads.
    Answered(Response),
}

/// An exemption that is on the disk, or would be.
#[derive(Debug)]
pub struct LoadedExemption {
    /// What loading it came to.
    pub admission: Admission,
    /// The table with it, compiled while its room was looked for.
    pub compiled: Option<(Basis, Table)>,
}

/// Why a document was not loaded. The audit trail has the codes and not the text, which may quote a confidential
/// document.
#[derive(Debug)]
pub struct RefusedLoad {
    /// What kind of error.
    pub kind: ErrorKind,
    /// For the one who asked.
    pub message: String,
    /// For the audit trail, and for programs.
    pub codes: Vec<&'static str>,
}

/// Why the store can't be used. Every exemption is closed meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFault {
    /// Whether it is not what was written. Else it can't be had now: another process holds it, or the disk refuses.
    pub is_damaged: bool,
    /// What happened, and what to do.
    pub why: String,
}

impl From<&StoreError> for StoreFault {
    fn from(error: &StoreError) -> Self {
        Self { is_damaged: matches!(error, StoreError::Damaged { .. }), why: error.to_string() }
    }
}

/// Something around the daemon that may go wrong and be right again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Surroundings {
    /// What is wrong with the control socket and with names of users and groups.
    Control(Vec<Problem>),
    /// What the start found gone that an earlier daemon had left.
    Start(Vec<Problem>),
    /// The state directory: why it is not the one that is open.
    State(Option<String>),
    /// The audit trail: where it is not whole.
    Trail(Option<String>),
    /// The program that is told of what people have to do: why it was not, the last time.
    Notices(Option<String>),
    /// Entries in bpffs: why they end with the daemon.
    Pins(Option<String>),
    /// The mark of how far the store has come: why it can't be kept.
    Mark(Option<MarkFault>),
    /// The database of exemptions: why it can't be used at all.
    Store(Option<StoreFault>),
    /// Who had files of volumes open before: why that is not known of all.
    Carriers(Option<String>),
    /// The daemon's loop: how long it was held up within the last minute.
    Loop(Option<String>),
    /// The config that the next one is held against: why it is not kept.
    ConfigNotKept(Option<String>),
    /// The geo database: why it could not be kept for a start that can't read it.
    DatabaseNotKept(Option<String>),
    /// The geo database: why the last one that was good is in use.
    LastDatabase(Option<String>),
    /// The geo databases: which of them somebody writes for long already.
    DatabaseWritten(Option<String>),
    /// The stages that canaries have not reached.
    Canaries(Vec<Problem>),
    /// Other network namespaces: their devices by which packets leave.
    Elsewhere(Elsewhere),
}
