//! VXLAN (RFC 7348 section 5), and its generic extension (draft-ietf-nvo3-vxlan-gpe): 8 bytes.

use super::next::Next;
use super::types::{Begin, Fault};

/// The destination port that IANA assigned.
pub(super) const PORT: u16 = 4789;
/// The one that Linux had before, and still has where none is configured.
pub(super) const OLD_LINUX_PORT: u16 = 8472;
/// The destination port of the generic protocol extension.
pub(super) const GPE_PORT: u16 = 4790;

/// The network identifier is valid: set in each VXLAN packet.
const INSTANCE: u8 = 0x08;
/// Reserved in VXLAN, and set in nearly every QUIC packet (the fixed bit, RFC 9000 section 17).
const QUIC_FIXED: u8 = 0x40;

const GPE_VERSION: u8 = 0x30;
const GPE_NEXT_PROTOCOL: u8 = 0x04;

/// What the VXLAN header `h` at `at` carries: an Ethernet frame, or nothing if this is no VXLAN.
///
/// The reserved bits but one are not looked at, since the RFC has the receiver ignore them; they
/// are in use (group policy, remote checksum offload).
///
/// It is [`Next::HIDDEN`] where it may be VXLAN or QUIC: the answer to a client that happens to have this port.
#[inline(always)]
pub(super) const fn read(h: &[u8; 8], at: usize) -> (Next, usize) {
    let next = match h[0] & (INSTANCE | QUIC_FIXED) {
        INSTANCE => Next::ETHERNET,
        flags if flags & INSTANCE != 0 => Next::HIDDEN,
        // Without a valid network identifier a receiver takes nothing out of it.
        _ => Next::END,
    };
    (next, at + 8)
}

/// As [`read`], for the generic extension, where a byte of the header names what it carries.
///
/// # Errors
/// [`Fault::Opaque`] for NSH and MPLS.
#[inline(always)]
pub(super) fn read_gpe(h: &[u8; 8], at: usize) -> Result<(Next, usize), Fault> {
    if h[0] & INSTANCE == 0 {
        return Ok((Next::END, at));
    }
    if h[0] & (QUIC_FIXED | GPE_VERSION) != 0 {
        return Ok((Next::HIDDEN, at + 8));
    }
    let next = match h[3] {
        _ if h[0] & GPE_NEXT_PROTOCOL == 0 => Next::ETHERNET,
        1 => Next::IPV4,
        2 => Next::IPV6,
        3 => Next::ETHERNET,
        4 | 5 => return Err(Fault::Opaque),
        _ => Next::HIDDEN,
    };
    Ok((next, at + 8))
}

/// What a later segment of a larger datagram begins with, by its first bytes.
#[inline(always)]
pub(super) const fn segment(h: &[u8; 8]) -> Begin {
    if h[0] & INSTANCE != 0 { Begin::Ethernet(8) } else { Begin::Other }
}

/// As [`segment`], for the generic extension.
#[inline(always)]
pub(super) const fn segment_gpe(h: &[u8; 8]) -> Begin {
    if h[0] & INSTANCE == 0 || h[0] & GPE_VERSION != 0 {
        return Begin::Other;
    }
    match h[3] {
        _ if h[0] & GPE_NEXT_PROTOCOL == 0 => Begin::Ethernet(8),
        1 | 2 => Begin::Ip(8),
        3 => Begin::Ethernet(8),
        // NSH and MPLS, whose own headers can be anything: only as the draft has its reserved bits.
        4 | 5 if h[1] == 0 && h[2] == 0 && h[7] == 0 => Begin::Tunnel,
        _ => Begin::Other,
    }
}
