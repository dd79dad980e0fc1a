//! What may be true of a flow, beside what is known of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use guard_common::abi::{Direction, Hook, Side};
use serde::Serialize;

use super::traffic::Seen;
use crate::config::policy::{Mark, Pin, Policy, PortRange, Protocol, is_in_cgroup};
use crate::explain::flow::End;
use crate::explain::{Flow, Surroundings};

/// What is not known of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lack {
    /// Who sent: users and cgroups.
    Sender,
    /// Volumes whose data the sender carried.
    Volumes,
    /// Who opened the connection.
    Direction,
    /// Whether the host only forwarded it.
    Forwarded,
    /// The interface.
    Interface,
    /// The address of this host's end.
    Address,
    /// The port of the end that does not serve.
    Port,
    /// The firewall mark.
    Mark,
    /// The other layers of a tunnel: what it carries, or what carries it.
    Inside,
    /// What the kernel went by: what is known does not give the flow the pins that the kernel gave it.
    Kernel,
    /// Whether it would be let go with an interface, so that nothing judges it any more. In no case would it newly be dropped.
    LetGo,
}

impl Lack {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Sender => "who sent",
            Self::Volumes => "which volumes' data the sender carried",
            Self::Direction => "who opened the connection",
            Self::Forwarded => "whether the host only forwarded it",
            Self::Interface => "the interface",
            Self::Address => "this host's address",
            Self::Port => "the port of the end that does not serve",
            Self::Mark => "the firewall mark",
            Self::Inside => "the other layers of the tunnel",
            Self::Kernel => "by what the kernel gave it its pins",
            Self::LetGo => "whether it is let go with an interface",
        }
    }
}

/// What two policies ask of flows, beside their addresses and ports.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Users that pins select, of those that the same pins select one.
    users: Vec<u32>,
    /// Cgroups that pins select, likewise.
    cgroups: Vec<String>,
    direction: bool,
    host: bool,
    /// Volumes of the candidate that nothing was noted of, because the policy in force does not select them.
    volumes: Vec<PathBuf>,
    /// Those of both: of what no pin tags none is noted.
    all_volumes: Vec<PathBuf>,
    /// The interfaces that may be those of a flow; none where no pin selects any.
    interfaces: Vec<String>,
    /// Of this host's addresses those that no other is like, for the pins of both.
    own: Vec<IpAddr>,
    /// Of all addresses likewise.
    addresses: Vec<IpAddr>,
    /// The ranges of ports that pins select, of this host's end and of the other one, each pin by itself.
    ports: Vec<[Vec<PortRange>; 2]>,
    /// Of all firewall marks those that no other is like; `None` where those are too many.
    marks: Option<Vec<u32>>,
    /// Whether the pins of both know flows by the same.
    same_selectors: bool,
}

impl Needs {
    /// What the policy in force and the candidate ask, of flows by these interfaces.
    #[must_use]
    pub fn of(now: &Policy, then: &Policy, interfaces: &[String]) -> Self {
        let pins: Vec<&Pin> = now.pins.iter().chain(&then.pins).collect();
        let any = |holds: fn(&Pin) -> bool| pins.iter().any(|pin| holds(pin));
        let selects = |policy: &Policy| -> Vec<PathBuf> {
            policy.pins.iter().flat_map(|pin| pin.select.volumes.iter().cloned()).collect()
        };
        let (noted, mut volumes) = (selects(now), selects(then));
        let all_volumes: BTreeSet<PathBuf> = noted.iter().chain(&volumes).cloned().collect();
        volumes.retain(|path| !noted.contains(path));
        volumes.sort_unstable();
        volumes.dedup();
        let users = pins.iter().flat_map(|pin| pin.select.users.iter().filter_map(|user| user.uid));
        let cgroups = pins.iter().flat_map(|pin| pin.select.cgroups.iter().cloned());
        let has_user = |pin: &Pin, uid: &u32| pin.select.users.iter().any(|user| user.uid == Some(*uid));
        let has_cgroup =
            |pin: &Pin, path: &String| pin.select.cgroups.iter().any(|of_pin| is_in_cgroup(path, of_pin));
        let by_interface = any(|pin| !pin.select.interfaces.is_empty());
        Self {
            users: distinct(&pins, users, has_user),
            cgroups: distinct(&pins, cgroups, has_cgroup),
            direction: any(|pin| pin.select.direction != Direction::Unknown),
            host: any(|pin| pin.select.from_host),
            volumes,
            all_volumes: all_volumes.into_iter().collect(),
            interfaces: if by_interface { interfaces.to_vec() } else { Vec::new() },
            own: Vec::new(),
            addresses: distinct_addresses(&pins, borders(&pins)),
            ports: pins
                .iter()
                .map(|pin| [pin.select.ports.clone(), pin.select.remote_ports.clone()])
                .collect(),
            marks: distinct_marks(&pins),
            same_selectors: now
                .pins
                .iter()
                .map(|pin| &pin.select)
                .eq(then.pins.iter().map(|pin| &pin.select)),
        }
    }

