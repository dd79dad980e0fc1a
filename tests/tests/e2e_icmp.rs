//! Errors that come in from where a pin forbids: the storage host learns the path MTU of a flow that the pin permits, and of
//! no other one.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::Duration;

use guard_tests::bed::{self, BELGIUM, Bed, CLIENT_PORT, Family, MAIL_PORT, PIN, STORE, US, packets};
use guard_tests::packet::Packet;
use guard_tests::proc::retry_until;

/// What the error says that the way takes: above the least of both families, below the links' own.
const PATH_MTU: u16 = 1300;

/// An ICMP "fragmentation needed" or an ICMPv6 "packet too big" about a datagram of the storage host's to `to`.
fn error(to: &str, family: Family) -> Vec<u8> {
    let (from, to) = (bed::address(STORE, family).unwrap(), bed::address(to, family).unwrap());
    let [high, low] = PATH_MTU.to_be_bytes();
    let (begin, quoted) = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ([3, 4, 0, 0, 0, 0, high, low], Packet::new().ipv4(from, to)),
        (IpAddr::V6(from), IpAddr::V6(to)) => ([2, 0, 0, 0, 0, 0, high, low], Packet::new().ipv6(from, to)),
        _ => panic!("two families"),
    };
    let quoted = quoted.udp(MAIL_PORT, CLIENT_PORT).payload("a mail").build();
    let mut message = [&begin[..], &quoted].concat();
    if family == Family::V4 {
        // Of ICMPv6 the kernel writes it (RFC 3542 section 3.1).
        let checksum = checksum(&message);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
    }
    message
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let folded = (sum >> 16) + (sum & 0xffff);
    !((folded + (folded >> 16)) as u16)
}

/// Sends a message of ICMP or ICMPv6 from this thread's network.
fn send(message: &[u8], to: SocketAddr) -> io::Result<()> {
    let (family, protocol) = match to {
        SocketAddr::V4(_) => (libc::AF_INET, libc::IPPROTO_ICMP),
        SocketAddr::V6(_) => (libc::AF_INET6, libc::IPPROTO_ICMPV6),
    };
    // SAFETY: the call only makes a descriptor, which nothing else has.
    let socket = unsafe {
        let fd = libc::socket(family, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    rustix::net::sendto(&socket, message, rustix::net::SendFlags::empty(), &to)?;
    Ok(())
}

/// The path MTU that the kernel goes by for a connected socket.
fn path_mtu(socket: &UdpSocket, family: Family) -> i32 {
    let (level, name) = match family {
        Family::V4 => (libc::IPPROTO_IP, libc::IP_MTU),
        Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_MTU),
    };
    let mut value = 0_i32;
    let mut length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: both pointers are to variables of the sizes that the call is told.
    let code = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length)
    };
    assert_eq!(code, 0, "{}", io::Error::last_os_error());
    value
}

#[test]
#[ignore = "needs root and BPF"]
fn a_router_where_the_pin_forbids_tells_the_path_mtu_of_permitted_flows_alone() {
    let bed = Bed::new("icmp").unwrap();
    let pin = PIN.replace("ports = [\"udp/143\", \"tcp/143\"]\n", "");
    // Egress only observes, so that the socket of the forbidden flow lives on.
    bed.configure(&pin.replace("action = \"drop\"\n", "action = \"observe\"\ningress = \"drop\"\n")).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    for family in Family::ALL {
        let store = bed.host(STORE).unwrap();
        let own = bed::address(STORE, family).unwrap();
        for (to, learns) in [(BELGIUM, true), (US, false)] {
            let socket = bed.sender(MAIL_PORT, family).unwrap();
            store.run(|| socket.connect((bed::address(to, family).unwrap(), CLIENT_PORT)).unwrap()).unwrap();
            assert_eq!(path_mtu(&socket, family), 1500, "{to} {family:?}");
            let message = error(to, family);
            bed.host(US).unwrap().run(|| send(&message, SocketAddr::new(own, 0)).unwrap()).unwrap();
            let learned = || path_mtu(&socket, family) == i32::from(PATH_MTU);
            if learns {
                retry_until(Duration::from_secs(5), "the path MTU", || learned().then_some(())).unwrap();
            } else {
                std::thread::sleep(Duration::from_millis(300));
                assert!(!learned(), "{to} {family:?}");
            }
        }
    }
    let status = bed.status().unwrap();
    assert!(packets(&status, "ingress", "pass", "permitted") >= 2, "{:?}", status.totals);
    assert!(packets(&status, "ingress", "drop", "forbidden") >= 2, "{:?}", status.totals);
}
