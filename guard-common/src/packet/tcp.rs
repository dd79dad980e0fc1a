//! TCP (RFC 9293): the fixed 20 bytes; ports and flags are taken.

use super::{Fault, Layer, Next, frame::Frame};

/// TCP's protocol number.
pub(super) const PROTOCOL: u8 = 6;

/// Puts ports and flags of the header at `at` into the layer. Nothing follows that is read.
///
/// # Errors
/// Those of [`Frame::header`].
#[inline(always)]
pub(super) fn read(frame: &Frame<'_>, at: usize, layer: &mut Layer) -> Result<(Next, usize), Fault> {
    let h = frame.header::<20>(at)?;
    layer.set_ports([h[0], h[1]], [h[2], h[3]]);
    layer.tcp_flags = h[13];
    Ok((Next::END, at))
}
