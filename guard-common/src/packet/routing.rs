//! IPv6 routing headers: the nodes that the packet is still to visit are destinations too.
//!
//! Type 0 (RFC 8200's predecessor RFC 2460 section 4.4, deprecated by RFC 5095), type 2 (mobile
//! IPv6, RFC 6275 section 6.4) and type 4 (segment routing, RFC 8754 section 2). Of each, 8 bytes
//! and the addresses still to come are read.

use super::{
    Addr, Fault, MAX_HOPS, Packet,
    frame::{Frame, settled},
};

/// Adds the hops still to come of the routing header `h`, which begins at `at` and is `len` bytes
/// long, in the order of the header (segment routing lists them last to first).
///
/// With no segments left the header is spent, whatever its type (RFC 8200 section 4.4).
///
/// # Errors
/// [`Fault::Opaque`] for another type with segments left, [`Fault::BadHeader`] if there are fewer
/// addresses than segments left, [`Fault::TooDeep`] for more hops than fit, and those of
/// [`Frame::header`].
#[inline(always)]
pub(super) fn read(
    frame: &Frame<'_>,
    h: &[u8; 8],
    at: usize,
    len: usize,
    out: &mut Packet,
) -> Result<(), Fault> {
    let [_, _, kind, segments_left, ..] = *h;
    let segments_left = usize::from(segments_left);
    if segments_left == 0 {
        return Ok(());
    }
    let list_len = segments_left * 16;
    if !matches!(kind, 0 | 2 | 4) {
        return Err(Fault::Opaque);
    }
    if list_len > len - 8 {
        return Err(Fault::BadHeader);
    }
    if segments_left > MAX_HOPS {
        return Err(Fault::TooDeep);
    }
    // Types 0 and 2 list the route in its order, so the hops still to come are the last ones. Type
    // 4 lists it reversed, and segments left is the index of the current one, so they are the
    // first ones. A list that is no multiple of 16 bytes long has something else behind it.
    let mut hop = settled(match kind {
        4 => at + 8,
        _ => at + 8 + (len - 8) / 16 * 16 - list_len,
    });
    let end = hop + list_len;
    for _ in 0..MAX_HOPS {
        if hop >= end {
            break;
        }
        let ([hi, lo], _) = frame.header::<16>(hop)?.as_chunks::<8>() else {
            return Err(Fault::TooDeep);
        };
        out.push_hop(Addr::from_v6_halves(*hi, *lo))?;
        hop = settled(hop + 16);
    }
    Ok(())
}
