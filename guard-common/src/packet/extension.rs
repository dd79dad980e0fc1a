//! The headers between IP and the transport: IPv6 extension headers (RFC 8200 section 4), and the
//! authentication header (RFC 4302), which IPv4 has as well.
//!
//! 8 bytes of each are read, more only of a routing header (see [`routing`]). What cannot be
//! walked ends the walk and is the packet's protocol: ESP (RFC 4303), no next header (59), and
//! every number that is no extension header here.

use super::frame::Frame;
use super::next::{Next, Route};
use super::routing;
use super::types::{Fault, Layer};

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

/// Whether a header of this number stands between IP and the transport.
#[inline(always)]
pub(super) fn is_extension(protocol: u8, ipv6: bool) -> bool {
    match protocol {
        AUTHENTICATION => true,
        HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS | MOBILITY | HOST_IDENTITY | SHIM6 => ipv6,
        _ => false,
    }
}

/// Reads the header of number `protocol` at `at`; what follows, and where.
///
/// The number of what follows becomes the layer's protocol, and a fragment header marks the layer.
///
/// # Errors
/// [`Fault::BadHeader`] for an authentication header shorter than its fixed part, and those of
/// [`Frame::header`], [`Frame::reaches`] and [`routing::read`].
#[inline(always)]
pub(super) fn read(
    frame: &mut Frame<'_>,
    protocol: u8,
    at: usize,
    route: &mut Route,
    layer: &mut Layer,
) -> Result<(Next, usize), Fault> {
    let h = frame.header::<8>(at)?;
    let len = match protocol {
        FRAGMENT => 8,
        // RFC 4302 section 2.2: in words of 4 bytes, less 2. The fixed part is 12 bytes.
        AUTHENTICATION if h[1] == 0 => return Err(Fault::BadHeader),
        AUTHENTICATION => (usize::from(h[1]) + 2) * 4,
        _ => (usize::from(h[1]) + 1) * 8,
    };
    let end = at + len;
    frame.reaches(end)?;
    layer.proto = h[0];
    if protocol == ROUTING {
        return routing::read(h, at, len, route);
    }
    if protocol == FRAGMENT {
        // RFC 8200 section 4.5. Without an offset and more fragments it is an atomic fragment (RFC
        // 6946), which is a whole packet.
        let fragment = u16::from_be_bytes([h[2], h[3]]);
        if fragment & 0xfff8 != 0 {
            // Which protocol it is the first fragment alone decides.
            layer.flags |= Layer::FRAGMENT | Layer::LATER_FRAGMENT | Layer::HIDDEN;
            return Ok((Next::END, end));
        }
        if fragment & 1 != 0 {
            layer.flags |= Layer::FRAGMENT;
            frame.begin_fragment();
        }
    }
    Ok((Next::protocol(h[0]), end))
}
