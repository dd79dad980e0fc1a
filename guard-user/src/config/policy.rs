//! The checked config: what the rest of the program works with.
//!
//! Every value here has passed every check, so nobody needs to look at it with suspicion again: names
//! are unique, networks have no host bits, groups are resolved to jurisdictions, limits are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use guard_common::abi::Direction;
use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::{IpNetwork, Ipv6Network};
use jiff::SignedDuration;

use super::bypass::Bypass;
use super::canary::Canary;
pub use super::history::{FlowHistory, LegalHold};
use super::jurisdiction_set::JurisdictionSet;
pub use super::log::{Log, LogFormat, LogTo};
use super::metrics::Listen;
pub use super::pattern::{InterfacePattern, covers};
pub use super::placing::Placing;
pub use super::ports::{PortRange, Protocol};
use super::protect::Protect;
pub use super::record_keeping::RecordKeeping;
use super::share::Share;
use super::sockets::Sockets;
pub use super::volume::{Relays, Spread, Volume};
use crate::approval::{Needed, Rule, Signer, Widest};

/// A whole config file, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What is guarded on this host, and how earnestly.
    pub host: Host,
    /// Where jurisdictions of addresses come from.
    pub geo: Geo,
    /// The socket by which the command line talks to the daemon.
    pub control: Control,
    /// Where the daemon keeps what must outlive it.
    pub state: State,
    /// How the daemon logs.
    pub log: Log,
    /// What is kept of flows on the disk.
    pub history: FlowHistory,
    /// Where metrics are served; `None`: nowhere.
    pub metrics: Option<Listen>,
    /// What the report and receipts say of the controller, and how receipts are signed.
    pub record: RecordKeeping,
    /// What is refused to processes.
    pub bypass: Bypass,
    /// Whether it is noted who makes and uses sockets.
    pub sockets: Sockets,
    /// Whether others are kept from what is the guard's in the kernel.
    pub protect: Protect,
    /// The law pack that exemptions are judged by; `None`: the program's own.
    pub law: Option<NamedPack>,
    /// Who has to approve exemptions; `None`: nobody, signatures are not verified.
    pub approval: Option<Approvals>,
    /// What always passes, at most [`limits::FAILSAFE`](super::limits::FAILSAFE) rules, in the order of
    /// the file.
    pub failsafe: Vec<Failsafe>,
    /// The groups of the file with their members, in its order.
    pub groups: Vec<(String, JurisdictionSet)>,
    /// The operator's own networks, in the order of the file.
    pub sites: Vec<Site>,
    /// The pins in the order of the file, each once for every way in which it is known (`[pin.select]`): those of one pin
    /// are side by side, and alike but for [`Pin::select`]. At most [`limits::PINS`](super::limits::PINS) ways; the place
    /// of each is its bit in the kernel's tables.
    pub pins: Vec<Pin>,
    /// FNV-1a hash (64 bits) of the file's bytes: the same file has the same fingerprint on every host
    /// and with every release. It tells configs apart; it is no proof against forgery.
    pub fingerprint: u64,
    /// The file's bytes, for the audit trail.
    pub text: Arc<[u8]>,
    /// Where networks are by its sites and the database in force.
    pub placing: Placing,
}

impl Policy {
    /// The pins, each once: the first way in which it is known.
    pub fn distinct_pins(&self) -> impl Iterator<Item = &Pin> {
        self.pins.chunk_by(|one, next| one.name == next.name).filter_map(<[Pin]>::first)
    }

    /// The volumes that pins select, each once.
    #[must_use]
    pub fn volumes(&self) -> BTreeSet<Volume> {
        let of = |select: &Selectors| -> Vec<Volume> {
            select.volumes.iter().map(|path| select.volume(path)).collect()
        };
        self.pins.iter().flat_map(|pin| of(&pin.select)).collect()
    }

    /// The numbers of the users that pins select by name, where they were looked up.
    #[must_use]
    pub fn named_users(&self) -> BTreeMap<String, u32> {
        let users = self.pins.iter().flat_map(|pin| &pin.select.users);
        users.filter(|user| user.is_name()).filter_map(|user| Some((user.text.clone(), user.uid?))).collect()
    }

