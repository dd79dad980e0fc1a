//! Frames for tests, built layer by layer from the outside in.
//!
//! ```
//! use guard_tests::packet::{Ipv4, Packet};
//!
//! // A mail to a US client, inside a VXLAN tunnel to Belgium.
//! let frame = Packet::ethernet()
//!     .ipv4([192, 0, 2, 10], [198, 51, 100, 20])
//!     .udp(40000, 4789)
//!     .vxlan(42)
//!     .then_ethernet()
//!     .with(Ipv4::to([203, 0, 113, 30]).ttl(3))
//!     .tcp(8143, 50000)
//!     .payload("a mail")
//!     .build();
//! assert_eq!(frame.len(), 14 + 20 + 8 + 8 + 14 + 20 + 20 + 6);
//! ```
//!
//! Lengths, checksums and "what comes next" fields are filled in from the layers; a field that a test
//! wants wrong can be set by hand ([`Ipv4::total_length`], [`Ethernet::ether_type`], ...), and
//! [`Packet::truncate`] cuts the frame. An IP layer below an IP layer makes IPIP, 6in4 and the like.
//! Addresses are documentation addresses unless set.
mod addresses;
mod around;
mod builder;
mod checksum;
mod ipv4;
mod ipv6;
mod layer;
mod link;
mod transport;
mod tunnel;

pub use addresses::{CLIENT_V4, CLIENT_V6, STORAGE_V4, STORAGE_V6};
pub use builder::Packet;
pub use ipv4::{Ipv4, SourceRoute};
pub use ipv6::{AuthHeader, Ipv6, Ipv6Fragment, Options, Routing};
pub use layer::Layer;
pub use link::{Ethernet, Vlan};
pub use transport::{Echo, Sctp, Tcp, Udp};
pub use tunnel::{Geneve, Gre, Vxlan};