    /// The same of a host with these addresses: those of its sockets, but for what can't go beyond the host or the link.
    #[must_use]
    pub fn with_addresses(self, now: &Policy, then: &Policy, own: impl Iterator<Item = IpAddr>) -> Self {
        let pins: Vec<&Pin> = now.pins.iter().chain(&then.pins).collect();
        let goes_far = |it: &IpAddr| match it {
            IpAddr::V4(it) => !it.is_loopback() && !it.is_link_local(),
            IpAddr::V6(it) => !it.is_loopback() && !it.is_unicast_link_local(),
        };
        Self { own: distinct_addresses(&pins, own.filter(goes_far)), ..self }
    }

    /// Whether a flow may be a tunnel in which is what the pins of one side know and those of the other do not: what no pin tags
    /// is kept by its outermost layer.
    #[must_use]
    pub fn may_be_inside(&self, seen: &Seen) -> bool {
        seen.unknown_end.is_some() && !self.same_selectors && is_tunnel(&seen.flow)
    }

    /// Whether it is of what no pin tags, whose ends are not told, and the pins of the two sides know flows by other things.
    #[must_use]
    pub const fn tells_no_ends(&self, seen: &Seen) -> bool {
        seen.unknown_end.is_some() && !self.same_selectors
    }

    /// Whether any pin selects by interfaces.
    fn by_interface(&self) -> bool {
        !self.interfaces.is_empty()
    }
}

/// One thing that may be true of a flow.
#[derive(Clone, Debug)]
pub struct Possible {
    /// Where its packets came from.
    pub from: Surroundings,
    /// Whether its socket may be anybody's, so that it matches every selector of users and cgroups.
    pub everybody: bool,
    /// Where its packets came from.
    pub source: End,
    /// Where they went.
    pub destination: End,
}

/// The interfaces that flows may have come in by: those that flows went by, and of each pattern of a pin one that it means.
#[must_use]
pub fn interfaces(of_flows: Vec<String>, now: &Policy, then: &Policy) -> Vec<String> {
    let patterns = now.pins.iter().chain(&then.pins).flat_map(|pin| &pin.select.interfaces);
    let meant = patterns.map(|pattern| pattern.as_str().replace('*', "").replace('?', "x"));
    let all: BTreeSet<String> = of_flows.into_iter().chain(meant).collect();
    all.into_iter().collect()
}

/// Of the values that the same pins select, one.
fn distinct<T>(pins: &[&Pin], values: impl Iterator<Item = T>, selects: impl Fn(&Pin, &T) -> bool) -> Vec<T> {
    let by = |value: &T| -> Vec<bool> { pins.iter().map(|pin| selects(pin, value)).collect() };
    let by_pins: BTreeMap<Vec<bool>, T> = values.map(|value| (by(&value), value)).collect();
    by_pins.into_values().collect()
}

/// The most firewall marks that are held against the pins' selectors.
const MOST_MARKS: usize = 8192;

/// Of all firewall marks that the same pins select, one; `None` where there are too many to look at. Bits that every selector
/// asks for in the same way are alike: all 0, all 1, or mixed, which none of those selectors takes.
fn distinct_marks(pins: &[&Pin]) -> Option<Vec<u32>> {
    let selectors: Vec<Mark> = pins.iter().flat_map(|pin| pin.select.marks.iter().copied()).collect();
    let mut alike: BTreeMap<Vec<(bool, bool)>, Vec<u32>> = BTreeMap::new();
    for bit in (0..u32::BITS).map(|at| 1 << at) {
        let of = |it: &Mark| (it.mask & bit != 0, it.value & bit != 0);
        alike.entry(selectors.iter().map(of).collect()).or_default().push(bit);
    }
    let mut marks = vec![0_u32];
    for bits in alike.into_iter().filter(|(of, _)| of.iter().any(|(masked, _)| *masked)).map(|(_, bits)| bits)
    {
        let (all, one) = (bits.iter().fold(0, |all, bit| all | bit), bits.first().copied().unwrap_or(0));
        let states: BTreeSet<u32> = [0, one, all].into();
        marks = marks.iter().flat_map(|mark| states.iter().map(move |state| mark | state)).collect();
        if marks.len() > MOST_MARKS {
            return None;
        }
    }
    let has_mark = |pin: &Pin, mark: &u32| pin.select.marks.iter().any(|it| mark & it.mask == it.value);
    Some(distinct(pins, marks.into_iter(), has_mark))
}

