//! Looks for what is legal in a checked config and may surprise.

use std::net::IpAddr;

use guard_common::abi::Direction;
use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::IpNetwork;

use super::approval::RawApproval;
use super::check::let_out_by;
use super::groups::Groups;
use super::jurisdiction_set::JurisdictionSet;
use super::places::ends;
use super::policy::{Action, Failsafe, Ingress, InterfacePattern, Pin, Policy, PortRange, Protocol, Site};
use super::raw::{Raw, RawFailsafe, RawPin, RawSelect, RawSite};
use super::read::List;
use super::sink::Sink;
use super::values;
use super::warning::{SERVICES, Service, WarningKind};
use crate::geo::special;

/// Where a geo database places an address; `None` where it does not say.
pub type Database<'a> = &'a dyn Fn(IpAddr) -> Option<Jurisdiction>;

/// Finds every surprise. The policy must be free of errors: then each of its lists has the same values
/// as the raw config's, in the same order.
pub(super) fn find(
    raw: &Raw,
    policy: &Policy,
    groups: &Groups,
    database: Option<Database<'_>>,
    sink: &mut Sink<'_>,
) {
    let places = PlacedBySites::new(&policy.sites);
    if policy.pins.is_empty() {
        sink.warn(0, "pin", WarningKind::NoPin);
    }
    for (raw, pin) in raw.pins.iter().zip(policy.distinct_pins()) {
        look_at_pin(raw, pin, sink);
    }
    for (raw, pin) in raw.pins.iter().zip(policy.distinct_pins()) {
        let mut ways = policy.pins.iter().filter(|way| way.name == pin.name);
        let enforces = pin.action != Action::Observe;
        if let (Some(direction), true) = (only_direction(pin, policy), enforces) {
            let kind = WarningKind::OneDirection { pin: pin.name.clone(), direction };
            sink.warn(direction_at(raw), "pin.select.direction", kind);
        } else if enforces && ways.all(|way| way.select.has_served_ports_alone()) {
            let kind = WarningKind::PortsAlone { pin: pin.name.clone() };
            sink.warn(raw.selects.first().map_or(raw.at, |select| select.at), "pin.select", kind);
        }
        let asks = |way: &&Pin| way.name == pin.name && way.select.direction != Direction::Unknown;
        if pin.ingress != Ingress::Off && policy.pins.iter().any(|way| asks(&way)) {
            let kind = WarningKind::IngressDirection { pin: pin.name.clone() };
            sink.warn(direction_at(raw), "pin.select.direction", kind);
        }
    }
    for ((_, select), pin) in raw.ways().zip(&policy.pins) {
        look_at_way(select, pin, &policy.failsafe, &places, sink);
    }
    for (raw, rule) in raw.failsafe.iter().zip(&policy.failsafe) {
        look_at_failsafe(raw, rule, policy, &places, sink);
    }
    if let Some(database) = database {
        for (raw, site) in raw.sites.iter().zip(&policy.sites) {
            look_at_site(raw, site, database, sink);
        }
    }
    look_at_bypass(raw, policy, sink);
    look_at_holds(raw, policy, sink);
    if let (Some(at), Some(approvals)) =
        (raw.approval.as_ref().and_then(RawApproval::policy_at), &policy.approval)
        && approvals.policy.iter().map(|needed| needed.count).sum::<u32>() == 1
    {
        sink.warn(at, "approval.policy.required", WarningKind::OneSignature);
    }
    if policy.sockets.refuse {
        sink.warn(raw.sockets_at, "sockets.refuse", WarningKind::RefusesByName);
    }
    let permits = raw.pins.iter().flat_map(|pin| &pin.permit).flat_map(|permit| &permit.items);
    let used = groups.used(permits.map(|text| text.get_ref().as_str()));
    for group in &raw.groups {
        let name = group.name.get_ref();
        if !used.contains(name) {
            let kind = WarningKind::UnusedGroup { group: name.clone() };
            sink.warn(group.name.span().start, format!("groups.{name}"), kind);
        }
    }
}

