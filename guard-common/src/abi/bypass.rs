//! Ways past the hooks of interfaces that a process asks the kernel for by a socket option, and that are refused there.

/// `SOL_PACKET` and its options (linux/if_packet.h).
const SOL_PACKET: i32 = 263;
const PACKET_TX_RING: i32 = 13;
const PACKET_VNET_HDR: i32 = 15;
const PACKET_QDISC_BYPASS: i32 = 20;
/// Since Linux 6.6; earlier kernels do not know it.
const PACKET_VNET_HDR_SZ: i32 = 24;
/// `SOL_XDP` and `XDP_UMEM_REG` (linux/if_xdp.h).
const SOL_XDP: i32 = 283;
const XDP_UMEM_REG: i32 = 4;

/// Cgroups whose processes are not refused.
pub const MAX_BYPASS_ALLOWED: usize = 256;

/// A way past the hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Bypass {
    /// A packet socket (`AF_PACKET`) sends without TC.
    PacketQdisc = 0,
    /// A socket for XDP (`AF_XDP`) gets memory for frames, without which it can send nothing.
    XdpUmem = 1,
    /// A packet socket sends frames from memory that it can change while they wait in a queue behind the hooks.
    PacketTxRing = 2,
    /// A packet socket names a place in its frames where the kernel writes a checksum behind the hooks, and that may be
    /// the destination.
    PacketVnetHeader = 3,
}

impl Bypass {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::PacketQdisc, Self::XdpUmem, Self::PacketTxRing, Self::PacketVnetHeader];
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The name in status and docs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PacketQdisc => "packet-qdisc-bypass",
            Self::XdpUmem => "xdp-umem-reg",
            Self::PacketTxRing => "packet-tx-ring",
            Self::PacketVnetHeader => "packet-vnet-hdr",
        }
    }

    /// The way that this socket option opens.
    #[inline(always)]
    #[must_use]
    pub const fn of_option(level: i32, option: i32) -> Option<Self> {
        match (level, option) {
            (SOL_PACKET, PACKET_QDISC_BYPASS) => Some(Self::PacketQdisc),
            (SOL_PACKET, PACKET_TX_RING) => Some(Self::PacketTxRing),
            (SOL_PACKET, PACKET_VNET_HDR | PACKET_VNET_HDR_SZ) => Some(Self::PacketVnetHeader),
            (SOL_XDP, XDP_UMEM_REG) => Some(Self::XdpUmem),
            _ => None,
        }
    }

    /// Whether the option with this value opens the way. Of a value that is none of the option's the kernel's own
    /// handler is not asked: it counts as one that opens.
    #[inline(always)]
    #[must_use]
    pub const fn is_opened_by(self, value: Option<u32>) -> bool {
        match self {
            Self::PacketQdisc | Self::PacketVnetHeader => !matches!(value, Some(0)),
            Self::XdpUmem | Self::PacketTxRing => true,
        }
    }
}

/// Elements of the counts of bypasses: by way, and of each those refused and those allowed.
pub const BYPASS_COUNTS: usize = Bypass::COUNT * 2;

/// The element of the counts of bypasses.
#[inline(always)]
#[must_use]
pub const fn bypass_index(bypass: Bypass, allowed: bool) -> u32 {
    bypass as u32 * 2 + allowed as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opens_a_way_past_the_hooks_is_known() {
        // linux/if_packet.h: PACKET_RX_RING is 5, PACKET_VERSION 10, PACKET_TX_TIMESTAMP 16; linux/if_xdp.h:
        // XDP_UMEM_FILL_RING is 5.
        for (level, option) in [(263, 5), (263, 10), (263, 16), (283, 5), (0, 20), (1, 4), (1, 13), (20, 263)]
        {
            assert_eq!(Bypass::of_option(level, option), None, "{level} {option}");
        }
        let qdisc = Bypass::of_option(263, 20).unwrap();
        assert_eq!(qdisc, Bypass::PacketQdisc);
        assert!(!qdisc.is_opened_by(Some(0)), "it is off already");
        for value in [Some(1), Some(u32::MAX), Some(0x0100_0000), None] {
            assert!(qdisc.is_opened_by(value), "{value:?}");
        }
        for option in [15, 24] {
            let header = Bypass::of_option(263, option).unwrap();
            assert_eq!(header, Bypass::PacketVnetHeader);
            assert!(
                !header.is_opened_by(Some(0)) && header.is_opened_by(Some(10)) && header.is_opened_by(None)
            );
        }
        let ring = Bypass::of_option(263, 13).unwrap();
        assert_eq!(ring, Bypass::PacketTxRing);
        assert!(ring.is_opened_by(None) && ring.is_opened_by(Some(0)));
        let umem = Bypass::of_option(283, 4).unwrap();
        assert_eq!(umem, Bypass::XdpUmem);
        assert!(umem.is_opened_by(None) && umem.is_opened_by(Some(0)));
    }

    #[test]
    fn each_way_has_counts_of_its_own() {
        let all = Bypass::ALL.into_iter().flat_map(|it| [bypass_index(it, false), bypass_index(it, true)]);
        assert!(all.eq(0..u32::try_from(BYPASS_COUNTS).unwrap()));
    }
}
