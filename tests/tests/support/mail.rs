//! Marked mails of the mailbox, for the attempts that look for them at the far end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use guard_tests::bed::{self, CLIENT_PORT, Family, MAIL_PORT};
use guard_tests::netns::Netns;

/// Sends of each attempt.
pub(crate) const COUNT: usize = 3;

/// The mailbox by its service's port, on every address of the host.
pub(crate) const BY_PORT: &str = "[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [\"EU\"]\naction = \"drop\"\n\
    [pin.select]\nports = [\"udp/143\", \"tcp/143\"]\n";

pub(crate) fn v4(host: &str) -> Ipv4Addr {
    match bed::address(host, Family::V4).unwrap() {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => panic!("IPv4 was asked for"),
    }
}

pub(crate) fn client(host: &str, family: Family) -> SocketAddr {
    let address = match family {
        Family::V4 => v4(host).into(),
        Family::V6 => bed::address(host, family).unwrap(),
    };
    SocketAddr::new(address, CLIENT_PORT)
}

/// A datagram of the mailbox's port, sent from this namespace.
pub(crate) fn datagram(from: &Netns, to: SocketAddr, payload: &[u8], options: impl Fn(&UdpSocket) + Sync) {
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let socket = from.run(|| UdpSocket::bind((any, MAIL_PORT))).unwrap().unwrap();
    options(&socket);
    // That it is dropped shows as an error here.
    let _dropped = socket.send_to(payload, to);
}
