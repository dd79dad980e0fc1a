//! Checks of single values: text in, checked value or what is wrong with it out.

use std::net::{IpAddr, Ipv6Addr};
use std::path::{Component, PathBuf};

use guard_common::abi::{MAX_BUDGET, NO_USER, Nat64};
use ipnetwork::{IpNetwork, Ipv6Network};
use jiff::{SignedDuration, Span, SpanRelativeTo};

use super::error::ErrorKind;
use super::limits;
use super::policy::{InterfacePattern, LogTo, Mark, PortRange, Protocol, User};
use super::share::Share;
use crate::text::Unseen;

/// A name of a pin, a site, a group or a failsafe rule.
pub(crate) fn name(text: &str) -> Result<String, ErrorKind> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    match (1..=limits::NAME_BYTES).contains(&text.len()) && text.bytes().all(allowed) {
        true => Ok(text.to_owned()),
        false => Err(ErrorKind::BadName { name: text.to_owned() }),
    }
}

/// A network without host bits.
pub(crate) fn cidr(text: &str) -> Result<IpNetwork, ErrorKind> {
    let bad = || ErrorKind::BadCidr { text: text.to_owned() };
    let Some((address, length)) = text.split_once('/') else {
        return Err(text.parse().map_or_else(|_| bad(), |address| ErrorKind::NoPrefixLength { address }));
    };
    let address: IpAddr = address.parse().map_err(|_| bad())?;
    if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    let most = if address.is_ipv4() { 32 } else { 128 };
    let too_long = || ErrorKind::PrefixTooLong { text: text.to_owned(), most };
    let length: u8 = length.parse().map_err(|_| too_long())?;
    let network = IpNetwork::new(address, length).map_err(|_| too_long())?;
    if network.network() != network.ip() {
        return Err(ErrorKind::HostBits { network });
    }
    match unmapped(network) {
        Some(corrected) => Err(ErrorKind::MappedCidr { network, corrected }),
        None => Ok(network),
    }
}

/// Bytes that may pass in a minute.
pub(crate) fn budget(number: &i128) -> Result<u64, ErrorKind> {
    let bytes = u64::try_from(*number).ok().filter(|bytes| (1..=MAX_BUDGET).contains(bytes));
    bytes.ok_or(ErrorKind::BadBudget { number: *number })
}

/// What stands for the host itself among sources.
pub(crate) const HOST: &str = "host";

/// Where packets come from: a network, or `None` for the host itself.
pub(crate) fn source(text: &str) -> Result<Option<IpNetwork>, ErrorKind> {
    match text {
        HOST => Ok(None),
        network => cidr(network).map(Some),
    }
}

/// The IPv4 network that an IPv4-mapped IPv6 network stands for.
fn unmapped(network: IpNetwork) -> Option<IpNetwork> {
    const MAPPED_PREFIX: u8 = 96;
    let IpAddr::V6(address) = network.ip() else {
        return None;
    };
    let length = network.prefix().checked_sub(MAPPED_PREFIX)?;
    IpNetwork::new(address.to_ipv4_mapped()?.into(), length).ok()
}

