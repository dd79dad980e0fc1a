//! Datagrams that the kernel cuts out of a larger one behind the hooks (`UDP_SEGMENT`, udp(7)): each has the headers of
//! the larger one, and a part of its data that can be a tunnel's packet of its own. What is read of the larger one is the
//! first.
//!
//! A segment of data inside a tunnel of the kernel's own looks as if it were such a datagram too. So the rules are
//! stricter than where a packet's own header is read: data is hardly ever taken for an IP packet in a tunnel.

use super::types::Begin;
use super::udp::{self, carries_ip};
use super::{geneve, vxlan};

/// Bytes that are looked at at once: the shortest IP packet in the shortest tunnel has as many.
pub const SEGMENT_LEN: usize = 20;

/// What a datagram of at most `length` bytes to this port begins with.
#[inline(always)]
#[must_use]
pub fn begin(dport: u16, h: &[u8; SEGMENT_LEN], length: u16) -> Begin {
    let [a, b, c, d, e, f, g, i, ..] = *h;
    let header = [a, b, c, d, e, f, g, i];
    match dport {
        vxlan::PORT | vxlan::OLD_LINUX_PORT => vxlan::segment(&header),
        vxlan::GPE_PORT => vxlan::segment_gpe(&header),
        geneve::PORT => geneve::segment(&header),
        udp::LISP if matches!(h[8] >> 4, 4 | 6) => Begin::Tunnel,
        _ if carries_ip(dport, &header, length) => Begin::Tunnel,
        _ => Begin::Other,
    }
}

/// Whether an IP packet that has room in `length` bytes begins here, or in the Ethernet frame that begins here.
#[inline(always)]
#[must_use]
pub fn has_ip(is_ethernet: bool, h: &[u8; SEGMENT_LEN], length: u16) -> bool {
    let word = |at: usize| u16::from_be_bytes([h[at], h[at + 1]]);
    let version = match (is_ethernet, word(12)) {
        (false, _) => return is_ip([h[0], h[2], h[3], h[4], h[5]], length),
        (true, 0x0800) => return h[14] >> 4 == 4 && is_ip([h[14], h[16], h[17], 0, 0], length),
        (true, 0x86dd) => return h[14] >> 4 == 6 && is_ip([h[14], 0, 0, h[18], h[19]], length),
        // A tag of a VLAN (IEEE 802.1Q, 802.1ad, and older numbers).
        (true, 0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x9300) => match word(16) {
            0x0800 => 4,
            0x86dd => 6,
            // A second tag.
            0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x9300 => return true,
            _ => return false,
        },
        _ => return false,
    };
    h[18] >> 4 == version
}

/// Whether an IP header with this first byte, these third and fourth (IPv4's length) and these fifth and sixth (IPv6's)
/// is of a packet that has room in `length` bytes.
#[inline(always)]
fn is_ip([first, third, fourth, fifth, sixth]: [u8; 5], length: u16) -> bool {
    let (v4, v6) = (u16::from_be_bytes([third, fourth]), u16::from_be_bytes([fifth, sixth]));
    match first >> 4 {
        4 => first & 0x0f >= 5 && v4 >= 20 && v4 <= length,
        6 => u32::from(v6) + 40 <= u32::from(length),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: u16 = 1400;

    /// Whether a datagram to this port is taken for a tunnel's, as the hook goes about it.
    fn is_tunnelled(dport: u16, datagram: &[u8]) -> bool {
        let at = |at: usize| datagram.get(at..at + SEGMENT_LEN).map(|it| it.try_into().unwrap());
        let Some(first) = at(0) else { return false };
        match begin(dport, &first, LENGTH) {
            Begin::Other => false,
            Begin::Tunnel => true,
            Begin::Ethernet(inner) => at(inner.into()).is_some_and(|h| has_ip(true, &h, LENGTH)),
            Begin::Ip(inner) => at(inner.into()).is_some_and(|h| has_ip(false, &h, LENGTH)),
        }
    }

    fn v4() -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 203, 0, 113, 30];
        packet.extend([0; 8]);
        packet
    }

    fn v6() -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 8, 17, 64];
        packet.extend([0x20; 32]);
        packet.extend([0; 8]);
        packet
    }

    fn frame(tags: &[u8], ethertype: u16, packet: &[u8]) -> Vec<u8> {
        [&[2; 12][..], tags, &ethertype.to_be_bytes(), packet].concat()
    }

    #[test]
    fn an_ip_packet_in_a_tunnel_is_found_whatever_its_reserved_bits() {
        for flags in [[8, 0, 0, 0, 0, 0, 1, 0], [0x8f, 255, 255, 255, 1, 2, 3, 255]] {
            for (ethertype, packet) in [(0x0800, v4()), (0x86dd, v6())] {
                for tags in [&[][..], &[0x81, 0, 0, 5], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6]] {
                    let datagram = [&flags[..], &frame(tags, ethertype, &packet)].concat();
                    assert!(is_tunnelled(4789, &datagram) && is_tunnelled(8472, &datagram), "{datagram:x?}");
                    for options in 0..63_u8 {
                        let header = [options, 0x3f, 0x65, 0x58, 0, 0, 1, 7];
                        let options = vec![0xff; usize::from(options) * 4];
                        let datagram = [&header[..], &options, &frame(tags, ethertype, &packet)].concat();
                        assert!(is_tunnelled(6081, &datagram), "{datagram:x?}");
                    }
                }
            }
        }
        for (next, inner) in [(1, v4()), (2, v6()), (3, frame(&[], 0x0800, &v4()))] {
            assert!(is_tunnelled(4790, &[&[0x0c, 0, 0, next, 0, 0, 1, 0][..], &inner].concat()), "{next}");
        }
        assert!(is_tunnelled(6081, &[&[0, 0, 0x08, 0, 0, 0, 1, 0][..], &v4()].concat()));
        assert!(is_tunnelled(2152, &[&[0x30, 255, 0, 28, 0, 0, 0, 1][..], &v4()].concat()));
        assert!(is_tunnelled(4341, &[&[0x80; 8][..], &v4()].concat()));
        assert!(is_tunnelled(6080, &v4()));
    }

    #[test]
    fn data_is_hardly_ever_taken_for_one() {
        // A generator of Marsaglia's (xorshift64): what a test of chance needs is that it is the same each time.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut taken = 0;
        for _ in 0..400_000 {
            let datagram: Vec<u8> = (0..40).flat_map(|_| next().to_ne_bytes()).collect();
            taken += [4789, 4790, 6081].into_iter().filter(|port| is_tunnelled(*port, &datagram)).count();
        }
        assert!(taken <= 4, "{taken} of 1,200,000");
    }

    #[test]
    fn a_code_says_all_of_it() {
        assert_eq!([Begin::Other, Begin::Tunnel].map(Begin::code), [0, 1]);
        assert_eq!(Begin::Ethernet(260).code(), 2 | 260 << 8);
        assert_eq!(Begin::Ip(8).code(), 3 | 8 << 8);
    }
}
