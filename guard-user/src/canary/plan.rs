//! Which canaries are to be sent: for each way in which a pin is known, one by each guarded interface.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use guard_common::abi::{Direction, MAX_CGROUP_LEVELS, Party};
use guard_common::jurisdiction::Jurisdiction;
use guard_common::packet::Link;
use guard_common::verdict::Verdict;

use super::packet::Flow;
use crate::compile::HostFacts;
use crate::config::policy::{Action, Failsafe, Pin, Policy, PortRange, Protocol, Selectors};

/// Where canaries go: an address of each block that is for documentation alone (RFC 5737, RFC 9637, RFC 3849), the least
/// used first. Which of them a pin forbids depends on the sites.
const TO_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(192, 0, 2, 254), Ipv4Addr::new(198, 51, 100, 254), Ipv4Addr::new(203, 0, 113, 254)];
const TO_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0x3fff, 0xfff, 0, 0, 0, 0, 0, 0xca),
    Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0xffff, 0, 0, 0, 0xca),
];
/// Where they seem to come from where the pin does not say.
const FROM_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 253));
const FROM_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x3fff, 0xfff, 0, 0, 0, 0, 0, 0xc0));
/// Ports of theirs where the pin names none: discard (RFC 863), and others where a failsafe rule has that.
const PORTS: [u16; 3] = [9, 7, 40_009];
/// Networks, ports and addresses of one selector that are tried.
const MOST: usize = 16;

/// A guarded interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: Arc<str>,
    /// What its frames are.
    pub link: Link,
}

/// A canary that is to be sent again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The pin.
    pub pin: Arc<str>,
    /// Its bit in the kernel's tables.
    pub bit: u32,
    /// Which of the ways in which the pin is known, from 0.
    pub way: usize,
    /// The interface.
    pub interface: Guarded,
    /// From one to the next.
    pub every: Duration,
    /// How long after each the collector may take to hand it back; `None` where it need not.
    pub returned_within: Option<Duration>,
    /// The mildest verdict that there may be.
    pub at_least: Verdict,
    /// Who sends what, a destination each, or why nothing can be sent that the pin forbids. The next one is for where a
    /// geo database places the destination of the one before in a jurisdiction that the pin permits.
    pub senders: Result<Vec<Sender>, String>,
}

/// Who seems to send a canary, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The packet.
    pub flow: Flow,
    /// Firewall mark; 0 for none.
    pub mark: u32,
    /// The cgroup and the user.
    pub party: Option<Party>,
    /// Slots of volumes, a bit each.
    pub volumes: u64,
    /// Who opened the connection.
    pub direction: Direction,
}

/// The canaries of a policy whose names stand for this on the host, by these guarded interfaces.
#[must_use]
pub fn plan(policy: &Policy, facts: &HostFacts, guarded: &[Guarded]) -> Vec<Planned> {
    let mut all = Vec::new();
    let mut way = 0;
    for (bit, pin) in (0..).zip(&policy.pins) {
        let is_another = policy.pins.get(bit as usize).zip(policy.pins.get((bit as usize).wrapping_sub(1)));
        way = if is_another.is_some_and(|(one, before)| one.name == before.name) { way + 1 } else { 0 };
        let Some(canary) = pin.canary else { continue };
        let at_least = match (policy.host.observe, pin.action) {
            (true, _) | (_, Action::Observe) => Verdict::Observe,
            (_, Action::Flag) => Verdict::Flag,
            (_, Action::Drop) => Verdict::Drop,
        };
        for interface in guarded.iter().filter(|it| is_selected(&pin.select, facts, it)) {
            all.push(Planned {
                pin: pin.name.as_str().into(),
                bit,
                way,
                interface: interface.clone(),
                every: canary.every.unsigned_abs(),
                returned_within: canary.returned_within.map(|within| within.unsigned_abs()),
                at_least,
                senders: senders(policy, facts, pin),
            });
        }
    }
    all
}

