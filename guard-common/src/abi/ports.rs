//! Keys of the port tables: protocols with ports by turns, and what has no readable port behind them.

/// The key of a port in the port tables: protocols with ports by turns, 65,536 keys each, port in host order.
#[inline(always)]
#[must_use]
pub const fn port_key(protocol: u8, port: u16) -> u32 {
    (port_class(protocol) << 16) | port as u32
}

/// The key of a packet of this protocol whose ports nobody can read: a later fragment, or a protocol
/// without ports. A later fragment may begin with an extension header: see [`ANY_PROTOCOL_KEY`].
#[inline(always)]
#[must_use]
pub const fn no_port_key(protocol: u8) -> u32 {
    (NO_PORT_CLASS + port_class(protocol)) << 16
}

/// From this class on keys stand for packets without readable ports.
pub const NO_PORT_CLASS: u32 = 8;

/// The key of a later fragment that begins with an extension header: its protocol may be any.
pub const ANY_PROTOCOL_KEY: u32 = (NO_PORT_CLASS + EXTENSION_CLASS as u32) << 16;

/// The first key past all that there are.
pub const PORT_KEYS_END: u32 = (2 * NO_PORT_CLASS) << 16;

const EXTENSION_CLASS: u8 = 7;

/// Protocols that have ports (IANA protocol numbers): TCP, UDP, SCTP, DCCP, UDP-Lite.
pub const PORT_PROTOCOLS: [u8; 5] = [6, 17, 132, 33, 136];

/// IPv6 extension headers (RFC 8200 section 4, RFC 4302, RFC 6275, RFC 7401, RFC 5533), behind which
/// any transport may follow.
const EXTENSION_HEADERS: [u8; 8] = [0, 43, 44, 51, 60, 135, 139, 140];

static PORT_CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut at = 0;
    while at < PORT_PROTOCOLS.len() {
        classes[PORT_PROTOCOLS[at] as usize] = at as u8 + 1;
        at += 1;
    }
    at = 0;
    while at < EXTENSION_HEADERS.len() {
        classes[EXTENSION_HEADERS[at] as usize] = EXTENSION_CLASS;
        at += 1;
    }
    classes
};

/// The class of a protocol in the port tables: 1 to 5 for [`PORT_PROTOCOLS`], 7 for IPv6 extension
/// headers, else 0.
#[inline(always)]
#[must_use]
pub const fn port_class(protocol: u8) -> u32 {
    PORT_CLASSES[protocol as usize] as u32
}
