//! Over random pairs of worlds, a packet is of an opened flow exactly where the decision is milder.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::atomic::Ordering;

use guard_common::abi::{Direction, HIDDEN_CLASS, Hook, NO_PORT_CLASS, port_class};
use guard_common::decide::{NoTrace, decide, mirror};
use guard_common::host::HostTables;
use guard_common::packet::{Addr, Packet};
use guard_common::verdict::Verdict;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::super::{Made, OpenedFlow, Value, World, openings};
use crate::compile::tests::generate::{Case, case, host};
use crate::compile::tests::packets::{origin, parsed};
use crate::compile::tests::reference::{Content, PlainLayer, PlainPacket};
use crate::compile::{geo_image, policy_table};
use crate::config::policy::{Spread, is_in_cgroup, matches_interface};

/// A packet as classes see it, with its names as either policy has them.
struct Point {
    hook: Hook,
    layer: Option<(Addr, Addr, u32, (u16, u16))>,
    made: Made,
    interface: Value,
    cgroup: Value,
    user: Value,
    volume: Value,
    mark: u32,
    direction: Direction,
    now: u64,
}

/// Takes away what the oracle does not ask for: budgets and quotas that are used up, and packets with two values of one
/// dimension.
fn plainer(mut case: Case) -> Case {
    for pin in &mut case.policy.pins {
        pin.select.spread = Spread::Process;
    }
    for rule in &mut case.policy.failsafe {
        rule.bytes_per_minute = None;
    }
    case.exemptions.truncate(4);
    case.exemptions.iter_mut().for_each(|it| it.account = it.slot);
    for exemption in &mut case.exemptions {
        exemption.quota = u64::MAX;
    }
    for (number, packet) in case.packets.iter_mut().enumerate() {
        packet.came_in_by = if number % 2 == 0 { 0 } else { 77 };
        if packet.hook == Hook::Ingress {
            packet.came_in_by = 77;
        }
        packet.interface = [1, 2, 900_001, 77][number % 4];
        packet.cgroups = match number % 5 {
            0 => vec![11],
            1 => vec![11, 1 << 40],
            2 => vec![13],
            3 => vec![13, 14, 17],
            _ => Vec::new(),
        };
        packet.parties.clear();
        packet.users.truncate(1);
        packet.volumes.truncate(1);
        packet.everybody = false;
        if let Content::Ip { layers, hops } = &mut packet.content {
            layers.truncate(1);
            hops.clear();
        }
    }
    case
}

fn tables(case: &Case) -> HostTables {
    let policy = policy_table(&case.policy, &case.exemptions, &host(), 1).unwrap();
    let mut tables = HostTables::new(policy, geo_image(&case.db, &case.policy.sites).unwrap());
    tables.addresses = case.addresses.iter().copied().map(Addr::from).collect();
    tables
}

fn world(case: &Case) -> World<'_> {
    World { policy: &case.policy, geo: &case.db, exemptions: &case.exemptions }
}

fn verdict(plain: &PlainPacket, tables: &HostTables) -> Verdict {
    tables.now_ns.store(plain.now * PlainPacket::TICK_NS, Ordering::Relaxed);
    let (parsed, mut packet) = parsed(plain, &Packet::default());
    if plain.hook == Hook::Ingress {
        mirror(&mut packet);
    }
    decide(plain.hook, parsed, &packet, tables, &origin(plain), || plain.now, &mut NoTrace).verdict
}

fn class(layer: &PlainLayer) -> (u32, (u16, u16)) {
    let own = port_class(layer.proto);
    match (layer.unreadable(), layer.ports) {
        (None, _) => (NO_PORT_CLASS + HIDDEN_CLASS, (0, 0)),
        (_, Some(ports)) if !layer.other_ports => (own, ports),
        (_, Some(_)) => (NO_PORT_CLASS + own, (0, 0)),
        (_, None) if layer.later_fragment => (NO_PORT_CLASS + own, (0, 0)),
        (_, None) => (NO_PORT_CLASS, (0, 0)),
    }
}

fn point(plain: &PlainPacket, old: &Case, new: &Case) -> Option<Point> {
    let layer = match &plain.content {
        Content::NotIp => return None,
        Content::Broken(_) => None,
        Content::Ip { layers, .. } => {
            let layer = layers.first()?;
            let (class, (sport, dport)) = class(layer);
            let (src, dst) = (Addr::from(layer.src), Addr::from(layer.dst));
            Some(match plain.hook {
                Hook::Ingress => (dst, src, class, (dport, sport)),
                _ => (src, dst, class, (sport, dport)),
            })
        }
    };
    let pins = || old.policy.pins.iter().chain(&new.policy.pins);
    let is_own = |source: Addr| old.addresses.iter().any(|it| Addr::from(*it) == source);
    let made =
        match plain.hook != Hook::Ingress && plain.came_in_by == 0 || layer.is_some_and(|it| is_own(it.0)) {
            true => Made::Here,
            false => Made::Elsewhere,
        };
    let path = [("a", 11, 1), ("a/b", 1 << 40, 2), ("c", 13, 1), ("c/d/e", 17, 3)];
    let path = path.iter().find(|it| plain.cgroups.last() == Some(&it.1) && plain.cgroups.len() == it.2);
    let cgroups = pins().flat_map(|pin| &pin.select.cgroups);
    let cgroup =
        cgroups.filter(|it| path.is_some_and(|path| is_in_cgroup(path.0, it))).max_by_key(|it| it.len());
    let name = match plain.interface {
        1 => "lo",
        2 => "eth0",
        900_001 => "tun1",
        _ => "-",
    };
    let interfaces = pins().flat_map(|pin| &pin.select.interfaces).map(|it| it.as_str());
    let of_name = interfaces.filter(|it| matches_interface(it, name));
    let interface = of_name.max_by_key(|it| *it == name);
    let user = plain.users.first().map(u32::to_string);
    let user = user.filter(|user| pins().flat_map(|pin| &pin.select.users).any(|it| it.text == *user));
    let volume = match plain.volumes.first() {
        Some(1) => Some("/srv/a"),
        Some(31) => Some("/srv/b"),
        _ => None,
    };
    let volume =
        volume.filter(|it| pins().flat_map(|pin| &pin.select.volumes).any(|path| path.as_os_str() == *it));
    Some(Point {
        hook: plain.hook,
        layer,
        made,
        interface: interface.map_or(Value::OtherInterface, |it| Value::Interface(it.to_owned())),
        cgroup: cgroup.map_or(Value::OtherCgroup, |it| Value::Cgroup(it.clone())),
        user: user.map_or(Value::OtherUser, Value::User),
        volume: volume.map_or(Value::NoVolume, |it| Value::Volume(it.to_owned())),
        mark: plain.mark,
        direction: plain.direction,
        now: plain.now,
    })
}

