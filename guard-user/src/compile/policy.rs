//! The policy table: pins, failsafe rules and exemptions as bit sets.

use guard_common::abi::{
    self, Direction, EXEMPTION_WORDS, Exemption, ExemptionSet, HIDDEN_KEY, LocalSet, MAX_EXEMPTIONS, Mark,
    Nat64, PORT_KEYS_END, PeerSet, PolicyTable, RemoteSet, dimension, no_port_key,
};
use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::{IpNetwork, Ipv6Network};

use super::classes::{Key, Name, Range, Sets, bits_where, borders, fill, keys, v4_range, v6_range};
use super::failsafes::failsafe_matches;
use super::identity::identity;
use super::interfaces;
use super::{CompileError, HostFacts, KernelExemption, cgroups};
use crate::config::policy::{Action, Ingress, Pin, Policy, PortRange, Record};

/// The policy table of one generation.
///
/// # Errors
///
/// [`CompileError`] where a table is too small or a name stands for nothing on this host.
pub fn policy_table(
    policy: &Policy,
    exemptions: &[KernelExemption],
    host: &HostFacts,
    generation: u64,
) -> Result<Box<PolicyTable>, CompileError> {
    let mut table = PolicyTable::zeroed();
    table.generation = generation;
    table.dimensions = dimensions(policy, exemptions);
    fill_pins(&mut table, policy);
    table.identity = identity(policy.pins.iter().map(|pin| pin.name.as_str()));
    fill_sources(&mut table, &policy.pins)?;
    fill_exemptions(&mut table, &policy.pins, exemptions)?;
    fill_budgets(&mut table, policy);
    fill_ports(&mut table, policy, exemptions)?;
    fill_peers(&mut table, policy, exemptions)?;
    interfaces::fill(&mut table, &policy.pins, host);
    cgroups::fill(&mut table, &policy.pins, host)?;
    fill_users(&mut table, &policy.pins)?;
    fill_volumes(&mut table, &policy.pins, host)?;
    fill_marks(&mut table, &policy.pins)?;
    fill_directions(&mut table, &policy.pins);
    fill_nat64(&mut table, &policy.geo.nat64)?;
    table.known_early = table.drop & bits_where(&policy.pins, is_known_early);
    table.refuse_in = if policy.refuses_calls() { host.refuse_in } else { 0 };
    Ok(table)
}

/// Whether all that the pin selects by is known when a process connects a socket or sends by it. What the host makes itself
/// is the host's, whatever its address.
fn is_known_early(pin: &Pin) -> bool {
    let select = &pin.select;
    (select.from_host || !select.has_sources())
        && select.ports.is_empty()
        && select.interfaces.is_empty()
        && select.marks.is_empty()
        && select.volumes.is_empty()
        && select.direction == Direction::Unknown
}

fn dimensions(policy: &Policy, exemptions: &[KernelExemption]) -> u32 {
    let any = |used: fn(&Pin) -> bool| policy.pins.iter().any(used);
    [
        (any(|pin| pin.select.has_sources()), dimension::SOURCE),
        (any(|pin| pin.select.from_host), dimension::HOST),
        (any(|pin| !pin.select.ports.is_empty()), dimension::PORT),
        (any(|pin| !pin.select.remote_ports.is_empty()), dimension::REMOTE_PORT),
        (any(|pin| !pin.select.interfaces.is_empty()), dimension::INTERFACE),
        (any(|pin| !pin.select.cgroups.is_empty()), dimension::CGROUP),
        (any(|pin| !pin.select.users.is_empty()), dimension::USER),
        (any(|pin| !pin.select.volumes.is_empty()), dimension::VOLUME),
        (any(|pin| !pin.select.marks.is_empty()), dimension::MARK),
        (any(|pin| pin.select.direction != Direction::Unknown), dimension::DIRECTION),
        (!policy.failsafe.is_empty(), dimension::FAILSAFE),
        (!exemptions.is_empty(), dimension::EXEMPTION),
        (policy.host.observe, dimension::UNTAGGED),
        (policy.refuses_bypass(), dimension::REFUSES_BYPASS),
        (!policy.geo.nat64.is_empty(), dimension::NAT64),
    ]
    .into_iter()
    .filter(|(used, _)| *used)
    .fold(0, |dimensions, (_, bit)| dimensions | bit)
}

