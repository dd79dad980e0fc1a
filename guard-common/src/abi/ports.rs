//! Keys of the port tables: protocols with ports by turns, and packets whose ports nobody can read behind them.

/// The key of a port in the port tables: protocols with ports by turns, 65,536 keys each, port in host order.
#[inline(always)]
#[must_use]
pub const fn port_key(protocol: u8, port: u16) -> u32 {
    (port_class(protocol) << 16) | port as u32
}

/// The key of a packet of this protocol whose ports nobody can read: a later fragment, or a segment of a
/// connection with other ports; or that has none.
#[inline(always)]
#[must_use]
pub const fn no_port_key(protocol: u8) -> u32 {
    (NO_PORT_CLASS + port_class(protocol)) << 16
}

/// From this class on keys stand for packets without readable ports.
pub const NO_PORT_CLASS: u32 = 8;

/// The class of what may be of any protocol, by any port.
pub const HIDDEN_CLASS: u32 = 7;

/// The key of a packet that may be of any protocol, by any port.
pub const HIDDEN_KEY: u32 = (NO_PORT_CLASS + HIDDEN_CLASS) << 16;

/// The first key past all that there are.
pub const PORT_KEYS_END: u32 = (2 * NO_PORT_CLASS) << 16;

/// Protocols that have ports (IANA protocol numbers): TCP, UDP, SCTP, DCCP, UDP-Lite.
pub const PORT_PROTOCOLS: [u8; 5] = [6, 17, 132, 33, 136];

static PORT_CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut at = 0;
    while at < PORT_PROTOCOLS.len() {
        classes[PORT_PROTOCOLS[at] as usize] = at as u8 + 1;
        at += 1;
    }
    classes
};

/// The class of a protocol in the port tables: 1 to 5 for [`PORT_PROTOCOLS`], else 0.
#[inline(always)]
#[must_use]
pub const fn port_class(protocol: u8) -> u32 {
    PORT_CLASSES[protocol as usize] as u32
}
