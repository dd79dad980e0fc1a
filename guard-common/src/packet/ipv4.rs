//! IPv4 (RFC 791): the fixed 20 bytes, and of the options the source routes.
//!
//! The total length places nothing, as BIG TCP sends zero. It bounds the first fragment of a
//! packet, which is never BIG TCP's.

use super::addr::Addr;
use super::frame::Frame;
use super::next::{Next, Route};
use super::protocols::hidden_in_fragment;
use super::types::{Fault, Layer, Packet};

const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// Reads the header at `at` into layer `index`, a new one; what follows, and where.
///
/// # Errors
/// [`Fault::BadHeader`] for another version or an impossible header length, [`Fault::Truncated`]
/// also if the frame ends inside the options, and those of [`Frame::header`] and
/// [`Packet::begin_layer`].
#[inline(always)]
pub(super) fn read(
    frame: &mut Frame<'_>,
    at: usize,
    index: usize,
    route: &mut Route,
    out: &mut Packet,
) -> Result<(Next, usize), Fault> {
    let h = frame.header::<20>(at)?;
    let header_len = usize::from(h[0] & 0x0f) * 4;
    if h[0] >> 4 != 4 || header_len < 20 {
        return Err(Fault::BadHeader);
    }
    let fragment = u16::from_be_bytes([h[6], h[7]]) & (MORE_FRAGMENTS | FRAGMENT_OFFSET);
    let flags = match fragment {
        0 => 0,
        MORE_FRAGMENTS => Layer::FRAGMENT,
        _ => Layer::FRAGMENT | Layer::LATER_FRAGMENT | hidden_in_fragment(h[9]),
    };
    let src = Addr::from_v4_octets([h[12], h[13], h[14], h[15]]);
    let dst = Addr::from_v4_octets([h[16], h[17], h[18], h[19]]);
    out.begin_layer(index, src, dst, h[9], flags)?;
    let payload = at + header_len;
    if flags == Layer::FRAGMENT {
        frame.set_packet_end(at + usize::from(u16::from_be_bytes([h[2], h[3]])));
        frame.begin_fragment();
    }
    if header_len > 20 {
        frame.reaches(payload)?;
        route.resume = payload;
        return Ok((Next::IPV4_OPTION, at + 20));
    }
    let next = if flags & Layer::LATER_FRAGMENT == 0 { Next::protocol(h[9]) } else { Next::END };
    Ok((next, payload))
}

/// Reads the option at `at`, if the header does not end there; what follows, and where.
///
/// The hops of a loose or strict source route (RFC 791 section 3.1) that are still to come follow
/// as [`Next::HOP`].
///
/// # Errors
/// [`Fault::BadHeader`] for an impossible length or pointer, and those of [`Frame::header`].
#[inline(always)]
pub(super) fn option(
    frame: &Frame<'_>,
    at: usize,
    route: &mut Route,
    layer: &Layer,
) -> Result<(Next, usize), Fault> {
    const END_OF_OPTIONS: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE_ROUTE: u8 = 131;
    const STRICT_ROUTE: u8 = 137;

    let end = route.resume;
    if at >= end {
        return Ok((layer.payload(), end));
    }
    let [kind] = *frame.header::<1>(at)?;
    match kind {
        END_OF_OPTIONS => return Ok((layer.payload(), end)),
        NO_OPERATION => return Ok((Next::IPV4_OPTION, at + 1)),
        _ => {}
    }
    let [_, length] = *frame.header::<2>(at)?;
    let length = usize::from(length);
    if length < 2 || at + length > end {
        return Err(Fault::BadHeader);
    }
    if kind != LOOSE_ROUTE && kind != STRICT_ROUTE {
        return Ok((Next::IPV4_OPTION, at + length));
    }
    // The pointer counts from 1, so that 4 is the first byte behind these three.
    let [_, _, pointer] = *frame.header::<3>(at)?;
    if pointer < 4 || length < 3 {
        return Err(Fault::BadHeader);
    }
    let passed = usize::from(pointer) - 1;
    if passed >= length {
        return Ok((Next::IPV4_OPTION, at + length));
    }
    let left = length - passed;
    if left % 4 != 0 {
        return Err(Fault::BadHeader);
    }
    route.hops_left = left / 4;
    Ok((Next::HOP, at + passed))
}