fn fill_pins(table: &mut PolicyTable, policy: &Policy) {
    let pins = &policy.pins;
    let observe = policy.host.observe;
    table.pins = bits_where(pins, |_| true);
    table.drop = bits_where(pins, |pin| !observe && pin.action == Action::Drop);
    table.flag = bits_where(pins, |pin| !observe && pin.action == Action::Flag);
    table.ingress_drop = bits_where(pins, |pin| !observe && pin.ingress == Ingress::Drop);
    table.ingress_flag = bits_where(pins, |pin| match pin.ingress {
        Ingress::Off => false,
        Ingress::Flag => true,
        Ingress::Drop => observe,
    });
    table.record_all = bits_where(pins, |pin| pin.record == Record::All);
    for jurisdiction in Jurisdiction::all() {
        table.permitted[usize::from(jurisdiction.index())] =
            bits_where(pins, |pin| pin.permitted.contains(jurisdiction));
    }
}

const SOURCES: Name = Name {
    table: "the source networks of the pins",
    hint: "join neighbouring networks, or give a pin a port, mark or cgroup instead of many addresses",
};

fn fill_sources(table: &mut PolicyTable, pins: &[Pin]) -> Result<(), CompileError> {
    fn set_of<K: Key>(pins: &[Pin], range: impl Fn(&IpNetwork) -> Option<Range<K>>, key: K) -> u64 {
        bits_where(pins, |pin| !pin.select.has_sources() || contains(&pin.select.sources, &range, key))
    }
    table.from_host = bits_where(pins, |pin| pin.select.from_host);
    let networks = || pins.iter().flat_map(|pin| &pin.select.sources);
    let mut sets = Sets::new();
    let table4 = borders(networks().filter_map(v4_range));
    fill(&mut table.sources4, &mut sets, table4, |key| set_of(pins, v4_range, key), SOURCES)?;
    let table6 = borders(networks().filter_map(v6_range));
    fill(&mut table.sources6, &mut sets, table6, |key| set_of(pins, v6_range, key), SOURCES)?;
    sets.fill(&mut table.source_sets, SOURCES)
}

fn contains<K: Key>(networks: &[IpNetwork], range: impl Fn(&IpNetwork) -> Option<Range<K>>, key: K) -> bool {
    networks.iter().filter_map(range).any(|(first, last)| (first..=last).contains(&key))
}

/// The keys of packets whose ports can't be read that a port selector of this protocol matches: what can't be
/// read may be pinned.
fn unreadable_keys(ports: &PortRange) -> [Range<u32>; 2] {
    let first = no_port_key(ports.protocol.number());
    [(first, first | 0xffff), (HIDDEN_KEY, HIDDEN_KEY | 0xffff)]
}

fn has_port(ports: &[PortRange], key: u32) -> bool {
    ports.iter().map(keys).any(|(first, last)| (first..=last).contains(&key))
}

fn may_have_port(ports: &[PortRange], key: u32) -> bool {
    has_port(ports, key)
        || ports.iter().flat_map(unreadable_keys).any(|(first, last)| (first..=last).contains(&key))
}

const LOCAL_PORTS: Name = Name {
    table: "the source ports of the pins and the local ports of the failsafe rules",
    hint: "join neighbouring ports to ranges",
};
const REMOTE_PORTS: Name = Name {
    table: "the remote ports of the pins and failsafe rules and the ports of the exemptions",
    hint: "join neighbouring ports to ranges, or revoke exemptions that are no longer needed",
};

fn fill_ports(
    table: &mut PolicyTable,
    policy: &Policy,
    exemptions: &[KernelExemption],
) -> Result<(), CompileError> {
    let end = (PORT_KEYS_END, PORT_KEYS_END);
    let of_pins = |ports: fn(&Pin) -> &Vec<PortRange>| {
        let ranges = policy.pins.iter().flat_map(ports);
        ranges.flat_map(|ports| std::iter::once(keys(ports)).chain(unreadable_keys(ports)))
    };
    let local = of_pins(|pin| &pin.select.ports)
        .chain(policy.failsafe.iter().flat_map(|rule| &rule.local_ports).map(keys))
        .chain([end]);
    let mut sets = Sets::new();
    let set_of = |key| LocalSet {
        pins: bits_where(&policy.pins, |pin| {
            pin.select.ports.is_empty() || may_have_port(&pin.select.ports, key)
        }),
        // What can't be read passes by no port of a failsafe rule: nobody can tell that it has it.
        failsafes: bits_where(&policy.failsafe, |rule| {
            rule.local_ports.is_empty() || has_port(&rule.local_ports, key)
        }),
    };
    fill(&mut table.local_ports, &mut sets, borders(local), set_of, LOCAL_PORTS)?;
    sets.fill(&mut table.local_sets, LOCAL_PORTS)?;

    let unpinned = policy.failsafe.iter().flat_map(|rule| &rule.remote_ports);
    let unpinned = unpinned.chain(exemptions.iter().flat_map(|exemption| &exemption.ports)).map(keys);
    let remote = of_pins(|pin| &pin.select.remote_ports).chain(unpinned).chain([end]);
    let mut sets = Sets::new();
    let set_of = |key| RemoteSet {
        pins: bits_where(&policy.pins, |pin| {
            pin.select.remote_ports.is_empty() || may_have_port(&pin.select.remote_ports, key)
        }),
        failsafes: bits_where(&policy.failsafe, |rule| {
            rule.remote_ports.is_empty() || has_port(&rule.remote_ports, key)
        }),
        // Nor a port of an exemption.
        exemptions: exemptions_where(exemptions, |exemption| {
            exemption.ports.is_empty() || has_port(&exemption.ports, key)
        }),
    };
    fill(&mut table.remote_ports, &mut sets, borders(remote), set_of, REMOTE_PORTS)?;
    sets.fill(&mut table.remote_sets, REMOTE_PORTS)
}

