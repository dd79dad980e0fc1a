//! Destinations: every address, in classes of those that both generations judge and place alike.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use guard_common::abi::PolicyTable;
use guard_common::jurisdiction::Jurisdiction;
use guard_common::packet::Addr;
use ipnetwork::IpNetwork;

use super::cidr::Cidrs;
use super::dimensions::{Dimension, Family, Lets, Tables, classes};
use super::world::World;
use crate::compile::{by_ipv4, jurisdictions};

/// Runs of addresses that are kept of [`Destinations`].
pub const KEPT: usize = 256;

/// Destinations that are judged alike, and were placed and are placed alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destinations {
    /// Where the old tables have them.
    pub from: Jurisdiction,
    /// Where the new tables have them.
    pub to: Jurisdiction,
    /// What moved them.
    pub moved: Moved,
    /// How many IPv4 addresses.
    pub v4: u128,
    /// How many IPv6 addresses, but for those that are placed by the IPv4 address in them.
    pub v6: u128,
    /// The first runs of them, at most [`KEPT`].
    pub first: Vec<Cidrs>,
    /// IPv6 networks some of whose addresses are among them, by the IPv4 address in them; at most [`KEPT`].
    pub carriers: Vec<Cidrs>,
}

/// What moved a destination from one jurisdiction to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Moved {
    /// Nothing: it is where it was.
    No,
    /// Another database.
    Database,
    /// Other sites.
    Sites,
    /// Other NAT64 prefixes.
    Nat64,
}

/// What holds from each start on.
struct Steps<'a, T> {
    steps: &'a [(u128, T)],
    at: usize,
}

impl<'a, T: Copy> Steps<'a, T> {
    const fn new(steps: &'a [(u128, T)]) -> Self {
        Self { steps, at: 0 }
    }

    /// What holds for a key; the keys of successive calls rise.
    fn value(&mut self, key: u128) -> Option<T> {
        while self.steps.get(self.at + 1).is_some_and(|next| next.0 <= key) {
            self.at += 1;
        }
        self.steps.get(self.at).map(|step| step.1)
    }
}

/// The places of both worlds, from where on each holds.
struct Placed {
    v4: [Vec<(u128, Jurisdiction)>; 2],
    v6: [Vec<(u128, Jurisdiction)>; 2],
}

