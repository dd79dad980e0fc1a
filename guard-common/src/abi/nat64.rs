//! NAT64 prefixes of an operator's own, and the IPv4 address in an address below one (RFC 6052 section 2.2).

use crate::packet::Addr;
use crate::search::mask_if_equal;

/// NAT64 prefixes of one config.
pub const MAX_NAT64: usize = 16;

/// A NAT64 prefix. One that is all zeroes is none.
///
/// The 32 bits of the IPv4 address follow the prefix, and leave out bits 64 to 71 of the address:
///
/// | prefix | IPv4 address |
/// | --- | --- |
/// | /32 | bits 32 to 63 |
/// | /40 | bits 40 to 63 and 72 to 79 |
/// | /48 | bits 48 to 63 and 72 to 87 |
/// | /56 | bits 56 to 63 and 72 to 95 |
/// | /64 | bits 72 to 103 |
/// | /96 | bits 96 to 127 |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Nat64 {
    /// The prefix.
    pub prefix: Addr,
    /// Its bits.
    pub mask: Addr,
    /// Bits of the IPv4 address in the upper half of the address: its highest ones.
    pub upper_bits: u32,
    /// Bits of the lower half before the first one of the IPv4 address.
    pub skipped: u32,
}

impl Nat64 {
    /// Lengths that a prefix can have.
    pub const LENGTHS: [u8; 6] = [32, 40, 48, 56, 64, 96];

    /// The prefix of this many bits, which is one of [`LENGTHS`](Self::LENGTHS).
    #[must_use]
    pub const fn new(prefix: Addr, length: u8) -> Self {
        let length = length as u32;
        let (mask, upper_bits, skipped) = if length > 64 {
            (Addr { hi: u64::MAX, lo: u64::MAX << 32 }, 0, 32)
        } else {
            let upper_bits = 64 - length;
            (Addr { hi: u64::MAX << upper_bits, lo: 0 }, upper_bits, 8)
        };
        Self { prefix, mask, upper_bits, skipped }
    }

    /// All bits set where the address is below this prefix.
    #[inline(always)]
    pub(crate) fn has(&self, address: Addr) -> u64 {
        let differs =
            ((address.hi & self.mask.hi) ^ self.prefix.hi) | ((address.lo & self.mask.lo) ^ self.prefix.lo);
        mask_if_equal(differs, 0)
    }

    /// The IPv4 address in an address below this prefix.
    #[inline(always)]
    pub(crate) fn ipv4(&self, address: Addr) -> u32 {
        let upper = address.hi.wrapping_shl(32_u32.wrapping_sub(self.upper_bits));
        // In two steps: 64 bits can't be shifted out in one.
        let lower = (address.lo.wrapping_shl(self.skipped) >> 32).wrapping_shr(self.upper_bits);
        (upper | lower) as u32
    }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    /// The examples of RFC 6052 section 2.4.
    const EXAMPLES: [(&str, u8, &str); 6] = [
        ("2001:db8::", 32, "2001:db8:c000:221::"),
        ("2001:db8:100::", 40, "2001:db8:1c0:2:21::"),
        ("2001:db8:122::", 48, "2001:db8:122:c000:2:2100::"),
        ("2001:db8:122:300::", 56, "2001:db8:122:3c0:0:221::"),
        ("2001:db8:122:344::", 64, "2001:db8:122:344:c0:2:2100::"),
        ("2001:db8:122:344::", 96, "2001:db8:122:344::192.0.2.33"),
    ];

    fn addr(text: &str) -> Addr {
        text.parse::<Ipv6Addr>().unwrap().into()
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        for (prefix, length, address) in EXAMPLES {
            let nat64 = Nat64::new(addr(prefix), length);
            assert_eq!(nat64.has(addr(address)), u64::MAX, "{prefix}/{length}");
            let v4 = Ipv4Addr::from_bits(nat64.ipv4(addr(address)));
            assert_eq!(v4, Ipv4Addr::new(192, 0, 2, 33), "{prefix}/{length}");
        }
    }

    #[test]
    fn every_bit_of_the_ipv4_address_is_read_and_no_other() {
        for (prefix, length, _) in EXAMPLES {
            let nat64 = Nat64::new(addr(prefix), length);
            let mut read = 0;
            for bit in 0..128_u32 {
                let one = 1_u128 << (127 - bit);
                let Addr { hi, lo } = addr(prefix);
                let address = Addr { hi: hi ^ (one >> 64) as u64, lo: lo ^ one as u64 };
                let flipped = nat64.ipv4(address) ^ nat64.ipv4(addr(prefix));
                let is_prefix = bit < u32::from(length);
                if is_prefix || (64..72).contains(&bit) {
                    assert_eq!(flipped, 0, "bit {bit} of /{length}");
                }
                read |= flipped;
                assert!(flipped.count_ones() <= 1);
            }
            assert_eq!(read, u32::MAX, "/{length}");
        }
    }

    #[test]
    fn what_is_not_below_the_prefix_is_not_its() {
        for (prefix, length, address) in EXAMPLES {
            let nat64 = Nat64::new(addr(prefix), length);
            for bit in 0..u32::from(length) {
                let flip = 1_u128 << (127 - bit);
                let Addr { hi, lo } = addr(address);
                let other = Addr { hi: hi ^ (flip >> 64) as u64, lo: lo ^ flip as u64 };
                assert_eq!(nat64.has(other), 0, "bit {bit} of /{length}");
            }
        }
    }
}
