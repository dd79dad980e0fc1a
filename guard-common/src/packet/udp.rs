//! UDP (RFC 768) and UDP-Lite (RFC 3828): 8 bytes. The ports are taken, and they say which tunnel
//! may be inside.

use super::frame::Frame;
use super::next::Next;
use super::types::{Fault, Layer};
use super::{geneve, vxlan};

/// UDP's protocol number.
pub(super) const PROTOCOL: u8 = 17;
/// UDP-Lite's protocol number.
pub(super) const PROTOCOL_LITE: u8 = 136;

/// Destination ports of tunnels that are not read: L2TP (RFC 2661 section 8.1), GTP-U (3GPP TS 29.281 section 4.4.2.3),
/// Teredo (RFC 4380 section 2.7), AMT (RFC 7450 section 5.1), LISP's data (RFC 9300 section 5), GRE (RFC 8086), generic UDP encapsulation (draft-ietf-intarea-gue section 3), MPLS
/// (RFC 7510).
const L2TP: u16 = 1701;
const GTP_U: u16 = 2152;
const AMT: u16 = 2268;
const TEREDO: u16 = 3544;
pub(super) const LISP: u16 = 4341;
const GRE: u16 = 4754;
const GUE: u16 = 6080;
const MPLS: u16 = 6635;

/// The port of either end of ESP in UDP (RFC 3948 section 2.1), behind which nobody can read.
pub(super) const ESP: u16 = 4500;

/// Whether this is the destination port of a tunnel, one that is read or one that is not.
#[inline(always)]
pub(super) const fn is_of_a_tunnel(dport: u16) -> bool {
    let is_read = matches!(dport, vxlan::PORT | vxlan::OLD_LINUX_PORT | vxlan::GPE_PORT | geneve::PORT);
    is_read || matches!(dport, L2TP | GTP_U | AMT | TEREDO | LISP | GRE | GUE | MPLS)
}

/// Whether a datagram of `length` bytes to one of these ports that begins so is a tunnel's. Clients that happen to have
/// the port get answers with other bytes.
#[inline(always)]
pub(super) fn carries_ip(dport: u16, h: &[u8; 8], length: u16) -> bool {
    let word = |at: usize| u16::from_be_bytes([h[at], h[at + 1]]);
    // An IP packet that the datagram has room for.
    let is_ip = match h[0] >> 4 {
        4 => word(2) >= 20 && word(2) <= length,
        6 => u32::from(word(4)) + 40 <= u32::from(length),
        _ => false,
    };
    match dport {
        // Data, not control; version 2 or 3 (RFC 2661 section 3.1, RFC 3931 section 4.1.2.1).
        L2TP => h[0] & 0x80 == 0 && matches!(h[1] & 0x0f, 2 | 3),
        // Version 1 with a user's packet (section 5.1).
        GTP_U => h[0] >> 4 == 3 && h[1] == 255,
        // A user's packet (section 5.1.6).
        AMT => matches!([h[0], h[1]], [6, 0]) && matches!(h[2] >> 4, 4 | 6),
        // An IPv6 packet, or an origin or authentication header before one (section 5.1.1).
        TEREDO => is_ip || matches!([h[0], h[1]], [0, 0 | 1]),
        GRE => h[1] & 7 == 0 && matches!(word(2), 0x0800 | 0x86dd | 0x6558),
        // Version 1 is an IP packet as it stands; version 0 names what is inside by its IP protocol.
        GUE => is_ip || (h[0] >> 6 == 0 && matches!(h[1], 4 | 41 | 47 | 97 | 137 | 143)),
        // A stack of one label has its packet behind it (RFC 3032 section 2.1).
        MPLS => h[2] & 1 == 0 || matches!(h[4] >> 4, 4 | 6),
        _ => false,
    }
}

/// Puts the ports of the header at `at` into the layer; what follows, and where.
///
/// It is a tunnel if the destination port and then the tunnel's own header say so, and ESP if either port does.
///
/// # Errors
/// [`Fault::TinyFragment`] if the bytes that would tell come in another fragment, and
/// [`Fault::TooDeep`] if they were not copied: a receiver would see a tunnel there. And those of
/// [`Frame::header`] and the tunnel's header.
#[inline(always)]
pub(super) fn read(frame: &Frame<'_>, at: usize, layer: &mut Layer) -> Result<(Next, usize), Fault> {
    let [s0, s1, d0, d1, l0, l1, ..] = *frame.header::<8>(at)?;
    layer.set_ports([s0, s1], [d0, d1]);
    let dport = layer.dport;
    let length = match u16::from_be_bytes([l0, l1]) {
        // A jumbogram (RFC 2675 section 4), or what the kernel has yet to cut.
        0 => u16::MAX,
        length => length.saturating_sub(8),
    };
    let at = at + 8;
    let may_be_esp = layer.sport == ESP || dport == ESP;
    if is_of_a_tunnel(dport) {
        // Every header has an even length, and none is read past the 256th byte.
        layer.tunnel = (at / 2) as u8;
    }
    if !is_of_a_tunnel(dport) && !may_be_esp {
        return Ok((Next::END, at));
    }
    let h = match frame.header::<8>(at) {
        Ok(h) => h,
        // Too short for the header of any of these tunnels, so it is something else.
        Err(Fault::Truncated) => return Ok((Next::END, at)),
        Err(fault) => return Err(fault),
    };
    match dport {
        vxlan::PORT | vxlan::OLD_LINUX_PORT => Ok(vxlan::read(h, at)),
        vxlan::GPE_PORT => vxlan::read_gpe(h, at),
        geneve::PORT => geneve::read(frame, h, at),
        _ if carries_ip(dport, h, length) => Err(Fault::Opaque),
        // Its header is all bits and numbers, so the packet behind it is looked at.
        LISP => match frame.header::<1>(at + 8) {
            Ok([first]) if matches!(first >> 4, 4 | 6) => Err(Fault::Opaque),
            Ok(_) | Err(Fault::Truncated) => Ok((Next::END, at)),
            Err(fault) => Err(fault),
        },
        // A pseudo-wire's frame, or an answer to a client that happens to have this port.
        MPLS => Ok((Next::HIDDEN, at)),
        // Four zero bytes come before IKE.
        _ if may_be_esp && h[..4] != [0; 4] => Ok((Next::HIDDEN, at)),
        _ => Ok((Next::END, at)),
    }
}

/// Puts the ports of the UDP-Lite header at `at` into the layer. Nothing follows that is read.
///
/// # Errors
/// Those of [`Frame::header`].
#[inline(always)]
pub(super) fn read_lite(frame: &Frame<'_>, at: usize, layer: &mut Layer) -> Result<(Next, usize), Fault> {
    let [s0, s1, d0, d1, ..] = *frame.header::<8>(at)?;
    layer.set_ports([s0, s1], [d0, d1]);
    Ok((Next::END, at))
}
