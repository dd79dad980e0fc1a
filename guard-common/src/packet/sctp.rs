//! SCTP (RFC 9260 section 3.1): the common header of 12 bytes; the ports are taken.

use super::frame::Frame;
use super::next::Next;
use super::types::{Fault, Layer};

/// SCTP's protocol number.
pub(super) const PROTOCOL: u8 = 132;

/// Puts the ports of the header at `at` into the layer. Nothing follows that is read.
///
/// # Errors
/// Those of [`Frame::header`].
#[inline(always)]
pub(super) fn read(frame: &Frame<'_>, at: usize, layer: &mut Layer) -> Result<(Next, usize), Fault> {
    let [s0, s1, d0, d1, ..] = *frame.header::<12>(at)?;
    layer.set_ports([s0, s1], [d0, d1]);
    Ok((Next::END, at))
}
