//! What is asked of a trace, and what is told of a packet.

use std::time::Duration;

use guard_common::abi::traced::TraceNetwork;
use guard_common::packet::Addr;
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

/// How long a trace goes on without a request of its client, and how long the kernel's programs tell anything without the daemon.
pub const TRACE_LEASE: Duration = Duration::from_secs(3);
/// The most packets of one trace.
pub const MOST_PACKETS: u64 = 1000;
/// The longest time of one trace, in seconds.
pub const MOST_SECONDS: u64 = 300;
/// The longest name of a trace, in bytes.
pub const MOST_NAME: usize = 64;

/// What is traced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceWanted {
    /// The network that one of a packet's layers comes from, as a CIDR; null for any.
    #[serde(default)]
    pub from: Option<IpNetwork>,
    /// The network that the same layer goes to.
    #[serde(default)]
    pub to: Option<IpNetwork>,
    /// The pin that tags the packet.
    #[serde(default)]
    pub pin: Option<String>,
    /// How many packets are told, from 1 to [`MOST_PACKETS`].
    pub packets: u64,
    /// For how long, in seconds from the moment on that the tracing programs are on the interfaces: from 1 to
    /// [`MOST_SECONDS`].
    pub seconds: u64,
}

/// What was told of one packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracedRecords {
    /// The name of the interface that it left or came in by; null where it has gone since.
    pub interface: Option<String>,
    /// That of the one by which a forwarded packet came in.
    pub came_in_by: Option<String>,
    /// Its records, each a head and four words, as [`guard_common::abi::traced`] has them.
    pub records: Vec<[u64; 5]>,
}

/// The network as the kernel's program compares it.
#[must_use]
pub fn network(network: IpNetwork) -> TraceNetwork {
    let before = if network.is_ipv4() { 96 } else { 0 };
    let length = u32::from(network.prefix()) + before;
    let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
    let mask = Addr { hi: (mask >> 64) as u64, lo: mask as u64 };
    TraceNetwork { address: Addr::from(network.ip()), mask }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    fn networks() -> impl Strategy<Value = IpNetwork> {
        prop_oneof![
            (any::<[u8; 4]>(), 0_u8..=32)
                .prop_map(|(ip, length)| IpNetwork::new(IpAddr::from(ip), length).unwrap()),
            (any::<[u8; 16]>(), 0_u8..=128)
                .prop_map(|(ip, length)| IpNetwork::new(IpAddr::from(ip), length).unwrap()),
        ]
    }

    proptest! {
        #[test]
        fn the_kernel_takes_a_network_as_people_do(network in networks(), near: [u8; 16], flip in 0_u32..128) {
            // One that differs from the network's by one bit, and any other.
            let own = match network.ip() {
                IpAddr::V4(v4) => IpAddr::from((u32::from(v4) ^ 1_u32.rotate_left(flip)).to_be_bytes()),
                IpAddr::V6(v6) => IpAddr::from((u128::from(v6) ^ 1 << flip).to_be_bytes()),
            };
            let [a, b, c, d, ..] = near;
            for address in [own, network.ip(), IpAddr::from(near), IpAddr::from([a, b, c, d])] {
                // The parser writes both forms of an IPv4 address alike.
                let is_mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
                if is_mapped {
                    continue;
                }
                let of_other = network.is_ipv6() && address.is_ipv4();
                let expected = network.contains(address);
                let found = super::network(network).has(Addr::from(address));
                prop_assert!(found == expected || of_other && !expected, "{network} {address}");
            }
        }
    }
}
