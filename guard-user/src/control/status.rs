//! What `borderguard status` shows: one object, documented key by key here and in docs/status.md.

use serde::{Deserialize, Serialize};

pub use super::bypass::{BypassAllowStatus, BypassCount, BypassStatus};
pub use super::protect::ProtectStatus;
use crate::events::event::People;
use crate::exemption::Summary;
use crate::health::{Health, Problem};

/// Everything that the daemon knows of itself and of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The state of the guard: `guarding`, `degraded`, `observing` or `off`; docs/problems.md says when.
    pub health: Health,
    /// Version of the daemon.
    pub version: String,
    /// Process id of the daemon.
    pub pid: u32,
    /// The kernel's release, as `uname -r` has it.
    pub kernel: String,
    /// The config file.
    pub config: String,
    /// The config's fingerprint, 16 hexadecimal digits.
    pub fingerprint: String,
    /// The generation that is live.
    pub generation: u64,
    /// When it went live, RFC 3339.
    pub since: String,
    /// Whether every action counts as `observe`.
    pub observe: bool,
    /// Whether an exemption needs approval by the rules of the config; false: one person may open.
    pub approval_required: bool,
    /// What is not as the config and the store want it, the worst first; empty when all is well.
    pub problems: Vec<Problem>,
    /// The config that was applied and waits for its confirmation; null where none does.
    #[serde(default)]
    pub unconfirmed: Option<UnconfirmedStatus>,
    /// The guarded interfaces, and those that should be.
    pub interfaces: Vec<InterfaceStatus>,
    /// Names of this host's other interfaces by which a route leads: what leaves by them is judged only where it goes
    /// on through one of `interfaces`, as from a bridge to its ports.
    pub unguarded: Vec<String>,
    /// Ways past the guard that a process asks the kernel for, and that are refused.
    pub bypass: BypassStatus,
    /// Whether others are kept from what is the guard's in the kernel.
    #[serde(default)]
    pub protect: ProtectStatus,
    /// Who makes and uses sockets, which the kernel keeps with them.
    pub sockets: SocketsStatus,
    /// Who carries data of the volumes that pins select.
    pub carriers: CarriersStatus,
    /// Cgroups and interfaces that were made anew, and counted as pinned until the tables had them.
    pub unplaced: UnplacedStatus,
    /// Egress that no pin tags, and that could go beyond its link.
    pub untagged: UntaggedStatus,
    /// By what this host can be reached and that no pin knows; null where it can't be listed.
    pub unpinned: Option<UnpinnedStatus>,
    /// The pins, in the order of the config.
    pub pins: Vec<PinStatus>,
    /// Every packet of each hook, by verdict and reason; outcomes that never happened are left out.
    pub totals: Vec<TotalStatus>,
    /// Packets by pin, jurisdiction, verdict and reason, and those that have no pin by reason. A packet of
    /// several pins is counted for each that forbids it, and where it leaves as permitted for the others.
    pub counters: Vec<CounterStatus>,
    /// The geo database.
    pub database: DatabaseStatus,
    /// The exemptions, in the order of ids and versions.
    pub exemptions: Vec<Summary>,
    /// The legal holds in force: ids of exemptions and names of pins, in the order of the config.
    #[serde(default)]
    pub holds: Vec<String>,
    /// When the audit trail was verified last, and what came of it.
    #[serde(default)]
    pub audit: AuditStatus,
    /// What could not be kept or reported.
    pub losses: Vec<LossStatus>,
    /// Events reported since the daemon started: the number of the last one.
    pub events: u64,
    /// Whether users, commands, processes and cgroups are `shown`, or `hidden` from a reader without the right `people`:
    /// then they are null, 0 or empty, and lists of them have none.
    #[serde(default)]
    pub people: String,
}

