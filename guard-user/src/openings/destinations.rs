//! Destinations: every address of a family, in classes of those that both generations judge alike.

use std::collections::HashMap;
use std::net::IpAddr;

use guard_common::abi::PolicyTable;
use guard_common::jurisdiction::Jurisdiction;
use guard_common::packet::Addr;
use ipnetwork::IpNetwork;

use super::dimensions::{Both, Family, Lets};
use super::{Destinations, KEPT, World};
use crate::compile::{by_ipv4, jurisdictions};

/// Destinations that both tables judge alike.
#[derive(Clone, Debug)]
pub(super) struct To {
    /// Pins that permit them, in each table.
    pub(super) permitted: [u64; 2],
    /// What their addresses and places let match: every pin.
    pub(super) lets: Both,
    pub(super) destinations: Vec<Destinations>,
}

/// What holds from each start on.
struct Steps<T> {
    steps: Vec<(u128, T)>,
    at: usize,
}

impl<T: Copy> Steps<T> {
    const fn new(steps: Vec<(u128, T)>) -> Self {
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

/// Where an address was and is, and the numbers of its sets of peers.
type Key = (Jurisdiction, Jurisdiction, [u16; 2]);

/// All destinations of IPv4 and of IPv6.
pub(super) fn all(worlds: [&World<'_>; 2], tables: &[Box<PolicyTable>; 2]) -> [Vec<To>; 2] {
    let placed = Placed::of(worlds);
    let peers = |family| tables.each_ref().map(|table| peers(table, family));
    let v4 = cut(Family::V4, &placed.v4, &peers(Family::V4), &[]);
    let carriers = worlds.map(|world| ranges(&by_ipv4(world.policy)));
    let starts = carriers.iter().flatten().flat_map(|(first, last)| [Some(*first), last.checked_add(1)]);
    let starts: Vec<u128> = starts.flatten().collect();
    let v6 = cut(Family::V6, &placed.v6, &peers(Family::V6), &starts);

    let mut found = HashMap::new();
    for piece in &v4 {
        add(&mut found, (piece.places[0], piece.places[1], piece.peers), Family::V4, piece);
    }
    let by_v4 = group(found, tables);
    // The pairs of places that an IPv4 address has, for the addresses that carry one.
    let mut pairs: Vec<[Jurisdiction; 2]> = v4.iter().map(|piece| piece.places).collect();
    pairs.sort_unstable_by_key(|pair| pair.map(Jurisdiction::index));
    pairs.dedup();
    let mut found = HashMap::new();
    for piece in &v6 {
        let carried =
            carriers.each_ref().map(|it| it.iter().find(|range| (range.0..=range.1).contains(&piece.first)));
        for [from, to] in places(piece, carried, &pairs) {
            add(&mut found, (from, to, piece.peers), Family::V6, piece);
        }
    }
    [by_v4, group(found, tables)]
}

/// The places that a run may have had and may have. One that carries IPv4 addresses has the pairs of those; where
/// it does so by one world alone, or in two ways, any of them may go with any.
fn places(
    piece: &Piece,
    carried: [Option<&(u128, u128)>; 2],
    pairs: &[[Jurisdiction; 2]],
) -> Vec<[Jurisdiction; 2]> {
    let side = |side: usize| match carried[side] {
        None => vec![piece.places[side]],
        Some(_) => {
            let mut places: Vec<_> = pairs.iter().map(|pair| pair[side]).collect();
            places.sort_unstable_by_key(|place| place.index());
            places.dedup();
            places
        }
    };
    match carried {
        [None, None] => vec![piece.places],
        [Some(old), Some(new)] if old == new => pairs.to_vec(),
        _ => side(0).into_iter().flat_map(|from| side(1).into_iter().map(move |to| [from, to])).collect(),
    }
}

/// A run of addresses for which nothing changes in between.
struct Piece {
    first: u128,
    last: u128,
    places: [Jurisdiction; 2],
    peers: [u16; 2],
}

fn cut(
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
    borders.sort_unstable();
    borders.dedup();
    let mut placed = placed.each_ref().map(|steps| Steps::new(steps.clone()));
    let mut peers = peers.each_ref().map(|steps| Steps::new(steps.clone()));
    let ends = borders.iter().skip(1).map(|next| next - 1).chain([family.last()]);
    let mut pieces = Vec::with_capacity(borders.len());
    for (first, last) in borders.iter().copied().zip(ends) {
        let places = placed.each_mut().map(|it| it.value(first).unwrap_or(Jurisdiction::UNKNOWN));
        let peers = peers.each_mut().map(|it| it.value(first).unwrap_or_default());
        let address = Addr::from(family.address(first));
        // What stays on the link passes by both. IPv4-mapped addresses are those of IPv4.
        if address.is_link_scope() || family == Family::V6 && address.v4().is_some() {
            continue;
        }
        pieces.push(Piece { first, last, places, peers });
    }
    pieces
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

fn add(found: &mut HashMap<Key, Destinations>, key: Key, family: Family, piece: &Piece) {
    let (from, to, _) = key;
    let destinations =
        found.entry(key).or_insert_with(|| Destinations { from, to, addresses: 0, first: Vec::new() });
    let addresses = (piece.last - piece.first).saturating_add(1);
    destinations.addresses = destinations.addresses.saturating_add(addresses);
    let (first, last) = (family.address(piece.first), family.address(piece.last));
    if destinations.first.len() < KEPT {
        destinations.first.push((first, last));
    }
}

/// Those that are judged alike, together.
fn group(found: HashMap<Key, Destinations>, tables: &[Box<PolicyTable>; 2]) -> Vec<To> {
    let mut found: Vec<(Key, Destinations)> = found.into_iter().collect();
    found.sort_unstable_by_key(|((from, to, peers), _)| (from.index(), to.index(), *peers));
    let mut groups: Vec<To> = Vec::new();
    let mut numbers = HashMap::new();
    for ((from, to, peers), destinations) in found {
        let sides = [(&tables[0], from, peers[0]), (&tables[1], to, peers[1])];
        let permitted = sides.map(|(table, place, _)| table.permitted[usize::from(place.index())]);
        let lets = sides.map(|(table, place, peers)| {
            let place = usize::from(place.index());
            let peer = table.peer_sets.get(usize::from(peers)).copied().unwrap_or_default();
            let mut exemptions = table.exempt_jurisdictions[place];
            let by_address = peer.exemptions.iter().zip(table.exempt_places[place]);
            exemptions.iter_mut().zip(by_address).for_each(|(word, (peer, placed))| *word |= peer & placed);
            Lets { failsafes: peer.failsafes, exemptions, ..Lets::ALL }
        });
        let number = *numbers.entry((permitted, lets)).or_insert_with(|| {
            groups.push(To { permitted, lets, destinations: Vec::new() });
            groups.len() - 1
        });
        groups[number].destinations.push(destinations);
    }
    groups
}