/// Whether a pin by these selectors may forbid what leaves by an interface.
fn is_selected(select: &Selectors, facts: &HostFacts, interface: &Guarded) -> bool {
    let known = facts.interfaces.iter().find(|fact| fact.index == interface.index);
    let has = |name: &str| select.interfaces.iter().any(|pattern| pattern.matches(name));
    select.interfaces.is_empty()
        || known.map_or_else(|| has(&interface.name), |fact| fact.names.iter().any(|it| has(it)))
}

/// Who may send what by one way in which a pin is known so that the pin forbids it, a destination each.
///
/// # Errors
/// Why there is nobody.
pub fn senders(policy: &Policy, facts: &HostFacts, pin: &Pin) -> Result<Vec<Sender>, String> {
    let any = any_sender(facts, pin)?;
    let mut senders: Vec<Sender> = Vec::new();
    for flow in flows(&pin.select).filter(|flow| is_forbidden(policy, pin, flow)) {
        if senders.iter().all(|it| it.flow.destination != flow.destination) {
            senders.push(Sender { flow, ..any.clone() });
        }
    }
    match senders.is_empty() {
        true => Err(why_nobody(policy, pin)),
        false => Ok(senders),
    }
}

/// Who sends something by one way in which a pin is known, whether the pin forbids it or not.
///
/// # Errors
/// Why there is nobody.
pub fn any_sender(facts: &HostFacts, pin: &Pin) -> Result<Sender, String> {
    let select = &pin.select;
    let (volumes, party) = (volumes(select, facts)?, party(select, facts)?);
    let mark = select.marks.first().map_or(0, |mark| mark.value);
    let flow = flows(select).next().ok_or("no protocol has ports of both ends that it selects")?;
    Ok(Sender { flow, mark, party, volumes, direction: select.direction })
}

/// Why a pin forbids no flow to a documentation address.
fn why_nobody(policy: &Policy, pin: &Pin) -> String {
    let mut places: Vec<Jurisdiction> = Vec::new();
    for place in flows(&pin.select).map(|flow| place(policy, flow.destination)) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    if places.iter().any(|it| !pin.permitted.contains(*it)) {
        return "a failsafe rule or a prefix of `geo.nat64` has each documentation address that it forbids"
            .to_owned();
    }
    let places: Vec<&str> = places.iter().map(|it| it.as_str()).collect();
    format!(
        "its home and `permit` have each place that documentation addresses are in here: {}",
        places.join(", ")
    )
}

/// Flows that the selectors match, to documentation addresses.
fn flows(select: &Selectors) -> impl Iterator<Item = Flow> {
    let sources: Vec<IpAddr> = match select.sources.is_empty() {
        true => vec![FROM_V4, FROM_V6],
        false => select.sources.iter().take(MOST).map(|network| network.network()).collect(),
    };
    let ports = ports(select);
    sources.into_iter().flat_map(move |source| {
        let to: Vec<IpAddr> = match source {
            IpAddr::V4(_) => TO_V4.map(IpAddr::from).to_vec(),
            IpAddr::V6(_) => TO_V6.map(IpAddr::from).to_vec(),
        };
        let ports = ports.clone();
        to.into_iter().filter(move |to| *to != source).flat_map(move |destination| {
            let of = move |(protocol, sport, dport)| Flow { source, destination, protocol, sport, dport };
            ports.clone().into_iter().map(of)
        })
    })
}