/// A NAT64 prefix (RFC 6052 section 2.2).
pub(crate) fn nat64(text: &str) -> Result<Ipv6Network, ErrorKind> {
    const PLACED: [(Ipv6Addr, u8, &str); 6] = [
        (Ipv6Addr::UNSPECIFIED, 64, "IPv4 addresses written as IPv6"),
        (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, "the well-known prefix 64:ff9b::/96"),
        (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, "Teredo"),
        (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4"),
        (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "addresses that do not leave the link"),
        (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast"),
    ];
    let IpNetwork::V6(prefix) = cidr(text)? else {
        return Err(ErrorKind::Nat64NotIpv6 { text: text.to_owned() });
    };
    if !Nat64::LENGTHS.contains(&prefix.prefix()) {
        return Err(ErrorKind::Nat64Length { prefix });
    }
    if prefix.ip().octets().get(8) != Some(&0) {
        return Err(ErrorKind::Nat64ReservedBits { prefix });
    }
    let taken = PLACED.into_iter().find(|&(first, length, _)| {
        Ipv6Network::new(first, length).is_ok_and(|placed| prefix.overlaps(placed))
    });
    match taken {
        Some((.., by)) => Err(ErrorKind::Nat64Placed { prefix, by }),
        None => Ok(prefix),
    }
}

/// `protocol/port` or `protocol/first-last`.
pub(crate) fn ports(text: &str) -> Result<PortRange, ErrorKind> {
    let bad = || ErrorKind::BadPort { text: text.to_owned() };
    let (name, range) = text.split_once('/').ok_or_else(bad)?;
    let protocol = Protocol::ALL
        .into_iter()
        .find(|protocol| protocol.name() == name)
        .ok_or_else(|| ErrorKind::UnknownProtocol { protocol: name.to_owned(), ports: range.to_owned() })?;
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (number(first).ok_or_else(bad)?, number(last).ok_or_else(bad)?);
    match first <= last {
        true => Ok(PortRange { protocol, first, last }),
        false => Err(ErrorKind::ReversedPorts { protocol, first, last }),
    }
}

/// A port in decimal digits alone, without a sign.
fn number(digits: &str) -> Option<u16> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// `value` or `value/mask`.
pub(crate) fn mark(text: &str) -> Result<Mark, ErrorKind> {
    let bad = || ErrorKind::BadMark { text: text.to_owned() };
    let (value, mask) = match text.split_once('/') {
        Some((value, mask)) => (bits(value).ok_or_else(bad)?, bits(mask).ok_or_else(bad)?),
        None => (bits(text).ok_or_else(bad)?, u32::MAX),
    };
    match (value & !mask, mask) {
        (_, 0) => Err(ErrorKind::EmptyMask),
        (0, _) => Ok(Mark { value, mask }),
        _ => Err(ErrorKind::MarkOutsideMask { value, mask }),
    }
}

/// 32 bits, decimal or after `0x`.
fn bits(text: &str) -> Option<u32> {
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u32::from_str_radix(digits, radix).ok()).flatten()
}

/// A name or a glob of interfaces. The kernel's own rule for names is `dev_valid_name` (net/core/dev.c).
pub(crate) fn interface(text: &str) -> Result<InterfacePattern, ErrorKind> {
    let bad = |reason| Err(ErrorKind::BadInterface { text: text.to_owned(), reason });
    let shortest_match = text.bytes().filter(|&byte| byte != b'*').count();
    if text.is_empty() {
        return bad("it is empty");
    }
    if shortest_match > limits::INTERFACE_BYTES {
        return bad("interface names have at most 15 characters");
    }
    if text == "." || text == ".." {
        return bad("no interface can have this name");
    }
    if text.contains(['[', ']', '{', '}', '!']) {
        return bad("only * and ? are wildcards");
    }
    if text.contains(['/', ':']) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return bad("interface names have no slash, colon, blank or other special character");
    }
    Ok(InterfacePattern::new(text.to_owned()))
}

/// A path below the root of cgroup v2.
pub(crate) fn cgroup(text: &str) -> Result<String, ErrorKind> {
    const MOUNTS: [&str; 2] = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
    let bad = |reason, corrected: Option<&str>| {
        let corrected = corrected.filter(|path| cgroup(path).is_ok()).map(str::to_owned);
        Err(ErrorKind::BadCgroup { text: text.to_owned(), reason, corrected })
    };
    let below_mount = MOUNTS.iter().find_map(|mount| text.strip_prefix(mount)).unwrap_or(text);
    let trimmed = below_mount.trim_matches('/');
    if trimmed.is_empty() {
        return bad("it names no cgroup, or the root, which every process is in", None);
    }
    if text.len() > limits::PATH_BYTES {
        return bad("it is too long for a path", None);
    }
    if text.starts_with('/') || text.ends_with('/') {
        return bad("it begins or ends with a slash", Some(trimmed));
    }
    if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return bad("it has an empty part, \".\" or \"..\"", None);
    }
    if text.split('/').count() > limits::CGROUP_LEVELS {
        return bad("it is more than 8 levels below the root", None);
    }
    if text.chars().any(char::is_control) {
        return bad("it has a control character", None);
    }
    Ok(text.to_owned())
}

/// A user: a number, or a name as useradd(8) takes one.
pub(crate) fn user(text: &str) -> Result<User, ErrorKind> {
    let bad = || ErrorKind::BadUser { text: text.to_owned() };
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // The highest number stands for no user.
    let uid =
        is_number.then(|| text.parse().ok().filter(|uid| *uid != NO_USER).ok_or_else(bad)).transpose()?;
    let may_begin = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    let may_follow = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.' | '$');
    let is_name =
        text.starts_with(may_begin) && text.len() <= limits::USER_BYTES && text.chars().all(may_follow);
    if uid.is_none() && !is_name {
        return Err(bad());
    }
    Ok(User { text: text.to_owned(), uid })
}

/// An absolute path.
pub(crate) fn path(text: &str) -> Result<PathBuf, ErrorKind> {
    path_within(text, limits::PATH_BYTES, "is longer than a path can be (4095 bytes)")
}

