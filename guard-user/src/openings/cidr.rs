//! Runs of addresses, written as CIDRs.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

/// CIDRs of one run that are written out; more are written as the run's ends.
const MOST: usize = 3;

/// A run of addresses of one family, both ends included, written as CIDRs where these are few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidrs {
    /// The lowest.
    pub first: IpAddr,
    /// The highest.
    pub last: IpAddr,
}

impl Cidrs {
    /// How many addresses; `u128::MAX` for all of IPv6.
    #[must_use]
    pub fn addresses(&self) -> u128 {
        number(self.last).saturating_sub(number(self.first)).saturating_add(1)
    }

    /// The CIDRs that have just these addresses, at most so many.
    #[must_use]
    pub fn networks(&self, most: usize) -> Vec<IpNetwork> {
        let bits: u32 = if self.first.is_ipv4() { 32 } else { 128 };
        let (mut at, last) = (number(self.first), number(self.last));
        let mut networks = Vec::new();
        while networks.len() < most && at <= last {
            let mut host = at.trailing_zeros().min(bits);
            // A network that is larger than what is left.
            while host > 0 && (size_less_one(host) > last - at) {
                host -= 1;
            }
            let address = match self.first {
                IpAddr::V4(_) => Ipv4Addr::from(at as u32).into(),
                IpAddr::V6(_) => IpAddr::from(Ipv6Addr::from(at)),
            };
            networks.extend(IpNetwork::new(address, (bits - host) as u8));
            match at.checked_add(size_less_one(host)).and_then(|end| end.checked_add(1)) {
                Some(next) => at = next,
                None => break,
            }
        }
        networks
    }
}

/// The addresses of a network with so many bits of its own, less one.
const fn size_less_one(host: u32) -> u128 {
    match 1_u128.checked_shl(host) {
        Some(size) => size - 1,
        None => u128::MAX,
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl fmt::Display for Cidrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks = self.networks(MOST + 1);
        if networks.len() > MOST {
            return write!(f, "{}-{}", self.first, self.last);
        }
        let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
        f.write_str(&networks.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_written_as_cidrs_where_they_are_few() {
        let text = |first: &str, last: &str| {
            Cidrs { first: first.parse().unwrap(), last: last.parse().unwrap() }.to_string()
        };
        assert_eq!(text("0.0.0.0", "255.255.255.255"), "0.0.0.0/0");
        assert_eq!(text("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), "::/0");
        assert_eq!(text("192.0.2.1", "192.0.2.1"), "192.0.2.1/32");
        assert_eq!(text("192.0.2.0", "192.0.2.191"), "192.0.2.0/25, 192.0.2.128/26");
        assert_eq!(text("192.0.2.1", "192.0.2.255"), "192.0.2.1-192.0.2.255");
        assert_eq!(text("255.255.255.254", "255.255.255.255"), "255.255.255.254/31");
        assert_eq!(text("2001:db8::", "2001:db8::1"), "2001:db8::/127");
    }
}