impl Status {
    /// The same without users, commands, processes and cgroups.
    #[must_use]
    pub fn without_people(mut self) -> Self {
        self.people = People::Hidden.name().to_owned();
        let hidden = || "who that is takes the right `people` to see".to_owned();
        for problem in &mut self.problems {
            if problem.code.names_people() {
                (problem.subject, problem.message) = (None, hidden());
            }
        }
        self.problems.dedup();
        let carriers = &mut self.carriers;
        (carriers.processes, carriers.cgroups) = (Vec::new(), Vec::new());
        for relay in &mut carriers.relays {
            let RelayStatus { volumes, state, since, last, .. } = std::mem::take(relay);
            *relay = RelayStatus { volumes, state, since, last, ..RelayStatus::default() };
        }
        for flow in &mut self.untagged.flows {
            (flow.cgroup, flow.process) = (None, None);
        }
        for socket in self.unpinned.iter_mut().flat_map(|unpinned| &mut unpinned.sockets) {
            (socket.cgroup, socket.unit, socket.uid) = (None, None, None);
        }
        self
    }
}

/// A config that was applied and waits for its confirmation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnconfirmedStatus {
    /// Its file, as who applied it named it.
    pub config: String,
    /// The SHA-256 of its text.
    pub sha256: String,
    /// Who applied it: the user's name, or number where it has none.
    pub by: String,
    /// When the config before it comes back, RFC 3339.
    pub until: String,
    /// In how many seconds that is, whatever becomes of the wall clock.
    pub seconds_left: u64,
}

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// Its index; null where there is no such interface.
    pub index: Option<u32>,
    /// What is attached.
    pub hooks: Vec<HookStatus>,
    /// Why it is not guarded as it should be; null when it is.
    pub problem: Option<String>,
}

/// One hook of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookStatus {
    /// `egress` or `ingress`.
    pub hook: String,
    /// How the program is attached: `tcx`, `clsact`, `xdp-native` or `xdp-generic`.
    pub mode: String,
}

/// Who makes and uses sockets, which the kernel keeps with them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketsStatus {
    /// Whether it is to be kept, as `sockets.note` says.
    pub noted: bool,
    /// Of sockets that are made in which cgroup: `/` for every one of the host.
    pub cgroup: String,
    /// Whether the hooks that note it are attached to it.
    pub attached: bool,
    /// Whether calls are refused of which every packet would be dropped.
    pub refused: bool,
    /// Why they are not, where `sockets.refuse` is set: null where they are, and where it is not set.
    pub not_refused: Option<String>,
}

/// Who carries data of the volumes that pins select: what they send is pinned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriersStatus {
    /// The volumes.
    pub volumes: Vec<VolumeStatus>,
    /// How many processes there are, those that are gone by now and not shown among them.
    pub count: usize,
    /// The processes, at most 100 of them.
    pub processes: Vec<CarrierStatus>,
    /// How many files elsewhere have data of the volumes, written by carriers.
    pub copies: u64,
    /// How many events of kind `pinned-copy` were sent since the first of these volumes was selected.
    #[serde(default)]
    pub copy_events: u64,
    /// The cgroups, all of whose processes are.
    pub cgroups: Vec<CarrierCgroupStatus>,
    /// To whom carriers have handed data on within the last day.
    #[serde(default)]
    pub relays: Vec<RelayStatus>,
}

/// A process to which a carrier has handed data on, by a socket or a pipe of this host: the last one of its command and
/// cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayStatus {
    /// Paths of the volumes.
    pub volumes: Vec<String>,
    /// `reported`, `accepted` or `carrier`.
    pub state: String,
    /// When that was first, RFC 3339.
    pub since: String,
    /// When that was last, RFC 3339.
    pub last: String,
    /// Its id.
    pub pid: u32,
    /// The name of its command, or of its thread, at most 15 bytes.
    pub command: String,
    /// The path of its cgroup below the cgroup v2 root; null where that is the root or gone.
    pub cgroup: Option<String>,
    /// The last service, scope or slice on that path; null where there is none.
    pub unit: Option<String>,
    /// The process that handed over last.
    pub from_pid: u32,
    /// The cgroup of the one that handed over first; null where that is the root or gone.
    pub from_cgroup: Option<String>,
    /// The last service, scope or slice on that path; null where there is none.
    pub from_unit: Option<String>,
}

