//! Why a pin's selectors match a packet, value by value, or which of them is the first that does not.

use std::fmt::Display;
use std::net::IpAddr;

use guard_common::abi::{Direction, Hook};
use guard_common::packet::Layer;

use super::explainer::Explainer;
use super::flow::{protocol_name, transport};
use super::surroundings::Surroundings;
use crate::config::policy::{Failsafe, InterfacePattern, Pin, PortRange, is_in_cgroup};

/// What a host is, at which a packet is.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) hook: Hook,
    /// The addresses and the interfaces of the host.
    pub(super) explainer: &'a Explainer,
}

/// The values that match, one text for each dimension that the pin uses; or the first dimension that
/// does not match. `matches` is what was decided: of a live packet not all that was known is told.
pub(super) fn look(
    pin: &Pin,
    layer: Option<&Layer>,
    from: &Surroundings,
    at: At<'_>,
    matches: bool,
) -> Result<Vec<String>, String> {
    let select = &pin.select;
    let mut matched = Vec::new();
    // What of a live packet is not told, by which the pin is known.
    let mut untold = Vec::new();
    let mut is_untold = |what: &str, values: &[String], is_given: bool| {
        let is_untold = from.is_live && !is_given && !values.is_empty();
        if is_untold {
            untold.push(format!("the {what} is {}", any_of(values)));
        }
        is_untold
    };
    let of_cgroups = is_untold("cgroup", &select.cgroups, from.cgroup.is_some());
    let users: Vec<String> = select.users.iter().map(|user| user.text.clone()).collect();
    let of_users = is_untold("user", &users, from.user.is_some());
    let volumes: Vec<String> = select.volumes.iter().map(|path| path.display().to_string()).collect();
    let of_volumes = is_untold("volume", &volumes, !from.volumes.is_empty());
    if !select.interfaces.is_empty() {
        matched.push(look_at_interfaces(&select.interfaces, from, at)?);
    }
    if !select.marks.is_empty() {
        match select.marks.iter().find(|mark| from.mark & mark.mask == mark.value) {
            Some(mark) => matched.push(format!("mark {:#x} by {mark}", from.mark)),
            None => return Err(format!("the mark {:#x} is not {}", from.mark, any_of(&select.marks))),
        }
    }
    if !select.cgroups.is_empty() && !of_cgroups {
        let Some(path) = &from.cgroup else {
            return Err(format!("it selects the cgroup {}, and none is given", any_of(&select.cgroups)));
        };
        match select.cgroups.iter().find(|group| is_in_cgroup(path, group)) {
            Some(group) => matched.push(format!("cgroup {group}")),
            None => return Err(format!("the cgroup {path} is not in {}", any_of(&select.cgroups))),
        }
    }
    if !select.users.is_empty() && !of_users {
        let names: Vec<&str> = select.users.iter().map(|user| user.text.as_str()).collect();
        let Some((name, uid)) = &from.user else {
            return Err(format!("it selects the user {}, and none is given", any_of(&names)));
        };
        match select.users.iter().find(|user| user.uid == Some(*uid)) {
            Some(user) if user.text == *name => matched.push(format!("user {name}")),
            Some(user) => matched.push(format!("user {name} by {}", user.text)),
            None => return Err(format!("the user {name} is not {}", any_of(&names))),
        }
    }
    if !select.volumes.is_empty() && !of_volumes {
        let names: Vec<_> = select.volumes.iter().map(|path| path.display()).collect();
        match select.volumes.iter().find(|path| from.volumes.contains(path)) {
            Some(path) => matched.push(format!("carries data of the volume {}", path.display())),
            None if from.volumes.is_empty() => {
                return Err(format!("it selects the volume {}, and none is given", any_of(&names)));
            }
            None => {
                let carried: Vec<_> = from.volumes.iter().map(|path| path.display()).collect();
                return Err(format!("the volume {} is not {}", any_of(&carried), any_of(&names)));
            }
        }
    }
    if select.direction != Direction::Unknown {
        matched.push(match (select.may_be(from.direction), from.direction) {
            (true, Direction::Unknown) => format!(
                "it is not known who opened the connection, which may be {}",
                direction_words(select.direction)
            ),
            (true, direction) => format!("the connection is {}", direction_words(direction)),
            (false, direction) => {
                let (is, asked) = (direction_words(direction), direction_words(select.direction));
                return Err(format!("the connection is {is}, and not {asked}"));
            }
        });
    }
    if let Some(layer) = layer {
        if select.has_sources() {
            matched.push(look_at_source(pin, layer, from, at)?);
        }
        if !select.ports.is_empty() {
            matched.push(look_at_ports(&select.ports, ("source", layer.sport), layer)?);
        }
        if !select.remote_ports.is_empty() {
            matched.push(look_at_ports(&select.remote_ports, ("remote", layer.dport), layer)?);
        }
    }
    match (untold.is_empty(), matches) {
        (true, _) => {}
        (false, true) => matched.extend(untold),
        (false, false) => return Err(format!("it was not found that {}", untold.join(" and that "))),
    }
    Ok(matched)
}

