//! IPv6 routing headers: type 0 (RFC 2460 section 4.4, deprecated by RFC 5095), type 2 (mobile
//! IPv6, RFC 6275 section 6.4) and type 4 (segment routing, RFC 8754 section 2).
//!
//! Of each, 8 bytes are read here; the addresses still to come follow as [`Next::HOP`].

use super::next::{Next, Route};
use super::types::Fault;

/// Reads the routing header `h`, which begins at `at` and is `len` bytes long; what follows, and
/// where.
///
/// With no segments left the header is spent, whatever its type (RFC 8200 section 4.4).
///
/// # Errors
/// [`Fault::Opaque`] for another type with segments left, [`Fault::BadHeader`] if there are fewer
/// addresses than segments left.
#[inline(always)]
pub(super) fn read(h: &[u8; 8], at: usize, len: usize, route: &mut Route) -> Result<(Next, usize), Fault> {
    let [next, _, kind, segments_left, ..] = *h;
    let segments_left = usize::from(segments_left);
    if segments_left == 0 {
        return Ok((Next::protocol(next), at + len));
    }
    if !matches!(kind, 0 | 2 | 4) {
        return Err(Fault::Opaque);
    }
    let list = at + 8;
    let entries = (len - 8) / 16;
    if segments_left > entries {
        return Err(Fault::BadHeader);
    }
    route.resume = at + len;
    route.hops_left = segments_left;
    // Types 0 and 2 list the route in its order, so the hops still to come are the last ones. Type
    // 4 lists it reversed, and segments left is the index of the current one, so they are the
    // first ones.
    let passed = if kind == 4 { 0 } else { entries - segments_left };
    Ok((Next::HOP, list + passed * 16))
}
