//! One address type for both families: an IPv6 address, with IPv4 in its mapped form.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::search::mask_if_equal;

/// A 128-bit address as two halves in host order; IPv4 `a.b.c.d` is `::ffff:a.b.c.d` (RFC 4291
/// section 2.5.5.2).
///
/// Two `u64` and no `u128`: the BPF target has no 128-bit registers.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash, PartialOrd, Ord)]
pub struct Addr {
    /// Bits 127 to 64, the network half of an IPv6 address.
    pub hi: u64,
    /// Bits 63 to 0.
    pub lo: u64,
}

/// The upper half of `lo` in an IPv4-mapped address.
const MAPPED: u64 = 0xffff;

impl Addr {
    /// The first address of the well-known NAT64 prefix `64:ff9b::/96` (RFC 6052 section 2.1).
    pub const WELL_KNOWN_NAT64: Self = Self { hi: 0x0064_ff9b << 32, lo: 0 };

    /// An IPv4 address, given in host order (`192.0.2.1` is `0xc000_0201`).
    #[inline(always)]
    pub const fn from_v4(address: u32) -> Self {
        Self { hi: 0, lo: (MAPPED << 32) | address as u64 }
    }

    /// An IPv4 address as it stands in a header.
    #[inline(always)]
    pub const fn from_v4_octets(octets: [u8; 4]) -> Self {
        Self::from_v4(u32::from_be_bytes(octets))
    }

    /// The two halves of an IPv6 address as they stand in a header.
    #[inline(always)]
    pub const fn from_v6_halves(hi: [u8; 8], lo: [u8; 8]) -> Self {
        Self { hi: u64::from_be_bytes(hi), lo: u64::from_be_bytes(lo) }
    }

    /// The IPv4 address in host order, if this is one.
    ///
    /// An IPv4-mapped address that came in an IPv6 header gives the same answer; the layer's
    /// [`IPV6`](super::Layer::IPV6) flag tells the two apart.
    #[inline(always)]
    pub const fn v4(self) -> Option<u32> {
        // One comparison for both halves: one way less for the verifier to follow.
        if self.hi | (self.lo >> 32 ^ MAPPED) == 0 { Some(self.lo as u32) } else { None }
    }

    /// The IPv4 address (host order) that decides where a packet to this address ends up.
    ///
    /// Covers IPv4 itself and the mapped form `::ffff:0:0/96` (RFC 4291), 6to4 `2002::/16`
    /// (RFC 3056 section 2), the client address of Teredo `2001::/32`, whose bits are inverted on
    /// the wire (RFC 4380 section 4), and the well-known NAT64 prefix `64:ff9b::/96` (RFC 6052
    /// section 2.1). A NAT64 prefix of an operator's own has no mark by which it could be seen: see
    /// [`through_nat64`](crate::decide::through_nat64).
    #[inline(always)]
    pub fn embedded_v4(self) -> Option<u32> {
        if let Some(v4) = self.v4() {
            return Some(v4);
        }
        // All of these prefixes lie below 2003::, and most of today's global unicast above.
        if self.hi >= 0x2003 << 48 {
            return None;
        }
        // Masks instead of branches: see `search`.
        let six_to_four = mask_if_equal(self.hi >> 48, 0x2002);
        let teredo = mask_if_equal(self.hi >> 32, 0x2001_0000);
        let nat64 = mask_if_equal(self.hi, Self::WELL_KNOWN_NAT64.hi) & mask_if_equal(self.lo >> 32, 0);
        let v4 = (self.hi >> 16 & six_to_four) | (!self.lo & teredo) | (self.lo & nat64);
        if six_to_four | teredo | nat64 != 0 { Some(v4 as u32) } else { None }
    }

    /// Whether no router carries a packet with this destination off its link.
    ///
    /// IPv4: `169.254.0.0/16` (RFC 3927), `224.0.0.0/24` (RFC 5771 section 4) and
    /// `255.255.255.255` (RFC 919). IPv6: `fe80::/10` and multicast of interface-local and
    /// link-local scope, `ffX1::/16` and `ffX2::/16` (RFC 4291 sections 2.5.6 and 2.7; RFC 7346).
    #[inline(always)]
    pub fn is_link_scope(self) -> bool {
        let link = match self.v4() {
            Some(v4) => {
                let v4 = u64::from(v4);
                mask_if_equal(v4 >> 16, 0xa9fe)
                    | mask_if_equal(v4 >> 8, 0x00e0_0000)
                    | mask_if_equal(v4, 0xffff_ffff)
            }
            // Every link scope of IPv6 lies above fe80::.
            None if self.hi < 0xfe80 << 48 => 0,
            None => {
                let scope = self.hi >> 48 & 0xff0f;
                mask_if_equal(self.hi >> 54, 0xfe80 >> 6)
                    | mask_if_equal(scope, 0xff01)
                    | mask_if_equal(scope, 0xff02)
            }
        };
        link != 0
    }
}