/// The direction that every way in which a pin is known asks for; `None` where they differ, or one does not ask.
fn only_direction(pin: &Pin, policy: &Policy) -> Option<Direction> {
    let direction = pin.select.direction;
    let mut ways = policy.pins.iter().filter(|way| way.name == pin.name);
    (direction != Direction::Unknown && ways.all(|way| way.select.direction == direction))
        .then_some(direction)
}

/// Where the first direction of a pin stands.
fn direction_at(raw: &RawPin) -> usize {
    let mut directions = raw.selects.iter().filter_map(|select| select.direction.as_ref());
    directions.next().map_or(raw.at, |text| text.span().start)
}

fn look_at_pin(raw: &RawPin, pin: &Pin, sink: &mut Sink<'_>) {
    let name = || pin.name.clone();
    let permit_at = raw.permit.as_ref().map_or(raw.at, |permit| permit.at);
    let countries: JurisdictionSet = Jurisdiction::all().filter(|place| place.is_country()).collect();
    if pin.permitted.contains_all(&countries) {
        sink.warn(permit_at, "pin.permit", WarningKind::PermitsEverything { pin: name() });
    }
    if pin.permitted.contains(Jurisdiction::UNKNOWN) {
        sink.warn(permit_at, "pin.permit", WarningKind::PermitsUnknown { pin: name() });
    }
    if pin.action == Action::Observe && pin.ingress == Ingress::Drop {
        let at = raw.ingress.as_ref().map_or(raw.at, |text| text.span().start);
        sink.warn(at, "pin.ingress", WarningKind::ObservesButDropsIngress { pin: name() });
    }
}

/// Looks at one way in which a pin is known.
fn look_at_way(
    raw: &RawSelect,
    pin: &Pin,
    failsafe: &[Failsafe],
    places: &PlacedBySites,
    sink: &mut Sink<'_>,
) {
    let select = &pin.select;
    let is_by_process = !select.cgroups.is_empty() || !select.users.is_empty() || !select.volumes.is_empty();
    let narrow = is_by_process || !select.marks.is_empty() || select.direction != Direction::Unknown;
    let remote = &select.remote_ports;
    let ports = if select.ports.is_empty() { remote } else { &select.ports };
    let is_every_remote = remote.is_empty() || remote.iter().any(PortRange::is_full);
    // What the host forwards is left out, unless networks have it.
    let host_alone = select.from_host && select.sources.is_empty();
    if let (Some(what), true) =
        (everything(&select.sources, ports, &select.interfaces), is_every_remote && !narrow && !host_alone)
    {
        let kind = WarningKind::MatchesEverything { pin: pin.name.clone(), what };
        sink.warn(raw.at, "pin.select", kind);
    }
    let is_narrow_of_all = is_by_process || !select.marks.is_empty();
    if pin.action == Action::Drop && !is_narrow_of_all {
        look_at_what_is_cut_off(raw, pin, failsafe, sink);
    }
    warn_of_private(&raw.sources, &select.sources, "pin.select.sources", places, sink);
    for (item, cgroup) in raw.cgroups.iter().flat_map(|list| &list.items).zip(&select.cgroups) {
        if is_of_one_unit(cgroup) {
            let kind = WarningKind::ShortLivedCgroup { cgroup: cgroup.clone() };
            sink.warn(item.span().start, "pin.select.cgroups", kind);
        }
    }
}

fn look_at_bypass(raw: &Raw, policy: &Policy, sink: &mut Sink<'_>) {
    let dropping = policy.pins.iter().find(|pin| pin.action == Action::Drop);
    if let (Some(pin), false) = (dropping, policy.bypass.refuse) {
        let kind = WarningKind::BypassNotRefused { pin: pin.name.clone() };
        sink.warn(raw.bypass_at, "bypass.refuse", kind);
    }
    let allowed = raw.bypass_allow.iter().flat_map(|list| &list.items).zip(&policy.bypass.allow);
    for (item, cgroup) in allowed.filter(|(_, cgroup)| is_of_one_unit(cgroup)) {
        let kind = WarningKind::ShortLivedBypass { cgroup: cgroup.clone() };
        sink.warn(item.span().start, "bypass.allow", kind);
    }
}