    /// Gives users that pins select by name these numbers, where they were not looked up yet.
    pub fn name_users(&mut self, numbers: &BTreeMap<String, u32>) {
        let users = self.pins.iter_mut().flat_map(|pin| &mut pin.select.users);
        for user in users.filter(|user| user.uid.is_none()) {
            user.uid = numbers.get(&user.text).copied();
        }
    }

    /// Whether an interface of this name is to be guarded.
    #[must_use]
    pub fn guards(&self, interface: &str) -> bool {
        self.host.interfaces.iter().any(|pattern| pattern.matches(interface))
    }

    /// Whether the interface of this name may be without a guard although frames leave the host by it.
    #[must_use]
    pub fn accepts_unguarded(&self, interface: &str) -> bool {
        self.host.unguarded.iter().any(|pattern| pattern.matches(interface))
    }

    /// Whether ways past the guard are refused: one that only observes refuses nothing.
    #[must_use]
    pub const fn refuses_bypass(&self) -> bool {
        self.bypass.refuse && !self.host.observe
    }

    /// Whether calls are refused of which every packet would be dropped: one that only observes refuses nothing.
    #[must_use]
    pub const fn refuses_calls(&self) -> bool {
        self.sockets.refuse && self.sockets.note && !self.host.observe
    }

    /// The names of the pins, each once.
    #[must_use]
    pub fn pin_names(&self) -> Vec<String> {
        self.distinct_pins().map(|pin| pin.name.clone()).collect()
    }

    /// The names of the pins with their homes, each once.
    #[must_use]
    pub fn homes(&self) -> Vec<(String, Jurisdiction)> {
        self.distinct_pins().map(|pin| (pin.name.clone(), pin.home)).collect()
    }
}

/// `[host]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The guarded interfaces; never empty.
    pub interfaces: Vec<InterfacePattern>,
    /// Interfaces that may be without a guard although frames leave the host by them.
    pub unguarded: Vec<InterfacePattern>,
    /// Every pin's action counts as [`Action::Observe`], and its ingress at most flags.
    pub observe: bool,
    /// The fleet that it is of.
    pub fleet: Option<String>,
}

/// `[geo]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geo {
    /// Databases, as absolute paths; empty: the embedded one. Where several disagree the address is
    /// `uncertain`.
    pub files: Vec<PathBuf>,
    /// A database that is older than this is warned of; always more than nothing.
    pub max_age: SignedDuration,
    /// A newer database that changes the verdict on a larger share of what any pin permits waits for a yes; `None`: none
    /// waits.
    pub ask_above: Option<Share>,
    /// Where `[approval.policy]` asks for signatures: a newer database that newly permits a larger share of what a pin
    /// permits needs them.
    pub may_open: Share,
    /// Whether they may lack a family, or countries in most of a file's records.
    pub incomplete: bool,
    /// NAT64 prefixes of the operator's own, in the order of the file, at most
    /// [`limits::NAT64`](super::limits::NAT64). None of them overlaps another, or addresses that are placed without
    /// it; their lengths are those of [`Nat64`](guard_common::abi::Nat64).
    pub nat64: Vec<Ipv6Network>,
}

/// `[control]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The Unix socket, an absolute path that fits into `sun_path` (unix(7)).
    pub socket: PathBuf,
    /// Who may use it, beside root and the daemon's own user.
    pub groups: ControlGroups,
}

/// `[control.groups]`: the Unix groups that have each right; none where the list is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlGroups {
    /// May look.
    pub view: Vec<String>,
    /// May look, and load and close exemptions.
    pub exemptions: Vec<String>,
    /// May look, and reload the policy.
    pub policy: Vec<String>,
    /// May do all of it.
    pub everything: Vec<String>,
    /// May look, and see people.
    pub people: Vec<String>,
    /// May hand canaries back.
    pub canaries: Vec<String>,
}

/// `[state]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The folder that exemptions are kept in, an absolute path.
    pub directory: PathBuf,
    /// The folder for the mark of how far the store had come, an absolute path.
    pub mark_directory: PathBuf,
    /// The folder for pinned links and maps, an absolute path on a bpffs.
    pub pin_path: PathBuf,
}

