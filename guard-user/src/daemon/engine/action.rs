//! What the engine wants done. The runtime hands each action to the worker whose it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use guard_common::abi::ExemptionUse;
use guard_common::abi::traced::TraceTarget;
use jiff::Timestamp;

use super::basis::{Basis, Geo, Table};
use super::ids::{StoreId, Ticket};
use super::lift_job::LiftJob;
use super::notices::Notice;
use super::unconfirmed::LoadOf;
use crate::approval::Signature;
use crate::audit::{Record, Who};
use crate::canary::Guarded;
use crate::compile::{HostFacts, KernelExemption};
use crate::config::bypass::Bypass;
use crate::config::jurisdiction_set::JurisdictionSet;
use crate::config::policy::{self, Policy};
use crate::config::sockets::Sockets;
use crate::control::protocol::{Response, ShadowReport, ShadowWanted};
use crate::events::names::Names;
use crate::exemption::document::Document;
use crate::exemption::record::Use;
use crate::exemption::{Clocks, LawPack};
use crate::history;
use crate::kernel::{BypassTarget, CgroupTarget, Interface, ShadowSeen, ShadowStep, Stray};
use crate::report::receipt::TableHashes;
use crate::store::last_policy::LastPolicy;
use crate::store::{Change, Cursor, GoesLive, KnownSpent, PinCounts, Target};

/// For what the counters are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleFor {
    /// To book what crossed, every few seconds: the counters alone.
    Book,
    /// For an answer: also what is shown and not booked.
    Answer,
}

/// One thing to do.
#[derive(Debug)]
pub enum Action {
    /// For the worker that owns the kernel side.
    Kernel(KernelJob),
    /// For the worker that owns the store.
    Store(StoreId, Box<StoreJob>),
    /// Read the kernel's counters and what was lost: answered by [`Input::Sampled`](super::Input::Sampled).
    Sample(SampleFor),
    /// Read config and databases again.
    Load {
        /// The config that is live, which no other one may open over, whatever is kept on the disk.
        live: LastPolicy,
        /// What signs nothing any more.
        spent: KnownSpent,
        /// Where the live one was not held against the one before it: that one, as the audit trail has it. Then the live one
        /// is held against it, and not the file.
        of_trail: Option<LastPolicy>,
        /// Which.
        of: LoadOf,
    },
    /// Keep this as what the next config is held against, or nothing: it is on record now, or one that took its place is refused.
    KeepConfig(Option<LastPolicy>),
    /// Read the databases of this policy again, and not the config.
    LoadDatabases {
        /// The policy.
        policy: Arc<Policy>,
        /// Whether somebody said yes to any change.
        accepted: bool,
        /// What signs nothing any more.
        spent: KnownSpent,
    },
    /// Close local sockets of flows that are cut, or only count them.
    CloseSockets(Box<Cut>),
    /// Note the holders of sockets that were open before the hooks were attached: of processes below the cgroup of this
    /// folder.
    NameSockets(PathBuf),
    /// Find processes that have files open on these devices, whose volumes are in these slots, a bit each: on a thread of
    /// its own, and nobody waits for it.
    FindCarriers(BTreeMap<u32, u64>),
    /// Make tables of the candidate of the shadow of this name.
    LoadShadow(String, Box<ShadowLoad>),
    /// Put names to what came of a shadow, and answer the request.
    TellShadow(Ticket, Box<ShadowEnd>),
    /// Answer a request.
    Answer(Ticket, Response),
    /// Run this program, and give it the notice to read.
    Tell {
        /// The program with its arguments.
        command: Vec<String>,
        /// What it is told.
        notice: Box<Notice>,
    },
    /// Events name interfaces so from now on, by index.
    NameInterfaces(HashMap<u32, Arc<str>>),
    /// Send canaries so from now on.
    Canaries(Box<Canaries>),
    /// What collects the log hands back the canary of this number: the request is answered by who sent it.
    ConfirmCanary(Ticket, u64),
    /// Write events so from now on.
    EventLog(policy::Log),
    /// Keep the flow history so from now on.
    FlowHistory(Box<history::Settings>),
    /// Log a line.
    Log(Level, String),
    /// Tell the service manager.
    Notify(State),
    /// Everything is done that had to be done before the end.
    Ended,
}

