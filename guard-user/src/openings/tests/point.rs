//! Packets as classes see them.

use std::net::IpAddr;

use guard_common::abi::{Direction, HIDDEN_CLASS, Hook, NO_PORT_CLASS, port_class};
use guard_common::packet::Addr;

use super::super::areas::Area;
use super::super::cidr::Cidrs;
use super::super::dimensions::number;
use super::super::judge::{Comparison, Found};
use super::super::value::{Carries, Packets, Value};
use crate::compile::by_ipv4;
use crate::compile::tests::generate::Case;
use crate::compile::tests::reference::{Content, PlainLayer, PlainPacket};
use crate::config::policy::{InterfacePattern, is_in_cgroup};

/// A packet with its names as either policy has them; of each dimension it has one value.
pub(super) struct Point {
    pub(super) hook: Hook,
    /// Source, destination, the kind of its ports, and those; `None`: it can't be read.
    pub(super) layer: Option<(Addr, Addr, u32, (u16, u16))>,
    is_of_host: bool,
    interface: Option<String>,
    cgroup: Option<String>,
    user: Option<String>,
    volume: Option<String>,
    mark: u32,
    direction: Direction,
    now: u64,
}

fn kind(layer: &PlainLayer) -> (u32, (u16, u16)) {
    let own = port_class(layer.proto);
    match (layer.unreadable(), layer.ports) {
        (None, _) => (NO_PORT_CLASS + HIDDEN_CLASS, (0, 0)),
        (_, Some(ports)) if !layer.other_ports => (own, ports),
        (_, Some(_)) => (NO_PORT_CLASS + own, (0, 0)),
        (_, None) if layer.later_fragment => (NO_PORT_CLASS + own, (0, 0)),
        (_, None) => (NO_PORT_CLASS, (0, 0)),
    }
}

impl Point {
    pub(super) fn of(plain: &PlainPacket, old: &Case, new: &Case) -> Option<Self> {
        let layer = match &plain.content {
            Content::NotIp => return None,
            Content::Broken(_) => None,
            Content::Ip { layers, .. } => {
                let layer = layers.first()?;
                let (kind, (sport, dport)) = kind(layer);
                let (src, dst) = (Addr::from(layer.src), Addr::from(layer.dst));
                Some(match plain.hook {
                    Hook::Ingress => (dst, src, kind, (dport, sport)),
                    _ => (src, dst, kind, (sport, dport)),
                })
            }
        };
        let pins = || old.policy.pins.iter().chain(&new.policy.pins);
        let is_own = |source: Addr| old.addresses.iter().any(|it| Addr::from(*it) == source);
        let is_of_host =
            plain.hook != Hook::Ingress && plain.came_in_by == 0 || layer.is_some_and(|it| is_own(it.0));
        let paths = [("a", 11, 1), ("a/b", 1 << 40, 2), ("c", 13, 1), ("c/d/e", 17, 3)];
        let path = paths.iter().find(|it| plain.cgroups.last() == Some(&it.1) && plain.cgroups.len() == it.2);
        let cgroups = pins().flat_map(|pin| &pin.select.cgroups);
        let cgroups = cgroups.filter(|it| path.is_some_and(|path| is_in_cgroup(path.0, it)));
        let name = match plain.interface {
            1 => "lo",
            2 => "eth0",
            900_001 => "tun1",
            _ => "-",
        };
        let interfaces = pins().flat_map(|pin| &pin.select.interfaces);
        let interfaces = interfaces.filter(|it| it.matches(name)).map(InterfacePattern::as_str);
        let users = plain.users.first().map(u32::to_string);
        let users = users.filter(|user| pins().flat_map(|pin| &pin.select.users).any(|it| it.text == *user));
        let volume = match plain.volumes.first() {
            Some(1) => Some("/srv/a"),
            Some(31) => Some("/srv/b"),
            _ => None,
        };
        let volume = volume
            .filter(|it| pins().flat_map(|pin| &pin.select.volumes).any(|path| path.as_os_str() == *it));
        Some(Self {
            hook: plain.hook,
            layer,
            is_of_host,
            interface: interfaces.max_by_key(|it| *it == name).map(str::to_owned),
            cgroup: cgroups.max_by_key(|it| it.len()).cloned(),
            user: users,
            volume: volume.map(str::to_owned),
            mark: plain.mark,
            direction: plain.direction,
            now: plain.now,
        })
    }

