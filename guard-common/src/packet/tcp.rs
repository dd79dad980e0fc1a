//! TCP (RFC 9293): the fixed 20 bytes, of which ports and flags are taken; and of the options whether
//! one is of MPTCP (RFC 8684).

use super::frame::Frame;
use super::next::{Next, Route};
use super::types::{Fault, Layer};

/// TCP's protocol number.
pub(super) const PROTOCOL: u8 = 6;

/// Puts ports and flags of the header at `at` into the layer; what follows, and where.
///
/// Options follow, unless they are the two that nearly every segment of a connection has: padding,
/// and timestamps (RFC 7323 section 3.2, appendix A).
///
/// # Errors
/// Those of [`Frame::header`].
#[inline(always)]
pub(super) fn read(
    frame: &Frame<'_>,
    at: usize,
    route: &mut Route,
    layer: &mut Layer,
) -> Result<(Next, usize), Fault> {
    const WITH_TIMESTAMPS: usize = 32;
    const TIMESTAMPS: [u8; 4] = [NO_OPERATION, NO_OPERATION, 8, 10];

    let h = frame.header::<20>(at)?;
    layer.set_ports([h[0], h[1]], [h[2], h[3]]);
    layer.tcp_flags = h[13];
    let header_len = usize::from(h[12] >> 4) * 4;
    let options = at + 20;
    if header_len <= 20 {
        return Ok((Next::END, options));
    }
    if header_len == WITH_TIMESTAMPS && *frame.header::<4>(options)? == TIMESTAMPS {
        return Ok((Next::END, options));
    }
    route.resume = at + header_len;
    Ok((Next::TCP_OPTION, options))
}

const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;

/// Reads the option at `at`, if the header does not end there; what follows, and where.
///
/// A length that can't be ends the options, as it does for a receiver.
///
/// # Errors
/// Those of [`Frame::header`].
#[inline(always)]
pub(super) fn option(
    frame: &Frame<'_>,
    at: usize,
    route: &Route,
    layer: &mut Layer,
) -> Result<(Next, usize), Fault> {
    const MPTCP: u8 = 30;

    let end = route.resume;
    if at >= end {
        return Ok((Next::END, end));
    }
    let [kind] = *frame.header::<1>(at)?;
    match kind {
        END_OF_OPTIONS => return Ok((Next::END, end)),
        NO_OPERATION => return Ok((Next::TCP_OPTION, at + 1)),
        MPTCP => {
            layer.flags |= Layer::OTHER_PORTS;
            return Ok((Next::END, end));
        }
        _ => {}
    }
    if at + 2 > end {
        return Ok((Next::END, end));
    }
    let [_, length] = *frame.header::<2>(at)?;
    let length = usize::from(length);
    if length < 2 || at + length > end {
        return Ok((Next::END, end));
    }
    Ok((Next::TCP_OPTION, at + length))
}
