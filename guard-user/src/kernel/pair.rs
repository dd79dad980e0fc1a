//! A pair of virtual Ethernet interfaces (veth(4)) in a network namespace of the calling thread alone, which nothing leads out
//! of: frames are sent by one, and seen at the other. It ends with the thread, in whatever way that ends.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::OwnedFd;

use guard_common::abi::{Direction, SocketFacts};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressHeader, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkHeader, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Mark, UdpGsoSegment};
use rustix::net::{RecvFlags, SocketFlags, SocketType, recv, socket_with};

use super::netlink::{Request, emit};
use super::raw::{bind_to_interface, leave_network, send_by_interface};
use super::{Interface, KernelError, View};

/// The ends: what is sent by the near one comes out of the far one.
const NEAR: &str = "selftest0";
const FAR: &str = "selftest1";
/// `RTM_NEWLINK`, `RTM_SETLINK`, `RTM_NEWADDR` and `RTM_NEWROUTE` (linux/rtnetlink.h).
const NEW_LINK: u16 = 16;
const SET_LINK: u16 = 19;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
/// `ETH_P_ALL` (linux/if_ether.h).
const EVERY_PROTOCOL: u16 = 3;
/// More than a packet can have, with a link header.
const FRAME: usize = 1 << 17;

/// The two ends.
#[derive(Debug)]
pub struct Pair {
    near: Interface,
    far: OwnedFd,
}

/// A frame that is to be sent by the near end.
#[derive(Clone, Debug)]
pub struct OutgoingFrame<'a> {
    /// The interface that it leaves by.
    pub ifindex: u32,
    /// Its EtherType in host order.
    pub protocol: u16,
    /// All of it, from the link header on.
    pub bytes: &'a [u8],
    /// Firewall mark; 0 for none.
    pub mark: u32,
    /// What is noted of who uses its socket; `original` and `connected` are made of `direction`.
    pub facts: SocketFacts,
    /// Whether the socket counts as accepted or as connected.
    pub direction: Direction,
    /// Slots of the volumes whose data its socket carries, a bit each.
    pub volumes: u64,
}

impl Pair {
    /// Makes it, the near end with this address and the default route. From here on this thread is in a network namespace
    /// that has nothing else.
    ///
    /// # Errors
    /// [`KernelError::Netlink`] with the kernel's reason.
    pub fn make(address: Ipv4Addr) -> Result<Self, KernelError> {
        let failed = |what| move |source| KernelError::Netlink { what, source };
        leave_network().map_err(failed("make a network namespace"))?;
        for which in ["all", "default"] {
            // So that neither end sends anything by itself. Where it does all the same, it is one frame more.
            let _noise = fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1");
        }
        Request::route(NEW_LINK, &emit(&both_ends()))
            .with(NLM_F_CREATE | NLM_F_EXCL)
            .send(|_, _| {})
            .map_err(failed("make a pair of virtual Ethernet interfaces (veth)"))?;
        let (near, far) = (Interface::by_name(NEAR)?, Interface::by_name(FAR)?);
        for end in [&far, &near] {
            set_up(end.index).map_err(failed("bring a virtual Ethernet interface up"))?;
        }
        add_address(near.index, address).map_err(failed("give a virtual Ethernet interface an address"))?;
        let far = listen(far.index).map_err(failed("listen on a virtual Ethernet interface"))?;
        Ok(Self { near, far })
    }

    /// The interface by which frames are sent.
    #[must_use]
    pub const fn near(&self) -> &Interface {
        &self.near
    }