impl From<Ipv4Addr> for Addr {
    fn from(address: Ipv4Addr) -> Self {
        Self::from_v4(address.to_bits())
    }
}

impl From<Ipv6Addr> for Addr {
    fn from(address: Ipv6Addr) -> Self {
        let bits = address.to_bits();
        Self { hi: (bits >> 64) as u64, lo: bits as u64 }
    }
}

impl From<IpAddr> for Addr {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => v6.into(),
        }
    }
}

impl From<Addr> for IpAddr {
    fn from(address: Addr) -> Self {
        match address.v4() {
            Some(v4) => Self::V4(Ipv4Addr::from_bits(v4)),
            None => Self::V6(Ipv6Addr::from_bits((u128::from(address.hi) << 64) | u128::from(address.lo))),
        }
    }
}

impl core::fmt::Display for Addr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addr(text: &str) -> Addr {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn embedded_addresses() {
        let v4 = Some(0xc000_0221);
        for text in [
            "192.0.2.33",
            "::ffff:192.0.2.33",
            "2002:c000:221::1",
            "2002:c000:221:ffff:ffff:ffff:ffff:ffff",
            "64:ff9b::192.0.2.33",
            // RFC 4380 section 4: server, flags, port, then the client's address inverted.
            "2001:0:4136:e378:8000:63bf:3fff:fdde",
        ] {
            assert_eq!(addr(text).embedded_v4(), v4, "{text}");
        }
        for text in [
            "::",
            "::1",
            "::192.0.2.33",
            "::fffe:192.0.2.33",
            "1::ffff:192.0.2.33",
            "64:ff9b:1::192.0.2.33",
            "64:ff9b::1:192.0.2.33",
            "64:ff9c::192.0.2.33",
            "2001:1::1",
            "2001:db8::1",
            "2003:c000:221::1",
            "2a00:1450::1",
        ] {
            assert_eq!(addr(text).embedded_v4(), None, "{text}");
        }
    }

    #[test]
    fn link_scope() {
        for text in [
            "169.254.0.0",
            "169.254.255.255",
            "224.0.0.0",
            "224.0.0.255",
            "255.255.255.255",
            "fe80::1",
            "febf:ffff::1",
            "ff01::1",
            "ff02::1:ff00:1",
            "ff12::5",
            "ff31::5",
        ] {
            assert!(addr(text).is_link_scope(), "{text}");
        }
        for text in [
            "169.253.255.255",
            "169.255.0.0",
            "224.0.1.0",
            "223.255.255.255",
            "255.255.255.254",
            "10.0.0.1",
            "fec0::1",
            "fe7f::1",
            "ff03::1",
            "ff05::2",
            "ff0e::1",
            "ff20::1",
            "::1",
            "2001:db8::1",
        ] {
            assert!(!addr(text).is_link_scope(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn ipv4_round_trip(bits: u32) {
            let ip = IpAddr::V4(Ipv4Addr::from_bits(bits));
            prop_assert_eq!(IpAddr::from(Addr::from(ip)), ip);
            prop_assert_eq!(Addr::from(ip), Addr::from_v4(bits));
            prop_assert_eq!(Addr::from_v4(bits).v4(), Some(bits));
        }

        #[test]
        fn ipv6_round_trip(bits: u128) {
            let ip = Ipv6Addr::from_bits(bits);
            prop_assert_eq!(IpAddr::from(Addr::from(ip)), IpAddr::V6(ip).to_canonical());
        }

        #[test]
        fn link_scope_agrees_with_std(bits: u128, v4: u32) {
            let v6 = Ipv6Addr::from_bits(bits);
            prop_assert_eq!(
                Addr::from(v6).is_link_scope(),
                match v6.to_ipv4_mapped() {
                    Some(v4) => Addr::from(v4).is_link_scope(),
                    None => v6.is_unicast_link_local()
                        || (v6.is_multicast() && matches!(v6.segments()[0] & 0xf, 1 | 2)),
                }
            );
            let v4 = Ipv4Addr::from_bits(v4);
            prop_assert_eq!(
                Addr::from(v4).is_link_scope(),
                v4.is_link_local() || v4.is_broadcast() || v4.octets()[..3] == [224, 0, 0]
            );
        }
    }
}
