//! What hides its ports hides no pin: packets of a pinned address whose ports can't be read are judged by where they
//! go. Judged by what the far side receives.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use guard_tests::bed::{self, BELGIUM, Bed, Family, MAIL_PORT, PATIENCE, PIN, STORE, US, packets};
use guard_tests::netns::Netns;
use guard_tests::sockopt;
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, RawProtocol, RecvFlags, SendFlags, SocketFlags, SocketType};

/// Packets of each kind.
const COUNT: usize = 5;
/// How long packets that arrive may take.
const SOON: Duration = Duration::from_millis(500);

/// A raw socket of a host: it sends with an IP header of the kernel's making, and receives what comes for its protocol.
fn raw(host: &Netns, family: Family, protocol: u8) -> OwnedFd {
    let family = match family {
        Family::V4 => AddressFamily::INET,
        Family::V6 => AddressFamily::INET6,
    };
    let protocol = Protocol::from_raw(RawProtocol::new(protocol.into()).unwrap());
    let make = || {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        rustix::net::socket_with(family, SocketType::RAW, flags, Some(protocol)).unwrap()
    };
    host.run(make).unwrap()
}

/// How many of the payloads arrive of those that the storage host sends to a client.
fn arrive(bed: &Bed, client: &str, family: Family, protocol: u8, payload: &[u8]) -> usize {
    let receiver = raw(bed.host(client).unwrap(), family, protocol);
    let sender = raw(bed.host(STORE).unwrap(), family, protocol);
    let to = SocketAddr::new(bed::address(client, family).unwrap(), 0);
    for _ in 0..COUNT {
        // That it is dropped shows as an error here.
        let _dropped = rustix::net::sendto(&sender, payload, SendFlags::empty(), &to);
    }
    let (mut arrived, begin) = (0, Instant::now());
    let mut bytes = [0; 2048];
    while begin.elapsed() < SOON && arrived < COUNT {
        match rustix::net::recv(&receiver, &mut bytes[..], RecvFlags::empty()) {
            Ok((_, length)) => {
                let received = bytes.get(..length).unwrap();
                arrived += usize::from(received.ends_with(payload));
            }
            Err(Errno::AGAIN) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => panic!("{error}"),
        }
    }
    arrived
}

/// What arrives at the US and in Belgium.
fn arrives(bed: &Bed, family: Family, protocol: u8, payload: &[u8]) -> [usize; 2] {
    [US, BELGIUM].map(|client| arrive(bed, client, family, protocol, payload))
}

const DROPPED: [usize; 2] = [0, COUNT];
const UNTAGGED: [usize; 2] = [COUNT, COUNT];

