//! Geneve (RFC 8926 section 3.4): 8 bytes; the options behind them are passed over.

use super::ethernet;
use super::frame::Frame;
use super::next::Next;
use super::types::{Begin, Fault};

/// The destination port that IANA assigned.
pub(super) const PORT: u16 = 6081;

/// What the Geneve header `h` at `at` carries, and where.
///
/// Only version 0 is Geneve, else it is [`Next::END`].
///
/// # Errors
/// [`Fault::Opaque`] as [`ethernet::tunnelled`] has it, and [`Fault::Truncated`] if the frame ends
/// inside the options.
#[inline(always)]
pub(super) fn read(frame: &Frame<'_>, h: &[u8; 8], at: usize) -> Result<(Next, usize), Fault> {
    let version = h[0] >> 6;
    let options_len = usize::from(h[0] & 0x3f) * 4;
    if version != 0 {
        return Ok((Next::END, at));
    }
    let next = ethernet::tunnelled(u16::from_be_bytes([h[2], h[3]]))?;
    let at = at + 8 + options_len;
    if next != Next::END {
        frame.reaches(at)?;
    }
    Ok((next, at))
}

/// What a later segment of a larger datagram begins with, by its first bytes.
#[inline(always)]
pub(super) fn segment(h: &[u8; 8]) -> Begin {
    let at = 8 + u16::from(h[0] & 0x3f) * 4;
    if h[0] >> 6 != 0 {
        return Begin::Other;
    }
    match ethernet::tunnelled(u16::from_be_bytes([h[2], h[3]])) {
        Ok(Next::ETHERNET) => Begin::Ethernet(at),
        Ok(Next::IPV4 | Next::IPV6) => Begin::Ip(at),
        // What is not read: only as the RFC has its reserved bits.
        Ok(Next::VLAN | Next::PPPOE) | Err(_) if h[1] & 0x3f == 0 && h[7] == 0 => Begin::Tunnel,
        _ => Begin::Other,
    }
}