/// What canaries are planned by.
#[derive(Clone, Debug)]
pub struct Canaries {
    /// The policy.
    pub policy: Arc<Policy>,
    /// What its names stand for.
    pub facts: HostFacts,
    /// The interfaces that it names and that can be guarded.
    pub guarded: Vec<Guarded>,
}

impl Canaries {
    /// Whether the same are planned by the other.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.policy, &other.policy) && self.facts == other.facts && self.guarded == other.guarded
    }
}

/// A candidate that is to be read for a shadow.
#[derive(Debug)]
pub struct ShadowLoad {
    /// What was asked for.
    pub wanted: ShadowWanted,
    /// The databases that may be read for who asks; `None`: any.
    pub may_read: Option<Vec<PathBuf>>,
}

/// What came of a shadow, in numbers.
#[derive(Debug)]
pub struct ShadowEnd {
    /// What the kernel has of it.
    pub seen: ShadowSeen,
    /// The names of the candidate's pins and exemptions.
    pub then: Names,
    /// Whether who asked may see users, commands, processes and cgroups.
    pub sees_people: bool,
    /// The report, but for what is made of the kernel's numbers.
    pub report: ShadowReport,
}

/// How serious a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something is not as it should be, and somebody has to look.
    Error,
    /// Something may be wrong.
    Warn,
    /// What was done.
    Info,
}

/// What the service manager is told (sd_notify(3)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It guards.
    Ready,
    /// It reads its config again; [`State::Ready`] follows.
    Reloading,
    /// It ends.
    Stopping,
}

/// A step of the worker that owns the kernel side. What closes or publishes comes first, what lets go last.
#[derive(Debug)]
pub enum KernelJob {
    /// Look at interfaces, attachments, entries and these cgroups.
    Observe {
        /// Paths of cgroups, as the policy has them.
        cgroups: Vec<String>,
        /// And these.
        bypass: Bypass,
        /// And this one.
        sockets: Sockets,
        /// And whether any pin goes by who sends.
        senders: bool,
        /// And where these volumes are mounted.
        volumes: BTreeSet<PathBuf>,
    },
    /// Make a generation live.
    Publish(Box<Publish>),
    /// Guard an interface.
    Attach {
        /// The interface.
        interface: Interface,
        /// Whether at ingress too.
        ingress: bool,
    },
    /// Let an interface go.
    Release {
        /// The interface.
        interface: Interface,
    },
    /// Refuse ways past the hooks here, or nowhere.
    RefuseBypass(Option<BypassTarget>),
    /// Note who makes and uses sockets here, or nowhere.
    NoteSockets(Option<CgroupTarget>),
    /// Keep others from what is the guard's in the kernel, or no more.
    Protect(bool),
    /// Remove an entry with nothing behind it.
    Forget(Stray),
    /// Make entries in bpffs anew.
    RestoreEntries,
    /// Tell how these live packets are judged, and what was told since the last look.
    Trace(TraceTarget),
    /// Judge live packets by a candidate too, and look at these cgroups, which it selects.
    Shadow(Box<ShadowStep>, Vec<String>),
    /// Put the ordinary programs in the place of those of a trace or a shadow.
    PutBack,
    /// Keep by which time is judged, for a daemon that starts again.
    NoteTime(Clocks),
    /// Read what exemptions have let through: no less than this in slots of which it is known.
    ReadUses(Vec<(u16, ExemptionUse)>),
    /// Set the counts of these slots to zero.
    ResetUses(Vec<u16>),
    /// Mark slots as closed by an order that is not on the disk yet, or free them of the mark.
    Hold {
        /// The slots.
        slots: Vec<u16>,
        /// Whether they are held.
        held: bool,
    },
}

