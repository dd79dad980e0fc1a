//! From the kernel's numbers to names, places and wall-clock time.

use std::net::IpAddr;
use std::sync::Arc;

use guard_common::abi::{self, FlowKey, Hook, NO_EXEMPTION, PORT_PROTOCOLS, Place};
use guard_common::packet::Addr;
use guard_common::verdict::{Reason, Verdict};
use jiff::Timestamp;

use super::event::{Endpoint, Event, People, Phase, Process, Rule};
use super::flows::Added;
use super::names::{Generations, Names, PinName};
use crate::config::policy::{Action, Ingress};
use crate::exemption::Clocks;

/// What an event is told with.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The names.
    pub names: &'a Generations,
    /// The clocks as they stand now.
    pub clock: Clocks,
    /// When the daemon started.
    pub session: Timestamp,
}

/// The event in words; its number is for the history to give. Numbers that this version does not know
/// (they would come from a kernel program of another ABI) read as a drop without tables.
#[must_use]
pub fn enrich(raw: &abi::Event, phase: Phase, added: Added, context: Context<'_>) -> Event {
    let event = enrich_in_brief(raw, phase, added, context);
    let ends = event.source.zip(event.destination);
    let id = ends.and_then(|(source, destination)| community_id(event.protocol, source, destination));
    Event { community_id: id, ..event }
}

/// The same without the community ID: it is a hash to be made of each, and nobody judges by it.
#[must_use]
pub(super) fn enrich_in_brief(raw: &abi::Event, phase: Phase, added: Added, context: Context<'_>) -> Event {
    let abi::Event { key, record, outer_dst, outer_src } = raw;
    let hook = Hook::from_index(key.hook).unwrap_or(Hook::Egress);
    let place = Place(record.place);
    let names = context.names.get(record.generation);
    let nameless = key.src == Addr::default() && key.dst == Addr::default();
    let ends = (!nameless).then(|| (endpoint(key.src, key.sport, key), endpoint(key.dst, key.dport, key)));
    // Of a call only the other end is known.
    let both = ends.filter(|_| !hook.is_of_calls());
    Event {
        sequence: 0,
        session: context.session,
        time: wall_time(&context.clock, record.last_ns),
        phase,
        hook,
        verdict: Verdict::from_index(record.verdict).unwrap_or(Verdict::Drop),
        reason: Reason::from_index(record.reason).unwrap_or(Reason::NoTables),
        pins: pin_names(names, record.denied),
        tagged: pin_names(names, record.tag),
        rule: names.and_then(|names| rule(names, record.denied, hook)),
        jurisdiction: place.jurisdiction(),
        placed_by: place.placed_by(),
        source: both.map(|ends| ends.0),
        destination: ends.map(|ends| ends.1),
        is_tunnelled: record.layers > 1,
        tunnel: outer(record, *outer_dst),
        tunnel_source: outer(record, *outer_src),
        protocol: key.proto,
        tcp_flags: record.tcp_flags,
        ifindex: record.ifindex,
        interface: interface(context.names, names, record.ifindex),
        mark: record.mark,
        cgroup_id: record.cgroup,
        cgroup: names.and_then(|names| names.cgroups.get(&record.cgroup).cloned()),
        process: Process::of(&record.process),
        people: People::Shown,
        volumes: volumes(names, record.volumes),
        packets: added.packets,
        bytes: added.bytes,
        flow_packets: record.packets,
        flow_bytes: record.bytes,
        flow_start: wall_time(&context.clock, record.first_ns),
        exemption: (record.exemption != NO_EXEMPTION).then(|| exemption(names, record.exemption)),
        generation: record.generation,
        policy: names.and_then(|names| names.policy.clone()),
        community_id: None,
    }
}

/// An end of the tunnel that a flow is in, where it is known.
fn outer(record: &abi::FlowRecord, end: Addr) -> Option<IpAddr> {
    (record.layers > 1 && end != Addr::default()).then(|| end.into())
}

/// The wall clock's time at a moment of the boot clock, as the wall clock stands now.
pub(super) fn wall_time(clock: &Clocks, boot_ns: u64) -> Timestamp {
    let difference = i128::from(boot_ns) - i128::from(clock.boot_ns);
    let nanosecond = clock.wall.as_nanosecond().saturating_add(difference);
    let bounded = nanosecond.clamp(Timestamp::MIN.as_nanosecond(), Timestamp::MAX.as_nanosecond());
    Timestamp::from_nanosecond(bounded).unwrap_or(clock.wall)
}

