//! UDP (RFC 768) and UDP-Lite (RFC 3828): 8 bytes. The ports are taken, and the destination port
//! says which tunnel may be inside.

use super::{Fault, Layer, Next, frame::Frame, geneve, vxlan};

/// UDP's protocol number.
pub(super) const PROTOCOL: u8 = 17;
/// UDP-Lite's protocol number.
pub(super) const PROTOCOL_LITE: u8 = 136;

/// Puts the ports of the header at `at` into the layer; what follows, and where.
///
/// It is a tunnel if the destination port and then the tunnel's own header say so.
///
/// # Errors
/// [`Fault::TinyFragment`] if the bytes that would tell come in another fragment, and
/// [`Fault::TooDeep`] if they were not copied: a receiver would see a tunnel there. And those of
/// [`Frame::header`] and the tunnel's header.
#[inline(always)]
pub(super) fn read(frame: &Frame<'_>, at: usize, layer: &mut Layer) -> Result<(Next, usize), Fault> {
    let [s0, s1, d0, d1, ..] = *frame.header::<8>(at)?;
    layer.set_ports([s0, s1], [d0, d1]);
    let dport = layer.dport;
    let at = at + 8;
    if !matches!(dport, vxlan::PORT | vxlan::OLD_LINUX_PORT | vxlan::GPE_PORT | geneve::PORT) {
        return Ok((Next::END, at));
    }
    match frame.header::<8>(at) {
        Ok(h) if dport == geneve::PORT => geneve::read(frame, h, at),
        Ok(h) if dport == vxlan::GPE_PORT => vxlan::read_gpe(h, at),
        Ok(h) => Ok(vxlan::read(h, at)),
        // Too short for the header of any of these tunnels, so it is something else.
        Err(Fault::Truncated) => Ok((Next::END, at)),
        Err(fault) => Err(fault),
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