/// Of the addresses of each family that the same pins select, one.
fn distinct_addresses(pins: &[&Pin], addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let has_source = |pin: &Pin, address: &IpAddr| pin.select.sources.iter().any(|it| it.contains(*address));
    let (v6, v4): (Vec<IpAddr>, Vec<IpAddr>) = addresses.partition(IpAddr::is_ipv6);
    [v4, v6].into_iter().flat_map(|family| distinct(pins, family.into_iter(), has_source)).collect()
}

/// The most possibilities of one flow that are judged.
const MOST: usize = 4096;

/// All that may be true of a flow, and what is not known of it; none where that is too much to be judged.
///
/// Of users, cgroups and volumes each is one possibility: a socket of several has the pins of each of them, so that where the
/// same becomes of the flow with each, it becomes of it with several too.
#[must_use]
pub fn possibilities(seen: &Seen, needs: &Needs) -> (Vec<Possible>, Vec<Lack>) {
    let flow = &seen.flow;
    // What came in has neither a mark nor a sender yet.
    let from = match flow.hook {
        Hook::Ingress => Surroundings { interface: flow.from.interface.clone(), ..Surroundings::default() },
        _ => flow.from.clone(),
    };
    let base = Possible { from, everybody: false, source: flow.source, destination: flow.destination };
    let mut all = vec![base];
    let mut lacks = Vec::new();
    if let Some(side) = seen.unknown_end {
        ends(seen, side, needs, (&mut all, &mut lacks));
    }
    if flow.from.interface.is_none() && needs.by_interface() {
        lacks.push(Lack::Interface);
        fork(&mut all, &needs.interfaces, |it, name| it.from.interface = Some(name.clone()));
    }
    if flow.hook == Hook::Ingress {
        return (all, lacks);
    }
    let from = &flow.from;
    let (knows_user, knows_cgroup) = (from.user.is_some(), from.cgroup.is_some());
    // A socket of this host sent what has a user or a cgroup; what is forwarded has no sender here.
    let mut forwarded = Vec::new();
    if (needs.host || needs.by_interface()) && !knows_user && !knows_cgroup {
        lacks.push(Lack::Forwarded);
        let came_in = needs.interfaces.iter().cloned().map(Some).chain([None]);
        for (it, name) in all.iter().flat_map(|it| came_in.clone().map(move |name| (it, name))) {
            let from = Surroundings { is_forwarded: true, came_in_by: name, ..it.from.clone() };
            forwarded.push(Possible { from, ..it.clone() });
        }
    }
    let lacks_user = !needs.users.is_empty() && !knows_user;
    let lacks_cgroup = !needs.cgroups.is_empty() && !knows_cgroup;
    if lacks_user || lacks_cgroup {
        lacks.push(Lack::Sender);
        let anybody: Vec<Possible> =
            all.iter().map(|it| Possible { everybody: true, ..it.clone() }).collect();
        if lacks_user {
            fork(&mut all, &needs.users, |it, uid| it.from.user = Some((uid.to_string(), *uid)));
        }
        if lacks_cgroup {
            fork(&mut all, &needs.cgroups, |it, path| it.from.cgroup = Some(path.clone()));
        }
        all.extend(anybody);
    }
    let volumes = if seen.unknown_end.is_some() { &needs.all_volumes } else { &needs.volumes };
    if !volumes.is_empty() {
        lacks.push(Lack::Volumes);
        fork(&mut all, volumes, |it, volume| it.from.volumes.push(volume.clone()));
    }
    if needs.direction {
        lacks.push(Lack::Direction);
        let ways = [Direction::Served, Direction::Opened];
        fork(&mut all, &ways, |it, way| it.from.direction = *way);
    }
    all.extend(forwarded);
    if all.len() > MOST {
        all.clear();
    }
    (all, lacks)
}

/// Puts in the place of each of these one with each of what may be true of the ends of a flow that no pin tags.
fn ends(seen: &Seen, side: Side, needs: &Needs, (all, lacks): (&mut Vec<Possible>, &mut Vec<Lack>)) {
    let flow = &seen.flow;
    let is_sent_here = flow.from.user.is_some() || flow.from.cgroup.is_some();
    let is_like = |it: &&IpAddr| it.is_ipv6() == flow.destination.address.is_ipv6();
    let others = if is_sent_here { &[][..] } else { &needs.addresses };
    let addresses: Vec<IpAddr> = needs.own.iter().chain(others).filter(is_like).copied().collect();
    spread(all, &addresses, |it, address| it.source.address = *address);
    if addresses.len() > 1 {
        lacks.push(Lack::Address);
    }
    let ports = needs.ports_of(flow, side);
    spread(all, &ports, |it, port| match side {
        Side::Local => it.destination.port = Some(*port),
        Side::Remote | Side::None => it.source.port = Some(*port),
    });
    if ports.len() > 1 {
        lacks.push(Lack::Port);
    }
    match &needs.marks {
        Some(marks) => spread(all, marks, |it, mark| it.from.mark = *mark),
        None => all.clear(),
    }
    if needs.marks.as_ref().is_none_or(|marks| marks.len() > 1) {
        lacks.push(Lack::Mark);
    }
}

