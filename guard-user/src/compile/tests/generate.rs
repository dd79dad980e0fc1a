//! Random policies, databases, exemptions and packets from a world so small that they meet often.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use guard_common::abi::{Direction, Hook, MAX_PARTIES};
use guard_common::jurisdiction::Jurisdiction;
use guard_common::packet::Fault;
use ipnetwork::IpNetwork;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::super::{CgroupFact, CgroupParentFact, HostFacts, InterfaceFact, KernelExemption, VolumeFact};
use super::networks::{nat64, network, v4, v6};
use super::reference::{Content, Loaded, PlainLayer, PlainPacket};
use crate::config::jurisdiction_set::JurisdictionSet;
use crate::config::policy::{
    Action, Failsafe, Ingress, InterfacePattern, Mark, Pin, Policy, PortRange, Protocol, Record, Relays,
    Selectors, SentBy, Site, Spread, User, Volume,
};
use crate::config::{Surroundings, parse};
use crate::geo::{Address, GeoDb, Info, Runs};

/// Everything of one generation, and packets to judge with it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) policy: Policy,
    pub(crate) db: GeoDb,
    pub(crate) exemptions: Vec<KernelExemption>,
    pub(crate) loaded: Loaded,
    /// Addresses of the host.
    pub(crate) addresses: BTreeSet<IpAddr>,
    pub(crate) packets: Vec<PlainPacket>,
}

pub(crate) fn case(packets: usize) -> impl Strategy<Value = Case> {
    let pins = prop_oneof![4 => 1..=6_usize, 1 => 7..=64_usize];
    // Whether each is one more way in which the pin before it is known.
    let is_way = |count| vec(prop::bool::weighted(0.2), count);
    let pins = pins.prop_flat_map(move |count| (vec(pin(), count), is_way(count), exemptions(count)));
    let loaded = prop_oneof![30 => Just(Loaded::All), 1 => Just(Loaded::NoGeo), 1 => Just(Loaded::Nothing)];
    let address = prop_oneof![v4().prop_map(IpAddr::V4), v6().prop_map(IpAddr::V6)];
    let host = (prop::bool::weighted(0.1), subsequence(nat64(), 0..=6), btree_set(address, 0..8));
    (pins, vec(failsafe(), 0..3), sites(), db(), host, loaded, vec(packet(), packets)).prop_map(
        |(
            (pins, are_ways, mut exemptions),
            failsafe,
            sites,
            db,
            (observe, nat64, addresses),
            loaded,
            packets,
        )| {
            let mut policy = base().clone();
            policy.host.observe = observe;
            policy.geo.nat64 = nat64;
            policy.pins = pins;
            for (number, is_way) in are_ways.into_iter().enumerate() {
                policy.pins[number].name = pin_name(number);
                if let (true, Some(before)) = (is_way, number.checked_sub(1)) {
                    let select = policy.pins[number].select.clone();
                    policy.pins[number] = Pin { select, ..policy.pins[before].clone() };
                    let names = exemptions.iter_mut().flat_map(|exemption| &mut exemption.pins);
                    let gone = names.filter(|name| **name == pin_name(number));
                    gone.for_each(|name| name.clone_from(&policy.pins[before].name));
                }
            }
            policy.failsafe = failsafe;
            policy.sites = sites;
            Case { policy, db, exemptions, loaded, addresses, packets }
        },
    )
}

