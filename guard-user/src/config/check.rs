//! Raw config in, checked config out, and every error on the way.

use std::collections::BTreeMap;
use std::sync::Arc;

use guard_common::abi::Direction;
use ipnetwork::{IpNetwork, Ipv6Network};
use jiff::SignedDuration;

use super::approval;
use super::bypass::Bypass;
use super::canary_keys;
use super::each::{checked, choice, each, one};
use super::error::ErrorKind;
use super::finding::LineAt;
use super::groups::Groups;
use super::history_keys;
use super::jurisdiction_set::JurisdictionSet;
use super::limits;
use super::metrics_keys;
use super::places::{self, CARRIERS};
use super::policy::{
    Action, Control, ControlGroups, Failsafe, Geo, Host, Ingress, Log, LogFormat, LogTo, NamedPack, Pin,
    Placing, Policy, PortRange, Record, Relays, Selectors, SentBy, Site, Spread, State,
};
use super::protect::Protect;
use super::raw::{Raw, RawFailsafe, RawPin, RawSelect, RawSite};
use super::read::{List, Text};
use super::record;
use super::same_path;
use super::share::Share;
use super::sink::Sink;
use super::sockets::Sockets;
use super::values;

/// Checks everything. The policy is whole and right only where the sink has no errors: what is wrong is
/// left out of it.
pub(super) fn check(raw: &Raw, groups: &Groups, fingerprint: u64, sink: &mut Sink<'_>) -> Policy {
    check_names("pin.name", raw.pins.iter().map(|pin| &pin.name), sink);
    check_names("site.name", raw.sites.iter().map(|site| &site.name), sink);
    check_names("failsafe.name", raw.failsafe.iter().map(|rule| &rule.name), sink);
    check_limits(raw, sink);
    let path = |text: &Option<Text>, field, default: &str, sink: &mut Sink<'_>| {
        one(text, field, sink, values::path).unwrap_or_else(|| default.into())
    };
    let unix_groups =
        |list: &Option<List>, field, sink: &mut Sink<'_>| each(list, field, sink, values::unix_group);
    let formats = [
        ("ocsf", LogFormat::Ocsf),
        ("ecs", LogFormat::Ecs),
        ("json", LogFormat::Json),
        ("text", LogFormat::Text),
    ];
    let state_directory = path(&raw.state_directory, "state.directory", DEFAULT_STATE, sink);
    let mut policy = Policy {
        history: history_keys::check(&raw.history, &state_directory, sink),
        host: Host {
            interfaces: each(&raw.interfaces, "host.interfaces", sink, values::interface),
            unguarded: each(&raw.unguarded, "host.unguarded", sink, values::interface),
            observe: raw.observe.unwrap_or(false),
            fleet: one(&raw.fleet, "host.fleet", sink, values::name),
        },
        geo: Geo {
            files: each(&raw.geo_files, "geo.files", sink, values::path),
            max_age: one(&raw.max_age, "geo.max_age", sink, values::duration).unwrap_or(DEFAULT_MAX_AGE),
            ask_above: one(&raw.ask_above, "geo.ask_above", sink, values::share_or_never)
                .unwrap_or(Some(DEFAULT_ASK_ABOVE)),
            may_open: one(&raw.may_open, "geo.may_open", sink, values::share).unwrap_or(Share::percent(0)),
            incomplete: raw.incomplete.unwrap_or(false),
            nat64: places::check_nat64(&raw.nat64, sink),
        },
        control: Control {
            socket: one(&raw.socket, "control.socket", sink, values::socket)
                .unwrap_or_else(|| DEFAULT_SOCKET.into()),
            groups: ControlGroups {
                view: unix_groups(&raw.control_groups.view, "control.groups.view", sink),
                exemptions: unix_groups(&raw.control_groups.exemptions, "control.groups.exemptions", sink),
                policy: unix_groups(&raw.control_groups.policy, "control.groups.policy", sink),
                everything: unix_groups(&raw.control_groups.everything, "control.groups.everything", sink),
                people: unix_groups(&raw.control_groups.people, "control.groups.people", sink),
                canaries: unix_groups(&raw.control_groups.canaries, "control.groups.canaries", sink),
            },
        },
        state: {
            let directory = state_directory;
            // Beside it where none is named: it is not in what a restored state directory brings back.
            let beside = format!("{}-mark", directory.display());
            State {
                mark_directory: path(&raw.mark_directory, "state.mark_directory", &beside, sink),
                directory,
                pin_path: path(&raw.pin_path, "state.pin_path", DEFAULT_PIN_PATH, sink),
            }
        },
        log: Log {
            format: choice(&raw.log_format, "log.format", &formats, sink).unwrap_or(LogFormat::Ocsf),
            to: one(&raw.log_to, "log.to", sink, values::log_to).unwrap_or(LogTo::Stdout),
        },
        metrics: one(&raw.metrics_listen, "metrics.listen", sink, metrics_keys::listen),
        law: {
            let pack = one(&raw.law_pack, "law.pack", sink, values::path);
            let sha256 = one(&raw.law_sha256, "law.sha256", sink, values::digest);
            pack.zip(sha256).map(|(pack, sha256)| NamedPack { pack, sha256 })
        },
        record: record::check(&raw.record, sink),
        bypass: check_bypass(raw, sink),
        sockets: Sockets {
            note: raw.sockets_note.unwrap_or(true),
            cgroup: one(&raw.sockets_cgroup, "sockets.cgroup", sink, root_or_below).unwrap_or_default(),
            refuse: raw.sockets_refuse.unwrap_or(false),
        },
        protect: Protect { lsm: raw.protect_lsm.unwrap_or(false) },
        approval: approval::check(raw.approval.as_ref(), &raw.approval_word, &raw.pin_names(), sink),
        failsafe: raw.failsafe.iter().filter_map(|rule| check_failsafe(rule, sink)).collect(),
        groups: groups.of_config(raw),
        sites: raw.sites.iter().filter_map(|site| check_site(site, groups, sink)).collect(),
        pins: raw.pins.iter().flat_map(|pin| check_pin(pin, groups, sink)).collect(),
        fingerprint,
        text: Arc::default(),
        placing: Placing::default(),
    };
    let drops = policy.pins.iter().any(|pin| pin.action == Action::Drop);
    policy.bypass.refuse = raw.bypass_refuse.unwrap_or(drops);
    places::check_sites(raw, &policy.geo.nat64, groups, sink);
    same_path::check(raw, &policy, sink);
    check_noting(raw, &policy, sink);
    check_open_failsafes(raw, &policy, sink);
    if raw.approval_word.is_none() {
        approval::check_pins(raw.approval.as_ref(), raw.pins.iter().map(|pin| pin.at), &policy, sink);
    }
    policy
}

