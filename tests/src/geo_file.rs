//! A geo database of a test's own, in the MaxMind DB format.
use std::net::IpAddr;

use anyhow::{Context, Result};
use ipnetwork::IpNetwork;
use writer::{Value, Writer};

// The writer that the reader's own tests hold against another reader.
#[path = "../../guard-user/src/geo/mmdb/writer.rs"]
#[allow(dead_code, reason = "one shape of tree and record is enough here")]
mod writer;

/// A file that places networks, none of which contains another, each in its country.
///
/// # Errors
/// Where a network is none.
pub fn countries(networks: &[(&str, &'static str)]) -> Result<Vec<u8>> {
    let mut file = Writer::new(6);
    for (network, code) in networks {
        let country = Value::Map(vec![("iso_code", Value::Text(code))]);
        let record = file.record(&Value::Map(vec![("country", country)]));
        let network: IpNetwork = network.parse().with_context(|| format!("{network} is no network"))?;
        // An IPv6 tree has the IPv4 addresses in ::/96.
        let (key, prefix) = match network.ip() {
            IpAddr::V4(ip) => (u128::from(u32::from(ip)), u32::from(network.prefix()) + 96),
            IpAddr::V6(ip) => (u128::from(ip), u32::from(network.prefix())),
        };
        file.network(key, prefix, record);
    }
    Ok(file.bytes())
}
