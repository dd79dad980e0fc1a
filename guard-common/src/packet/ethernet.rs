//! Ethernet (IEEE 802.3) with VLAN tags (IEEE 802.1Q, 802.1ad), and what an EtherType stands for.
//!
//! Reads the 14 bytes of the header, 4 bytes for each of at most [`MAX_TAGS`] tags, and the PPPoE
//! header where there is one. The addresses are not looked at.

use super::{
    Fault, Next,
    frame::{Frame, settled},
    pppoe,
};

/// Tags that a frame may carry in its bytes. The outermost one may be in the metadata of the
/// kernel's buffer instead, and is then not seen here.
const MAX_TAGS: usize = 4;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const PPPOE_SESSION: u16 = 0x8864;

/// An Ethernet frame inside another protocol: GRE (RFC 1701 section 2) and Geneve (RFC 8926).
pub(super) const BRIDGED: u16 = 0x6558;

/// What follows the Ethernet header at `at`, and where.
///
/// ARP, LLC (a length up to 1500 in place of the EtherType) and every other EtherType that carries
/// no IP are [`Next::End`].
///
/// # Errors
/// [`Fault::TooDeep`] past [`MAX_TAGS`] tags, [`Fault::Opaque`] for an encapsulation that is not
/// read, and those of [`Frame::header`] and [`pppoe::read`].
#[inline(always)]
pub(super) fn read(frame: &Frame<'_>, at: usize) -> Result<(Next, usize), Fault> {
    let header = frame.header::<14>(at)?;
    let ethertype = u16::from_be_bytes([header[12], header[13]]);
    let at = at + 14;
    match ethertype {
        IPV4 => Ok((Next::Ipv4, at)),
        IPV6 => Ok((Next::Ipv6, at)),
        other => uncommon(frame, other, at),
    }
}

#[inline(always)]
fn uncommon(frame: &Frame<'_>, mut ethertype: u16, mut at: usize) -> Result<(Next, usize), Fault> {
    let mut tags = 0;
    while is_tag(ethertype) {
        if tags == MAX_TAGS {
            return Err(Fault::TooDeep);
        }
        tags += 1;
        let tag = frame.header::<4>(at)?;
        ethertype = u16::from_be_bytes([tag[2], tag[3]]);
        at = settled(at + 4);
    }
    if ethertype == PPPOE_SESSION {
        return pppoe::read(frame, at);
    }
    Ok((payload(ethertype)?, at))
}

#[inline(always)]
fn is_tag(ethertype: u16) -> bool {
    // 0x9100 is the tag of QinQ switches from before 802.1ad.
    matches!(ethertype, 0x8100 | 0x88a8 | 0x9100)
}

/// What a payload of this EtherType is, in an Ethernet frame, GRE or Geneve.
///
/// # Errors
/// [`Fault::Opaque`] for what can carry IP in a way that is not read here.
#[inline(always)]
pub(super) fn payload(ethertype: u16) -> Result<Next, Fault> {
    match ethertype {
        IPV4 => Ok(Next::Ipv4),
        IPV6 => Ok(Next::Ipv6),
        _ if is_opaque(ethertype) => Err(Fault::Opaque),
        _ => Ok(Next::End),
    }
}

/// Encapsulations that can carry IP. The numbers are IANA's "IEEE 802 Numbers", but for those of
/// one vendor, which are marked.
#[inline(always)]
fn is_opaque(ethertype: u16) -> bool {
    matches!(
        ethertype,
        0x22eb // ERSPAN type III (vendor), in GRE
        | 0x22f3 // TRILL (RFC 6325)
        | BRIDGED // in Ethernet itself
        | 0x880b // PPP, in GRE
        | 0x883e // WCCP (vendor), in GRE
        | 0x8847 | 0x8848 // MPLS (RFC 5332)
        | PPPOE_SESSION // elsewhere than in Ethernet
        | 0x88be // ERSPAN types I and II (vendor), in GRE
        | 0x88e5 // MACsec (IEEE 802.1AE)
        | 0x88e7 // provider backbone bridges (IEEE 802.1ah)
        | 0x8909 // security tag metadata (vendor)
        | 0x8926 // VN-Tag (vendor)
        | 0x893f // E-Tag (IEEE 802.1BR)
        | 0x894f // NSH (RFC 8300)
    ) || is_tag(ethertype) // elsewhere than in Ethernet
}
