//! Which addresses a test may use.
use std::net::Ipv4Addr;

use ipnetwork::IpNetwork;

use crate::error::SetupError;

/// Refuses addresses outside the ranges for documentation (RFC 5737, RFC 3849), and those that are nobody's but that a geo
/// database may place: those of the former 6to4 relays (RFC 7526) and of the unassigned 4000::/3 (RFC 4291 section 4).
pub(super) fn check_documentation(address: IpNetwork) -> Result<(), SetupError> {
    let inside = match address {
        IpNetwork::V4(network) => {
            let blocks =
                [[192, 0, 2, 0], [198, 51, 100, 0], [203, 0, 113, 0], [192, 88, 99, 0]].map(Ipv4Addr::from);
            network.prefix() >= 24 && blocks.contains(&Ipv4Addr::from(u32::from(network.ip()) & 0xffff_ff00))
        }
        IpNetwork::V6(network) => {
            let segments = network.ip().segments();
            network.prefix() >= 32
                && (segments.starts_with(&[0x2001, 0x0db8]) || segments.starts_with(&[0x4000, 0x0db8]))
        }
    };
    if inside { Ok(()) } else { Err(SetupError::NotDocumentation { address }) }
}