fn look_at_interfaces(
    patterns: &[InterfacePattern],
    from: &Surroundings,
    at: At<'_>,
) -> Result<String, String> {
    let given = [(&from.interface, "interface"), (&from.came_in_by, "came in by")];
    let given: Vec<_> = given.iter().filter_map(|(name, what)| Some((name.as_ref()?, what))).collect();
    for (name, what) in &given {
        let of_fact = at.explainer.interface(name).map(|fact| fact.names.as_slice());
        for known in of_fact.unwrap_or_else(|| std::slice::from_ref(*name)) {
            let Some(pattern) = patterns.iter().find(|pattern| pattern.matches(known)) else { continue };
            let above = if known == *name { String::new() } else { format!(", which is above {known}") };
            let by = if pattern.is_glob() { format!(" by {pattern}") } else { String::new() };
            return Ok(format!("{what} {name}{above}{by}"));
        }
    }
    let names: Vec<&str> = given.iter().map(|(name, _)| name.as_str()).collect();
    Err(match names.as_slice() {
        [] => format!("it selects the interface {}, and none is given", any_of(patterns)),
        [one] => format!("the interface {one} is not {}", any_of(patterns)),
        _ => format!("neither the interface {} is {}", names.join(" nor "), any_of(patterns)),
    })
}

/// Who opened a connection, in words.
fn direction_words(direction: Direction) -> &'static str {
    match direction {
        Direction::Served => "served (the other end opened it)",
        Direction::Opened => "opened by this host",
        Direction::Unknown => "of no known direction",
    }
}

fn look_at_source(pin: &Pin, layer: &Layer, from: &Surroundings, at: At<'_>) -> Result<String, String> {
    let select = &pin.select;
    let source = IpAddr::from(layer.src);
    if let Some(network) = select.sources.iter().find(|network| network.contains(source)) {
        return Ok(format!("source {source} in {network}"));
    }
    let is_made_here = at.hook == Hook::Egress && !from.is_forwarded;
    let loop_back = from.came_in_by.as_ref().filter(|name| {
        at.hook == Hook::Egress && at.explainer.interface(name).is_some_and(|fact| fact.loops_back)
    });
    match (select.from_host, at.explainer.tables().addresses.contains(&layer.src)) {
        (false, _) => Err(format!("the source {source} is not in {}", any_of(&select.sources))),
        (true, true) => Ok(format!("source {source}, an address of this host")),
        (true, false) if is_made_here => Ok(format!(
            "made by this host, whatever its source ({source} is no address of it; --forwarded says that it is not)"
        )),
        (true, false) if loop_back.is_some() => Ok(format!(
            "came in by {}, where a process of this host may have sent it, whatever its source",
            loop_back.map_or("", String::as_str)
        )),
        (true, false) => {
            let also = if select.sources.is_empty() {
                String::new()
            } else {
                format!(" and not in {}", any_of(&select.sources))
            };
            let how = if at.hook == Hook::Egress { ", which only forwards it," } else { "" };
            Err(format!("the source {source} is no address of this host{how}{also}"))
        }
    }
}

fn look_at_ports(ranges: &[PortRange], (side, port): (&str, u16), layer: &Layer) -> Result<String, String> {
    let name = protocol_name(layer.proto);
    let own = ranges.iter().find(|range| range.protocol.number() == layer.proto);
    if layer.flags & Layer::HIDDEN != 0 {
        let what = if layer.flags & Layer::LATER_FRAGMENT != 0 { "a later fragment" } else { name.as_str() };
        return Ok(format!(
            "{what}, whose ports nobody can read: it may have the {side} port {}",
            any_of(ranges)
        ));
    }
    if let (Some(range), true) = (own, layer.flags & Layer::OTHER_PORTS != 0) {
        return Ok(format!("Multipath TCP, which may have the {side} port {range} on another path"));
    }
    if layer.flags & Layer::HAS_PORTS != 0 {
        return match ranges.iter().find(|range| has_port(range, layer, port)) {
            Some(range) => Ok(format!("{side} port {} by {range}", transport(layer.proto, port))),
            None => {
                Err(format!("the {side} port {} is not {}", transport(layer.proto, port), any_of(ranges)))
            }
        };
    }
    if layer.flags & Layer::LATER_FRAGMENT == 0 {
        return Err(format!("{name} has no ports, and it selects {}", any_of(ranges)));
    }
    match own {
        Some(range) => Ok(format!("a later fragment, which may have the {side} port {range}")),
        None => Err(format!("a later fragment of {name} has none of the ports {}", any_of(ranges))),
    }
}

/// Why a failsafe rule covers a layer: the values of each dimension that it uses.
pub(super) fn failsafe(rule: &Failsafe, layer: &Layer) -> String {
    let peer = IpAddr::from(layer.dst);
    let mut matched = Vec::new();
    if let Some(range) = rule.local_ports.iter().find(|range| has_port(range, layer, layer.sport)) {
        matched.push(format!("local port {range}"));
    }
    if let Some(range) = rule.remote_ports.iter().find(|range| has_port(range, layer, layer.dport)) {
        matched.push(format!("remote port {range}"));
    }
    if let Some(network) = rule.peers.iter().find(|network| network.contains(peer)) {
        matched.push(format!("peer {peer} in {network}"));
    }
    matched.join(", ")
}

fn has_port(range: &PortRange, layer: &Layer, port: u16) -> bool {
    layer.flags & (Layer::HAS_PORTS | Layer::OTHER_PORTS) == Layer::HAS_PORTS
        && range.protocol.number() == layer.proto
        && (range.first..=range.last).contains(&port)
}

/// A few of the values, joined by "or".
fn any_of(values: &[impl Display]) -> String {
    const SHOWN: usize = 4;
    let shown: Vec<String> = values.iter().take(SHOWN).map(ToString::to_string).collect();
    let text = shown.join(" or ");
    match values.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{text} or {more} more"),
        _ => text,
    }
}