/// An event about this IP protocol, with the pin.
fn is_told(bed: &Bed, protocol: &str) {
    let is_it = |event: &serde_json::Value| {
        event["protocol"] == protocol && event["rule"]["pin"] == "mail" && event["jurisdiction"] == "US"
    };
    bed.event(PATIENCE, &format!("an event about {protocol}"), is_it).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn encrypted_compressed_and_unknown_protocols_are_of_every_port() {
    let bed = Bed::new("hidden").unwrap();
    bed.configure(PIN).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let payload = b"a mail of the mailbox, where nobody can see its port";
    for family in Family::ALL {
        // ESP, IPComp, and a number for experiments (RFC 3692).
        for protocol in [50, 108, 253] {
            assert_eq!(arrives(&bed, family, protocol, payload), DROPPED, "{protocol} {family:?}");
        }
        // OSPF has no ports to hide.
        assert_eq!(arrives(&bed, family, 89, payload), UNTAGGED, "{family:?}");
    }
    is_told(&bed, "esp");
}

/// A datagram from port 4500, which is no pin's, to that port of the other end.
fn datagram(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap().to_be_bytes();
    [&[0x11, 0x94, 0x11, 0x94], &length[..], &[0, 0], payload].concat()
}

#[test]
#[ignore = "needs root and BPF"]
fn esp_in_udp_is_of_every_port_and_its_key_exchange_is_not() {
    const UDP: u8 = 17;
    let bed = Bed::new("esp-in-udp").unwrap();
    bed.configure(PIN).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    // A security parameters index, or the four zero bytes before IKE (RFC 3948 section 2).
    let esp = datagram(b"\0\0\x01\0\0\0\0\x01a mail of the mailbox");
    let ike = datagram(b"\0\0\0\0\x01\x02\x03\x04a proposal of keys");
    for family in Family::ALL {
        assert_eq!(arrives(&bed, family, UDP, &esp), DROPPED, "{family:?}");
        assert_eq!(arrives(&bed, family, UDP, &ike), UNTAGGED, "{family:?}");
    }
    is_told(&bed, "udp");
}

/// A TCP segment from port 5555, which is no pin's, with these options.
fn segment(options: &[u8]) -> Vec<u8> {
    let words = 5 + u8::try_from(options.len() / 4).unwrap();
    let header = [0x15, 0xb3, 0x9c, 0x40, 0, 0, 0, 1, 0, 0, 0, 1, words << 4, 0x18, 1, 0, 0, 0, 0, 0];
    [&header[..], options, b"a mail of the mailbox"].concat()
}

#[test]
#[ignore = "needs root and BPF"]
fn a_path_of_multipath_tcp_is_of_every_tcp_port() {
    const TCP: u8 = 6;
    let bed = Bed::new("multipath").unwrap();
    bed.configure(PIN).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let timestamps = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
    // A data sequence signal (RFC 8684 section 3.3), alone and behind what else a segment has.
    let signal = [30, 8, 0x20, 1, 0, 0, 0, 1];
    let both = [&timestamps[..], &signal].concat();
    for family in Family::ALL {
        for (options, expected) in
            [(&[][..], UNTAGGED), (&timestamps, UNTAGGED), (&signal, DROPPED), (&both, DROPPED)]
        {
            let arrived = arrives(&bed, family, TCP, &segment(options));
            assert_eq!(arrived, expected, "{options:?} {family:?}");
        }
    }
    is_told(&bed, "tcp");
}

/// A frame in VXLAN with an IPv4 packet to this address.
fn in_vxlan(to: Ipv4Addr) -> Vec<u8> {
    let mut datagram = vec![8, 0, 0, 0, 0, 0, 1, 0];
    datagram.extend([2; 12]);
    datagram.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 10]);
    datagram.extend(to.octets());
    datagram.extend([0; 20]);
    datagram
}

/// What the kernel cuts into datagrams behind the guard is judged as these datagrams are: the first is read, and a tunnel's
/// packet in another is one that is not.
#[test]
#[ignore = "needs root and BPF"]
fn a_tunnels_packet_in_a_later_segment_does_not_leave() {
    const VXLAN: u16 = 4789;
    let bed = Bed::new("segments").unwrap();
    bed.configure(PIN).unwrap();
    let at = |host| SocketAddr::new(bed::address(host, Family::V4).unwrap(), VXLAN);
    let receiver = bed.host(BELGIUM).unwrap().run(|| UdpSocket::bind(at(BELGIUM)).unwrap()).unwrap();
    receiver.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let sender = bed.sender(MAIL_PORT, Family::V4).unwrap();
    let sent = |parts: &[Vec<u8>]| {
        let size = u16::try_from(parts[0].len()).unwrap();
        sockopt::set(&sender, libc::SOL_UDP, libc::UDP_SEGMENT, &i32::from(size).to_ne_bytes()).unwrap();
        let _dropped = sender.send_to(&parts.concat(), at(BELGIUM));
        let mut buffer = [0; 2048];
        std::iter::from_fn(|| receiver.recv(&mut buffer).ok()).take(parts.len()).count()
    };
    let (belgium, us) = (in_vxlan(Ipv4Addr::new(198, 51, 100, 10)), in_vxlan(Ipv4Addr::new(203, 0, 113, 10)));
    let data: Vec<Vec<u8>> = (1..=40).map(|part| vec![part; belgium.len()]).collect();
    let hidden = |place: usize| {
        let mut parts = data.clone();
        (parts[0], parts[place]) = (belgium.clone(), us.clone());
        parts
    };
    assert_eq!(sent(&hidden(1)), 40, "without a guard it arrives");
    let _daemon = bed.start(&[]).unwrap();
    assert_eq!(sent(std::slice::from_ref(&belgium)), 1, "one by itself is read");
    assert_eq!(sent(std::slice::from_ref(&us)), 0, "likewise");
    for place in [1, 2, 39] {
        assert_eq!(sent(&hidden(place)), 0, "{place}");
    }
    let mut last = data.clone();
    last[39] = us;
    assert_eq!(sent(&last), 0, "behind data that is no tunnel's");
    let opaque = packets(&bed.status().unwrap(), "egress", "drop", "opaque");
    assert_eq!(opaque, 4);
    assert_eq!(sent(&data), 40, "data alone");
    let mut first = data;
    first[0] = belgium;
    assert_eq!(sent(&first), 40, "data behind a tunnel's packet");
}
