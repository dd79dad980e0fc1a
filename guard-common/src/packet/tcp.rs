//! TCP (RFC 9293): the fixed 20 bytes; ports and flags are taken.

use super::{Fault, Packet, frame::Frame};

/// TCP's protocol number.
pub(super) const PROTOCOL: u8 = 6;

/// Puts ports and flags of the header at `at` into layer `index`.
///
/// # Errors
/// Those of [`Frame::header`].
#[inline(always)]
pub(super) fn read(frame: &Frame<'_>, at: usize, index: usize, out: &mut Packet) -> Result<(), Fault> {
    let h = frame.header::<20>(at)?;
    out.set_ports(index, u16::from_be_bytes([h[0], h[1]]), u16::from_be_bytes([h[2], h[3]]), h[13]);
    Ok(())
}