const DEFAULT_ASK_ABOVE: Share = Share::percent(25);
/// 120 days: country databases are published monthly at the latest, and the embedded one is as old as its
/// last release when the program is built.
const DEFAULT_MAX_AGE: SignedDuration = SignedDuration::from_hours(120 * 24);
const DEFAULT_SOCKET: &str = "/run/borderguard/control.sock";
const DEFAULT_STATE: &str = "/var/lib/borderguard";
const DEFAULT_PIN_PATH: &str = "/sys/fs/bpf/borderguard";

/// All of it but whether it counts without `refuse`, which the pins decide.
fn check_bypass(raw: &Raw, sink: &mut Sink<'_>) -> Bypass {
    Bypass {
        refuse: raw.bypass_refuse.unwrap_or_default(),
        cgroup: one(&raw.bypass_cgroup, "bypass.cgroup", sink, root_or_below).unwrap_or_default(),
        allow: each(&raw.bypass_allow, "bypass.allow", sink, values::cgroup),
    }
}

/// Reports what goes by who uses a socket where that is not noted.
fn check_noting(raw: &Raw, policy: &Policy, sink: &mut Sink<'_>) {
    if sink.has_errors() || policy.sockets.note {
        return;
    }
    if policy.sockets.refuse {
        sink.error(raw.sockets_at, "sockets.refuse", ErrorKind::RefusesUnnoted);
    }
    for ((_, raw), pin) in raw.ways().zip(&policy.pins) {
        let lists = [
            ("pin.select.cgroups", &raw.cgroups),
            ("pin.select.users", &raw.users),
            ("pin.select.volumes", &raw.volumes),
        ];
        let lists = lists.into_iter().filter_map(|(field, list)| Some((field, list.as_ref()?.at)));
        let direction = raw.direction.iter().map(|text| ("pin.select.direction", text.span().start));
        for (field, at) in lists.chain(direction) {
            sink.error(at, field, ErrorKind::UsesUnnoted { pin: pin.name.clone() });
        }
    }
}