/// Protocols with ports of both ends that the selectors match.
fn ports(select: &Selectors) -> Vec<(Protocol, u16, u16)> {
    let of = |ranges: &[PortRange]| -> Vec<(Protocol, u16)> {
        match ranges.is_empty() {
            true => Vec::new(),
            false => ranges
                .iter()
                .take(MOST)
                .flat_map(|it| [(it.protocol, it.first), (it.protocol, it.last)])
                .collect(),
        }
    };
    let any = |protocol| PORTS.map(|port| (protocol, port)).to_vec();
    let (own, remote) = (of(&select.ports), of(&select.remote_ports));
    let (own, remote) = match (own.as_slice(), remote.as_slice()) {
        ([], []) => (any(Protocol::Udp), any(Protocol::Udp)),
        ([], remote) => (remote.iter().flat_map(|(protocol, _)| any(*protocol)).collect(), remote.to_vec()),
        (own, []) => (own.to_vec(), own.iter().flat_map(|(protocol, _)| any(*protocol)).collect()),
        (own, remote) => (own.to_vec(), remote.to_vec()),
    };
    let pairs = own.iter().flat_map(|(protocol, sport)| {
        let same = remote.iter().filter(move |(other, _)| other == protocol);
        same.map(move |(_, dport)| (*protocol, *sport, *dport))
    });
    let mut pairs: Vec<_> = pairs.collect();
    pairs.dedup();
    pairs
}

/// Whether the pin forbids the flow, as far as the config alone tells: where the destination is, and whether a failsafe rule
/// lets it pass. Exemptions do not count for canaries.
fn is_forbidden(policy: &Policy, pin: &Pin, flow: &Flow) -> bool {
    // What these would be placed by is no documentation address.
    let is_in_nat64 =
        |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if policy.geo.nat64.iter().any(|it| it.contains(ip)));
    let is_permitted = pin.permitted.contains(place(policy, flow.destination));
    !is_in_nat64(flow.destination) && !is_permitted && !policy.failsafe.iter().any(|rule| covers(rule, flow))
}

/// Where a documentation address is: in the narrowest site that has it, else nobody knows.
fn place(policy: &Policy, address: IpAddr) -> Jurisdiction {
    let sites = policy.sites.iter().flat_map(|site| site.cidrs.iter().map(move |cidr| (cidr, site)));
    let having = sites.filter(|(cidr, _)| cidr.contains(address));
    having.max_by_key(|(cidr, _)| cidr.prefix()).map_or(Jurisdiction::UNKNOWN, |(_, site)| site.jurisdiction)
}

fn covers(rule: &Failsafe, flow: &Flow) -> bool {
    let has = |ranges: &[PortRange], port: u16| {
        let is_in = |it: &PortRange| it.protocol == flow.protocol && (it.first..=it.last).contains(&port);
        ranges.is_empty() || ranges.iter().any(is_in)
    };
    has(&rule.local_ports, flow.sport)
        && has(&rule.remote_ports, flow.dport)
        && (rule.peers.is_empty() || rule.peers.iter().any(|peer| peer.contains(flow.destination)))
}

fn volumes(select: &Selectors, facts: &HostFacts) -> Result<u64, String> {
    let Some(path) = select.volumes.first() else { return Ok(0) };
    let volume = select.volume(path);
    let known = facts.volumes.iter().find(|fact| fact.volume == volume);
    known.map(|fact| 1 << fact.slot).ok_or_else(|| format!("the volume {} has no slot", path.display()))
}

fn party(select: &Selectors, facts: &HostFacts) -> Result<Option<Party>, String> {
    let mut party = Party { state: Party::READY, uid: guard_common::abi::NO_USER, ..Party::default() };
    if let Some(user) = select.users.first() {
        party.uid = user.uid.ok_or_else(|| format!("the user {} has no number", user.text))?;
    }
    if !select.cgroups.is_empty() {
        let known = facts.cgroups.iter().filter(|fact| select.cgroups.contains(&fact.path));
        let found = known.filter_map(|fact| Some((fact, fact.id?))).next();
        let (fact, id) =
            found.ok_or_else(|| format!("the cgroup {} is not there", select.cgroups.join(", ")))?;
        let level = (fact.level as usize).clamp(1, MAX_CGROUP_LEVELS);
        party.cgroup = id;
        if let Some(at) = party.cgroups.get_mut(level - 1) {
            *at = id;
        }
    }
    let is_any = select.users.is_empty() && select.cgroups.is_empty();
    Ok((!is_any).then_some(party))
}