impl KernelJob {
    /// Whether it goes before jobs that are not urgent: what closes must not wait for what looks.
    #[must_use]
    pub const fn is_urgent(&self) -> bool {
        matches!(self, Self::Publish(_) | Self::Hold { .. })
    }

    /// Whether everything else goes before it: an interface that is to be guarded must not wait for those that are let
    /// go.
    #[must_use]
    pub const fn can_wait(&self) -> bool {
        matches!(self, Self::Release { .. } | Self::Forget(_))
    }
}

/// A generation to be made live.
#[derive(Debug)]
pub struct Publish {
    /// Its number among all that were ever tried.
    pub serial: u64,
    /// The policy's table.
    pub table: Table,
    /// New geo tables.
    pub geo: Option<Geo>,
    /// Whether the geo tables that are live are filled in anew where there are no new ones: somebody else has changed them.
    pub geo_anew: bool,
    /// The names by which events of it are told.
    pub names: Names,
    /// The config that goes live with it, where that is another one than before: the kernel has it before the flip.
    pub goes_live: Option<GoesLive>,
    /// Whether numbers of pins go to other pins with it, so that the counters of this moment are wanted.
    pub counts_change_hands: bool,
}

/// An operation of the store.
#[derive(Debug)]
pub enum StoreJob {
    /// Load an exemption.
    Load(LoadJob),
    /// Change exemptions.
    Change {
        /// Which.
        target: Target,
        /// How.
        change: Change,
        /// Who asked.
        who: Who,
    },
    /// Lift an order by a signed document.
    Lift(Box<LiftJob>),
    /// Save uses, extend quotas and close what is over.
    Tend {
        /// What the kernel has counted, by slot.
        counts: Vec<(u16, Use)>,
        /// The daemon.
        who: Who,
        /// What ended by then is over, also where the wall clock was set back since.
        over_by: Timestamp,
    },
    /// Save uses that were read after the counts of pins, and look whether exemptions have let through more than that.
    Compare {
        /// What the kernel has counted, by slot.
        counts: Vec<(u16, Use)>,
        /// The daemon.
        who: Who,
    },
    /// Save the final use of these slots, which no generation has any more.
    SaveUses(Vec<(u16, Use)>),
    /// The counts of these slots are zero now.
    SlotsReset(Vec<u16>),
    /// The kernel's counts are final, because the host goes down.
    CountersEnd(Vec<(u16, Use)>),
    /// Append to the audit trail.
    Record(Record),
    /// Append these to it, all of them or none.
    RecordAll(Vec<Record>),
    /// Append to the audit trail, and keep the config that the record names.
    RecordConfig {
        /// The record.
        record: Record,
        /// The config's text.
        text: Arc<[u8]>,
    },
    /// Note that a config is live, for a store that is not open.
    NoteConfig {
        /// The record that it would have.
        record: Record,
        /// The config's text.
        text: Arc<[u8]>,
    },
    /// Save which pins the kernel's counts are of, what was judged by day, and up to when flows were reported.
    SaveCounts {
        /// Which pins; `None` where that did not change.
        counts: Option<Box<PinCounts>>,
        /// What was judged so far.
        judged: Option<Judged>,
        /// Up to when flows were reported.
        cursor: Option<Cursor>,
    },
    /// Read whose the counts were that an earlier daemon left.
    ReadCounts,
    /// Answer a request that only reads.
    Read(ReadJob),
    /// Look whether the database is still where it belongs.
    CheckPlace,
    /// Read this file of allowed signers.
    LookAtSigners(PathBuf),
}

impl StoreJob {
    /// Whether it goes before jobs that are not urgent. What changes what is open goes before what looks or counts,
    /// and in the order of the requests: an order means what was loaded before it.
    #[must_use]
    pub const fn is_urgent(&self) -> bool {
        matches!(self, Self::Load(_) | Self::Change { .. } | Self::Lift(_))
    }
}

/// Packets and bytes by how they were judged.
pub type Judged = BTreeMap<crate::store::Judged, (u64, u64)>;