    /// Shows `each` the frames that have come out of the far end and were not shown yet.
    ///
    /// # Errors
    /// Where they can't be received.
    pub fn receive(&self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut buffer = vec![0_u8; FRAME];
        loop {
            let received = recv(&self.far, &mut buffer[..], RecvFlags::empty()).map(|(_, length)| length);
            match received.map_err(io::Error::from) {
                Ok(length) => each(buffer.get(..length).unwrap_or(&buffer)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a datagram that is cut into segments of so many bytes behind the hooks (`UDP_SEGMENT`, udp(7)), by an ordinary
    /// socket of the near end.
    ///
    /// # Errors
    /// Where the kernel does not take it for another reason than that it was dropped on its way out.
    pub fn send_large(from: SocketAddrV4, to: SocketAddrV4, bytes: &[u8], segment: u16) -> io::Result<()> {
        let socket = UdpSocket::bind(from)?;
        setsockopt(&socket, UdpGsoSegment, &i32::from(segment))?;
        unless_dropped(socket.send_to(bytes, to).map(drop))
    }
}

impl View {
    /// Sends a frame by a packet socket of its own.
    ///
    /// # Errors
    /// Where the kernel does not take it for another reason than that it was dropped on its way out.
    pub fn send_frame(&self, frame: &OutgoingFrame<'_>) -> io::Result<()> {
        // Of no protocol: it receives nothing.
        let family = rustix::net::AddressFamily::PACKET;
        let socket = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        bind_to_interface(&socket, frame.ifindex, 0)?;
        if frame.mark != 0 {
            setsockopt(&socket, Mark, &frame.mark)?;
        }
        self.note_use(&socket, &frame.facts, frame.direction, frame.volumes)?;
        unless_dropped(send_by_interface(&socket, frame.ifindex, frame.protocol, frame.bytes))
    }
}

/// What a packet comes to that is dropped on its way out (net_xmit_errno in linux/netdevice.h) is no error here.
fn unless_dropped(sent: io::Result<()>) -> io::Result<()> {
    match sent {
        Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(()),
        sent => sent,
    }
}

/// Both ends, down. They ask for no hardware address, so that a packet to any address leaves at once.
fn both_ends() -> LinkMessage {
    let peer = LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(end(FAR))));
    let mut message = end(NEAR);
    message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), peer]));
    message
}

fn end(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header =
        LinkHeader { flags: LinkFlags::Noarp, change_mask: LinkFlags::Noarp, ..LinkHeader::default() };
    message.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    message
}

fn set_up(index: u32) -> io::Result<()> {
    let header =
        LinkHeader { index, flags: LinkFlags::Up, change_mask: LinkFlags::Up, ..LinkHeader::default() };
    Request::route(SET_LINK, &emit(&header)).send(|_, _| {})
}

/// Gives an interface an address, and the route to every other.
fn add_address(index: u32, address: Ipv4Addr) -> io::Result<()> {
    let (family, ip) = (AddressFamily::Inet, IpAddr::V4(address));
    let mut message = AddressMessage::default();
    message.header = AddressHeader { family, prefix_len: 32, index, ..AddressHeader::default() };
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    Request::route(NEW_ADDRESS, &emit(&message)).with(NLM_F_CREATE | NLM_F_EXCL).send(|_, _| {})?;
    let mut route = RouteMessage::default();
    route.header = RouteHeader {
        address_family: family,
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Static,
        scope: RouteScope::Link,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    route.attributes = vec![RouteAttribute::Oif(index)];
    Request::route(NEW_ROUTE, &emit(&route)).with(NLM_F_CREATE | NLM_F_EXCL).send(|_, _| {})
}

/// A socket that receives all frames of an interface.
fn listen(index: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(rustix::net::AddressFamily::PACKET, SocketType::RAW, flags, None)?;
    bind_to_interface(&socket, index, EVERY_PROTOCOL)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::super::netlink::{attributes, number, text, value};
    use super::*;

    /// As linux/if_link.h and linux/veth.h have it.
    #[test]
    fn the_request_for_a_pair_has_both_ends_with_their_names() {
        let bytes = emit(&both_ends());
        // struct ifinfomsg: its flags and which of them to change, IFF_NOARP.
        assert_eq!((number(&bytes[8..]), number(&bytes[12..])), (Some(0x80), Some(0x80)));
        let find = |bytes: &[u8], kind: u16| -> Vec<u8> {
            let found = attributes(bytes).find(|it| it.kind() == kind).unwrap();
            value(found).to_vec()
        };
        let name = |bytes: &[u8]| text(&find(bytes, 3));
        assert_eq!(name(&bytes[16..]), NEAR);
        let info = find(&bytes[16..], 18);
        assert_eq!(text(&find(&info, 1)), "veth");
        // IFLA_INFO_DATA, VETH_INFO_PEER.
        let peer = find(&find(&info, 2), 1);
        assert_eq!((name(&peer[16..]), number(&peer[8..])), (FAR.to_owned(), Some(0x80)));
    }
}