/// A checked policy to start from; its guarded interfaces are the patterns that pins select.
fn base() -> &'static Policy {
    static BASE: OnceLock<Policy> = OnceLock::new();
    BASE.get_or_init(|| {
        let text = "approval = \"none\"\n[host]\ninterfaces = [\"eth0\", \"eth*\", \"wg?\", \"tun1\", \"nothing*\"]\n\
                    [[pin]]\nname = \"any\"\nhome = \"IE\"\naction = \"drop\"\nselect.ports = [\"tcp/1\"]\n";
        parse(Path::new("policy.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap().policy
    })
}

/// The host that all policies are for.
pub(crate) fn host() -> HostFacts {
    let interfaces: [(u32, &[&str], bool); 5] = [
        (1, &["lo"], true),
        (2, &["eth0"], false),
        (3, &["eth1"], true),
        (4, &["wg0", "eth1"], false),
        (900_001, &["tun1"], true),
    ];
    let interfaces = interfaces.map(|(index, names, loops_back)| InterfaceFact {
        index,
        names: names.iter().map(|&name| name.to_owned()).collect(),
        loops_back,
        is_counted_below: index == 3,
    });
    let cgroups = [
        ("a", Some(11), 1),
        ("a/b", Some(1 << 40), 2),
        ("c", Some(13), 1),
        ("c/d/e", Some(17), 3),
        ("c/gone/f", None, 3),
    ];
    let parents = [("", 1, 30), ("a", 11, 1 << 40), ("c", 13, 15), ("c/d", 14, 17)];
    HostFacts {
        interfaces: interfaces.to_vec(),
        cgroups: cgroups.map(|(path, id, level)| CgroupFact { path: path.to_owned(), id, level }).to_vec(),
        former: vec![CgroupFact { path: "c".to_owned(), id: Some(9), level: 1 }],
        volumes: volumes(),
        parents: parents
            .map(|(path, id, known)| CgroupParentFact { path: path.to_owned(), id, known })
            .to_vec(),
        refuse_in: 1,
    }
}

/// Volumes of which two have the same path and spread in two ways.
fn volumes() -> Vec<VolumeFact> {
    let volumes = [
        ("/srv/a", Spread::Cgroup, 0),
        ("/srv/a", Spread::Process, 1),
        ("/srv/b", Spread::Process, 31),
        ("/srv/b", Spread::Cgroup, 63),
    ];
    let fact = |(path, spread, slot): (&str, _, _)| VolumeFact {
        volume: Volume { path: path.into(), spread, ignores_copies: false, relays: Relays::Tell },
        slot,
    };
    volumes.map(fact).to_vec()
}

fn pin_name(number: usize) -> String {
    format!("pin-{number}")
}

fn jurisdiction() -> impl Strategy<Value = Jurisdiction> + Clone {
    select(
        ["IE", "DE", "US", "unknown", "uncertain"].map(|text| text.parse::<Jurisdiction>().unwrap()).to_vec(),
    )
}

/// All addresses.
fn everywhere() -> Vec<IpNetwork> {
    ["0.0.0.0/0", "::/0"].map(|network| network.parse().unwrap()).to_vec()
}

fn port() -> impl Strategy<Value = u16> + Clone {
    select(vec![0, 22, 80, 443, 65_535])
}

fn ports() -> impl Strategy<Value = PortRange> + Clone {
    let protocol = prop_oneof![3 => Just(Protocol::Tcp), 2 => select(Protocol::ALL.to_vec())];
    (protocol, port(), port()).prop_map(|(protocol, one, other)| PortRange {
        protocol,
        first: one.min(other),
        last: one.max(other),
    })
}

/// None, mostly; else one to three.
fn few<T: std::fmt::Debug + Clone>(
    unused: u32,
    item: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Vec<T>> + Clone {
    prop_oneof![unused => Just(Vec::new()), 2 => vec(item, 1..=3)]
}

fn mark() -> impl Strategy<Value = Mark> + Clone {
    (select(vec![0_u32, 1, 0x10, 0x8000_0001]), select(vec![1_u32, 0xff, u32::MAX]))
        .prop_map(|(value, mask)| Mark { value: value & mask, mask })
}

/// Mostly none.
const DIRECTIONS: [Direction; 5] =
    [Direction::Unknown, Direction::Unknown, Direction::Unknown, Direction::Served, Direction::Opened];

fn pin() -> impl Strategy<Value = Pin> {
    let patterns: Vec<InterfacePattern> = base().host.interfaces.clone();
    let cgroups: Vec<String> = host().cgroups.into_iter().map(|fact| fact.path).collect();
    let select_by = (
        (few(1, network()), prop::bool::weighted(0.2)),
        (few(3, ports()), few(5, ports())),
        few(6, select(patterns)),
        few(6, select(cgroups)),
        few(6, select(vec![0_u32, 7, 999, 65_534])),
        (few(6, select(vec!["/srv/a", "/srv/b"])), select(vec![Spread::Cgroup, Spread::Process])),
        (few(6, mark()), select(DIRECTIONS.to_vec())),
    )
        .prop_map(
            |(
                (sources, from_host),
                (ports, remote_ports),
                interfaces,
                cgroups,
                users,
                (volumes, spread),
                (marks, direction),
            )| {
                let volumes = volumes.into_iter().map(PathBuf::from).collect();
                let users =
                    users.into_iter().map(|uid| User { text: uid.to_string(), uid: Some(uid) }).collect();
                let sent_by = SentBy::Process;
                let select = Selectors {
                    sources,
                    from_host,
                    ports,
                    remote_ports,
                    interfaces,
                    cgroups,
                    users,
                    sent_by,
                    volumes,
                    spread,
                    ignores_copies: false,
                    relays: Relays::Tell,
                    accept_relays: Vec::new(),
                    marks,
                    direction,
                };
                match select == (Selectors { spread, direction, ..Selectors::default() }) {
                    // At least one dimension is used.
                    true => Selectors { sources: everywhere(), ..select },
                    false => select,
                }
            },
        );
    let action = select(vec![Action::Observe, Action::Flag, Action::Drop]);
    let ingress = select(vec![Ingress::Off, Ingress::Flag, Ingress::Drop]);
    (vec(jurisdiction(), 1..=3), action, ingress, select_by).prop_map(
        |(permitted, action, ingress, select)| Pin {
            canary: None,
            name: String::new(),
            home: "IE".parse().unwrap(),
            permitted: permitted.into_iter().collect::<JurisdictionSet>(),
            action,
            ingress,
            record: Record::Forbidden,
            select,
            line: 1,
        },
    )
}

fn failsafe() -> impl Strategy<Value = Failsafe> {
    // About what two packets have, so that it is used up often.
    let budget = prop_oneof![Just(None), (1..1500_u64).prop_map(Some)];
    (few(2, ports()), few(2, ports()), few(2, network()), budget)
        .prop_filter("a rule uses at least one dimension", |(local, remote, peers, _)| {
            !(local.is_empty() && remote.is_empty() && peers.is_empty())
        })
        .prop_map(|(local_ports, remote_ports, peers, bytes_per_minute)| Failsafe {
            name: "rule".to_owned(),
            local_ports,
            remote_ports,
            peers,
            anywhere: true,
            places: None,
            bytes_per_minute,
            line: 1,
        })
}

/// Sites of which no two claim the same CIDR for different jurisdictions, as the config's check sees to it.
fn sites() -> impl Strategy<Value = Vec<Site>> {
    btree_map(network(), select(vec!["IE", "DE", "US"]), 0..8).prop_map(|cidrs| {
        let site = |(cidr, jurisdiction): (IpNetwork, &str)| Site {
            name: cidr.to_string(),
            jurisdiction: jurisdiction.parse().unwrap(),
            cidrs: vec![cidr],
            line: 1,
        };
        cidrs.into_iter().filter(|(cidr, _)| cidr.prefix() > 3).map(site).collect()
    })
}

fn db() -> impl Strategy<Value = GeoDb> {
    fn runs<K: Address>(mut runs: BTreeMap<K, Jurisdiction>) -> Runs<K> {
        runs.entry(K::ZERO).or_insert(Jurisdiction::UNKNOWN);
        let (mut starts, mut places) = (Vec::new(), Vec::new());
        for (start, place) in runs {
            if places.last() != Some(&place) {
                starts.push(start);
                places.push(place);
            }
        }
        Runs { starts, places }
    }
    let v4 = btree_map(v4().prop_map(u32::from), jurisdiction(), 0..20);
    let v6 = btree_map(v6().prop_map(u128::from), jurisdiction(), 0..20);
    (v4, v6).prop_map(|(v4, v6)| GeoDb {
        v4: runs(v4),
        v6: runs(v6),
        info: Info { source: "a random one".to_owned(), ..Info::default() },
    })
}

fn exemptions(pins: usize) -> impl Strategy<Value = Vec<KernelExemption>> {
    let names: Vec<String> = (0..pins).map(pin_name).collect();
    let most = pins.min(6);
    let some_pins = prop_oneof![subsequence(names.clone(), 1..=most), Just(names)];
    let window = prop_oneof![2 => Just((0, u64::MAX)), 1 => (0..100_u64, 0..100_u64)];
    let quota = prop_oneof![2 => Just(u64::MAX), 1 => 0..3000_u64];
    let places = subsequence(
        ["IE", "DE", "US", "unknown", "uncertain"].map(|text| text.parse().unwrap()).to_vec(),
        0..=5,
    );
    let shares = prop::bool::weighted(0.15);
    let place =
        || select(["IE", "DE", "US", "unknown", "uncertain"].map(|text| text.parse().unwrap()).to_vec());
    let placed = prop_oneof![1 => Just(None), 2 => place().prop_map(Some)];
    let networks = (few(2, network()), placed);
    let one = (some_pins, places, networks, few(4, ports()), window, quota, shares);
    let slots = prop_oneof![0..8_u16, 60..68_u16, 0..256_u16];
    btree_map(slots, one, 0..16).prop_map(|exemptions| {
        let mut made: Vec<KernelExemption> = Vec::new();
        for (slot, (pins, jurisdictions, (networks, placed), ports, window, quota, shares)) in exemptions {
            let own = KernelExemption {
                slot,
                account: slot,
                identity: u32::from(slot),
                pins,
                jurisdictions,
                networks,
                placed,
                ports,
                valid_from_ns: window.0,
                valid_until_ns: window.1,
                quota,
            };
            // Another entry of the same document as the one before: only its recipients are its own.
            let entry = match made.last().filter(|_| shares) {
                Some(before) => KernelExemption {
                    slot,
                    jurisdictions: own.jurisdictions,
                    networks: own.networks,
                    placed: own.placed,
                    ports: own.ports,
                    ..before.clone()
                },
                None => own,
            };
            made.push(entry);
        }
        made
    })
}

fn layer() -> impl Strategy<Value = PlainLayer> {
    let addresses = prop_oneof![
        (v4(), v4()).prop_map(|(src, dst)| (IpAddr::V4(src), IpAddr::V4(dst))),
        (v6(), v6()).prop_map(|(src, dst)| (IpAddr::V6(src), IpAddr::V6(dst))),
    ];
    // Protocols with ports, ICMP, ESP, and numbers of extension headers.
    let proto = prop_oneof![4 => Just(6_u8), 4 => select(vec![6_u8, 17, 132, 33, 136, 1, 50, 0, 4, 43, 47, 51, 58, 60, 108, 139])];
    let odd = [0.1; 3].map(prop::bool::weighted);
    (addresses, proto, port(), port(), odd).prop_map(
        |((src, dst), proto, sport, dport, [later, others, tunnel])| {
            let has_ports = !later && Protocol::ALL.iter().any(|protocol| protocol.number() == proto);
            PlainLayer {
                src,
                dst,
                proto,
                ports: has_ports.then_some((sport, dport)),
                later_fragment: later,
                other_ports: others && has_ports && proto == 6,
                may_be_tunnel: tunnel && has_ports && proto == 17,
            }
        },
    )
}

fn packet() -> impl Strategy<Value = PlainPacket> {
    let hops = prop_oneof![8 => Just(Vec::new()), 1 => vec(prop_oneof![v4().prop_map(IpAddr::V4), v6().prop_map(IpAddr::V6)], 1..=8)];
    let layers = prop_oneof![4 => vec(layer(), 1), 1 => vec(layer(), 2..=3)];
    let fault =
        select(vec![Fault::Truncated, Fault::BadHeader, Fault::TooDeep, Fault::TinyFragment, Fault::Opaque]);
    let content = prop_oneof![
        40 => (layers, hops).prop_map(|(layers, hops)| Content::Ip { layers, hops }),
        2 => fault.prop_map(Content::Broken),
        1 => Just(Content::NotIp),
    ];
    let cgroups: Vec<Vec<u64>> = vec![
        vec![9],
        vec![9, 10, 12],
        vec![],
        vec![11],
        vec![11, 1 << 40],
        vec![13],
        vec![13, 14, 17],
        vec![99, 98],
        vec![13, 14, 18, 19],
        vec![13, 15, 16],
        vec![13, 16],
        vec![13, 16, 20],
        vec![40],
        vec![40, 41],
        vec![40, 41, 42, 43],
        vec![11, 1 << 41],
    ];
    (
        prop_oneof![3 => Just(Hook::Egress), 1 => Just(Hook::Ingress)],
        content,
        select(vec![1, 2, 3, 4, 900_001, 77]),
        select(vec![0, 0, 0, 1, 2, 3, 4, 900_001, 77, 900_002]),
        select(vec![0, 1, 0x10, 0x110, 0x8000_0001, u32::MAX]),
        (
            select(cgroups.clone()),
            few(3, select(cgroups)),
            few(1, select(vec![0_u32, 7, 8, 999])),
            prop::bool::weighted(0.02),
            few(1, select(vec![0_u32, 1, 31, 63, 7])),
            select(vec![Direction::Unknown, Direction::Served, Direction::Opened]),
        ),
        40..1500_u64,
        0..100_u64,
    )
        .prop_map(|(hook, content, interface, came_in_by, mark, sockets, wire_len, now)| PlainPacket {
            hook,
            content,
            interface,
            came_in_by,
            mark,
            cgroups: sockets.0,
            parties: sockets.1.into_iter().take(MAX_PARTIES).collect(),
            users: sockets.2,
            everybody: sockets.3,
            volumes: sockets.4,
            direction: sockets.5,
            wire_len,
            now,
        })
}