/// A cgroup, or `/` for the root, whose path is empty.
fn root_or_below(text: &str) -> Result<String, ErrorKind> {
    match text {
        "/" => Ok(String::new()),
        path => values::cgroup(path),
    }
}

fn check_failsafe(raw: &RawFailsafe, sink: &mut Sink<'_>) -> Option<Failsafe> {
    let local_ports = each(&raw.local_ports, "failsafe.local_ports", sink, values::ports);
    let remote_ports = each(&raw.remote_ports, "failsafe.remote_ports", sink, values::ports);
    let peers = each(&raw.peers, "failsafe.peers", sink, values::cidr);
    let name = raw.name.as_ref()?.get_ref().clone();
    let anywhere = raw.anywhere.unwrap_or(false);
    let budget = raw.bytes_per_minute.as_ref();
    let bytes_per_minute =
        budget.and_then(|number| checked(number, "failsafe.bytes_per_minute", sink, values::budget));
    let line = sink.line(raw.at);
    Some(Failsafe { name, local_ports, remote_ports, peers, anywhere, places: None, bytes_per_minute, line })
}

/// Reports rules that let packets of a pin pass to any destination. With other errors that can't be told: a rule or a
/// pin may lack what narrows it.
fn check_open_failsafes(raw: &Raw, policy: &Policy, sink: &mut Sink<'_>) {
    if sink.has_errors() {
        return;
    }
    for (raw, rule) in raw.failsafe.iter().zip(&policy.failsafe) {
        if let (Some(pin), false) = (let_out_by(rule, policy), rule.anywhere) {
            let kind = ErrorKind::OpenFailsafe { rule: rule.name.clone(), pin: pin.name.clone() };
            sink.error(raw.at, "failsafe", kind);
        }
    }
}

/// The first pin of which packets pass by this rule to any destination.
///
/// Destination ports leave none out, because the other end of a flow chooses its own port. Source ports do, where
/// the pin has others.
pub(super) fn let_out_by<'p>(rule: &Failsafe, policy: &'p Policy) -> Option<&'p Pin> {
    if !rule.peers.is_empty() && !is_anywhere(&rule.peers, &policy.geo.nat64) {
        return None;
    }
    let share = |one: &PortRange, other: &PortRange| {
        one.protocol == other.protocol && one.first <= other.last && other.first <= one.last
    };
    let may_share = |rule: &[PortRange], pin: &[PortRange]| {
        rule.is_empty() || pin.is_empty() || rule.iter().any(|one| pin.iter().any(|other| share(one, other)))
    };
    policy.pins.iter().find(|pin| {
        may_share(&rule.local_ports, &pin.select.ports)
            && may_share(&rule.remote_ports, &pin.select.remote_ports)
    })
}

/// Whether these networks leave little of the world out: half of IPv4, or more than a registry's share of IPv6, or a
/// prefix under which all of IPv4 is.
fn is_anywhere(networks: &[IpNetwork], nat64: &[Ipv6Network]) -> bool {
    let own = nat64.iter().map(|prefix| (prefix.ip(), prefix.prefix()));
    let carriers: Vec<_> = CARRIERS.into_iter().chain(own).collect();
    let mut v4 = 0_u64;
    for network in networks {
        match network {
            IpNetwork::V4(network) => v4 += 1 << (32 - u32::from(network.prefix())),
            IpNetwork::V6(network) => {
                let has_all_of = |(first, length)| network.prefix() <= length && network.contains(first);
                if network.prefix() < 12 || carriers.iter().copied().any(has_all_of) {
                    return true;
                }
            }
        }
    }
    v4 >= 1 << 31
}

