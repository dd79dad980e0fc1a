//! Geneve (RFC 8926 section 3.4): 8 bytes; the options behind them are passed over.

use super::{
    Fault, Next, ethernet,
    frame::{Frame, settled},
};

/// The destination port that IANA assigned.
pub(super) const PORT: u16 = 6081;

/// What the Geneve header `h` at `at` carries, and where.
///
/// Version 0 and a known payload make it Geneve, else it is [`Next::End`].
///
/// # Errors
/// [`Fault::Opaque`] as [`ethernet::payload`] has it, and [`Fault::Truncated`] if the frame ends
/// inside the options.
#[inline(always)]
pub(super) fn read(frame: &Frame<'_>, h: &[u8; 8], at: usize) -> Result<(Next, usize), Fault> {
    let version = h[0] >> 6;
    let options_len = usize::from(h[0] & 0x3f) * 4;
    if version != 0 {
        return Ok((Next::End, at));
    }
    let next = match u16::from_be_bytes([h[2], h[3]]) {
        ethernet::BRIDGED => Next::Ethernet,
        ethertype => ethernet::payload(ethertype)?,
    };
    let at = settled(at + 8 + options_len);
    if next != Next::End {
        frame.reaches(at)?;
    }
    Ok((next, at))
}
