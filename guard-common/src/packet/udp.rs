//! UDP (RFC 768) and UDP-Lite (RFC 3828): 8 bytes; the ports are taken, and by the destination
//! port it is decided which tunnel may be inside.

use super::{Fault, Next, Packet, frame::Frame, geneve, vxlan};

/// UDP's protocol number.
pub(super) const PROTOCOL: u8 = 17;
/// UDP-Lite's protocol number.
pub(super) const PROTOCOL_LITE: u8 = 136;

/// Puts the ports of the header at `at` into layer `index`, and gives the destination port.
///
/// # Errors
/// Those of [`Frame::header`].
#[inline(always)]
pub(super) fn read(frame: &Frame<'_>, at: usize, index: usize, out: &mut Packet) -> Result<u16, Fault> {
    let [s0, s1, d0, d1, ..] = *frame.header::<8>(at)?;
    let dport = u16::from_be_bytes([d0, d1]);
    out.set_ports(index, u16::from_be_bytes([s0, s1]), dport, 0);
    Ok(dport)
}

/// What the payload at `at` of a datagram to `dport` holds, if its port and its first bytes say
/// that it is a tunnel; else [`Next::End`].
///
/// # Errors
/// [`Fault::TinyFragment`] if the bytes that would tell come in another fragment, and
/// [`Fault::TooDeep`] if they were not copied: a receiver would see a tunnel there. And those of
/// the tunnel's own header.
#[inline(always)]
pub(super) fn tunnel(frame: &Frame<'_>, at: usize, dport: u16, out: &Packet) -> Result<(Next, usize), Fault> {
    if !matches!(dport, vxlan::PORT | vxlan::OLD_LINUX_PORT | vxlan::GPE_PORT | geneve::PORT) {
        return Ok((Next::End, at));
    }
    match frame.header::<8>(at) {
        Ok(h) if dport == geneve::PORT => geneve::read(frame, h, at),
        Ok(h) if dport == vxlan::GPE_PORT => vxlan::read_gpe(h, at),
        Ok(h) => Ok(vxlan::read(h, at)),
        // Too short for the header of any of these tunnels, so it is something else.
        Err(Fault::Truncated) if !out.has_first_fragment() => Ok((Next::End, at)),
        Err(fault) => Err(fault),
    }
}
