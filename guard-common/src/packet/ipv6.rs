//! IPv6 (RFC 8200): the fixed 40 bytes.
//!
//! The payload length places nothing, as BIG TCP sends zero, with a jumbo payload option (RFC
//! 2675) or without. It bounds the first fragment of a packet, which can be no jumbogram.

use super::addr::Addr;
use super::frame::Frame;
use super::next::Next;
use super::types::{Fault, Layer, Packet};

/// Reads the header at `at` into layer `index`, a new one; what follows, and where.
///
/// # Errors
/// [`Fault::BadHeader`] for another version, and those of [`Frame::header`] and
/// [`Packet::begin_layer`].
#[inline(always)]
pub(super) fn read(
    frame: &mut Frame<'_>,
    at: usize,
    index: usize,
    out: &mut Packet,
) -> Result<(Next, usize), Fault> {
    let h = frame.header::<40>(at)?;
    if h[0] >> 4 != 6 {
        return Err(Fault::BadHeader);
    }
    let ([_, src_hi, src_lo, dst_hi, dst_lo], _) = h.as_chunks::<8>() else {
        return Err(Fault::BadHeader);
    };
    let src = Addr::from_v6_halves(*src_hi, *src_lo);
    let dst = Addr::from_v6_halves(*dst_hi, *dst_lo);
    out.begin_layer(index, src, dst, h[6], Layer::IPV6)?;
    frame.set_packet_end(at + 40 + usize::from(u16::from_be_bytes([h[4], h[5]])));
    Ok((Next::protocol(h[6]), at + 40))
}
