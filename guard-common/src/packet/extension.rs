//! The headers between IP and the transport: IPv6 extension headers (RFC 8200 section 4), and the
//! authentication header (RFC 4302), which IPv4 has as well.
//!
//! At most [`MAX_EXTENSIONS`] of them, and 8 bytes of each are read, more only of a routing header
//! (see [`routing`]). What cannot be walked ends the walk and is the packet's protocol: ESP (RFC
//! 4303), no next header (59), and every number that is no extension header here.

use super::{
    Fault, Layer, Packet,
    frame::{Frame, settled},
    ipv6, routing,
};

/// Extension headers of one IP packet. RFC 8200 section 4.1 recommends an order in which seven
/// stand.
const MAX_EXTENSIONS: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
/// RFC 6275 section 6.1.
const MOBILITY: u8 = 135;
/// RFC 7401 section 5.1.
const HOST_IDENTITY: u8 = 139;
/// RFC 5533 section 5.1.
const SHIM6: u8 = 140;

/// Walks from the header of number `protocol` at `at` to the first one that is no extension
/// header, and gives its number and offset. `start` is where the IP header is. Puts the number into layer `index`, and marks there
/// what a fragment header says. The walk ends at the fragment header of a later fragment.
///
/// # Errors
/// [`Fault::TooDeep`] past [`MAX_EXTENSIONS`], [`Fault::BadHeader`] for an authentication header
/// shorter than its fixed part, and those of [`Frame::header`], [`Frame::reaches`] and
/// [`routing::read`].
#[inline(always)]
pub(super) fn walk(
    frame: &mut Frame<'_>,
    start: usize,
    (protocol, at): (u8, usize),
    index: usize,
    out: &mut Packet,
) -> Result<(u8, usize), Fault> {
    let Some(layer) = out.layers.get(index) else {
        return Err(Fault::TooDeep);
    };
    let ipv6 = layer.flags & Layer::IPV6 != 0;
    if !is_extension(protocol, ipv6) {
        return Ok((protocol, at));
    }
    let (mut protocol, mut at) = (protocol, at);
    for _ in 0..MAX_EXTENSIONS {
        at = settled(at);
        let h = frame.header::<8>(at)?;
        let len = match protocol {
            FRAGMENT => 8,
            // RFC 4302 section 2.2: in words of 4 bytes, less 2. The fixed part is 12 bytes.
            AUTHENTICATION if h[1] == 0 => return Err(Fault::BadHeader),
            AUTHENTICATION => (usize::from(h[1]) + 2) * 4,
            _ => (usize::from(h[1]) + 1) * 8,
        };
        if protocol == ROUTING {
            routing::read(frame, h, at, len, out)?;
        }
        let mut later = false;
        if protocol == FRAGMENT {
            // RFC 8200 section 4.5. Without an offset and more fragments it is an atomic fragment
            // (RFC 6946), which is a whole packet.
            let fragment = u16::from_be_bytes([h[2], h[3]]);
            let offset = fragment & 0xfff8;
            later = offset != 0;
            if later {
                out.mark(index, Layer::FRAGMENT | Layer::LATER_FRAGMENT);
            } else if fragment & 1 != 0 {
                out.mark(index, Layer::FRAGMENT);
                frame.end_at(ipv6::end(frame, start)?);
            }
        }
        protocol = h[0];
        at += len;
        out.set_protocol(index, protocol);
        frame.reaches(at)?;
        if later || !is_extension(protocol, ipv6) {
            return Ok((protocol, settled(at)));
        }
    }
    Err(Fault::TooDeep)
}

#[inline(always)]
fn is_extension(protocol: u8, ipv6: bool) -> bool {
    match protocol {
        AUTHENTICATION => true,
        HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS | MOBILITY | HOST_IDENTITY | SHIM6 => ipv6,
        _ => false,
    }
}