impl Placed {
    fn of(worlds: [&World<'_>; 2]) -> Self {
        let [(old4, old6), (new4, new6)] = worlds.map(|world| jurisdictions(world.geo, world.policy));
        let v4 = [old4, new4].map(|runs| runs.iter().map(|(start, place)| (start.into(), place)).collect());
        let v6 = [old6, new6].map(|runs| runs.iter().collect());
        Self { v4, v6 }
    }
}

/// Where an address was and is, and by what.
type Way = (Jurisdiction, Jurisdiction, Moved);

/// All destinations.
pub(super) fn all(worlds: [&World<'_>; 2], tables: &Tables) -> Dimension<Destinations> {
    let placed = Placed::of(worlds);
    let peers = |family| tables.each_ref().map(|table| peers(table, family));
    let v4 = cut(worlds, Family::V4, &placed.v4, &peers(Family::V4), &[]);
    let carriers = worlds.map(|world| ranges(&by_ipv4(world.policy)));
    let starts = carriers.iter().flatten().flat_map(|(first, last)| [Some(*first), last.checked_add(1)]);
    let starts: Vec<u128> = starts.flatten().collect();
    let v6 = cut(worlds, Family::V6, &placed.v6, &peers(Family::V6), &starts);

    // What an IPv4 address does, for the addresses that carry one. Such an address is on no link, whatever it carries.
    let by_v4: HashSet<Way> = v4.iter().map(|piece| piece.way).collect();
    let mut by_v4 = Vec::from_iter(by_v4);
    by_v4.sort_unstable_by_key(order);
    let mut found = HashMap::new();
    // What stays on the link passes by both.
    for piece in v4.iter().filter(|piece| !piece.is_on_link) {
        add(&mut found, piece.way, Family::V4, piece, false);
    }
    for piece in v6.iter().filter(|piece| !piece.is_on_link) {
        let carried =
            carriers.each_ref().map(|it| it.iter().find(|range| (range.0..=range.1).contains(&piece.first)));
        match carried {
            [None, None] => add(&mut found, piece.way, Family::V6, piece, false),
            _ => ways_of_carried(piece.way, carried, &by_v4)
                .into_iter()
                .for_each(|way| add(&mut found, way, Family::V6, piece, true)),
        }
    }
    group(found, tables)
}

fn order((from, to, moved): &Way) -> (u16, u16, Moved) {
    (from.index().into(), to.index().into(), *moved)
}

/// What the addresses of a run may do that carry IPv4 addresses: what those do. Where they do so by one world alone, or
/// in two ways, any place may become any.
fn ways_of_carried((from, to, _): Way, carried: [Option<&(u128, u128)>; 2], by_v4: &[Way]) -> Vec<Way> {
    if carried[0] == carried[1] {
        return by_v4.to_vec();
    }
    let places = |own: Jurisdiction, carried: Option<&(u128, u128)>, of: fn(&Way) -> Jurisdiction| {
        if carried.is_none() {
            return vec![own];
        }
        let mut places: Vec<_> = by_v4.iter().map(of).collect();
        places.sort_unstable_by_key(|place| place.index());
        places.dedup();
        places
    };
    let (from, to) = (places(from, carried[0], |way| way.0), places(to, carried[1], |way| way.1));
    from.into_iter().flat_map(|from| to.iter().map(move |to| (from, *to, Moved::Nat64))).collect()
}

/// A run of addresses for which nothing changes in between.
struct Piece {
    /// Whether it stays on the link, as written.
    is_on_link: bool,
    first: u128,
    last: u128,
    way: Way,
    peers: [u16; 2],
}

fn cut(
    worlds: [&World<'_>; 2],
    family: Family,
    placed: &[Vec<(u128, Jurisdiction)>; 2],
    peers: &[Vec<(u128, u16)>; 2],
    starts: &[u128],
) -> Vec<Piece> {
    let mut borders = vec![0];
    borders.extend(placed.iter().flatten().map(|step| step.0));
    borders.extend(peers.iter().flatten().map(|step| step.0));
    borders.extend(starts);
    borders.extend(link_scope(family));
    // The stable sort takes what is in order already as it is: here a few long runs.
    borders.sort();
    borders.dedup();
    let mut placed = placed.each_ref().map(|steps| Steps::new(steps));
    let mut peers = peers.each_ref().map(|steps| Steps::new(steps));
    let ends = borders.iter().skip(1).map(|next| next - 1).chain([family.last()]);
    let mut pieces = Vec::with_capacity(borders.len());
    for (first, last) in borders.iter().copied().zip(ends) {
        let [from, to] = placed.each_mut().map(|it| it.value(first).unwrap_or(Jurisdiction::UNKNOWN));
        let peers = peers.each_mut().map(|it| it.value(first).unwrap_or_default());
        let address = Addr::from(family.address(first));
        // IPv4-mapped addresses are those of IPv4.
        if family == Family::V6 && address.v4().is_some() {
            continue;
        }
        let moved = if from == to { Moved::No } else { moved(worlds, family, first) };
        pieces.push(Piece {
            is_on_link: address.is_link_scope(),
            first,
            last,
            way: (from, to, moved),
            peers,
        });
    }
    pieces
}

fn moved(worlds: [&World<'_>; 2], family: Family, address: u128) -> Moved {
    let [old, new] = worlds.map(|world| match family {
        Family::V4 => world.geo.v4.lookup(address as u32),
        Family::V6 => world.geo.v6.lookup(address),
    });
    if old == new { Moved::Sites } else { Moved::Database }
}

/// Where link scope begins and ends: [`Addr::is_link_scope`].
fn link_scope(family: Family) -> Vec<u128> {
    match family {
        Family::V4 => [0xa9fe_0000, 0xa9ff_0000, 0xe000_0000, 0xe000_0100, 0xffff_ffff].to_vec(),
        Family::V6 => {
            let multicast = (0..16_u128).flat_map(|flags| {
                let scope = 0xff00 | flags << 4;
                [scope | 1, scope | 2, scope | 3].map(|first| first << 112)
            });
            // Link-local unicast, and the mapped addresses.
            multicast.chain([0xfe80 << 112, 0xfec0 << 112, 0xffff << 32, 0x1_0000 << 32]).collect()
        }
    }
}

fn ranges(networks: &[IpNetwork]) -> Vec<(u128, u128)> {
    let number = |address: IpAddr| match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    networks.iter().map(|network| (number(network.network()), number(network.broadcast()))).collect()
}

/// The numbers of the sets of peers, from where on each holds.
fn peers(table: &PolicyTable, family: Family) -> Vec<(u128, u16)> {
    let (peers4, peers6) = (&table.peers4, &table.peers6);
    match family {
        Family::V4 => {
            let starts = peers4.starts.iter().map(|start| u128::from(*start));
            starts.zip(peers4.sets).take(peers4.len as usize).collect()
        }
        Family::V6 => {
            let halves = peers6.hi.iter().zip(&peers6.lo);
            let starts = halves.map(|(hi, lo)| u128::from(*hi) << 64 | u128::from(*lo));
            starts.zip(peers6.sets).take(peers6.len as usize).collect()
        }
    }
}

/// What is told apart: where an address was and is, and its sets of peers.
type Key = (Way, [u16; 2]);

fn add(found: &mut HashMap<Key, Destinations>, way: Way, family: Family, piece: &Piece, is_carried: bool) {
    let (from, to, moved) = way;
    let none = || Destinations { from, to, moved, v4: 0, v6: 0, first: Vec::new(), carriers: Vec::new() };
    let destinations = found.entry((way, piece.peers)).or_insert_with(none);
    let run = Cidrs { first: family.address(piece.first), last: family.address(piece.last) };
    let sum = match family {
        Family::V4 => &mut destinations.v4,
        Family::V6 => &mut destinations.v6,
    };
    let runs = match is_carried {
        true => &mut destinations.carriers,
        false => {
            *sum = sum.saturating_add(run.addresses());
            &mut destinations.first
        }
    };
    if runs.len() < KEPT {
        runs.push(run);
    }
}

/// Those that are judged and placed alike, together.
fn group(found: HashMap<Key, Destinations>, tables: &Tables) -> Dimension<Destinations> {
    let mut found: Vec<(Key, Destinations)> = found.into_iter().collect();
    found.sort_unstable_by_key(|((way, peers), _)| (order(way), *peers));
    classes(found.into_iter().map(|((way, peers), destinations)| {
        let sides = [(&tables[0], way.0, peers[0]), (&tables[1], way.1, peers[1])];
        let lets = sides.map(|(table, place, peers)| {
            let place = usize::from(place.index());
            let peer = table.peer_sets.get(usize::from(peers)).copied().unwrap_or_default();
            let mut exemptions = table.exempt_jurisdictions[place];
            let by_address = peer.exemptions.iter().zip(table.exempt_places[place]);
            exemptions.iter_mut().zip(by_address).for_each(|(word, (peer, placed))| *word |= peer & placed);
            Lets { pins: !table.permitted[place], failsafes: peer.failsafes, exemptions }
        });
        ((way.0.index(), way.1.index(), way.2), lets, destinations)
    }))
}
