//! What is legal in a config and may surprise.

use std::net::IpAddr;
use std::path::PathBuf;

use guard_common::abi::Direction;
use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::IpNetwork;

use super::finding::{Explain, Finding, quoted};
use crate::geo::{Staleness, Warning as GeoWarning};

/// A warning: the config is legal and may surprise.
pub type Warning = Finding<WarningKind>;

/// What may surprise. Its `Display` is one sentence for the operator; [`hint`](Self::hint) says what to
/// do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WarningKind {
    /// There is nothing to enforce.
    #[error("there is no pin, so that nothing is enforced")]
    NoPin,
    /// Selectors that leave nothing out.
    #[error("the pin {} matches {what}", quoted(pin))]
    MatchesEverything {
        /// The pin.
        pin: String,
        /// What it matches, in words.
        what: String,
    },
    /// A pin that is known by the ports of its services in every way.
    #[error(
        "the pin {} is known by its services' ports in every way: what the storage sends by connections that it opens itself \
         has other ports, and is of no pin",
        quoted(pin)
    )]
    PortsAlone {
        /// The pin.
        pin: String,
    },
    /// A pin that is known in one direction alone.
    #[error(
        "the pin {} is known by connections that {} alone: what the storage sends by those that {} is of no pin",
        quoted(pin),
        if *direction == Direction::Served { "it serves" } else { "it opens itself" },
        if *direction == Direction::Served { "it opens itself" } else { "it serves" }
    )]
    OneDirection {
        /// The pin.
        pin: String,
        /// The direction.
        direction: Direction,
    },
    /// A pin whose ingress can't go by its direction.
    #[error(
        "of packets that come in nobody can tell who opened the connection, so the ingress of the pin {} goes by neither \
         direction",
        quoted(pin)
    )]
    IngressDirection {
        /// The pin.
        pin: String,
    },
    /// Ports of a service among those that the kernel gives to connections that are opened.
    #[error(
        "the kernel gives ports {first} to {last} to connections that this host opens, and {} is among them",
        quoted(ports)
    )]
    EphemeralPorts {
        /// The ports, as the config has them.
        ports: String,
        /// The first port that the kernel gives.
        first: u16,
        /// The last one.
        last: u16,
    },
    /// A pin goes by the host, which forwards packets too.
    #[error(
        "the pin {} goes by the host, which forwards packets: what a process sends by way of another network namespace of the \
         host, such as an overlay network of containers, comes back as another's and is of no pin",
        quoted(pin)
    )]
    HostForwards {
        /// The pin.
        pin: String,
    },
    /// Every country is permitted.
    #[error("the pin {} permits every country, so that only the marks are left to forbid", quoted(pin))]
    PermitsEverything {
        /// The pin.
        pin: String,
    },
    /// Addresses that no source can place are permitted.
    #[error("the pin {} permits \"unknown\", which is wherever no source can say", quoted(pin))]
    PermitsUnknown {
        /// The pin.
        pin: String,
    },
    /// Addresses that no geo database can place, in no site.
    #[error("{cidr} is {range} and in no site, so that it is placed as \"unknown\"")]
    PrivateInNoSite {
        /// The network.
        cidr: IpNetwork,
        /// What kind of range it is in.
        range: String,
    },
    /// A pin that drops a host's SSH answers.
    #[error(
        "the pin {} can drop the answers of SSH (tcp/22), and no failsafe rule lets them pass",
        quoted(pin)
    )]
    CutsOffSsh {
        /// The pin.
        pin: String,
    },
    /// A pin on whole addresses that drops what its hosts themselves ask for.
    #[error(
        "the pin {} is on whole addresses: it cuts off {} to where the pin does not permit, and no failsafe \
         rule lets that pass",
        quoted(pin),
        services.iter().map(|service| service.words).collect::<Vec<_>>().join(" and ")
    )]
    CutsOff {
        /// The pin.
        pin: String,
        /// What it cuts off.
        services: Vec<&'static Service>,
    },
    /// A failsafe rule by which packets of a pin pass to any destination, as it says.
    #[error(
        "the failsafe rule {} lets packets of the pin {} pass to any destination, as anywhere = true says",
        quoted(rule),
        quoted(pin)
    )]
    OpenFailsafe {
        /// The rule.
        rule: String,
        /// The first pin of which packets pass.
        pin: String,
    },
    /// A failsafe rule that lets everything out.
    #[error("the failsafe rule {} lets {what} pass, whatever the pins say", quoted(rule))]
    FailsafeMatchesEverything {
        /// The rule.
        rule: String,
        /// What it matches, in words.
        what: String,
    },
    /// A geo database places a site's address elsewhere.
    #[error(
        "the site {} puts {cidr} in {jurisdiction}, but the geo database puts {address} in {database}",
        quoted(site)
    )]
    SiteContradictsDatabase {
        /// The site.
        site: String,
        /// Its CIDR.
        cidr: IpNetwork,
        /// The site's jurisdiction.
        jurisdiction: Jurisdiction,
        /// The first or last address of the CIDR.
        address: IpAddr,
        /// Where the database places it.
        database: Jurisdiction,
    },
    /// A cgroup that is made anew at each restart of its unit.
    #[error(
        "the cgroup {} is made anew at each restart, and others beside it count as pinned until it is placed",
        quoted(cgroup)
    )]
    ShortLivedCgroup {
        /// The cgroup.
        cgroup: String,
    },
    /// A pin drops, and ways past the guard are open.
    #[error("the pin {} drops, and a process that may open packet sockets can send past it", quoted(pin))]
    BypassNotRefused {
        /// The first pin that drops.
        pin: String,
    },
    /// A config that opens needs one signature.
    #[error(
        "a config that newly opens anything needs one signature: who has that key and may write the config opens alone"
    )]
    OneSignature,
    /// Calls are refused by a destination that packets may not have when they leave.
    #[error(
        "calls are refused by the destination that they name: what a rule of this host would send elsewhere (DNAT in an \
         output chain, a proxy of a service mesh, an IPsec tunnel) fails where that elsewhere is permitted"
    )]
    RefusesByName,
    /// A cgroup that may bypass and is made anew at each restart.
    #[error(
        "the cgroup {} is made anew at each restart, and refused until the daemon has seen it",
        quoted(cgroup)
    )]
    ShortLivedBypass {
        /// The cgroup.
        cgroup: String,
    },
    /// A pin that only observes egress and yet drops ingress.
    #[error("the pin {} only observes egress, but its ingress drops packets", quoted(pin))]
    ObservesButDropsIngress {
        /// The pin.
        pin: String,
    },
    /// An interface that is not on this host.
    #[error(
        "{} {} on this host",
        if *is_glob { "no interface matches" } else { "there is no interface" },
        quoted(pattern)
    )]
    InterfaceMissing {
        /// A name or a glob.
        pattern: String,
        /// Whether it is a glob.
        is_glob: bool,
    },
    /// An interface whose frames the kernel programs do not read.
    #[error("the interface {} carries {frames}, which Border Guard does not read", quoted(name))]
    InterfaceUnread {
        /// Its name.
        name: String,
        /// What its frames are.
        frames: String,
    },
    /// Interfaces by which frames leave the host without passing a guarded one.
    #[error(
        "packets can leave by interfaces that no pattern here matches, and pass none that one matches: {interfaces}"
    )]
    InterfaceUnguarded {
        /// Each in words.
        interfaces: String,
    },
    /// Devices of other network namespaces by which packets leave.
    #[error(
        "devices of other network namespaces lead out, and nothing judges what leaves by them: {devices}"
    )]
    NamespaceUnguarded {
        /// Each in words.
        devices: String,
    },
    /// A signer whose Unix user is not on this host.
    #[error("the user of the signer {} is not known: {reason}", quoted(identity))]
    SignerUnknown {
        /// The signer.
        identity: String,
        /// What was looked for.
        reason: String,
    },
    /// A cgroup that is not on this host.
    #[error("there is no cgroup {} on this host", quoted(cgroup))]
    CgroupMissing {
        /// Its path.
        cgroup: String,
    },
    /// A volume at whose path nothing is mounted.
    #[error("nothing is mounted at {}", quoted(&path.to_string_lossy()))]
    VolumeAbsent {
        /// The path.
        path: PathBuf,
    },
    /// A volume that is a part of a file system.
    #[error(
        "{} is the folder {} of a file system, all of which counts as the volume",
        quoted(&path.to_string_lossy()),
        quoted(&of.to_string_lossy())
    )]
    VolumePart {
        /// The path.
        path: PathBuf,
        /// Which folder of the file system is mounted there.
        of: PathBuf,
    },
    /// A Unix group without a number.
    #[error("{reason}")]
    GroupUnresolved {
        /// Why it has none.
        reason: String,
    },
    /// The control socket can't be made.
    #[error("{reason}")]
    SocketUnusable {
        /// Why not.
        reason: String,
    },
    /// The event log can't be written.
    #[error("{reason}")]
    LogUnusable {
        /// Why not.
        reason: String,
    },
    /// The store can't be used.
    #[error("{reason}")]
    StateUnusable {
        /// Why not.
        reason: String,
    },
    /// The allowed signers can't be used.
    #[error("{reason}")]
    SignersUnusable {
        /// Why not.
        reason: String,
    },
    /// Signers of a config that opens have no key that may sign one.
    #[error(
        "no key of {signers} may sign a config: their lines of the allowed signers lack the namespace borderguard-policy, or are not valid"
    )]
    PolicyUnsignable {
        /// Who.
        signers: String,
    },
    /// The law pack can't be used.
    #[error("{reason}")]
    LawPackUnusable {
        /// Why not.
        reason: String,
    },
    /// A geo database that is too old, or of no known age.
    #[error("{stale}")]
    DatabaseStale {
        /// Why it should not be relied on.
        stale: Staleness,
    },
    /// A geo database without IPv4 or IPv6.
    #[error("the geo database is not whole: {gap}")]
    DatabaseGap {
        /// What it lacks.
        gap: GeoWarning,
    },
    /// A legal hold that is a slip away from a pin.
    #[error(
        "{} is no pin, and nearly the pin {}: it holds what the exemption of that id is about, once one was loaded",
        quoted(hold),
        quoted(pin)
    )]
    HoldNearPin {
        /// The legal hold.
        hold: String,
        /// The pin.
        pin: String,
    },
    /// A group that no pin permits.
    #[error("no pin permits the group {}, directly or by way of another group", quoted(group))]
    UnusedGroup {
        /// The group.
        group: String,
    },
}