fn endpoint(address: Addr, port: u16, key: &FlowKey) -> Endpoint {
    // Fragments and protocols without ports have zeroes at both ends.
    let has_ports = PORT_PROTOCOLS.contains(&key.proto) && (key.sport, key.dport) != (0, 0);
    Endpoint { ip: address.into(), port: has_ports.then_some(port) }
}

/// The pins' names; their numbers where the generation that judged is not known any more.
fn pin_names(names: Option<&Arc<Names>>, set: u64) -> Vec<Arc<str>> {
    match names {
        Some(names) => {
            let mut pins: Vec<_> = names.pins_of(set).map(|pin| Arc::clone(&pin.name)).collect();
            // One that is known in several ways is there for each that matches.
            pins.dedup();
            pins
        }
        None => {
            (0..64).filter(|number| set >> number & 1 == 1).map(|number| number_name(number).into()).collect()
        }
    }
}

/// The volumes in these slots; those that the generation does not name by their numbers.
pub(super) fn volumes(names: Option<&Arc<Names>>, slots: u64) -> Vec<Arc<str>> {
    // Where carriers found no room, every sender has all bits: then those that have names are all there are.
    let known = |slot: &u32| names.and_then(|names| names.volumes.get(slot).cloned());
    let set = (0..64).filter(|slot| slots >> slot & 1 == 1);
    let named =
        set.filter_map(|slot| known(&slot).or_else(|| (slots != u64::MAX).then(|| number_name(slot).into())));
    let mut volumes: Vec<Arc<str>> = named.collect();
    volumes.sort_unstable();
    // One that spreads in two ways has two slots.
    volumes.dedup();
    volumes
}

fn number_name(number: u32) -> String {
    format!("#{number}")
}

fn exemption(names: Option<&Arc<Names>>, slot: u16) -> Arc<str> {
    let known = names.and_then(|names| names.exemptions.get(&slot).cloned());
    known.unwrap_or_else(|| number_name(u32::from(slot)).into())
}

/// An interface's name is looked for among the newest too: a new interface changes no generation where
/// no pin selects interfaces.
fn interface(generations: &Generations, names: Option<&Arc<Names>>, index: u32) -> Option<Arc<str>> {
    let newest = generations.newest();
    [newest, names].into_iter().flatten().find_map(|names| names.interfaces.get(&index).cloned())
}

/// Of the pins that forbid, the first of the strictest.
fn rule(names: &Names, denied: u64, hook: Hook) -> Option<Rule> {
    let strictness = |pin: &PinName| match (hook, pin.action, pin.ingress) {
        (Hook::Egress, Action::Observe, _) | (Hook::Ingress, _, Ingress::Off) => 0,
        (Hook::Egress, Action::Flag, _) | (Hook::Ingress, _, Ingress::Flag) => 1,
        // Of calls none is refused but for pins that drop.
        (Hook::Egress | Hook::Connect | Hook::Sendmsg, ..) | (Hook::Ingress, _, Ingress::Drop) => 2,
    };
    // Of equals `max_by_key` takes the last.
    let pins: Vec<&PinName> = names.pins_of(denied).collect();
    let pin = pins.into_iter().rev().max_by_key(|pin| strictness(pin))?;
    Some(Rule { pin: Arc::clone(&pin.name), file: Arc::clone(&names.config), line: pin.line })
}

