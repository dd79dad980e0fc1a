//! GRE (RFC 2784, with key and sequence number of RFC 2890): 4 bytes and the optional fields,
//! which are passed over.

use super::ethernet;
use super::frame::Frame;
use super::next::Next;
use super::types::Fault;

/// GRE's protocol number.
pub(super) const PROTOCOL: u8 = 47;

const CHECKSUM: u8 = 0x80;
/// RFC 1701 only. Its source routes are not read, and Linux takes no such packet.
const ROUTING: u8 = 0x40;
const KEY: u8 = 0x20;
const SEQUENCE: u8 = 0x10;
const VERSION: u8 = 0x07;

/// What the GRE header at `at` carries, and where.
///
/// # Errors
/// [`Fault::Opaque`] for PPTP's version 1 (RFC 2637 section 4.1), which carries PPP, for source
/// routes, and as [`ethernet::tunnelled`] has it; [`Fault::BadHeader`] for a version that does not
/// exist; and those of [`Frame::header`].
#[inline(always)]
pub(super) fn read(frame: &Frame<'_>, at: usize) -> Result<(Next, usize), Fault> {
    let h = frame.header::<4>(at)?;
    match h[1] & VERSION {
        0 if h[0] & ROUTING == 0 => {}
        0 | 1 => return Err(Fault::Opaque),
        _ => return Err(Fault::BadHeader),
    }
    let next = ethernet::tunnelled(u16::from_be_bytes([h[2], h[3]]))?;
    let fields =
        u32::from(h[0] & CHECKSUM != 0) + u32::from(h[0] & KEY != 0) + u32::from(h[0] & SEQUENCE != 0);
    let at = at + 4 + fields as usize * 4;
    frame.reaches(at)?;
    Ok((next, at))
}