/// A volume that pins select.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeStatus {
    /// Where it is mounted.
    pub path: String,
    /// `cgroup` or `process`, as `spread` says.
    pub spread: String,
    /// Whether anything is mounted there.
    pub mounted: bool,
}

/// A process that carries data of volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarrierStatus {
    /// Paths of the volumes.
    pub volumes: Vec<String>,
    /// Since when, RFC 3339.
    pub since: String,
    /// The process.
    pub process: ProcessStatus,
}

/// A cgroup whose processes all count as carriers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarrierCgroupStatus {
    /// Paths of the volumes.
    pub volumes: Vec<String>,
    /// Since when, RFC 3339.
    pub since: String,
    /// Its path below the cgroup v2 root; null where it is gone.
    pub cgroup: Option<String>,
    /// The last service, scope or slice on that path; null where there is none.
    pub unit: Option<String>,
}

/// A process that used or made a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Its id.
    pub pid: u32,
    /// The name of its command, or of its thread, at most 15 bytes.
    pub command: String,
    /// Its user.
    pub uid: u32,
    /// The name of its user; null where it is not known.
    pub user: Option<String>,
    /// Path of its cgroup below the cgroup v2 root; null where that is the root or gone.
    pub cgroup: Option<String>,
    /// The last service, scope or slice on that path; null where there is none.
    pub unit: Option<String>,
}

/// Cgroups that pins select and that were made again. Until the tables have such a cgroup, it and every newer one
/// beside it count as pinned. Likewise every new interface, where pins select interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnplacedStatus {
    /// How often a cgroup was made again, since the daemon started.
    pub times: u64,
    /// How long it took to bring them into the tables, altogether, in milliseconds.
    pub milliseconds: u64,
    /// Packets that were judged as pinned meanwhile, by the kernel's counters; once for each pin.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
}

/// By what this host can be reached and that no pin knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpinnedStatus {
    /// Its addresses that no pin has among its sources, where any pin goes by sources; not those of the loopback and of the link's
    /// scope.
    pub addresses: Vec<String>,
    /// Its sockets that wait for others: of TCP those that listen, of UDP those without a peer, but for ports that the kernel
    /// chooses (`net.ipv4.ip_local_port_range`).
    pub sockets: Vec<UnpinnedSocketStatus>,
    /// The pins that go by volumes, interfaces or marks: whatever is served may be theirs, so that it is not listed.
    pub may_be_of: Vec<String>,
    /// The pins that go by users, cgroups, volumes, interfaces or marks, and not by the host's addresses as well: what the kernel
    /// itself answers to a packet of theirs with another's source is of none.
    #[serde(default)]
    pub answered: Vec<String>,
}

/// A socket that waits for others.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnpinnedSocketStatus {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Its port.
    pub port: u16,
    /// The address at which no pin knows it; null: at any.
    pub address: Option<String>,
    /// Path of the cgroup that it was made in, below the cgroup v2 root; null where that is the root or gone.
    pub cgroup: Option<String>,
    /// The last service, scope or slice on that path; null where there is none.
    pub unit: Option<String>,
    /// The user that made it; null where users are hidden.
    pub uid: Option<u32>,
}

/// Egress that no pin tags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UntaggedStatus {
    /// By the peer's jurisdiction, the one with most bytes first.
    pub jurisdictions: Vec<PlaceStatus>,
    /// The flows with most bytes, at most 20, while `observe` is true; empty otherwise.
    pub flows: Vec<UntaggedFlowStatus>,
}