impl Point {
    fn has(&self, value: &Value) -> bool {
        match value {
            Value::Source { first, last, made } => self.layer.is_some_and(|(source, ..)| {
                let source = IpAddr::from(source);
                *made == self.made && (*first..=*last).contains(&source)
            }),
            Value::Ports { class, local, remote } => self.layer.is_some_and(|(_, _, own, (sport, dport))| {
                *class == own
                    && (local.0..=local.1).contains(&sport)
                    && (remote.0..=remote.1).contains(&dport)
            }),
            Value::Marked(mark) => self.mark & mark.mask == mark.value,
            Value::Opened(direction) => *direction == self.direction,
            Value::Window { first, last } => (*first..=*last).contains(&self.now),
            Value::Anybody => false,
            named => [&self.interface, &self.cgroup, &self.user, &self.volume].contains(&named),
        }
    }

    fn is_of(&self, flow: &OpenedFlow) -> bool {
        let goes = match (&flow.to, &self.layer) {
            (None, None) => true,
            (Some(to), Some((_, destination, ..))) => {
                let destination = IpAddr::from(*destination);
                to.iter().flat_map(|it| &it.first).any(|(first, last)| {
                    first.is_ipv4() == destination.is_ipv4() && (*first..=*last).contains(&destination)
                })
            }
            _ => false,
        };
        let known = |values: &Vec<Value>| values.iter().any(|value| self.has(value));
        flow.hook == self.hook && goes && flow.known_by.iter().all(known)
    }

    /// Whether the classes are as fine as the packet: not for addresses that carry others, and mixed families.
    fn is_exact(&self) -> bool {
        self.layer.is_none_or(|(source, destination, ..)| {
            source.v4().is_some() == destination.v4().is_some()
                && (destination.v4().is_some() || destination.hi >= 0x2003 << 48)
        })
    }
}

/// How many packets opened, and how many did not.
type Seen = [Cell<usize>; 2];

fn agrees(old: Case, mut new: Case, seen: &Seen) -> Result<(), TestCaseError> {
    // With more pins a pair takes seconds.
    if old.policy.pins.len().max(new.policy.pins.len()) > 3 {
        return Ok(());
    }
    new.addresses = old.addresses.clone();
    let (old, new) = (plainer(old), plainer(new));
    let found = openings(&world(&old), &world(&new)).unwrap();
    if found.changes.contains(&super::super::Change::TooManyToCompare) {
        return Ok(());
    }
    let (was, is) = (tables(&old), tables(&new));
    for packet in old.packets.iter().chain(&new.packets) {
        let Some(point) = point(packet, &old, &new) else { continue };
        // A mixed packet has no family; addresses of the NAT64 prefixes are placed by others.
        if point.layer.is_some_and(|it| it.0.v4().is_some() != it.1.v4().is_some()) {
            continue;
        }
        let opens = verdict(packet, &is) < verdict(packet, &was);
        let is_found = found.flows.iter().any(|flow| point.is_of(flow));
        let is_nat64 = !(old.policy.geo.nat64.is_empty() && new.policy.geo.nat64.is_empty());
        if opens || point.is_exact() && !is_nat64 {
            prop_assert_eq!(is_found, opens, "{:?} {:?}", packet, found.flows);
        }
        let times = &seen[usize::from(opens)];
        times.set(times.get() + 1);
    }
    Ok(())
}

#[test]
fn a_packet_is_of_an_opened_flow_where_the_decision_is_milder() {
    let seen = Seen::default();
    let mut runner = TestRunner::new(Config {
        cases: 40,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..Config::default()
    });
    let pairs = (case(250), case(250));
    if let Err(error) = runner.run(&pairs, |(old, new)| agrees(old, new, &seen)) {
        panic!("{error}");
    }
    let [stays, opens] = seen.map(Cell::into_inner);
    assert!(stays > 1000 && opens > 20, "{stays} packets fare as before, {opens} better");
}

#[test]
fn nothing_opens_between_a_world_and_itself_in_another_order() {
    let mut runner = TestRunner::new(Config {
        cases: 20,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..Config::default()
    });
    let reversed = runner.run(&case(0), |old| {
        if old.policy.pins.len() > 6 {
            return Ok(());
        }
        let mut new = old.clone();
        new.policy.pins.reverse();
        new.policy.failsafe.reverse();
        new.policy.sites.reverse();
        new.exemptions.reverse();
        let found = openings(&world(&old), &world(&new)).unwrap();
        prop_assert!(found.flows.is_empty(), "{:?}", found.flows);
        Ok(())
    });
    if let Err(error) = reversed {
        panic!("{error}");
    }
}