/// A hold by an exemption's id is as good as one by a pin, and no config knows ids: what is a slip away from a pin is told alone.
fn look_at_holds(raw: &Raw, policy: &Policy, sink: &mut Sink<'_>) {
    for item in raw.history.holds() {
        let name = item.get_ref().as_str();
        let distance = |pin: &Pin| strsim::damerau_levenshtein(name, &pin.name);
        if name.len() <= 2 || policy.pins.iter().any(|pin| pin.name == name) {
            continue;
        }
        if let Some(pin) = policy.pins.iter().find(|pin| distance(pin) == 1) {
            let kind = WarningKind::HoldNearPin { hold: name.to_owned(), pin: pin.name.clone() };
            sink.warn(item.span().start, "history.hold", kind);
        }
    }
}

/// Whether systemd makes it anew for each start of a unit.
fn is_of_one_unit(cgroup: &str) -> bool {
    cgroup.ends_with(".service") || cgroup.ends_with(".scope")
}

/// What a host needs and a pin that drops would take from it.
fn look_at_what_is_cut_off(raw: &RawSelect, pin: &Pin, failsafe: &[Failsafe], sink: &mut Sink<'_>) {
    const SSH: u16 = 22;
    let (ports, remote) = (&pin.select.ports, &pin.select.remote_ports);
    let has = |ports: &[PortRange], protocol, port| ports.iter().any(|range| range.contains(protocol, port));
    let ssh_passes = failsafe.iter().any(|rule| {
        rule.remote_ports.is_empty()
            && (rule.local_ports.is_empty() || has(&rule.local_ports, Protocol::Tcp, SSH))
    });
    // A client has any port.
    let is_every_client =
        remote.is_empty() || remote.iter().any(|range| range.protocol == Protocol::Tcp && range.is_full());
    let is_served = pin.select.may_be(Direction::Served);
    if is_served && !ssh_passes && is_every_client && (ports.is_empty() || has(ports, Protocol::Tcp, SSH)) {
        sink.warn(raw.at, "pin.select", WarningKind::CutsOffSsh { pin: pin.name.clone() });
    }
    let passes = |port| {
        failsafe
            .iter()
            .any(|rule| rule.local_ports.is_empty() && has(&rule.remote_ports, Protocol::Udp, port))
    };
    let is_pinned = |port| remote.is_empty() || has(remote, Protocol::Udp, port);
    let cut_off = |service: &&Service| is_pinned(service.udp) && !passes(service.udp);
    let services: Vec<_> = SERVICES.iter().filter(cut_off).collect();
    if ports.is_empty() && !services.is_empty() {
        sink.warn(raw.at, "pin.select", WarningKind::CutsOff { pin: pin.name.clone(), services });
    }
}

fn look_at_failsafe(
    raw: &RawFailsafe,
    rule: &Failsafe,
    policy: &Policy,
    places: &PlacedBySites,
    sink: &mut Sink<'_>,
) {
    if let Some(pin) = let_out_by(rule, policy) {
        let (rule, pin) = (rule.name.clone(), pin.name.clone());
        sink.warn(raw.at, "failsafe", WarningKind::OpenFailsafe { rule, pin });
    }
    let all_ports: Vec<PortRange> = rule.local_ports.iter().chain(&rule.remote_ports).copied().collect();
    let both_sides_full = [&rule.local_ports, &rule.remote_ports]
        .into_iter()
        .all(|ports| ports.is_empty() || ports.iter().any(PortRange::is_full));
    if let (Some(what), true) = (everything(&rule.peers, &all_ports, &[]), both_sides_full) {
        let kind = WarningKind::FailsafeMatchesEverything { rule: rule.name.clone(), what };
        sink.warn(raw.at, "failsafe", kind);
    }
    warn_of_private(&raw.peers, &rule.peers, "failsafe.peers", places, sink);
}

