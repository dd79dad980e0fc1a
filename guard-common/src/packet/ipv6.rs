//! IPv6 (RFC 8200): the fixed 40 bytes.
//!
//! The payload length is not used, as BIG TCP sends zero and, with it or without, a jumbo payload
//! option (RFC 2675), but for the first fragment of a packet, which can be no jumbogram: see
//! [`end`].

use super::{Addr, Fault, Layer, Packet, frame::Frame};

/// Reads the header at `at` into layer `index`. Gives the next header and its offset; the
/// extension headers are [`extension::walk`](super::extension::walk)'s.
///
/// # Errors
/// [`Fault::BadHeader`] for another version, and those of [`Frame::header`].
#[inline(always)]
pub(super) fn read(
    frame: &Frame<'_>,
    at: usize,
    index: usize,
    out: &mut Packet,
) -> Result<(u8, usize), Fault> {
    let h = frame.header::<40>(at)?;
    if h[0] >> 4 != 6 {
        return Err(Fault::BadHeader);
    }
    let ([_, src_hi, src_lo, dst_hi, dst_lo], _) = h.as_chunks::<8>() else {
        return Err(Fault::BadHeader);
    };
    out.begin_layer(
        index,
        Addr::from_v6_halves(*src_hi, *src_lo),
        Addr::from_v6_halves(*dst_hi, *dst_lo),
        h[6],
        Layer::IPV6,
    );
    Ok((h[6], at + 40))
}

/// Where the packet ends whose header is at `start`, by its payload length.
///
/// # Errors
/// Those of [`Frame::header`].
#[inline(always)]
pub(super) fn end(frame: &Frame<'_>, start: usize) -> Result<usize, Fault> {
    let [.., high, low] = *frame.header::<6>(start)?;
    Ok(start + 40 + usize::from(u16::from_be_bytes([high, low])))
}
