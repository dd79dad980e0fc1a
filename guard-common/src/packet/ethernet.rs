//! Ethernet (IEEE 802.3), and what an EtherType stands for. Of the 14 bytes the EtherType is used.

use super::{Fault, Next, frame::Frame};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const PPPOE_SESSION: u16 = 0x8864;

/// What follows the Ethernet header at `at`, and where.
///
/// # Errors
/// Those of [`Frame::header`] and [`payload`].
#[inline(always)]
pub(super) fn read(frame: &Frame<'_>, at: usize) -> Result<(Next, usize), Fault> {
    let h = frame.header::<14>(at)?;
    Ok((payload(u16::from_be_bytes([h[12], h[13]]))?, at + 14))
}

/// What comes behind this EtherType in an Ethernet frame.
///
/// ARP, LLC (a length up to 1500 in place of the EtherType) and every other EtherType that carries
/// no IP are [`Next::END`].
///
/// # Errors
/// [`Fault::Opaque`] for what can carry IP in a way that is not read here.
#[inline(always)]
pub(super) fn payload(ethertype: u16) -> Result<Next, Fault> {
    match ethertype {
        IPV4 => Ok(Next::IPV4),
        IPV6 => Ok(Next::IPV6),
        // 0x9100 is the tag of switches from before 802.1ad.
        0x8100 | 0x88a8 | 0x9100 => Ok(Next::VLAN),
        PPPOE_SESSION => Ok(Next::PPPOE),
        _ if is_opaque(ethertype) => Err(Fault::Opaque),
        _ => Ok(Next::END),
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
    if protocol == BRIDGED { Ok(Next::ETHERNET) } else { payload(protocol) }
}

/// Encapsulations that can carry IP. The numbers are IANA's "IEEE 802 Numbers"; those of one
/// vendor are marked.
#[inline(always)]
fn is_opaque(ethertype: u16) -> bool {
    matches!(
        ethertype,
        0x22eb // ERSPAN type III, in GRE (vendor)
        | 0x22f3 // TRILL (RFC 6325)
        | 0x6558 // bridged Ethernet, in Ethernet
        | 0x880b // PPP, in GRE
        | 0x883e // WCCP, in GRE (vendor)
        | 0x8847 | 0x8848 // MPLS (RFC 5332)
        | 0x88be // ERSPAN types I and II, in GRE (vendor)
        | 0x88e5 // MACsec (IEEE 802.1AE)
        | 0x88e7 // provider backbone bridges (IEEE 802.1ah)
        | 0x8909 // security group tags (vendor)
        | 0x8926 // VN-Tag (vendor)
        | 0x893f // E-Tag (IEEE 802.1BR)
        | 0x894f // NSH (RFC 8300)
    )
}
