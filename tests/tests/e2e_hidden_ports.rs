//! What hides its ports hides no pin: packets of a pinned address whose ports can't be read are judged by where they
//! go. Judged by what the far side receives.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use guard_tests::bed::{self, BELGIUM, Bed, Family, PATIENCE, PIN, STORE, US};
use guard_tests::netns::Netns;
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
