//! A geo database of a test's own, in the MaxMind DB format.
use std::fs;
use std::net::IpAddr;
use std::path::Path;

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

/// Writes a database that is read in no time, and places none of the hosts of [`crate::bed`]: sites do. Returns the table
/// `[geo]` for it. The embedded one has 600,000 places, and all that compares two policies goes through them.
///
/// # Errors
/// Where the file can't be written.
pub fn small(file: &Path) -> Result<String> {
    fs::write(file, countries(&[("198.18.0.0/15", "US"), ("2001:db8:ffff::/48", "IE")])?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(format!("[geo]\nfiles = [{file:?}]\nmax_age = \"36500d\"\n"))
}