fn check_site(raw: &RawSite, groups: &Groups, sink: &mut Sink<'_>) -> Option<Site> {
    let cidrs = each(&raw.cidrs, "site.cidrs", sink, values::cidr);
    let jurisdiction = one(&raw.jurisdiction, "site.jurisdiction", sink, |text| groups.country(text));
    let name = raw.name.as_ref()?.get_ref().clone();
    Some(Site { name, jurisdiction: jurisdiction?, cidrs, line: sink.line(raw.at) })
}

/// The pin, once for each way in which it is known.
fn check_pin(raw: &RawPin, groups: &Groups, sink: &mut Sink<'_>) -> Vec<Pin> {
    let actions = [("drop", Action::Drop), ("flag", Action::Flag), ("observe", Action::Observe)];
    let ingresses = [("off", Ingress::Off), ("flag", Ingress::Flag), ("drop", Ingress::Drop)];
    let records = [("forbidden", Record::Forbidden), ("all", Record::All)];

    let home = one(&raw.home, "pin.home", sink, |text| groups.country(text));
    let permits = each(&raw.permit, "pin.permit", sink, |text| groups.permit(text));
    let action = choice(&raw.action, "pin.action", &actions, sink);
    let ingress = choice(&raw.ingress, "pin.ingress", &ingresses, sink).unwrap_or(Ingress::Off);
    let record = choice(&raw.record, "pin.record", &records, sink).unwrap_or(Record::Forbidden);
    let canary = canary_keys::check(&raw.canary, sink);
    let selects: Vec<Selectors> = raw.selects.iter().map(|select| check_select(select, sink)).collect();
    let (Some(name), Some(home), Some(action)) = (&raw.name, home, action) else { return Vec::new() };

    let mut permitted: JurisdictionSet = permits.iter().flat_map(JurisdictionSet::iter).collect();
    permitted.insert(home);
    let (name, line) = (name.get_ref(), sink.line(raw.at));
    let pin =
        |select| Pin { name: name.clone(), home, permitted, action, ingress, record, canary, select, line };
    selects.into_iter().map(pin).collect()
}

fn check_select(raw: &RawSelect, sink: &mut Sink<'_>) -> Selectors {
    let directions = [("served", Direction::Served), ("opened", Direction::Opened)];
    let sent_by = [("process", SentBy::Process), ("socket", SentBy::Socket)];
    let ports = each(&raw.ports, "pin.select.ports", sink, values::ports);
    let remote_ports = each(&raw.remote_ports, "pin.select.remote_ports", sink, values::ports);
    let has_both = |one: &PortRange| remote_ports.iter().any(|other| other.protocol == one.protocol);
    if !ports.is_empty() && !remote_ports.is_empty() && !ports.iter().any(has_both) {
        let at = raw.remote_ports.as_ref().map_or(raw.at, |list| list.at);
        sink.error(at, "pin.select.remote_ports", ErrorKind::NoCommonProtocol);
    }
    let sources = each(&raw.sources, "pin.select.sources", sink, values::source);
    let spread = [Spread::Cgroup, Spread::Process].map(|spread| (spread.name(), spread));
    let relays = [Relays::Tell, Relays::Tag].map(|relays| (relays.name(), relays));
    let relays = choice(&raw.relays, "pin.select.relays", &relays, sink).unwrap_or_default();
    if relays == Relays::Tag
        && let Some(list) = &raw.accept_relays
    {
        sink.error(list.at, "pin.select.accept_relays", ErrorKind::AcceptsTagged);
    }
    Selectors {
        from_host: sources.contains(&None),
        sources: sources.into_iter().flatten().collect(),
        ports,
        remote_ports,
        interfaces: each(&raw.interfaces, "pin.select.interfaces", sink, values::interface),
        cgroups: each(&raw.cgroups, "pin.select.cgroups", sink, values::cgroup),
        users: each(&raw.users, "pin.select.users", sink, values::user),
        sent_by: choice(&raw.sent_by, "pin.select.sent_by", &sent_by, sink).unwrap_or_default(),
        volumes: each(&raw.volumes, "pin.select.volumes", sink, values::volume),
        spread: choice(&raw.spread, "pin.select.spread", &spread, sink).unwrap_or_default(),
        ignores_copies: !raw.copies.unwrap_or(true),
        relays,
        accept_relays: each(&raw.accept_relays, "pin.select.accept_relays", sink, values::cgroup),
        marks: each(&raw.marks, "pin.select.marks", sink, values::mark),
        direction: choice(&raw.direction, "pin.select.direction", &directions, sink).unwrap_or_default(),
    }
}