    fn has(&self, dimension: usize, value: &Value) -> bool {
        let is_from = |source: &Addr, first: &IpAddr, last: &IpAddr| {
            let source = IpAddr::from(*source);
            first.is_ipv4() == source.is_ipv4() && (*first..=*last).contains(&source)
        };
        let own = |name: &Option<String>| match value {
            Value::Other => name.is_none(),
            Value::Interface(it) | Value::Cgroup(it) | Value::User(it) | Value::Volume(it) => {
                name.as_ref() == Some(it)
            }
            _ => false,
        };
        match (dimension, value) {
            (number::INTERFACE, _) => own(&self.interface),
            (number::CGROUP, _) => own(&self.cgroup),
            (number::USER, _) => own(&self.user),
            (number::VOLUME, _) => own(&self.volume),
            (_, Value::Source { first, last }) => {
                !self.is_of_host && self.layer.is_none_or(|it| is_from(&it.0, first, last))
            }
            (_, Value::HostSource { first, last }) => {
                self.is_of_host && self.layer.is_none_or(|it| is_from(&it.0, first, last))
            }
            (_, Value::Ports { kind, first, last }) => self.layer.is_none_or(|(_, _, own, ports)| {
                let port = if dimension == number::LOCAL { ports.0 } else { ports.1 };
                *kind == own && (*first..=*last).contains(&port)
            }),
            (_, Value::Marked(mark)) => self.mark & mark.mask == mark.value,
            (_, Value::Opened(direction)) => *direction == self.direction,
            (_, Value::Window { first, last }) => (*first..=*last).contains(&self.now),
            (_, Value::Carries(how)) => *how == Carries::Itself,
            (_, Value::SentBy(_)) => true,
            _ => false,
        }
    }

    /// Whether it is of an area, as a packet to a destination of this class.
    fn is_in(&self, comparison: &Comparison<'_>, area: &Area, to: usize) -> bool {
        area.0[number::DESTINATION].has(to)
            && comparison.dimensions.iter().enumerate().all(|(dimension, classes)| {
                let own = |class: usize| classes[class].values.iter().any(|value| self.has(dimension, value));
                area.0[dimension].numbers().any(own)
            })
    }

    /// The classes that its destination may be of; where that can't be read any one.
    fn destinations(&self, comparison: &Comparison<'_>) -> Vec<usize> {
        let classes = comparison.destinations.iter().enumerate();
        let Some((_, to, ..)) = self.layer else { return vec![0] };
        let to = IpAddr::from(to);
        let has = |run: &Cidrs| run.first.is_ipv4() == to.is_ipv4() && (run.first..=run.last).contains(&to);
        let own = classes.filter(|(_, class)| {
            class.values.iter().flat_map(|it| it.first.iter().chain(&it.carriers)).any(has)
        });
        own.map(|(number, _)| number).collect()
    }

    /// Whether it is of flows that were found to open.
    pub(super) fn is_of(&self, comparison: &Comparison<'_>, found: &Found) -> bool {
        let packets = if self.layer.is_none() { Packets::Unreadable } else { Packets::Any };
        found.packets == packets
            && found.hook == self.hook
            && self.destinations(comparison).into_iter().any(|to| {
                self.is_in(comparison, &found.area, to)
                    && !found.but.iter().any(|area| self.is_in(comparison, area, to))
            })
    }

    /// Whether its destination is of one class: not where it is placed by an IPv4 address in it.
    pub(super) fn is_exact(&self, comparison: &Comparison<'_>) -> bool {
        let carriers = || comparison.worlds.iter().flat_map(|world| by_ipv4(world.policy));
        self.layer.is_none_or(|(_, to, ..)| !carriers().any(|network| network.contains(to.into())))
    }
}
