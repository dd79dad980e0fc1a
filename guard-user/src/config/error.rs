//! What can be wrong with a config.

use std::path::PathBuf;

use ipnetwork::{IpNetwork, Ipv6Network};

use super::approval_fault::ApprovalFault;
use super::finding::{Errors, LineAt, quoted, words};
use super::fragment_fault::FragmentFault;
use super::limits;
use super::no_effect::NoEffect;
use super::policy::Protocol;
pub use super::wanted::Wanted;

/// Why a config can't be used.
pub type ConfigErrors = Errors<ErrorKind>;

/// What is wrong. Its `Display` is one sentence for the operator; [`hint`](Self::hint) says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// The file can't be opened or read.
    #[error("the file can't be read: {reason}")]
    Unreadable {
        /// What the system says.
        reason: String,
    },
    /// A geo database can't be used.
    #[error("{reason}")]
    GeoFile {
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A geo database lacks what it should have.
    #[error("{reason}")]
    GeoIncomplete {
        /// What it lacks.
        reason: String,
    },
    /// The geo databases and the sites are too much for the kernel's tables.
    #[error("the geo tables do not fit: {reason}")]
    GeoTooLarge {
        /// What there is too much of.
        reason: String,
    },
    /// No share in percent.
    #[error("{} is no share", quoted(text))]
    BadShare {
        /// The text.
        text: String,
        /// A word that can stand in its place.
        or: Option<&'static str>,
    },
    /// Not a SHA-256 in hexadecimal.
    #[error("{} is not a SHA-256", quoted(text))]
    BadDigest {
        /// What is there.
        text: String,
    },
    /// Neither a loopback address with a port nor a socket's path.
    #[error("metrics can't be served at {}: {reason}", quoted(text))]
    BadListen {
        /// What is there.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not a number of bytes with its unit, or out of bounds.
    #[error("{} is no size", quoted(text))]
    BadSize {
        /// What is there.
        text: String,
    },
    /// No number of bytes for a minute.
    #[error("{number} is no budget")]
    BadBudget {
        /// The number.
        number: i128,
    },
    /// Nothing can be pinned there.
    #[error("{reason}")]
    PinPath {
        /// Why not, and what to do.
        reason: String,
    },
    /// The files together are longer than [`limits::FILE_BYTES`].
    #[error("the config has more than {} bytes, with what it has in policy.d", limits::FILE_BYTES)]
    FileTooLong,
    /// The file is not UTF-8.
    #[error("here is a byte that is not UTF-8")]
    NotUtf8,
    /// The text is not TOML.
    #[error("not TOML: {reason}")]
    Syntax {
        /// What the TOML parser says.
        reason: String,
    },
    /// A key or table that no config has.
    #[error("there is no such key")]
    UnknownKey {
        /// What was probably meant.
        suggestion: Suggestion,
    },
    /// A value of another TOML type.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// The type that the key takes, with an article.
        expected: &'static str,
        /// The type that is there, with an article.
        found: &'static str,
        /// How it would be written.
        example: String,
    },
    /// A required key or section is not there.
    #[error("required, but missing")]
    Missing {
        /// How it would be written.
        example: String,
    },
    /// A list without a value where at least one is needed.
    #[error("the list is empty")]
    EmptyList {
        /// How it would be written.
        example: String,
        /// Whether the key can be left out.
        optional: bool,
    },
    /// A pin without selectors, or a failsafe rule without dimensions.
    #[error("none of {} is used", choices.join(", "))]
    NoDimension {
        /// The keys of which one is needed.
        choices: Vec<&'static str>,
    },
    /// Ports of this end and of the other one without a protocol in both.
    #[error("`ports` and `remote_ports` have no protocol in common, so that no packet could match")]
    NoCommonProtocol,
    /// A failsafe rule by which packets of a pin pass to any destination.
    #[error(
        "the failsafe rule {} lets packets of the pin {} pass to any destination: who asks for them chooses the port",
        quoted(rule),
        quoted(pin)
    )]
    OpenFailsafe {
        /// The rule.
        rule: String,
        /// The first pin of which packets pass.
        pin: String,
    },
    /// A name that was given before.
    #[error("the name {} is taken already, on line {first_line}", quoted(name))]
    DuplicateName {
        /// The name.
        name: String,
        /// Where it was given first.
        first_line: LineAt,
    },
    /// A name with characters or of a length that names can't have.
    #[error("{} is no name", quoted(name))]
    BadName {
        /// The name.
        name: String,
    },
    /// A group named as a built-in group, a jurisdiction or a mark is.
    #[error("a group can't be called {}: that is {taken_by}", quoted(name))]
    ReservedName {
        /// The name.
        name: String,
        /// What already has it.
        taken_by: &'static str,
    },
    /// Neither a number of a user nor a name.
    #[error("{} is no user", quoted(text))]
    BadUser {
        /// What is there.
        text: String,
    },
    /// A pin goes by who uses a socket, and that is not noted.
    #[error("the pin {} goes by who uses a socket, and `sockets.note` is false", quoted(pin))]
    UsesUnnoted {
        /// The pin.
        pin: String,
    },
    /// Calls are to be refused by who makes them, and that is not noted.
    #[error("calls are refused by who makes them, and `sockets.note` is false")]
    RefusesUnnoted,
    /// Relays are accepted that are carriers.
    #[error("relays are accepted, and by `relays = \"tag\"` they are carriers")]
    AcceptsTagged,
    /// A user whose number is not known.
    #[error("{reason}")]
    UserMissing {
        /// What was looked at.
        reason: String,
    },
    /// A pin goes by who sends, and this kernel does not tell.
    #[error(
        "the pin {} goes by the process that sends, which this kernel does not tell: {reason}",
        quoted(pin)
    )]
    SenderUnknown {
        /// The pin.
        pin: String,
        /// What the kernel lacks.
        reason: String,
    },
    /// A pin goes by volumes, and this kernel does not tell who reads what.
    #[error("the pin {} goes by who reads a volume, which this kernel does not tell: {reason}", quoted(pin))]
    CarrierUnknown {
        /// The pin.
        pin: String,
        /// What the kernel lacks.
        reason: String,
    },
    /// A path at which no file system can be mounted, or at which another thing is.
    #[error("{} is no volume: {reason}", quoted(&path.to_string_lossy()))]
    NotAVolume {
        /// The path.
        path: PathBuf,
        /// What is there.
        reason: String,
    },
    /// Neither an address with a prefix length nor anything like it.
    #[error("{} is no CIDR", quoted(text))]
    BadCidr {
        /// What is there.
        text: String,
    },
    /// An address without a prefix length.
    #[error("{address} has no prefix length")]
    NoPrefixLength {
        /// The address with the prefix length that makes it a single address.
        address: std::net::IpAddr,
    },
    /// A prefix length beyond the bits of an address.
    #[error("the prefix length of {} is more than {most}", quoted(text))]
    PrefixTooLong {
        /// What is there.
        text: String,
        /// 32 or 128.
        most: u8,
    },
    /// A CIDR with bits set after its prefix.
    #[error("{network} has bits set after its prefix of {} bits", network.prefix())]
    HostBits {
        /// The CIDR as it stands.
        network: IpNetwork,
    },
    /// An IPv4-mapped IPv6 CIDR (RFC 4291 section 2.5.5.2), which is matched by its IPv4 address.
    #[error("{network} is an IPv4 network written as IPv6")]
    MappedCidr {
        /// The CIDR as it stands.
        network: IpNetwork,
        /// The IPv4 network.
        corrected: IpNetwork,
    },
    /// Two sites in different jurisdictions claim one CIDR.
    #[error("{cidr} is in {jurisdiction} here, and in {other} by the site {} on line {line}", quoted(site))]
    SiteConflict {
        /// The CIDR.
        cidr: IpNetwork,
        /// By this site.
        jurisdiction: String,
        /// By the other site.
        other: String,
        /// The other site.
        site: String,
        /// Where the other site has it.
        line: LineAt,
    },
    /// A CIDR of a site that gives no address its place.
    #[error("the site {} places nothing by {cidr}: {why}", quoted(site))]
    NoEffect {
        /// The site.
        site: String,
        /// The CIDR.
        cidr: IpNetwork,
        /// What places its addresses instead.
        why: NoEffect,
    },
    /// A NAT64 prefix that is IPv4.
    #[error("{} is an IPv4 network, and a NAT64 prefix is IPv6", quoted(text))]
    Nat64NotIpv6 {
        /// What is there.
        text: String,
    },
    /// A NAT64 prefix of a length that none has.
    #[error("{prefix} has {} bits, which no NAT64 prefix has", prefix.prefix())]
    Nat64Length {
        /// The prefix.
        prefix: Ipv6Network,
    },
    /// A NAT64 prefix with bits set that are zero in every address below one.
    #[error("{prefix} has bits 64 to 71 set, which are zero below a NAT64 prefix")]
    Nat64ReservedBits {
        /// The prefix.
        prefix: Ipv6Network,
    },
    /// A NAT64 prefix over addresses that are placed without it.
    #[error("{prefix} overlaps {by}, where addresses are placed without it")]
    Nat64Placed {
        /// The prefix.
        prefix: Ipv6Network,
        /// What it overlaps.
        by: &'static str,
    },
    /// Two NAT64 prefixes for one address.
    #[error("{prefix} overlaps {other} on line {line}: an address below both would carry two IPv4 addresses")]
    Nat64Overlap {
        /// The prefix.
        prefix: Ipv6Network,
        /// The one before it.
        other: Ipv6Network,
        /// Where that one stands.
        line: usize,
    },
    /// Neither a jurisdiction nor a group.
    #[error("{} is no {wanted}", quoted(text))]
    BadJurisdiction {
        /// What is there.
        text: String,
        /// What would be right here.
        wanted: Wanted,
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// A group where one country must stand.
    #[error("{} is a group, and one country is needed here", quoted(text))]
    GroupNotCountry {
        /// The group.
        text: String,
    },
    /// `unknown` or `uncertain` where only countries make sense.
    #[error("{} is a mark and no {wanted}", quoted(text))]
    MarkNotCountry {
        /// The mark.
        text: String,
        /// What would be right here.
        wanted: Wanted,
    },
    /// Groups that contain each other.
    #[error("the group contains itself: {}", path_words(path))]
    GroupCycle {
        /// The groups of the cycle, from the one that stands first in the file.
        path: Vec<String>,
    },
    /// Not `protocol/port` or `protocol/first-last`.
    #[error("{} is no port with its protocol", quoted(text))]
    BadPort {
        /// What is there.
        text: String,
    },
    /// A protocol that has no ports, or that does not exist.
    #[error("{} is no protocol with ports", quoted(protocol))]
    UnknownProtocol {
        /// What stands before the slash.
        protocol: String,
        /// What stands after it.
        ports: String,
    },
    /// A range whose end is before its start.
    #[error("the port range runs backwards, from {first} to {last}")]
    ReversedPorts {
        /// The protocol.
        protocol: Protocol,
        /// What stands before the hyphen.
        first: u16,
        /// What stands after it.
        last: u16,
    },
    /// Not a 32-bit value with or without a mask.
    #[error("{} is no firewall mark", quoted(text))]
    BadMark {
        /// What is there.
        text: String,
    },
    /// A mask without bits would match every packet.
    #[error("the mask is zero, so that every packet would match")]
    EmptyMask,
    /// A value with bits that its mask leaves out can never match.
    #[error("the value {value:#x} has bits outside its mask {mask:#x}, so that no packet could match")]
    MarkOutsideMask {
        /// The value.
        value: u32,
        /// The mask.
        mask: u32,
    },
    /// Not a name that an interface can have, nor a glob of `*` and `?`.
    #[error("{} is no interface name or glob: {reason}", quoted(text))]
    BadInterface {
        /// What is there.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not a path below the cgroup root.
    #[error("{} is no cgroup path: {reason}", quoted(text))]
    BadCgroup {
        /// What is there.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
        /// The path that was probably meant.
        corrected: Option<String>,
    },
    /// A path that depends on where the daemon was started.
    #[error("the path {} is not absolute", quoted(&path.to_string_lossy()))]
    RelativePath {
        /// The path.
        path: PathBuf,
    },
    /// A path with `..`, a zero byte or too many bytes.
    #[error("the path {} {reason}", quoted(&path.to_string_lossy()))]
    BadPath {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
    /// Not a name that a Unix group can have.
    #[error("{} is no Unix group name", quoted(text))]
    BadUnixGroup {
        /// What is there.
        text: String,
    },
    /// Not a name that a Unix user can have.
    #[error("{} is no Unix user name", quoted(text))]
    BadUnixUser {
        /// What is there.
        text: String,
    },
    /// Not an identity that a list of patterns can name.
    #[error("{} is no identity of a signer", quoted(text))]
    BadIdentity {
        /// What is there.
        text: String,
    },
    /// Not one line for people.
    #[error("{} {reason}", quoted(text))]
    BadText {
        /// What is there.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Not a length of time, or none that can be counted in hours.
    #[error("{} is no length of time: {reason}", quoted(text))]
    BadDuration {
        /// What is there.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// `[approval]` does not say well enough who approves what.
    #[error(transparent)]
    Approval(#[from] ApprovalFault),
    /// What is wrong with a file of `policy.d`.
    #[error(transparent)]
    Fragment(#[from] FragmentFault),
    /// None of the words that the key takes.
    #[error("{} is none of {}", quoted(text), words(choices))]
    BadChoice {
        /// What is there.
        text: String,
        /// What the key takes.
        choices: Vec<&'static str>,
    },
    /// More than the kernel's tables hold.
    #[error("this is number {} of {what}, and the limit is {limit}", limit + 1)]
    OverLimit {
        /// What there is too much of, in the plural.
        what: &'static str,
        /// How many there may be.
        limit: usize,
        /// How many there are.
        count: usize,
    },
}

/// What was probably meant by a key that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suggestion {
    /// This key or section header.
    Key(String),
    /// The key is right but belongs in this section, written as its header.
    Section(String),
    /// Nothing like it: these keys exist here.
    Keys(Vec<String>),
}

/// The groups of a cycle as a path back to the first, long ones shortened.
fn path_words(path: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut words: Vec<&str> = path.iter().take(SHOWN).map(String::as_str).collect();
    if path.len() > SHOWN {
        words.push("...");
    }
    words.extend(path.first().map(String::as_str));
    words.join(" -> ")
}