impl Needs {
    /// The ports that the end may have that does not serve, of those that no other is like: it is taken to be the one with the
    /// higher port.
    fn ports_of(&self, flow: &Flow, side: Side) -> Vec<u16> {
        let Some(protocol) = Protocol::ALL.into_iter().find(|it| it.number() == flow.protocol) else {
            return Vec::new();
        };
        let (of, lowest) = match side {
            Side::None => return Vec::new(),
            Side::Local => (1, flow.source.port.and_then(|port| port.checked_add(1))),
            Side::Remote => (0, flow.destination.port),
        };
        let Some(lowest) = lowest else { return Vec::new() };
        let ranges = |of_pin: &[Vec<PortRange>; 2]| of_pin.get(of).cloned().unwrap_or_default();
        let all: Vec<Vec<PortRange>> = self.ports.iter().map(ranges).collect();
        let ends = all.iter().flatten().flat_map(|range| [Some(range.first), range.last.checked_add(1)]);
        let cuts = ends.flatten().filter(|port| *port >= lowest).chain([lowest]);
        let by = |port: &u16| -> Vec<bool> {
            all.iter().map(|ranges| ranges.iter().any(|range| range.contains(protocol, *port))).collect()
        };
        let classes: BTreeMap<Vec<bool>, u16> = cuts.map(|port| (by(&port), port)).collect();
        classes.into_values().collect()
    }
}

/// Whether a flow with a pin is in a tunnel, or is one of those that the kernel looks into: its record has one of the layers
/// by which it was judged.
#[must_use]
pub fn has_other_layers(seen: &Seen) -> bool {
    const ESP: u8 = 50;
    const WIREGUARD: u16 = 51820;
    // Nobody looks into these: their own addresses and ports are all that they are judged by.
    let ends = [seen.flow.source, seen.flow.destination];
    let is_closed = seen.flow.protocol == ESP || ends.iter().any(|end| end.port == Some(WIREGUARD));
    seen.is_tunnelled || (is_tunnel(&seen.flow) && !is_closed)
}

/// Whether the outermost layer of a flow says that another one may be in it.
fn is_tunnel(flow: &Flow) -> bool {
    /// IPIP, IPv6 in IP, GRE, ESP, AH, and what else carries IP.
    const PROTOCOLS: [u8; 7] = [4, 41, 47, 50, 51, 97, 137];
    /// Ports of VXLAN (and its older one), Geneve, GUE, MPLS, Teredo, GTP-U, WireGuard and IPsec over UDP.
    const PORTS: [u16; 9] = [4789, 8472, 6081, 6080, 6635, 3544, 2152, 51820, 4500];
    let has = |end: End| end.port.is_some_and(|port| PORTS.contains(&port));
    PROTOCOLS.contains(&flow.protocol)
        || flow.protocol == Protocol::Udp.number() && (has(flow.source) || has(flow.destination))
}

/// Where a network of a pin begins, and what is behind it: between two of these all addresses are alike.
fn borders(pins: &[&Pin]) -> impl Iterator<Item = IpAddr> {
    let networks = pins.iter().flat_map(|pin| &pin.select.sources);
    let ends: Vec<IpAddr> = networks
        .flat_map(|network| {
            let behind = match network.broadcast() {
                IpAddr::V4(last) => u32::from(last).checked_add(1).map(|it| IpAddr::V4(it.into())),
                IpAddr::V6(last) => u128::from(last).checked_add(1).map(|it| IpAddr::V6(it.into())),
            };
            [Some(network.network()), behind]
        })
        .flatten()
        .collect();
    let lowest = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    ends.into_iter().chain(lowest)
}

/// Puts in the place of each of these one with each of the values, unless there is none or there are too many already.
fn spread<T>(all: &mut Vec<Possible>, values: &[T], set: impl Fn(&mut Possible, &T)) {
    if values.is_empty() || all.len() > MOST {
        return;
    }
    let with = |one: &Possible| -> Vec<Possible> {
        let of = |value| {
            let mut other = one.clone();
            set(&mut other, value);
            other
        };
        values.iter().map(of).collect()
    };
    *all = all.iter().flat_map(with).collect();
}

/// Adds to each of these one with each of the values, unless there are too many already.
fn fork<T>(all: &mut Vec<Possible>, values: &[T], set: impl Fn(&mut Possible, &T)) {
    if all.len() > MOST {
        return;
    }
    let more: Vec<Possible> = all
        .iter()
        .flat_map(|one| {
            values.iter().map(|value| {
                let mut other = one.clone();
                set(&mut other, value);
                other
            })
        })
        .collect();
    all.extend(more);
}