/// Where the event log goes: a word, or an absolute path.
pub(crate) fn log_to(text: &str) -> Result<LogTo, ErrorKind> {
    match text {
        "stdout" => Ok(LogTo::Stdout),
        "journald" => Ok(LogTo::Journald),
        path if path.contains('/') => self::path(path).map(LogTo::File),
        _ => Err(ErrorKind::BadChoice {
            text: text.to_owned(),
            choices: vec!["stdout", "journald", "/a/file"],
        }),
    }
}

/// Where a volume is mounted: an absolute path, as the list of mounts has it.
pub(crate) fn volume(text: &str) -> Result<PathBuf, ErrorKind> {
    path(text).map(|path| path.components().collect())
}

/// An absolute path that fits into a socket's address.
pub(crate) fn socket(text: &str) -> Result<PathBuf, ErrorKind> {
    path_within(text, limits::SOCKET_BYTES, "is longer than a socket's path can be (107 bytes)")
}

fn path_within(text: &str, most: usize, too_long: &'static str) -> Result<PathBuf, ErrorKind> {
    let path = PathBuf::from(text);
    let bad = |reason, hint| Err(ErrorKind::BadPath { path: PathBuf::from(text), reason, hint });
    if !path.is_absolute() {
        return Err(ErrorKind::RelativePath { path });
    }
    if text.len() > most {
        return bad(too_long, "choose a shorter path");
    }
    if text.chars().any(char::is_control) {
        return bad("has a control character", "write the path without it");
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return bad("has \"..\" in it", "write the path without \"..\"");
    }
    if path.components().all(|part| part == Component::RootDir) {
        return bad("is the root folder", "name a file or folder of its own");
    }
    Ok(path)
}

/// SHA-256 in hexadecimal; small letters come out.
pub(crate) fn digest(text: &str) -> Result<String, ErrorKind> {
    const DIGITS: usize = 64;
    match text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(ErrorKind::BadDigest { text: text.to_owned() }),
    }
}

/// A share in percent, or `never`.
pub(crate) fn share_or_never(text: &str) -> Result<Option<Share>, ErrorKind> {
    match text {
        "never" => Ok(None),
        _ => Share::read(text)
            .map(Some)
            .ok_or_else(|| ErrorKind::BadShare { text: text.to_owned(), or: Some("never") }),
    }
}

/// A share in percent.
pub(crate) fn share(text: &str) -> Result<Share, ErrorKind> {
    Share::read(text).ok_or_else(|| ErrorKind::BadShare { text: text.to_owned(), or: None })
}

/// A Unix group, by the characters that groupadd(8) allows.
pub(crate) fn unix_group(text: &str) -> Result<String, ErrorKind> {
    if is_unix_name(text) {
        Ok(text.to_owned())
    } else {
        Err(ErrorKind::BadUnixGroup { text: text.to_owned() })
    }
}

/// A Unix user, by the characters that useradd(8) allows.
pub(crate) fn unix_user(text: &str) -> Result<String, ErrorKind> {
    if is_unix_name(text) {
        Ok(text.to_owned())
    } else {
        Err(ErrorKind::BadUnixUser { text: text.to_owned() })
    }
}

fn is_unix_name(text: &str) -> bool {
    const LONGEST: usize = 32;
    let first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let other = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    text.bytes().next().is_some_and(first) && text.bytes().all(other) && text.len() <= LONGEST
}

/// An identity of a signer: one that no list of patterns can read as anything else (ssh_config(5), PATTERNS).
pub(crate) fn identity(text: &str) -> Result<String, ErrorKind> {
    let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, ',' | '*' | '?' | '!' | '"');
    match (1..=limits::IDENTITY_BYTES).contains(&text.len()) && !text.contains(odd) {
        true => Ok(text.to_owned()),
        false => Err(ErrorKind::BadIdentity { text: text.to_owned() }),
    }
}

/// One line for people.
pub(crate) fn line(text: &str) -> Result<String, ErrorKind> {
    let bad = |reason: String| Err(ErrorKind::BadText { text: text.to_owned(), reason });
    if text.trim().is_empty() {
        return bad("is empty".to_owned());
    }
    if text.len() > limits::LINE_BYTES {
        return bad(format!("has more than {} bytes", limits::LINE_BYTES));
    }
    match Unseen::find(text) {
        Some(unseen) => bad(unseen.to_string()),
        None => Ok(text.to_owned()),
    }
}

/// A length of time above zero, in units up to weeks.
pub(crate) fn duration(text: &str) -> Result<SignedDuration, ErrorKind> {
    let bad = |reason| ErrorKind::BadDuration { text: text.to_owned(), reason };
    let span: Span = text.parse().map_err(|_| bad("it is not a number with its unit"))?;
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err(bad("years and months have no fixed length"));
    }
    let duration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| bad("it is longer than can be counted"))?;
    match duration > SignedDuration::ZERO {
        true => Ok(duration),
        false => Err(bad("it must be more than nothing")),
    }
}