fn fill_budgets(table: &mut PolicyTable, policy: &Policy) {
    table.failsafe_bounded = bits_where(&policy.failsafe, |rule| rule.bytes_per_minute.is_some());
    for (budget, rule) in table.failsafe_budgets.iter_mut().zip(&policy.failsafe) {
        *budget = rule.bytes_per_minute.unwrap_or_default();
    }
    for (to, matches) in table.failsafe_matches.iter_mut().zip(failsafe_matches(&policy.failsafe)) {
        *to = matches;
    }
    // As long as nothing else is known of rules before: the kernel's worker gives each its own.
    for (element, number) in table.failsafe_elements.iter_mut().zip(0..) {
        *element = number;
    }
}

fn exemptions_where(
    exemptions: &[KernelExemption],
    holds: impl Fn(&KernelExemption) -> bool,
) -> ExemptionSet {
    let mut set = [0; EXEMPTION_WORDS];
    for exemption in exemptions.iter().filter(|exemption| holds(exemption)) {
        let slot = usize::from(exemption.slot);
        if let Some(word) = set.get_mut(slot / 64) {
            *word |= 1 << (slot % 64);
        }
    }
    set
}

const PEERS: Name = Name {
    table: "the peers of the failsafe rules and the recipients of the exemptions",
    hint: "join neighbouring networks, or revoke exemptions that are no longer needed",
};

fn fill_peers(
    table: &mut PolicyTable,
    policy: &Policy,
    exemptions: &[KernelExemption],
) -> Result<(), CompileError> {
    fn set_of<K: Key>(
        policy: &Policy,
        exemptions: &[KernelExemption],
        range: impl Fn(&IpNetwork) -> Option<Range<K>>,
        key: K,
    ) -> PeerSet {
        PeerSet {
            failsafes: bits_where(&policy.failsafe, |rule| {
                rule.peers.is_empty() || contains(&rule.peers, &range, key)
            }),
            exemptions: exemptions_where(exemptions, |exemption| contains(&exemption.networks, &range, key)),
        }
    }
    let networks = || {
        policy
            .failsafe
            .iter()
            .flat_map(|rule| &rule.peers)
            .chain(exemptions.iter().flat_map(|exemption| &exemption.networks))
    };
    let mut sets = Sets::new();
    let table4 = borders(networks().filter_map(v4_range));
    fill(&mut table.peers4, &mut sets, table4, |key| set_of(policy, exemptions, v4_range, key), PEERS)?;
    let table6 = borders(networks().filter_map(v6_range));
    fill(&mut table.peers6, &mut sets, table6, |key| set_of(policy, exemptions, v6_range, key), PEERS)?;
    sets.fill(&mut table.peer_sets, PEERS)
}