/// `[law]`: a law pack, bound to its content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedPack {
    /// Its file, an absolute path.
    pub pack: PathBuf,
    /// SHA-256 of its bytes, 64 digits in small letters.
    pub sha256: String,
}

/// `[approval]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approvals {
    /// OpenSSH's file of allowed signers, an absolute path.
    pub allowed_signers: PathBuf,
    /// How large recipients' networks may be without a word on why.
    pub widest: Widest,
    /// Never empty; no two of one identity.
    pub signers: Vec<Signer>,
    /// The least that documents need; never empty, and each pin that drops has one.
    pub rules: Vec<Rule>,
    /// Whose signatures a config needs that opens anything; empty: nobody's.
    pub policy: Vec<Needed>,
    /// Whose approvals an emergency needs; empty: there is none.
    pub emergency: Vec<Needed>,
}

/// A `[[failsafe]]` rule: egress that always passes, and is counted. The dimensions that are used are
/// ANDed, the values in one ORed; at least one is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failsafe {
    /// Unique among the failsafe rules.
    pub name: String,
    /// Source ports of an egress packet; empty: any.
    pub local_ports: Vec<PortRange>,
    /// Destination ports of an egress packet; empty: any.
    pub remote_ports: Vec<PortRange>,
    /// Destinations of an egress packet; empty: any.
    pub peers: Vec<IpNetwork>,
    /// Whether packets of pins may pass by it to any destination.
    pub anywhere: bool,
    /// Where its peers are, by the databases and sites that are judged by; `None`: anywhere, or that is not known.
    pub places: Option<JurisdictionSet>,
    /// Bytes on the wire of packets of pins that it lets pass in a minute, from 1 to
    /// [`MAX_BUDGET`](guard_common::abi::MAX_BUDGET); `None`: any number.
    pub bytes_per_minute: Option<u64>,
    /// The line of the file on which the rule begins, from 1.
    pub line: usize,
}

/// A `[[site]]`: CIDRs that are in one jurisdiction whatever a geo database says. Where two sites
/// overlap, the narrower CIDR wins; one CIDR is never in two jurisdictions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Unique among the sites.
    pub name: String,
    /// Always a country, neither of the two marks.
    pub jurisdiction: Jurisdiction,
    /// Never empty.
    pub cidrs: Vec<IpNetwork>,
    /// The line of the file on which the site begins, from 1.
    pub line: usize,
}

/// A `[[pin]]`, a named kind of region-pinned storage, with one of the ways in which it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Unique among the pins of the file.
    pub name: String,
    /// Where the data is at home: always a country.
    pub home: Jurisdiction,
    /// Where its flows may go, with groups resolved and the home among them.
    pub permitted: JurisdictionSet,
    /// What happens to egress to anywhere else.
    pub action: Action,
    /// What happens to packets that come from a jurisdiction which could not get an answer.
    pub ingress: Ingress,
    /// Which flows get a record of their own.
    pub record: Record,
    /// The canary that is sent for it, if one is.
    pub canary: Option<Canary>,
    /// One way in which its flows are known.
    pub select: Selectors,
    /// The line of the file on which the pin begins, from 1.
    pub line: usize,
}

/// What a pin does to egress that it forbids, from the mildest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// The packet passes and is counted as one that would be dropped.
    Observe,
    /// The packet passes and is reported.
    Flag,
    /// The packet is dropped and reported.
    Drop,
}

/// What a pin does to packets that come in from a jurisdiction which could not get an answer, from the
/// mildest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ingress {
    /// Nothing looks at them.
    Off,
    /// They pass and are reported.
    Flag,
    /// They are dropped, so that a forbidden session never opens.
    Drop,
}

/// Which flows of a pin get a flow record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// Forbidden and exempted flows.
    Forbidden,
    /// Permitted flows as well.
    All,
}