fn look_at_site(raw: &RawSite, site: &Site, database: Database<'_>, sink: &mut Sink<'_>) {
    for (item, &cidr) in raw.cidrs.iter().flat_map(|list| &list.items).zip(&site.cidrs) {
        let elsewhere = [cidr.network(), cidr.broadcast()].into_iter().find_map(|address| {
            let place = database(address).filter(|_| special::placeless(address).is_none())?;
            (place.is_country() && place != site.jurisdiction).then_some((address, place))
        });
        if let Some((address, database)) = elsewhere {
            let (site, jurisdiction) = (site.name.clone(), site.jurisdiction);
            let kind = WarningKind::SiteContradictsDatabase { site, cidr, jurisdiction, address, database };
            sink.warn(item.span().start, "site.cidrs", kind);
        }
    }
}

/// What selectors match that leave nothing out, in words; `None` where they leave something out.
fn everything(
    networks: &[IpNetwork],
    ports: &[PortRange],
    interfaces: &[InterfacePattern],
) -> Option<String> {
    let whole: Vec<&IpNetwork> = networks.iter().filter(|network| network.prefix() == 0).collect();
    let full: Vec<&PortRange> = ports.iter().filter(|range| range.is_full()).collect();
    let any_interface = interfaces.iter().any(|pattern| pattern.as_str().bytes().all(|byte| byte == b'*'));
    let leaves_out = networks.is_empty() != whole.is_empty()
        || ports.is_empty() != full.is_empty()
        || interfaces.is_empty() == any_interface;
    if leaves_out {
        return None;
    }
    let families = match (whole.iter().any(|n| n.is_ipv4()), whole.iter().any(|n| n.is_ipv6())) {
        (true, false) => "IPv4 ",
        (false, true) => "IPv6 ",
        _ => "",
    };
    let mut protocols: Vec<&str> = full.iter().map(|range| range.protocol.name()).collect();
    protocols.dedup();
    let protocols = match protocols.is_empty() {
        true => String::new(),
        false => format!("{} ", protocols.join(" and ")),
    };
    Some(format!("every {families}{protocols}packet of the host"))
}

fn warn_of_private(
    raw: &Option<List>,
    networks: &[IpNetwork],
    field: &str,
    places: &PlacedBySites,
    sink: &mut Sink<'_>,
) {
    let items = raw.iter().flat_map(|list| &list.items).filter(|item| item.get_ref() != values::HOST);
    for (item, &cidr) in items.zip(networks) {
        if let Some(row) = special::own(cidr)
            && !places.contains(cidr)
        {
            let range = format!("{} ({})", row.name, row.source);
            sink.warn(item.span().start, field, WarningKind::PrivateInNoSite { cidr, range });
        }
    }
}

/// The addresses that are in some site, as ranges that neither overlap nor touch.
#[derive(Debug)]
struct PlacedBySites {
    v4: Vec<(u128, u128)>,
    v6: Vec<(u128, u128)>,
}

impl PlacedBySites {
    fn new(sites: &[Site]) -> Self {
        let merged = |v4: bool| {
            let networks = sites.iter().flat_map(|site| &site.cidrs).filter(|cidr| cidr.is_ipv4() == v4);
            let mut ranges: Vec<(u128, u128)> = networks.map(|&cidr| ends(cidr)).collect();
            ranges.sort_unstable();
            let mut merged: Vec<(u128, u128)> = Vec::new();
            for (first, last) in ranges {
                match merged.last_mut() {
                    Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                    _ => merged.push((first, last)),
                }
            }
            merged
        };
        Self { v4: merged(true), v6: merged(false) }
    }

    /// Whether every address of the network is in some site.
    fn contains(&self, network: IpNetwork) -> bool {
        let ranges = if network.is_ipv4() { &self.v4 } else { &self.v6 };
        let (first, last) = ends(network);
        let after = ranges.partition_point(|&(start, _)| start <= first);
        after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|&(_, end)| last <= end)
    }
}