fn fill_exemptions(
    table: &mut PolicyTable,
    pins: &[Pin],
    exemptions: &[KernelExemption],
) -> Result<(), CompileError> {
    let mut taken = [false; MAX_EXEMPTIONS];
    for exemption in exemptions {
        let slot = usize::from(exemption.slot);
        match taken.get_mut(slot) {
            Some(taken) if !*taken => *taken = true,
            _ => return Err(CompileError::Slot { slot: exemption.slot, max: MAX_EXEMPTIONS as u16 - 1 }),
        }
        let mut covered = 0;
        for name in &exemption.pins {
            let of_name = bits_where(pins, |pin| pin.name == *name);
            if of_name == 0 {
                return Err(CompileError::UnknownPin { slot: exemption.slot, pin: name.clone() });
            }
            covered |= of_name;
            let ways = table.exempt_pins.iter_mut().enumerate().filter(|(at, _)| of_name >> at & 1 == 1);
            ways.for_each(|(_, slots)| slots[slot / 64] |= 1 << (slot % 64));
        }
        for jurisdiction in &exemption.jurisdictions {
            table.exempt_jurisdictions[usize::from(jurisdiction.index())][slot / 64] |= 1 << (slot % 64);
        }
        for jurisdiction in
            Jurisdiction::all().filter(|it| exemption.placed.is_none_or(|placed| placed == *it))
        {
            table.exempt_places[usize::from(jurisdiction.index())][slot / 64] |= 1 << (slot % 64);
        }
        table.exemptions[slot] = Exemption {
            pins: covered,
            valid_from_ns: exemption.valid_from_ns,
            valid_until_ns: exemption.valid_until_ns,
            quota: exemption.quota,
            account: u32::from(exemption.account),
            identity: exemption.identity,
        };
    }
    // An account that nobody keeps would be charged for a slot that the next exemption gets.
    match exemptions.iter().find(|exemption| !taken.get(usize::from(exemption.account)).is_some_and(|it| *it))
    {
        Some(stray) => Err(CompileError::Slot { slot: stray.account, max: MAX_EXEMPTIONS as u16 - 1 }),
        None => Ok(()),
    }
}

const USERS: Name = Name { table: "the users that pins select", hint: "select fewer" };

fn fill_users(table: &mut PolicyTable, pins: &[Pin]) -> Result<(), CompileError> {
    table.any_user = bits_where(pins, |pin| pin.select.users.is_empty());
    let mut selected = std::collections::BTreeMap::new();
    for (at, pin) in pins.iter().enumerate() {
        for user in &pin.select.users {
            let no_user = || CompileError::NoUser { pin: pin.name.clone(), user: user.text.clone() };
            *selected.entry(user.uid.ok_or_else(no_user)?).or_insert(0_u64) |= 1 << at;
        }
    }
    if selected.len() > table.users.len() {
        return Err(USERS.full(selected.len(), table.users.len()));
    }
    table.user_len = selected.len() as u32;
    for ((place, set), (uid, pins)) in table.users.iter_mut().zip(&mut table.user_pins).zip(selected) {
        (*place, *set) = (uid, pins);
    }
    Ok(())
}

fn fill_volumes(table: &mut PolicyTable, pins: &[Pin], host: &HostFacts) -> Result<(), CompileError> {
    table.any_volume = bits_where(pins, |pin| pin.select.volumes.is_empty());
    for (at, pin) in pins.iter().enumerate() {
        for path in &pin.select.volumes {
            let volume = pin.select.volume(path);
            let fact = host.volumes.iter().find(|it| it.volume == volume);
            let place = fact.and_then(|fact| table.volume_pins.get_mut(fact.slot as usize));
            let Some(place) = place else {
                let (pin, path) = (pin.name.clone(), path.clone());
                return Err(CompileError::NoVolume { pin, path, max: abi::MAX_VOLUMES });
            };
            *place |= 1 << at;
        }
    }
    Ok(())
}

const MARKS: Name =
    Name { table: "the firewall marks that pins select", hint: "let one mask cover several marks" };

fn fill_marks(table: &mut PolicyTable, pins: &[Pin]) -> Result<(), CompileError> {
    table.any_mark = bits_where(pins, |pin| pin.select.marks.is_empty());
    let mut selected = std::collections::BTreeMap::new();
    for (at, pin) in pins.iter().enumerate() {
        for mark in &pin.select.marks {
            *selected.entry((mark.value, mark.mask)).or_insert(0_u64) |= 1 << at;
        }
    }
    if selected.len() > abi::MAX_MARKS {
        return Err(MARKS.full(selected.len(), abi::MAX_MARKS));
    }
    table.mark_len = selected.len() as u32;
    for (place, ((value, mask), pins)) in table.marks.iter_mut().zip(selected) {
        *place = Mark { value, mask, pins };
    }
    Ok(())
}

fn fill_directions(table: &mut PolicyTable, pins: &[Pin]) {
    for (place, number) in table.direction_pins.iter_mut().zip(0..) {
        let direction = Direction::from_number(number);
        *place = bits_where(pins, |pin| pin.select.may_be(direction));
    }
}

const NAT64: Name = Name { table: "the NAT64 prefixes", hint: "name fewer in geo.nat64" };

fn fill_nat64(table: &mut PolicyTable, prefixes: &[Ipv6Network]) -> Result<(), CompileError> {
    if prefixes.len() > table.nat64.len() {
        return Err(NAT64.full(prefixes.len(), table.nat64.len()));
    }
    table.nat64_len = prefixes.len() as u32;
    for (place, prefix) in table.nat64.iter_mut().zip(prefixes) {
        *place = Nat64::new(prefix.ip().into(), prefix.prefix());
    }
    Ok(())
}