/// A document to be loaded.
#[derive(Debug)]
pub struct LoadJob {
    /// The file's name, for errors.
    pub name: String,
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// The signatures over them.
    pub signatures: Vec<Signature>,
    /// Who loads it.
    pub who: Who,
    /// Whether nothing is to be changed.
    pub dry_run: bool,
    /// What the tables are made of now, to see whether they have room for it.
    pub basis: Basis,
    /// The policy that is live.
    pub policy: Arc<Policy>,
    /// The latest time that is known: keys and windows that had ended by then stay so.
    pub latest: Timestamp,
    /// The law pack that it names, or why that can't be used.
    pub law: Result<Arc<LawPack>, String>,
}

/// A request that only reads, with what the engine knows and the store does not.
#[derive(Debug)]
pub struct ReadJob {
    /// What is asked.
    pub query: Query,
    /// Whether what is confidential may be in the answer.
    pub sees_all: bool,
    /// What the kernel has counted for exemptions, by slot; `None` where it could not be read.
    pub counts: Option<Vec<(u16, Use)>>,
    /// What was judged so far.
    pub judged: Option<Judged>,
    /// The policy that is live.
    pub policy: Arc<Policy>,
    /// The live generation.
    pub generation: u64,
    /// What it is made of.
    pub tables: TableHashes,
    /// Where the report may miss something.
    pub gaps: Vec<String>,
}

/// What is asked of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// One exemption with its document and signatures.
    Show {
        /// Its id.
        id: String,
        /// Its version.
        version: Option<u32>,
    },
    /// The documents of the open exemptions.
    Open,
    /// Lines of the audit trail from this number on.
    Audit(u64),
    /// The text of the config of this SHA-256.
    Config(String),
    /// The document of this exemption and version.
    Document(String, u32),
    /// The document of this SHA-256 by which an order was lifted, and the signatures over it.
    Lift(String),
    /// That the receipt which was given last could not be written is recorded.
    ReceiptNotWritten {
        /// The exemption's id.
        id: String,
        /// Its version; `None` for the one that is open, else the highest.
        version: Option<u32>,
        /// Why.
        why: String,
        /// Who says so.
        who: Who,
    },
    /// How the trail ends now; that it was asked is a record.
    Checkpoint(Who),
    /// What an exemption that is closed has let through, signed; that it was given is a record.
    Receipt {
        /// Its id.
        id: String,
        /// Its version.
        version: Option<u32>,
        /// Who asks.
        who: Who,
    },
    /// That a duty was done; that is a record.
    Done(Box<DutyDone>),
    /// What crossed over these days.
    Report {
        /// The first day.
        from: Option<String>,
        /// The last day.
        until: Option<String>,
    },
}

/// A duty that somebody says was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DutyDone {
    /// The exemption's id.
    pub id: String,
    /// Its version.
    pub version: Option<u32>,
    /// What was done.
    pub duty: String,
    /// When; `None`: now.
    pub on: Option<Timestamp>,
    /// How.
    pub why: String,
    /// Whether it is only said what it would come to.
    pub dry_run: bool,
    /// Who says so.
    pub who: Who,
}

/// Flows that are cut, or would be.
#[derive(Clone, Debug)]
pub struct Cut {
    /// Its number, by which the answer is known.
    pub id: u64,
    /// Whether sockets are only counted.
    pub count_only: bool,
    /// The accounts of the exemptions that are meant.
    pub accounts: Vec<u16>,
    /// Their slots, one of which each of their flows names.
    pub slots: Vec<u16>,
    /// Every slot that an exemption has, and since when, nanoseconds of `CLOCK_BOOTTIME`.
    pub owned: BTreeMap<u16, u64>,
    /// The documents that are meant.
    pub documents: Vec<Document>,
    /// The names of the live pins, by number.
    pub pins: Vec<String>,
    /// Where each of these lets data go by itself.
    pub permitted: Vec<JurisdictionSet>,
    /// Those that drop nothing of what they forbid, a bit each.
    pub lenient: u64,
    /// The exemptions that are open beside those that are meant.
    pub beside: Vec<KernelExemption>,
}