/// Community ID, as <https://github.com/corelight/community-id-spec> has it. For ICMP it would take the
/// type and code, which a flow does not keep; for protocols with ports it takes the ports.
fn community_id(protocol: u8, source: Endpoint, destination: Endpoint) -> Option<String> {
    const ICMP: u8 = 1;
    const ICMPV6: u8 = 58;
    if matches!(protocol, ICMP | ICMPV6) || (PORT_PROTOCOLS.contains(&protocol) && source.port.is_none()) {
        return None;
    }
    // Only the first three protocols with ports are among the specification's.
    let ports = if matches!(protocol, 6 | 17 | 132) { (source.port, destination.port) } else { (None, None) };
    let (from, to): (IpAddr, IpAddr) = (source.ip, destination.ip);
    community_id::calculate_community_id(0, from, to, ports.0, ports.1, protocol, false).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use guard_common::abi::{FlowRecord, PlacedBy};
    use guard_common::jurisdiction::Jurisdiction;

    use super::super::envelope::Envelope;
    use super::*;

    fn pin(name: &str, line: usize, action: Action, ingress: Ingress) -> PinName {
        PinName { name: name.into(), line, action, ingress }
    }

    fn generations() -> Generations {
        let mut generations = Generations::default();
        generations.add(Names {
            generation: 3,
            config: "policy.toml".into(),
            policy: Some("5e".into()),
            pins: vec![
                pin("observed", 10, Action::Observe, Ingress::Drop),
                pin("mail", 20, Action::Drop, Ingress::Off),
                pin("backup", 30, Action::Drop, Ingress::Flag),
            ],
            exemptions: HashMap::from([(4, "mlat-1".into())]),
            interfaces: HashMap::from([(2, "eth0".into())]),
            volumes: HashMap::from([(3, "/srv/mail-ie".into()), (9, "/srv/mail-ie".into())]),
            cgroups: HashMap::from([(77, "mail.slice".into())]),
        });
        generations
    }

    fn raw() -> abi::Event {
        let us = Jurisdiction::from_alpha2(*b"US").unwrap();
        abi::Event {
            key: FlowKey {
                src: Addr::from_v4(0xc000_020a),
                dst: Addr::from_v4(0xc633_6407),
                sport: 143,
                dport: 40_000,
                proto: 6,
                hook: Hook::Egress as u8,
                ..FlowKey::default()
            },
            record: FlowRecord {
                first_ns: 1_000_000_000,
                last_ns: 3_000_000_000,
                packets: 9,
                bytes: 900,
                tag: 0b111,
                denied: 0b111,
                generation: 3,
                ifindex: 2,
                cgroup: 77,
                place: Place::new(us, PlacedBy::Database).0,
                exemption: NO_EXEMPTION,
                verdict: Verdict::Drop as u8,
                reason: Reason::Forbidden as u8,
                tcp_flags: 2,
                layers: 1,
                ..FlowRecord::default()
            },
            outer_dst: Addr::from_v4(0xc633_6407),
            outer_src: Addr::from_v4(0xc000_020a),
        }
    }

    fn told(raw: &abi::Event) -> Event {
        let generations = generations();
        let clock = Clocks { boot_ns: 5_000_000_000, wall: "2026-11-23T12:00:05Z".parse().unwrap() };
        let session = "2026-11-23T12:00:00Z".parse().unwrap();
        let context = Context { names: &generations, clock, session };
        enrich(raw, Phase::Continued, Added { packets: 4, bytes: 400 }, context)
    }

    #[test]
    fn numbers_get_names_and_boot_time_becomes_wall_time() {
        let event = told(&raw());
        assert_eq!(event.pins.join(" "), "observed mail backup");
        let rule = event.rule.unwrap();
        assert_eq!((&*rule.pin, &*rule.file, rule.line), ("mail", "policy.toml", 20));
        assert_eq!(event.time.to_string(), "2026-11-23T12:00:03Z");
        assert_eq!(event.flow_start.to_string(), "2026-11-23T12:00:01Z");
        assert_eq!((event.jurisdiction.as_str(), event.placed_by), ("US", PlacedBy::Database));
        assert_eq!((event.interface.as_deref(), event.cgroup.as_deref()), (Some("eth0"), Some("mail.slice")));
        assert_eq!((event.packets, event.flow_packets, event.tunnel), (4, 9, None));
        assert_eq!(event.source.unwrap().port, Some(143));
        assert_eq!((event.exemption, event.process, event.policy.as_deref()), (None, None, Some("5e")));
    }

    #[test]
    fn of_a_call_only_the_other_end_is_told() {
        let mut raw = raw();
        raw.key.hook = Hook::Connect as u8;
        (raw.key.src, raw.key.sport) = (Addr::from_v4(0), 0);
        (raw.record.ifindex, raw.record.layers, raw.record.bytes) = (0, 1, 0);
        let event = told(&raw);
        assert!(event.source.is_none() && event.interface.is_none() && event.community_id.is_none());
        assert_eq!(event.destination, Some(endpoint(raw.key.dst, 40_000, &raw.key)));
        assert_eq!((event.hook.name(), event.action()), ("connect", "refused"));
        let text = Event { packets: 1, ..told(&raw) }.to_text();
        let says = "refused tcp to 198.51.100.7:40000 in US, pins observed and mail and backup, 1 call: a pin forbids";
        assert!(text.contains(says) && !text.contains("interface"), "{text}");
        assert_eq!(&*told(&raw).rule.unwrap().pin, "observed", "all are as strict");
    }

    #[test]
    fn a_process_is_told_with_the_name_of_its_command() {
        let mut raw = raw();
        raw.record.process = abi::Process { pid: 42, uid: 999, cgroup: 77, ..abi::Process::default() };
        raw.record.process.command[..5].copy_from_slice(b"et\xffcd");
        let process = told(&raw).process.unwrap();
        assert_eq!((process.pid, process.uid, process.cgroup_id), (42, 999, 77));
        assert_eq!((&*process.command, process.unit()), ("et\u{fffd}cd", None));
    }

    #[test]
    fn times_are_bounded_by_what_a_calendar_has() {
        let clock = Clocks { boot_ns: 10_000_000_000, wall: Timestamp::MAX };
        assert_eq!(wall_time(&clock, u64::MAX), Timestamp::MAX);
        assert_eq!(wall_time(&clock, 9_000_000_000), Timestamp::MAX - jiff::SignedDuration::from_secs(1));
    }

    #[test]
    fn at_ingress_the_rule_is_the_pin_that_is_strictest_there() {
        let mut raw = raw();
        raw.key.hook = Hook::Ingress as u8;
        assert_eq!(&*told(&raw).rule.unwrap().pin, "observed");
        raw.record.denied = 0b110;
        assert_eq!(&*told(&raw).rule.unwrap().pin, "backup");
    }

    #[test]
    fn names_that_are_not_known_are_numbers() {
        let mut raw = raw();
        (raw.record.generation, raw.record.exemption, raw.record.layers) = (99, 4, 2);
        let event = told(&raw);
        assert_eq!(event.pins.join(" "), "#0 #1 #2");
        assert_eq!((event.rule, event.exemption.as_deref()), (None, Some("#4")));
        assert_eq!(event.interface.as_deref(), Some("eth0"));
        assert_eq!(event.tunnel, Some("198.51.100.7".parse().unwrap()));
        assert_eq!(event.tunnel_source, Some("192.0.2.10".parse().unwrap()));
        // Of a flow of which no event came it is known that it is in a tunnel, and not in which.
        let of_record = abi::Event { outer_dst: Addr::default(), outer_src: Addr::default(), ..raw };
        let event = told(&of_record);
        assert_eq!((event.is_tunnelled, event.tunnel, event.tunnel_source), (true, None, None));
        raw.record.generation = 3;
        assert_eq!(told(&raw).exemption.as_deref(), Some("mlat-1"));
    }

    /// The specification's own example, in both directions.
    #[test]
    fn community_ids_are_those_of_the_specification() {
        let end = |ip: &str, port| Endpoint { ip: ip.parse().unwrap(), port };
        let (one, other) = (end("128.232.110.120", Some(34_855)), end("66.35.250.204", Some(80)));
        for (from, to) in [(one, other), (other, one)] {
            assert_eq!(community_id(6, from, to).as_deref(), Some("1:LQU9qZlK+B5F3KDmev6m5PMibrg="));
        }
        let bare = |ip| end(ip, None);
        assert_eq!(community_id(6, bare("192.0.2.1"), bare("192.0.2.2")), None);
        assert_eq!(community_id(1, bare("192.0.2.1"), bare("192.0.2.2")), None);
        assert!(community_id(47, bare("192.0.2.1"), bare("192.0.2.2")).is_some());
    }

    #[test]
    fn any_numbers_make_an_event() {
        let mut raw = raw();
        raw.key = FlowKey { hook: 9, ..FlowKey::default() };
        let record = &mut raw.record;
        (record.first_ns, record.last_ns, record.place, record.verdict) = (u64::MAX, u64::MAX, u16::MAX, 200);
        (record.reason, record.tag, record.denied) = (200, u64::MAX, u64::MAX);
        let event = told(&raw);
        assert_eq!((event.source, event.verdict, event.reason), (None, Verdict::Drop, Reason::NoTables));
        assert!(event.to_text().contains("can't be read"));
        assert!(event.to_json(&Envelope::outside(event.session)).starts_with('{'));
    }
}