/// A service that a host asks others for.
#[derive(Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name and port in words.
    pub words: &'static str,
    /// Its port as the config writes it.
    pub port: &'static str,
    /// The UDP port that is asked.
    pub(super) udp: u16,
}

/// What nearly every host asks others for.
pub(super) static SERVICES: [Service; 2] = [
    Service { words: "DNS (udp/53)", port: "udp/53", udp: 53 },
    Service { words: "NTP (udp/123)", port: "udp/123", udp: 123 },
];

impl WarningKind {
    /// A short name that stays the same from release to release, for programs that read the output.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoPin => "no-pin",
            Self::MatchesEverything { .. } => "matches-everything",
            Self::PortsAlone { .. } => "ports-alone",
            Self::OneDirection { .. } => "one-direction",
            Self::IngressDirection { .. } => "ingress-direction",
            Self::EphemeralPorts { .. } => "ephemeral-ports",
            Self::HostForwards { .. } => "host-forwards",
            Self::PermitsEverything { .. } => "permits-everything",
            Self::PermitsUnknown { .. } => "permits-unknown",
            Self::PrivateInNoSite { .. } => "private-in-no-site",
            Self::CutsOffSsh { .. } => "cuts-off-ssh",
            Self::CutsOff { .. } => "cuts-off",
            Self::OpenFailsafe { .. } => "open-failsafe",
            Self::FailsafeMatchesEverything { .. } => "failsafe-matches-everything",
            Self::SiteContradictsDatabase { .. } => "site-contradicts-database",
            Self::ShortLivedCgroup { .. } => "short-lived-cgroup",
            Self::BypassNotRefused { .. } => "bypass-not-refused",
            Self::OneSignature => "one-signature",
            Self::RefusesByName => "refuses-by-name",
            Self::ShortLivedBypass { .. } => "short-lived-bypass",
            Self::ObservesButDropsIngress { .. } => "observes-but-drops-ingress",
            Self::HoldNearPin { .. } => "hold-near-pin",
            Self::UnusedGroup { .. } => "unused-group",
            Self::InterfaceMissing { .. } => "interface-missing",
            Self::InterfaceUnread { .. } => "interface-unread",
            Self::InterfaceUnguarded { .. } => "interface-unguarded",
            Self::NamespaceUnguarded { .. } => "namespace-unguarded",
            Self::SignerUnknown { .. } => "signer-unknown",
            Self::CgroupMissing { .. } => "cgroup-missing",
            Self::VolumeAbsent { .. } => "volume-absent",
            Self::VolumePart { .. } => "volume-part",
            Self::GroupUnresolved { .. } => "group-unresolved",
            Self::SocketUnusable { .. } => "socket-unusable",
            Self::LogUnusable { .. } => "log-unusable",
            Self::StateUnusable { .. } => "state-unusable",
            Self::SignersUnusable { .. } => "signers-unusable",
            Self::PolicyUnsignable { .. } => "policy-unsignable",
            Self::LawPackUnusable { .. } => "law-pack-unusable",
            Self::DatabaseStale { .. } => "database-stale",
            Self::DatabaseGap { .. } => "database-gap",
        }
    }
}

impl Explain for WarningKind {
    fn hint(&self) -> String {
        self.hint()
    }

    fn code(&self) -> &'static str {
        self.code()
    }
}
