//! The packet parser: from the first bytes of a frame to who sends what to whom, in the outer
//! packet and in those inside it.
//!
//! The kernel program and the host run this same code. It has no `unsafe`, does not allocate, and
//! panics for no input.
//!
//! # What is read
//! Only the first [`HEADER_LEN`] bytes of the frame, by `frame::Frame::header` alone, which
//! checks each header against the end of the copied bytes. Each header has a file that names its
//! RFC and the bytes that it reads:
//!
//! | from | to |
//! | --- | --- |
//! | link | `ethernet` with VLAN tags, `pppoe`; or none ([`Link::Raw`]) |
//! | network | `ipv4` with source routes, `ipv6`; `extension` and `routing` headers |
//! | transport | `tcp`, `udp` and UDP-Lite, `sctp`, `dccp` |
//! | error | `icmp`: the packet that it quotes |
//! | tunnel | IP in IP, `gre`, `vxlan`, `geneve`: the next layer is inside |
//!
//! # Which bounds hold
//! [`MAX_LAYERS`] IP packets; [`MAX_HOPS`] hops of source routes together; [`MAX_HEADERS`] headers
//! behind those of a plain packet, whether VLAN tags, extension headers or options; and no header
//! that begins or ends behind byte [`HEADER_LEN`]. What goes past one of them is
//! [`Fault::TooDeep`], and never passes for a packet that was read to its end.
//!
//! Length fields of packets place nothing. They bound the data of a first fragment, and nothing
//! else: BIG TCP sends zero in them.
//!
//! # What cannot be seen
//! Encrypted tunnels (ESP, WireGuard, MACsec), tunnels on ports of an operator's own, and the
//! micro-segments that segment routing can pack into one destination (RFC 9800).

mod addr;
mod dccp;
mod ethernet;
mod extension;
mod frame;
mod geneve;
mod gre;
mod icmp;
mod ipv4;
mod ipv6;
mod next;
mod pppoe;
mod protocols;
mod routing;
mod sctp;
pub mod segment;
mod tcp;
mod types;
mod udp;
mod vlan;
mod vxlan;
mod walk;

pub use addr::Addr;
pub use icmp::{is_icmp, quote};
pub use protocols::hides_ports;
pub use types::{Begin, Fault, HEADER_LEN, Layer, Link, MAX_HOPS, MAX_LAYERS, Packet, Parsed};
pub use walk::{MAX_HEADERS, Walk, begin, contradicts, parse, step, to_the_end};

#[cfg(test)]
mod tests;