/// How a pin's flows are known. The dimensions that are used are ANDed, the values in one ORed; an
/// empty list is a dimension that is not used, and at least one is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selectors {
    /// Source networks, without host bits.
    pub sources: Vec<IpNetwork>,
    /// Whether the sources have the host itself: what it makes, and what has any of its addresses.
    pub from_host: bool,
    /// Source ports.
    pub ports: Vec<PortRange>,
    /// Destination ports.
    pub remote_ports: Vec<PortRange>,
    /// Interfaces by which the packet enters or leaves the host.
    pub interfaces: Vec<InterfacePattern>,
    /// Cgroups as paths below the root of cgroup v2, without a slash in front; descendants count.
    pub cgroups: Vec<String>,
    /// Users.
    pub users: Vec<User>,
    /// What cgroups and users are of.
    pub sent_by: SentBy,
    /// Volumes whose data is carried: where file systems are mounted, as absolute paths.
    pub volumes: Vec<PathBuf>,
    /// Who carries it, beside the process that read it.
    pub spread: Spread,
    /// Whether data of `volumes` is not followed into files elsewhere.
    pub ignores_copies: bool,
    /// What becomes of those to whom carriers hand data of `volumes` on.
    pub relays: Relays,
    /// Cgroups whose relays are none that is reported, written as `cgroups` are.
    pub accept_relays: Vec<String>,
    /// Firewall marks.
    pub marks: Vec<Mark>,
    /// Who opened the connection; [`Direction::Unknown`]: it does not matter.
    pub direction: Direction,
}

/// Whether a cgroup is another one or below it, by their paths below the cgroup v2 root. Slashes at the ends do not count.
#[must_use]
pub fn is_in_cgroup(cgroup: &str, other: &str) -> bool {
    let (cgroup, other) = (cgroup.trim_matches('/'), other.trim_matches('/'));
    cgroup.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Selectors {
    /// One of its volumes, with who carries its data.
    #[must_use]
    pub fn volume(&self, path: &Path) -> Volume {
        Volume {
            path: path.to_owned(),
            spread: self.spread,
            ignores_copies: self.ignores_copies,
            relays: self.relays,
        }
    }

    /// Whether it has ports of this end and, but for interfaces, nothing else.
    pub(super) fn has_ports_alone(&self) -> bool {
        let Self { ports, remote_ports, cgroups, users, volumes, marks, .. } = self;
        let is_more = self.has_sources()
            || !remote_ports.is_empty()
            || !cgroups.is_empty()
            || !users.is_empty()
            || !volumes.is_empty()
            || !marks.is_empty();
        !ports.is_empty() && !is_more
    }

    /// Whether it has ports of this end, and not those of connections that the host opens: the kernel chooses these.
    pub(super) fn has_served_ports_alone(&self) -> bool {
        !self.ports.is_empty() && !self.ports.iter().any(PortRange::is_full)
    }

    /// Whether it goes by where a packet comes from: by networks, or by the host itself.
    #[must_use]
    pub fn has_sources(&self) -> bool {
        self.from_host || !self.sources.is_empty()
    }

    /// Whether it goes by the process that sends at the moment at which it sends.
    #[must_use]
    pub fn asks_for_senders(&self) -> bool {
        self.sent_by == SentBy::Process && !(self.cgroups.is_empty() && self.users.is_empty())
    }

    /// Whether a connection of this direction may be one of its. One that nobody can tell it of may be either.
    #[must_use]
    pub fn may_be(&self, direction: Direction) -> bool {
        [self.direction, direction].contains(&Direction::Unknown) || self.direction == direction
    }
}

/// A user of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// As the config has it: a name, or a number.
    pub text: String,
    /// The number; `None` for a name that was not looked up yet.
    pub uid: Option<u32>,
}

impl User {
    fn is_name(&self) -> bool {
        self.text.parse::<u32>().is_err()
    }
}

/// What cgroups and users are of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SentBy {
    /// The process that sends, whenever it does, and all that count without that.
    #[default]
    Process,
    /// Who made the socket, connected it or sent datagrams to addresses by it.
    Socket,
}

/// A firewall mark: a packet has it where `packet mark & mask == value`. Both in host byte order; the
/// mask is never zero, and `value` has no bit outside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// What the masked bits must be.
    pub value: u32,
    /// The bits that are looked at.
    pub mask: u32,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mask {
            u32::MAX => write!(f, "{:#x}", self.value),
            mask => write!(f, "{:#x}/{mask:#x}", self.value),
        }
    }
}
