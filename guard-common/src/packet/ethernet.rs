//! Ethernet (IEEE 802.3), and what an EtherType stands for. Of the 14 bytes the EtherType is used, and
//! where that is a length, the LLC header behind it (IEEE 802.2).

use super::frame::Frame;
use super::next::Next;
use super::types::Fault;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const PPPOE_SESSION: u16 = 0x8864;
/// Above it the two bytes are an EtherType, up to it the length of what follows (IEEE 802.3 section 3.2.6).
const LONGEST: u16 = 1500;

/// Where in a frame an Ethernet header or a VLAN tag is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// At its beginning, where what is not known to be harmless is [`Fault::Opaque`].
    Outermost,
    /// Inside an IP packet, whose destination is judged. Here only what is known to carry IP is, and what is not known
    /// is [`Next::HIDDEN`]: bytes that are taken for a tunnel by their port alone may be something else.
    Tunnelled,
}

/// What follows the Ethernet header at `at`, and where.
///
/// # Errors
/// Those of [`Frame::header`] and [`behind`].
#[inline(always)]
pub(super) fn read(frame: &Frame<'_>, at: usize, depth: Depth) -> Result<(Next, usize), Fault> {
    let h = frame.header::<14>(at)?;
    Ok((behind(frame, u16::from_be_bytes([h[12], h[13]]), at + 14, depth)?, at + 14))
}

/// What comes at `at`, behind this EtherType or length in an Ethernet frame.
///
/// # Errors
/// As [`payload`], and [`Fault::Opaque`] for an LLC header that may have IP behind it.
#[inline(always)]
pub(super) fn behind(frame: &Frame<'_>, ethertype: u16, at: usize, depth: Depth) -> Result<Next, Fault> {
    if ethertype > LONGEST { payload(ethertype, depth) } else { llc(frame, at, depth) }
}

/// What comes behind this EtherType; [`Next::END`] for what carries no IP.
///
/// # Errors
/// [`Fault::Opaque`] for what can carry IP in a way that is not read here; at the outermost header for all
/// that is not known to carry none (HSR, batman-adv, switches' own tags, what nobody has heard of).
#[inline(always)]
pub(super) fn payload(ethertype: u16, depth: Depth) -> Result<Next, Fault> {
    match ethertype {
        IPV4 => Ok(Next::IPV4),
        IPV6 => Ok(Next::IPV6),
        // From 0x9100 on they are tags of switches from before 802.1ad.
        0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x9300 => Ok(Next::VLAN),
        PPPOE_SESSION => Ok(Next::PPPOE),
        _ if carries_no_ip(ethertype) => Ok(Next::END),
        _ if depth == Depth::Outermost || can_carry_ip(ethertype) => Err(Fault::Opaque),
        _ => Ok(Next::HIDDEN),
    }
}

/// What comes behind this protocol type in GRE (RFC 2784 section 2.4) or Geneve (RFC 8926 section
/// 3.4): an EtherType, of which one means an Ethernet frame.
///
/// # Errors
/// As [`payload`].
#[inline(always)]
pub(super) fn tunnelled(protocol: u16) -> Result<Next, Fault> {
    const BRIDGED: u16 = 0x6558;
    // What a tunnel's ends say to each other; the second is RFC 2332 section 5's.
    const KEEPALIVE: u16 = 0;
    const NEXT_HOP_RESOLUTION: u16 = 0x2001;

    match protocol {
        BRIDGED => Ok(Next::ETHERNET),
        KEEPALIVE | NEXT_HOP_RESOLUTION => Ok(Next::END),
        _ => payload(protocol, Depth::Tunnelled),
    }
}

/// Encapsulations that can carry IP. The numbers are IANA's "IEEE 802 Numbers"; those of one
/// vendor are marked.
#[inline(always)]
fn can_carry_ip(ethertype: u16) -> bool {
    matches!(
        ethertype,
        0x22eb // ERSPAN type III, in GRE (vendor)
        | 0x22f3 // TRILL (RFC 6325)
        | 0x4305 // batman-adv
        | 0x6558 // bridged Ethernet, in Ethernet
        | 0x880b // PPP, in GRE
        | 0x883e // WCCP, in GRE (vendor)
        | 0x8847 | 0x8848 // MPLS (RFC 5332)
        | 0x88be // ERSPAN types I and II, in GRE (vendor)
        | 0x88e5 // MACsec (IEEE 802.1AE)
        | 0x88e7 // provider backbone bridges (IEEE 802.1ah)
        | 0x8909 // security group tags (vendor)
        | 0x8926 // VN-Tag (vendor)
        | 0x892f | 0x88fb // HSR and PRP (IEC 62439-3)
        | 0x893f // E-Tag (IEEE 802.1BR)
        | 0x894f // NSH (RFC 8300)
    )
}

