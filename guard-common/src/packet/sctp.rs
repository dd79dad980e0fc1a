//! SCTP (RFC 9260 section 3.1): the common header of 12 bytes; the ports are taken.

use super::{Fault, Packet, frame::Frame};

/// SCTP's protocol number.
pub(super) const PROTOCOL: u8 = 132;

/// Puts the ports of the header at `at` into layer `index`.
///
/// # Errors
/// Those of [`Frame::header`].
#[inline(always)]
pub(super) fn read(frame: &Frame<'_>, at: usize, index: usize, out: &mut Packet) -> Result<(), Fault> {
    let [s0, s1, d0, d1, ..] = *frame.header::<12>(at)?;
    out.set_ports(index, u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]), 0);
    Ok(())
}
