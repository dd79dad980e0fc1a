//! IPv4 (RFC 791): the fixed 20 bytes, and of the options the source routes.
//!
//! The total length is not used, as BIG TCP sends zero, but for the first fragment of a datagram,
//! where it can only bring the end nearer: bytes behind it are padding that the receiver drops.

use super::{
    Addr, Fault, Layer, MAX_HOPS, Packet,
    frame::{Frame, settled},
};

const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// Bytes that options can take: a header length of 15 words less the 5 fixed ones.
const MAX_OPTIONS: usize = 40;

/// Reads the header at `at` into layer `index`. Gives the protocol and the offset of what it
/// carries.
///
/// # Errors
/// [`Fault::BadHeader`] for another version, an impossible header length or broken options,
/// [`Fault::TooDeep`] for more hops than fit, and those of [`Frame::header`].
#[inline(always)]
pub(super) fn read(
    frame: &mut Frame<'_>,
    at: usize,
    index: usize,
    out: &mut Packet,
) -> Result<(u8, usize), Fault> {
    let h = frame.header::<20>(at)?;
    let header_len = usize::from(h[0] & 0x0f) * 4;
    if h[0] >> 4 != 4 || header_len < 20 {
        return Err(Fault::BadHeader);
    }
    let fragment = u16::from_be_bytes([h[6], h[7]]) & (MORE_FRAGMENTS | FRAGMENT_OFFSET);
    let flags = match fragment {
        0 => 0,
        MORE_FRAGMENTS => Layer::FRAGMENT,
        _ => Layer::FRAGMENT | Layer::LATER_FRAGMENT,
    };
    out.begin_layer(
        index,
        Addr::from_v4_octets([h[12], h[13], h[14], h[15]]),
        Addr::from_v4_octets([h[16], h[17], h[18], h[19]]),
        h[9],
        flags,
    );
    if header_len > 20 {
        source_routes(frame, at + 20, at + header_len, out)?;
    }
    if flags == Layer::FRAGMENT {
        frame.end_at(at + usize::from(u16::from_be_bytes([h[2], h[3]])));
    }
    Ok((h[9], at + header_len))
}

/// Adds the hops still to come of a loose or strict source route (RFC 791 section 3.1) among the
/// options in `at..end`.
///
/// At most one route, as the RFC has it: the walk over the options is then one loop, and the walk
/// over the hops another, and neither is inside the other.
#[inline(always)]
fn source_routes(frame: &Frame<'_>, mut at: usize, end: usize, out: &mut Packet) -> Result<(), Fault> {
    const END_OF_OPTIONS: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE_ROUTE: u8 = 131;
    const STRICT_ROUTE: u8 = 137;

    frame.reaches(end)?;
    let end = settled(end);
    // Where the hops still to come begin and end.
    let mut route = 0;
    let mut route_end = 0;
    for _ in 0..MAX_OPTIONS {
        at = settled(at);
        if at >= end {
            break;
        }
        let [kind] = *frame.header::<1>(at)?;
        if kind == END_OF_OPTIONS {
            break;
        }
        if kind == NO_OPERATION {
            at += 1;
            continue;
        }
        let [_, length] = *frame.header::<2>(at)?;
        let next = at + usize::from(length);
        if length < 2 || next > end {
            return Err(Fault::BadHeader);
        }
        if kind == LOOSE_ROUTE || kind == STRICT_ROUTE {
            let [_, _, pointer] = *frame.header::<3>(at)?;
            // The pointer counts from 1, so that 4 is the first byte behind these three.
            if length < 3 || pointer < 4 || route_end != 0 {
                return Err(Fault::BadHeader);
            }
            route = settled(at + usize::from(pointer) - 1);
            route_end = settled(next);
        }
        at = next;
    }
    for _ in 0..=MAX_HOPS {
        route = settled(route);
        if route >= route_end {
            return Ok(());
        }
        if route + 4 > route_end {
            return Err(Fault::BadHeader);
        }
        out.push_hop(Addr::from_v4_octets(*frame.header::<4>(route)?))?;
        route += 4;
    }
    Err(Fault::TooDeep)
}
