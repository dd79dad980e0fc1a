//! The demo's network: who is where.
use std::net::IpAddr;

use anyhow::Result;

use crate::netns::{HOST_INTERFACE, Host, Lan, Netns};

/// A part of the demo's network.
#[derive(Debug)]
pub(super) struct Place {
    /// The namespace's label.
    pub(super) label: &'static str,
    /// What the table calls it.
    pub(super) name: &'static str,
    /// The jurisdiction that it must be placed in.
    pub(super) jurisdiction: &'static str,
    /// The site's name and CIDRs in the policy; `None`: no site covers it.
    pub(super) site: Option<(&'static str, [&'static str; 2])>,
    /// Its addresses with their subnets' prefix lengths.
    pub(super) addresses: [&'static str; 2],
}

/// The storage host.
pub(super) const DUBLIN: Place = Place {
    label: "dublin",
    name: "Dublin",
    jurisdiction: "IE",
    site: Some(("dublin-dc", ["192.0.2.0/24", "2001:db8:1::/48"])),
    addresses: ["192.0.2.10/24", "2001:db8:1::10/64"],
};

/// A client inside the EU.
pub(super) const BELGIUM: Place = Place {
    label: "belgium",
    name: "Belgium",
    jurisdiction: "BE",
    site: Some(("brussels-office", ["198.51.100.0/25", "2001:db8:2::/48"])),
    addresses: ["198.51.100.20/25", "2001:db8:2::20/64"],
};

/// A client outside the EU.
pub(super) const US: Place = Place {
    label: "us",
    name: "US",
    jurisdiction: "US",
    site: Some(("boston-office", ["203.0.113.0/24", "2001:db8:3::/48"])),
    addresses: ["203.0.113.30/24", "2001:db8:3::30/64"],
};

/// A client that no site covers and no database knows: documentation addresses are nowhere.
pub(super) const NOWHERE: Place = Place {
    label: "nowhere",
    name: "nowhere",
    jurisdiction: "unknown",
    site: None,
    addresses: ["198.51.100.130/25", "2001:db8:ff::40/64"],
};

/// All of them.
pub(super) const PLACES: [&Place; 4] = [&DUBLIN, &BELGIUM, &US, &NOWHERE];

/// A second desk in the US office, that no exemption names.
pub(super) const US_OTHER: &str = "203.0.113.77/24";

impl Place {
    /// One of its addresses, without the prefix length.
    pub(super) fn address(&self, family: Family) -> Result<IpAddr> {
        let [v4, v6] = self.addresses;
        host_part(match family {
            Family::V4 => v4,
            Family::V6 => v6,
        })
    }
}

/// The address of `address/length`.
pub(super) fn host_part(network: &str) -> Result<IpAddr> {
    Ok(network.parse::<ipnetwork::IpNetwork>()?.ip())
}

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// The namespaces of all places, and the router between them.
#[derive(Debug)]
pub(super) struct World {
    lan: Lan,
}

impl World {
    pub(super) fn new() -> Result<Self> {
        let mut hosts = Vec::new();
        for place in PLACES {
            let [v4, v6] = place.addresses;
            hosts.push(Host::new(place.label).address(v4.parse()?).address(v6.parse()?));
        }
        let lan = Lan::new(&hosts)?;
        lan.host(US.label)?.add_address(HOST_INTERFACE, US_OTHER.parse()?)?;
        Ok(World { lan })
    }

    pub(super) fn netns(&self, place: &Place) -> Result<&Netns> {
        Ok(self.lan.host(place.label)?)
    }
}
