//! Where a packet goes: every destination of it, placed and held against its pins.

use super::tag::nonzero_mask;
use crate::abi::{MAX_NAT64, Place, PlacedBy, PolicyTable, dimension};
use crate::interval::{self, GeoTables};
use crate::jurisdiction::Jurisdiction;
use crate::packet::{Addr, Layer, MAX_HOPS, MAX_LAYERS, Packet};
use crate::search::{at, at_ref, mask_if_equal};
use crate::tables::Tables;
use crate::trace::Trace;

/// What all destinations of a packet came to.
pub(super) struct Judged {
    /// Pins that forbid any destination.
    pub(super) denied: u64,
    /// Destinations that a pin forbids.
    pub(super) forbidden: u32,
    /// Number of the destination that decides: the first forbidden one, else the last.
    pub(super) number: u32,
    /// Where it is.
    pub(super) place: Place,
}

/// Places every destination: each layer's, and every hop still to come.
#[inline(always)]
pub(super) fn judge_destinations<T: Tables, R: Trace>(
    packet: &Packet,
    tables: &T,
    policy: &PolicyTable,
    tag: u64,
    trace: &mut R,
) -> Option<Judged> {
    let mut sum = Sum::begin(policy);
    // Two plain loops and no `continue`: the verifier of 6.1 refuses a loop that the compiler has laid out
    // so that its body falls through into its head.
    for number in 0..MAX_LAYERS as u32 {
        if number >= packet.layer_count {
            break;
        }
        sum.add(tables, policy, tag, number, layer(packet, number).dst, trace)?;
    }
    for hop in 0..MAX_HOPS as u32 {
        if hop >= packet.hop_count {
            break;
        }
        sum.add(tables, policy, tag, MAX_LAYERS as u32 + hop, at(&packet.hops, hop), trace)?;
    }
    Some(Judged {
        denied: sum.denied,
        forbidden: sum.forbidden,
        number: (sum.decides >> 16) as u32,
        place: Place(sum.decides as u16),
    })
}

/// What the destinations so far came to.
struct Sum {
    /// Pins that forbid any of them.
    denied: u64,
    /// How many a pin forbids.
    forbidden: u32,
    /// The one that decides: its number above its place.
    decides: u64,
}

impl Sum {
    #[inline(always)]
    fn begin(policy: &PolicyTable) -> Self {
        // A zero that the verifier does not know for one: see `exempt`.
        let zero = policy.zero;
        Self { denied: u64::from(zero), forbidden: zero, decides: u64::from(zero) }
    }

    /// Places one more destination.
    #[inline(always)]
    fn add<T: Tables, R: Trace>(
        &mut self,
        tables: &T,
        policy: &PolicyTable,
        tag: u64,
        number: u32,
        destination: Addr,
        trace: &mut R,
    ) -> Option<()> {
        let place = tables.place(policy, destination)?;
        // What stays on the link reaches no jurisdiction.
        let on_link = mask_if_equal(u64::from(place.0 >> 8), PlacedBy::LinkScope as u64);
        let denied = tag & !at(&policy.permitted, u32::from(place.jurisdiction_index())) & !on_link;
        trace.placed(layer_of(number), destination, place, denied);
        // The first forbidden destination decides; until there is one, the last.
        let settled = nonzero_mask(self.denied);
        self.decides = self.decides & settled | (u64::from(number) << 16 | u64::from(place.0)) & !settled;
        self.denied |= denied;
        self.forbidden += nonzero_mask(denied) as u32 & 1;
        Some(())
    }
}

/// The destination of this number: those of the layers come first, then the hops.
#[inline(always)]
#[must_use]
pub fn destination(packet: &Packet, number: u32) -> Addr {
    if number < MAX_LAYERS as u32 {
        layer(packet, number).dst
    } else {
        at(&packet.hops, number - MAX_LAYERS as u32)
    }
}

/// The layer that a destination belongs to. A hop's is the outermost: its layer was not kept, and its
/// ports are those that the exemption's recipient is named by.
#[inline(always)]
pub const fn layer_of(number: u32) -> u32 {
    if number < MAX_LAYERS as u32 { number } else { 0 }
}

/// Where an address is: [`place_as_written`], of the address that [`through_nat64`] has where the policy has NAT64
/// prefixes.
#[inline(always)]
pub fn place<T: GeoTables>(tables: &T, policy: &PolicyTable, address: Addr) -> Option<Place> {
    if policy.dimensions & dimension::NAT64 == 0 {
        place_as_written(tables, address)
    } else {
        place_as_written(tables, through_nat64(policy, address))
    }
}

/// An address below a NAT64 prefix of the policy as the one below the well-known prefix that carries the same IPv4
/// address; any other as it is.
#[inline(always)]
#[must_use]
pub fn through_nat64(policy: &PolicyTable, address: Addr) -> Addr {
    let (mut below, mut v4) = (u64::from(policy.zero), u64::from(policy.zero));
    // No prefix is in another, so that at most one has the address.
    for index in 0..MAX_NAT64 as u32 {
        if index >= policy.nat64_len {
            break;
        }
        let nat64 = at_ref(&policy.nat64, index);
        let has = nat64.has(address);
        below |= has;
        v4 |= u64::from(nat64.ipv4(address)) & has;
    }
    Addr { hi: address.hi & !below | Addr::WELL_KNOWN_NAT64.hi & below, lo: address.lo & !below | v4 }
}

/// Where an address is by what is written in it alone: link scope, else sites and the database by its IPv4 address
/// where it has one. `None` where the tables cannot be read.
#[inline(always)]
pub fn place_as_written<T: GeoTables>(tables: &T, address: Addr) -> Option<Place> {
    if address.is_link_scope() {
        return Some(Place::new(Jurisdiction::UNKNOWN, PlacedBy::LinkScope));
    }
    match address.embedded_v4() {
        Some(v4) => interval::place_v4(tables, v4),
        None => interval::place_v6(tables, address),
    }
}

/// The layer of this number; a number that no layer has is the outermost's.
#[inline(always)]
#[must_use]
pub fn layer(packet: &Packet, number: u32) -> &Layer {
    match number {
        1 => &packet.layers[1],
        2 => &packet.layers[2],
        _ => &packet.layers[0],
    }
}

const _: () = assert!(MAX_LAYERS == 3);