/// Reports bad names and those that were given before.
fn check_names<'r>(field: &str, names: impl Iterator<Item = &'r Option<Text>>, sink: &mut Sink<'_>) {
    let mut first_lines: BTreeMap<&str, LineAt> = BTreeMap::new();
    for name in names.flatten() {
        let (at, text) = (name.span().start, name.get_ref().as_str());
        match (values::name(text), first_lines.get(text)) {
            (Err(error), _) => sink.error(at, field, error),
            (Ok(name), Some(first_line)) => {
                let first_line = first_line.clone();
                sink.error(at, field, ErrorKind::DuplicateName { name, first_line });
            }
            (Ok(_), None) => {
                first_lines.insert(text, sink.line_at(at));
            }
        }
    }
}

/// Reports what the kernel's tables can't hold, at the first value that is too much.
fn check_limits(raw: &Raw, sink: &mut Sink<'_>) {
    let items = |lists: Vec<&Option<List>>| -> Vec<usize> {
        let items = lists.into_iter().flatten().flat_map(|list| &list.items);
        items.map(|item| item.span().start).collect()
    };
    let select = |pick: fn(&RawSelect) -> &Option<List>| {
        items(raw.ways().map(|(_, select)| pick(select)).collect::<Vec<_>>())
    };
    let mut local_ports = items(raw.failsafe.iter().map(|rule| &rule.local_ports).collect());
    local_ports.extend(select(|select| &select.ports));
    let mut remote_ports = items(raw.failsafe.iter().map(|rule| &rule.remote_ports).collect());
    remote_ports.extend(select(|select| &select.remote_ports));
    let counted = [
        ("geo.nat64", "NAT64 prefixes", limits::NAT64, items(vec![&raw.nat64])),
        (
            "pin.select",
            "[pin.select] of all pins",
            limits::PINS,
            raw.ways().map(|(_, select)| select.at).collect(),
        ),
        ("failsafe", "failsafe rules", limits::FAILSAFE, raw.failsafe.iter().map(|rule| rule.at).collect()),
        (
            "site.cidrs",
            "CIDRs of all sites",
            limits::SITE_CIDRS,
            items(raw.sites.iter().map(|site| &site.cidrs).collect()),
        ),
        (
            "failsafe.peers",
            "peers of all failsafe rules",
            limits::PEER_CIDRS,
            items(raw.failsafe.iter().map(|rule| &rule.peers).collect()),
        ),
        ("pin.select.sources", "sources of all pins", limits::SOURCE_CIDRS, select(|select| &select.sources)),
        (
            "pin.select.ports",
            "ports of all pins and local ports of all failsafe rules",
            limits::LOCAL_PORTS,
            local_ports,
        ),
        (
            "failsafe.remote_ports",
            "remote ports of all failsafe rules and pins",
            limits::REMOTE_PORTS,
            remote_ports,
        ),
        ("pin.select.cgroups", "cgroups of all pins", limits::CGROUPS, select(|select| &select.cgroups)),
        ("pin.select.users", "users of all pins", limits::USERS, select(|select| &select.users)),
        ("pin.select.volumes", "volumes of all pins", limits::VOLUMES, select(|select| &select.volumes)),
        ("bypass.allow", "cgroups that may bypass", limits::BYPASS_ALLOWED, items(vec![&raw.bypass_allow])),
        ("pin.select.marks", "marks of all pins", limits::MARKS, select(|select| &select.marks)),
    ];
    for (field, what, limit, places) in counted {
        if let Some(&at) = places.get(limit) {
            sink.error(at, field, ErrorKind::OverLimit { what, limit, count: places.len() });
        }
    }
}