/// Protocols of the link and of storage that have no IP inside (IANA "IEEE 802 Numbers").
#[inline(always)]
fn carries_no_ip(ethertype: u16) -> bool {
    matches!(
        ethertype,
        0x0806 // ARP
        | 0x0842 // wake-on-LAN
        | 0x22ea // stream reservation (IEEE 802.1Qat)
        | 0x22f0 // audio and video (IEEE 1722)
        | 0x8035 // RARP
        | 0x8809 // slow protocols: LACP (IEEE 802.3 annex 57A)
        | 0x8863 // PPPoE discovery (RFC 2516)
        | 0x8892 // PROFINET
        | 0x88a2 // ATA over Ethernet
        | 0x88a4 // EtherCAT
        | 0x888e // EAP over LAN (IEEE 802.1X)
        | 0x88b8 | 0x88b9 | 0x88ba // GOOSE and sampled values (IEC 61850)
        | 0x88c7 // pre-authentication (IEEE 802.11)
        | 0x88ca // TIPC
        | 0x88cc // LLDP (IEEE 802.1AB)
        | 0x88d9 // link layer topology discovery
        | 0x88e1 | 0x8912 // HomePlug
        | 0x88e3 // media redundancy (IEC 62439-2)
        | 0x88f5 | 0x88f6 // MVRP and MMRP (IEEE 802.1Q)
        | 0x88f7 // PTP (IEEE 1588)
        | 0x88f8 // NC-SI
        | 0x8902 // CFM (IEEE 802.1Q)
        | 0x8906 | 0x8914 // Fibre Channel and its setup
        | 0x8915 // RoCE version 1
        | 0x893a // IEEE 1905.1
        | 0x9000 // loopback
    )
}

/// What comes at `at`, behind a length: never anything that is read.
///
/// # Errors
/// [`Fault::Opaque`] but for bridges' spanning tree, OSI's own protocols, what LLC says for itself, and a vendor's link
/// protocols; in a tunnel for SNAP alone; and those of [`Frame::header`].
#[inline(always)]
fn llc(frame: &Frame<'_>, at: usize, depth: Depth) -> Result<Next, Fault> {
    const BRIDGES: u8 = 0x42;
    const OSI: u8 = 0xfe;
    const NULL: u8 = 0;
    const SNAP: u8 = 0xaa;

    let [dsap, ssap, control] = match frame.header::<3>(at) {
        Ok(header) => *header,
        Err(Fault::Truncated) if depth == Depth::Tunnelled => return Ok(Next::END),
        Err(fault) => return Err(fault),
    };
    let passes = match dsap {
        BRIDGES => ssap == BRIDGES,
        // By its network layer protocol identifier: CLNP's routing and its kin (ISO/IEC TR 9577).
        OSI => matches!(frame.header::<4>(at)?[3], 0x81..=0x83),
        // Exchange of identification, and test (IEEE 802.2 section 5.4.1), each as it is and with the poll bit.
        NULL => matches!(control, 0xaf | 0xbf | 0xe3 | 0xf3),
        SNAP => is_of_a_link(frame.header::<8>(at)?),
        _ => false,
    };
    match passes {
        true => Ok(Next::END),
        false if depth == Depth::Tunnelled && dsap != SNAP => Ok(Next::HIDDEN),
        false => Err(Fault::Opaque),
    }
}

/// Whether a SNAP header is of one vendor's link protocols: DTP, UDLD, PAgP, PVST, CDP, VTP.
#[inline(always)]
fn is_of_a_link([_, _, _, o0, o1, o2, p0, p1]: &[u8; 8]) -> bool {
    let protocol = u16::from_be_bytes([*p0, *p1]);
    [*o0, *o1, *o2] == [0x00, 0x00, 0x0c]
        && matches!(protocol, 0x0104 | 0x010b | 0x0111 | 0x2000 | 0x2003 | 0x2004)
}