/// Egress that no pin tags, of one cgroup, to one peer's service or of one service of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UntaggedFlowStatus {
    /// The peer's address: of a packet in a tunnel, the tunnel's.
    pub peer: String,
    /// The peer's jurisdiction.
    pub jurisdiction: String,
    /// The protocol: `tcp`, `udp`, or another one's number.
    pub protocol: String,
    /// `local` where this host serves, `remote` where the peer does, `none` where no port can be read. Who serves is
    /// taken to be the end with the lower port.
    pub side: String,
    /// The service's port; null where no port can be read.
    pub port: Option<u16>,
    /// The interface that it left by; null where it is gone.
    pub interface: Option<String>,
    /// Path of the sending socket's cgroup below the cgroup v2 root; null where there is no socket, or the cgroup is
    /// the root or gone.
    pub cgroup: Option<String>,
    /// Who connected that socket or sent a datagram by it to an address, else who made it, when the first packet was
    /// seen; null where that is not known.
    pub process: Option<ProcessStatus>,
    /// Packets, GSO segments counted as one.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

/// One pin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinStatus {
    /// Its name.
    pub name: String,
    /// Its home jurisdiction.
    pub home: String,
    /// `drop`, `flag` or `observe`, as it is in force.
    pub action: String,
    /// `off`, `flag` or `drop`, as it is in force.
    pub ingress: String,
    /// The line of the config on which it begins.
    pub line: usize,
    /// Its packets by verdict.
    pub verdicts: Vec<VerdictStatus>,
    /// The jurisdictions with most bytes that were judged, passed and refused together; at most five.
    pub top: Vec<PlaceStatus>,
}

/// Packets and bytes of one verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictStatus {
    /// The verdict's name.
    pub verdict: String,
    /// Packets, GSO segments counted as one.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

/// Packets and bytes that went, or would have gone, to one jurisdiction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceStatus {
    /// The jurisdiction.
    pub jurisdiction: String,
    /// Packets, GSO segments counted as one.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

/// Every packet of a hook that got this verdict for this reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotalStatus {
    /// `egress` or `ingress`.
    pub hook: String,
    /// The verdict's name.
    pub verdict: String,
    /// The reason's name.
    pub reason: String,
    /// Packets, GSO segments counted as one.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

/// Packets of one pin, or of none, that were judged alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterStatus {
    /// The pin's name; null where no pin is concerned.
    pub pin: Option<String>,
    /// The jurisdiction; null where no destination was placed.
    pub jurisdiction: Option<String>,
    /// `egress` or `ingress`.
    pub hook: String,
    /// The verdict's name.
    pub verdict: String,
    /// The reason's name.
    pub reason: String,
    /// Packets, GSO segments counted as one.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

/// The geo database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseStatus {
    /// What it is.
    pub source: String,
    /// Its files; empty for the embedded one.
    pub files: Vec<String>,
    /// Licence and owner of the data; null where the source does not say.
    pub licence: Option<String>,
    /// When the data was made, RFC 3339; null where the source does not say.
    pub generated: Option<String>,
    /// Its age in days; null where the source has no date.
    pub age_days: Option<i64>,
    /// Why it should not be relied on any longer; null while it may.
    pub stale: Option<String>,
    /// IPv4 ranges.
    pub ranges_v4: usize,
    /// IPv6 ranges.
    pub ranges_v6: usize,
}

/// When the audit trail was verified last by the daemon, and what came of it. All of it is null before the first time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditStatus {
    /// When, RFC 3339.
    pub verified: Option<String>,
    /// Whether it was whole in itself.
    pub whole: Option<bool>,
    /// How many records it had then; null where it was not whole.
    pub records: Option<u64>,
}

/// What was lost of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossStatus {
    /// `events`, `flows`, `outcomes`, `limited`, `copies`, `evicted`: see [security.md](security.md#losses); `log` for lines that
    /// standard output did not take, `diagnostics` for those that standard error did not take, `history` for records that
    /// the flow history did not take, `hold` for events under a legal hold that were not copied.
    pub kind: String,
    /// How many.
    pub count: u64,
}
