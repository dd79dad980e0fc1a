//! A small network: hosts in subnets of their own, and one router between them.
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

use super::documentation::check_documentation;
use super::namespace::Netns;
use crate::error::SetupError;

/// The name of every host's one interface to the router.
pub const HOST_INTERFACE: &str = "eth0";

/// One host of a [`Lan`]: a label and its addresses with their prefix lengths.
#[derive(Debug, Clone)]
pub struct Host {
    label: String,
    addresses: Vec<IpNetwork>,
}

impl Host {
    /// A host called `label` (1 to 20 of `a-z`, `0-9` and `-`).
    pub fn new(label: &str) -> Self {
        Host { label: label.to_owned(), addresses: Vec::new() }
    }

    /// Gives it an address, for example `192.0.2.10/24` or `2001:db8:1::10/64`. The prefix is the
    /// host's own subnet, and the router takes the subnet's first address (or its second where that
    /// is the host's).
    #[must_use]
    pub fn address(mut self, address: IpNetwork) -> Self {
        self.addresses.push(address);
        self
    }
}

/// Hosts that reach each other through a router, and nothing else.
#[derive(Debug)]
pub struct Lan {
    hosts: BTreeMap<String, Netns>,
    router: Netns,
}

impl Lan {
    /// Makes the namespaces, links, addresses and routes; when it returns, packets flow.
    ///
    /// # Errors
    /// [`SetupError::Topology`] when labels repeat or subnets overlap,
    /// [`SetupError::NotDocumentation`] for an address outside the documentation ranges, else as
    /// [`Netns::new`].
    pub fn new(hosts: &[Host]) -> Result<Self, SetupError> {
        check(hosts)?;
        let router = Netns::new("router")?;
        router.forward()?;
        let mut made = BTreeMap::new();
        for (number, host) in hosts.iter().enumerate() {
            let netns = Netns::new(&host.label)?;
            let port = format!("port{number}");
            netns.link(HOST_INTERFACE, &router, &port)?;
            for &address in &host.addresses {
                let gateway = gateway(address)?;
                netns.add_address(HOST_INTERFACE, address)?;
                router.add_address(&port, gateway)?;
            }
            for family in [IpAddr::is_ipv4, IpAddr::is_ipv6] {
                if let Some(&first) = host.addresses.iter().find(|address| family(&address.ip())) {
                    netns.add_default_route(gateway(first)?.ip())?;
                }
            }
            made.insert(host.label.clone(), netns);
        }
        Ok(Lan { hosts: made, router })
    }

    /// The namespace of a host.
    ///
    /// # Errors
    /// [`SetupError::Topology`] if there is no host of that label.
    pub fn host(&self, label: &str) -> Result<&Netns, SetupError> {
        let why = || format!("no host is called `{label}`; there are: {}", self.labels());
        self.hosts.get(label).ok_or_else(|| SetupError::Topology { why: why() })
    }

    /// The router's namespace; its interface to the n-th host is `port<n>`, counted from 0.
    pub fn router(&self) -> &Netns {
        &self.router
    }

    fn labels(&self) -> String {
        self.hosts.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// The router's address in the subnet of `host`.
fn gateway(host: IpNetwork) -> Result<IpNetwork, SetupError> {
    let after = |add: u8| match host.network() {
        IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from(u32::from(first).wrapping_add(u32::from(add)))),
        IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from(u128::from(first).wrapping_add(u128::from(add)))),
    };
    let address = if after(1) == host.ip() { after(2) } else { after(1) };
    let too_small = || SetupError::Topology { why: format!("{host} leaves no room for a router") };
    let spare_bits = if host.is_ipv4() { 30 } else { 126 };
    if host.prefix() > spare_bits {
        return Err(too_small());
    }
    IpNetwork::new(address, host.prefix()).map_err(|_| too_small())
}

fn check(hosts: &[Host]) -> Result<(), SetupError> {
    let topology = |why: String| Err(SetupError::Topology { why });
    let mut seen: Vec<(&Host, IpNetwork)> = Vec::new();
    for (number, host) in hosts.iter().enumerate() {
        if host.label == "router" || hosts.iter().take(number).any(|other| other.label == host.label) {
            return topology(format!("the label `{}` is taken", host.label));
        }
        for &address in &host.addresses {
            check_documentation(address)?;
            let overlaps =
                |other: IpNetwork| other.contains(address.network()) || address.contains(other.network());
            if let Some((other, theirs)) = seen.iter().find(|(_, other)| overlaps(*other)) {
                return topology(format!(
                    "the subnets of {} ({address}) and {} ({theirs}) overlap",
                    host.label, other.label
                ));
            }
            seen.push((host, address));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNetwork {
        text.parse().unwrap()
    }

    #[test]
    fn only_documentation_addresses() {
        for good in [
            "192.0.2.1/24",
            "198.51.100.130/25",
            "203.0.113.30/32",
            "2001:db8::1/64",
            "2001:db8:ff::/48",
            "192.88.99.1/24",
            "4000:db8::1/64",
        ] {
            assert!(check_documentation(net(good)).is_ok(), "{good}");
        }
        for bad in
            ["192.0.3.1/24", "192.0.2.1/23", "10.0.0.1/8", "8.8.8.8/32", "2001:db9::1/64", "2001:db8::/31"]
        {
            assert!(check_documentation(net(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_router_is_first_or_makes_way() {
        assert_eq!(gateway(net("192.0.2.10/24")).unwrap(), net("192.0.2.1/24"));
        assert_eq!(gateway(net("192.0.2.1/24")).unwrap(), net("192.0.2.2/24"));
        assert_eq!(gateway(net("198.51.100.130/25")).unwrap(), net("198.51.100.129/25"));
        assert_eq!(gateway(net("2001:db8:1::10/64")).unwrap(), net("2001:db8:1::1/64"));
        assert!(gateway(net("192.0.2.1/32")).is_err());
    }

    #[test]
    fn networks_that_cannot_work_are_refused() {
        let host = |label: &str, address: &str| Host::new(label).address(net(address));
        assert!(check(&[host("a", "192.0.2.1/25"), host("b", "192.0.2.130/25")]).is_ok());
        let overlap = check(&[host("a", "192.0.2.1/24"), host("b", "192.0.2.130/25")]).unwrap_err();
        assert!(overlap.to_string().contains("overlap"), "{overlap}");
        let twice = check(&[host("a", "192.0.2.1/25"), host("a", "192.0.2.130/25")]).unwrap_err();
        assert!(twice.to_string().contains("`a` is taken"), "{twice}");
        assert!(check(&[host("router", "192.0.2.1/25")]).is_err());
    }
}
