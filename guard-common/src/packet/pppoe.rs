//! PPPoE session frames (RFC 2516 section 4): 6 bytes, then the PPP protocol number in 2.

use super::frame::Frame;
use super::next::Next;
use super::types::Fault;

/// Version 1, type 1: the only ones there are.
const VERSION_AND_TYPE: u8 = 0x11;

/// What follows the PPPoE and PPP headers at `at`, and where.
///
/// PPP's control protocols (numbers from 0x8000 on, RFC 1661 section 2) carry no IP.
///
/// # Errors
/// [`Fault::BadHeader`] for another version, [`Fault::Opaque`] for a PPP protocol that is neither
/// IPv4 (RFC 1332), IPv6 (RFC 5072) nor control: compressed, encrypted, bridged, multilink; and
/// those of [`Frame::header`].
#[inline(always)]
pub(super) fn read(frame: &Frame<'_>, at: usize) -> Result<(Next, usize), Fault> {
    let header = frame.header::<8>(at)?;
    if header[0] != VERSION_AND_TYPE {
        return Err(Fault::BadHeader);
    }
    let next = match u16::from_be_bytes([header[6], header[7]]) {
        0x0021 => Next::IPV4,
        0x0057 => Next::IPV6,
        0x8000.. => Next::END,
        _ => return Err(Fault::Opaque),
    };
    Ok((next, at + 8))
}
