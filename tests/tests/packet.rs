//! The packet builder against another parser: what it writes, etherparse reads as it was meant.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{
    Icmpv6Type, IpNumber, Ipv6Extensions, NetSlice, PacketHeaders, SlicedPacket, TransportHeader,
    TransportSlice,
};
use guard_tests::packet::{
    Ethernet, Geneve, Gre, Ipv4, Ipv6, Ipv6Fragment, Options, Packet, Routing, SourceRoute, Tcp, Vlan,
};
use proptest::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Transport {
    Tcp,
    Udp,
}

fn transport() -> impl Strategy<Value = Transport> {
    prop_oneof![Just(Transport::Tcp), Just(Transport::Udp)]
}

fn with_transport(packet: Packet, transport: Transport, ports: (u16, u16)) -> Packet {
    match transport {
        Transport::Tcp => packet.tcp(ports.0, ports.1),
        Transport::Udp => packet.udp(ports.0, ports.1),
    }
}

/// Checks ports, content and checksum of the innermost segment.
fn check_transport(headers: &PacketHeaders<'_>, ports: (u16, u16), payload: &[u8]) {
    let (source, destination, sum, expected) =
        match (headers.net.clone().unwrap(), headers.transport.clone().unwrap()) {
            (etherparse::NetHeaders::Ipv4(ip, _), TransportHeader::Tcp(tcp)) => {
                (tcp.source_port, tcp.destination_port, tcp.checksum, tcp.calc_checksum_ipv4(&ip, payload))
            }
            (etherparse::NetHeaders::Ipv6(ip, _), TransportHeader::Tcp(tcp)) => {
                (tcp.source_port, tcp.destination_port, tcp.checksum, tcp.calc_checksum_ipv6(&ip, payload))
            }
            (etherparse::NetHeaders::Ipv4(ip, _), TransportHeader::Udp(udp)) => {
                (udp.source_port, udp.destination_port, udp.checksum, udp.calc_checksum_ipv4(&ip, payload))
            }
            (etherparse::NetHeaders::Ipv6(ip, _), TransportHeader::Udp(udp)) => {
                (udp.source_port, udp.destination_port, udp.checksum, udp.calc_checksum_ipv6(&ip, payload))
            }
            other => panic!("{other:?}"),
        };
    assert_eq!((source, destination), ports);
    assert_eq!(sum, expected.unwrap(), "the checksum");
    assert_eq!(headers.payload.slice(), payload);
}

proptest! {
    #[test]
    fn ipv4_reads_back(
        vlans in proptest::collection::vec(0u16..4096, 0..=3),
        source: [u8; 4], destination: [u8; 4],
        options in proptest::collection::vec(any::<u8>(), 0..=40),
        kind in transport(), ports: (u16, u16),
        payload in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let packet = vlans.iter().fold(Packet::ethernet(), |packet, &id| packet.vlan(id));
        let packet = packet.with(Ipv4::to(destination).from(source).option(&options));
        let frame = with_transport(packet, kind, ports).payload(&payload).build();
        let headers = PacketHeaders::from_ethernet_slice(&frame).unwrap();
        prop_assert_eq!(headers.link_exts.len(), vlans.len());
        for (ext, id) in headers.link_exts.iter().zip(&vlans) {
            let etherparse::LinkExtHeader::Vlan(tag) = ext else { panic!("{ext:?}") };
            prop_assert_eq!(tag.vlan_id.value(), *id);
        }
        let Some(etherparse::NetHeaders::Ipv4(ip, _)) = &headers.net else { panic!("no IPv4") };
        prop_assert_eq!((ip.source, ip.destination), (source, destination));
        prop_assert_eq!(ip.header_checksum, ip.calc_header_checksum());
        prop_assert!(ip.options.as_slice().starts_with(&options));
        check_transport(&headers, ports, &payload);
    }

    #[test]
    fn ipv6_reads_back_behind_every_extension_header(
        source: [u8; 16], destination: [u8; 16],
        options in proptest::collection::vec(any::<u8>(), 0..=255),
        use_header: [bool; 4],
        kind in transport(), ports: (u16, u16),
        payload in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut packet = Packet::ethernet().ipv6(source, destination);
        if use_header[0] { packet = packet.hop_by_hop(); }
        if use_header[1] { packet = packet.with(guard_tests::packet::Layer::DestinationOptions(Options::new(&options))); }
        // A route that is used up leaves the checksum to the header's own destination.
        if use_header[2] { packet = packet.with(Routing::source_route(&[Ipv6Addr::LOCALHOST], 0)); }
        if use_header[3] { packet = packet.auth_header(); }
        let frame = with_transport(packet, kind, ports).payload(&payload).build();
        let headers = PacketHeaders::from_ethernet_slice(&frame).unwrap();
        let Some(etherparse::NetHeaders::Ipv6(ip, extensions)) = &headers.net else { panic!("no IPv6") };
        prop_assert_eq!((ip.source, ip.destination), (source, destination));
        prop_assert_eq!(extensions.hop_by_hop_options.is_some(), use_header[0]);
        prop_assert_eq!(extensions.destination_options.is_some(), use_header[1]);
        prop_assert_eq!(extensions.routing.is_some(), use_header[2]);
        prop_assert_eq!(extensions.auth.is_some(), use_header[3]);
        check_transport(&headers, ports, &payload);
    }

    #[test]
    fn truncation_is_a_prefix(length in 0usize..200) {
        let packet = Packet::ethernet().with(Ipv6::default()).tcp(8143, 50000).payload("a mail");
        let whole = packet.build();
        let cut = packet.truncate(length).build();
        prop_assert_eq!(&cut[..], &whole[..length.min(whole.len())]);
    }
}

#[test]
fn tunnels_hold_a_whole_packet() {
    let (inner_source, inner_destination) = ([192, 0, 2, 10], [203, 0, 113, 30]);
    let inside =
        |packet: Packet| packet.ipv4(inner_source, inner_destination).tcp(8143, 50000).payload("a mail");
    let to_belgium = || Packet::ethernet().with(Ipv4::to([198, 51, 100, 20]));
    let check_inner = |bytes: &[u8], with_ethernet: bool| {
        let headers = if with_ethernet {
            PacketHeaders::from_ethernet_slice(bytes).unwrap()
        } else {
            PacketHeaders::from_ip_slice(bytes).unwrap()
        };
        check_transport(&headers, (8143, 50000), b"a mail");
    };
    let udp_content = |frame: &[u8]| {
        let sliced = SlicedPacket::from_ethernet(frame).unwrap();
        let Some(TransportSlice::Udp(udp)) = sliced.transport else { panic!("no UDP") };
        udp.payload().to_vec()
    };

    let vxlan = udp_content(&inside(to_belgium().udp(40000, 4789).vxlan(0xabcdef).then_ethernet()).build());
    assert_eq!(vxlan[..8], [8, 0, 0, 0, 0xab, 0xcd, 0xef, 0]);
    check_inner(&vxlan[8..], true);

    let option = [0x01, 0x02, 0x03, 0x01, 9, 9, 9, 9];
    let geneve = to_belgium().udp(40000, 6081).with(Geneve::new(7).options(&option)).then_ethernet();
    let geneve = udp_content(&inside(geneve).build());
    assert_eq!(geneve[..8], [2, 0, 0x65, 0x58, 0, 0, 7, 0]);
    check_inner(&geneve[16..], true);
    let bare = udp_content(&inside(to_belgium().udp(40000, 6081).geneve(7)).build());
    assert_eq!(bare[2..4], [8, 0]);
    check_inner(&bare[8..], false);

    let gre = inside(to_belgium().with(Gre::default().checksum().key(5).sequence(6))).build();
    let NetSlice::Ipv4(ip) = SlicedPacket::from_ethernet(&gre).unwrap().net.unwrap() else {
        panic!("no IPv4")
    };
    assert_eq!(ip.header().protocol(), IpNumber::GRE);
    let content = ip.payload().payload;
    assert_eq!(content[..4], [0xb0, 0, 8, 0]);
    assert_eq!(content[8..16], [0, 0, 0, 5, 0, 0, 0, 6]);
    let sum = etherparse::checksum::Sum16BitWords::new().add_slice(content).ones_complement();
    assert_eq!(sum, 0, "the checksum of the whole comes to nothing");
    check_inner(&content[16..], false);

    for (frame, number) in [
        (inside(to_belgium()), IpNumber::IPV4),
        (to_belgium().with(Ipv6::default()).tcp(8143, 50000).payload("a mail"), IpNumber::IPV6),
    ] {
        let frame = frame.build();
        let NetSlice::Ipv4(ip) = SlicedPacket::from_ethernet(&frame).unwrap().net.unwrap() else {
            panic!("no IPv4")
        };
        assert_eq!(ip.header().protocol(), number);
        check_inner(ip.payload().payload, false);
    }
}

#[test]
fn a_source_route_is_checked_for_its_end() {
    let (hop, end) = (Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(203, 0, 113, 30));
    for (passed, checked_for) in [(0, end), (1, end), (2, Ipv4Addr::new(192, 0, 2, 99))] {
        let ip = Ipv4::to([192, 0, 2, 99]).source_route(SourceRoute::Loose, &[hop, end], passed);
        let frame = Packet::new().with(ip).with(Tcp::new(8143, 50000).syn()).build();
        let headers = PacketHeaders::from_ip_slice(&frame).unwrap();
        let Some(etherparse::NetHeaders::Ipv4(ip, _)) = headers.net else { panic!("no IPv4") };
        let Some(TransportHeader::Tcp(tcp)) = headers.transport else { panic!("no TCP") };
        assert_eq!(ip.options.as_slice()[..3], [131, 11, 4 + 4 * passed]);
        assert!(tcp.syn && !tcp.ack);
        let sum = tcp.calc_checksum_ipv4_raw(ip.source, checked_for.octets(), &[]).unwrap();
        assert_eq!(tcp.checksum, sum, "{passed} passed");
    }
}

#[test]
fn routing_headers_are_checked_for_their_end() {
    let hop: Ipv6Addr = "2001:db8:2::1".parse().unwrap();
    let end: Ipv6Addr = "2001:db8:3::30".parse().unwrap();
    for (routing, kind) in [
        (Routing::source_route(&[hop, end], 2), 0),
        (Routing::home_address(end), 2),
        (Routing::segments(&[end, hop], 1), 4),
    ] {
        let frame = Packet::new().with(Ipv6::to(hop)).with(routing).udp(1, 2).build();
        let headers = PacketHeaders::from_ip_slice(&frame).unwrap();
        let Some(etherparse::NetHeaders::Ipv6(ip, extensions)) = headers.net else { panic!("no IPv6") };
        let Some(TransportHeader::Udp(udp)) = headers.transport else { panic!("no UDP") };
        assert_eq!(extensions.routing.unwrap().routing.payload()[0], kind);
        let sum = udp.calc_checksum_ipv6_raw(ip.source, end.octets(), &[]).unwrap();
        assert_eq!(udp.checksum, sum, "type {kind}");
    }
}

#[test]
fn fragments_carry_their_place() {
    let first = Packet::new().with(Ipv4::default().fragment(0, true)).udp(1, 2).payload([7; 16]).build();
    let later = Packet::new().with(Ipv4::default().fragment(24, false).protocol(17)).payload([7; 16]).build();
    for (frame, offset, more) in [(first, 0, true), (later, 3, false)] {
        let (ip, _) = etherparse::Ipv4Header::from_slice(&frame).unwrap();
        assert_eq!((ip.fragment_offset.value(), ip.more_fragments), (offset, more));
        assert_eq!(ip.protocol, IpNumber::UDP);
    }
    let fragment = Ipv6Fragment::new(1400, false).next_header(6);
    let frame = Packet::new().with(Ipv6::default()).with(fragment).payload([7; 16]).build();
    let (extensions, next, _) =
        Ipv6Extensions::from_slice(IpNumber::IPV6_FRAGMENTATION_HEADER, &frame[40..]).unwrap();
    let header = extensions.fragment.unwrap();
    assert_eq!((header.fragment_offset.value(), header.more_fragments, next), (175, false, IpNumber::TCP));
}

#[test]
fn echoes_fit_their_ip_layer() {
    let frame = Packet::new().with(Ipv4::default()).echo().payload("ping").build();
    let Some(TransportHeader::Icmpv4(icmp)) = PacketHeaders::from_ip_slice(&frame).unwrap().transport else {
        panic!("no ICMP")
    };
    assert!(matches!(icmp.icmp_type, etherparse::Icmpv4Type::EchoRequest(_)));
    assert_eq!(icmp.checksum, icmp.icmp_type.calc_checksum(b"ping"));
    let frame = Packet::new().with(Ipv6::default()).echo().payload("ping").build();
    let headers = PacketHeaders::from_ip_slice(&frame).unwrap();
    let (Some(TransportHeader::Icmpv6(icmp)), Some(etherparse::NetHeaders::Ipv6(ip, _))) =
        (headers.transport, headers.net)
    else {
        panic!("no ICMPv6")
    };
    assert!(matches!(icmp.icmp_type, Icmpv6Type::EchoRequest(_)));
    assert_eq!(icmp.checksum, icmp.icmp_type.calc_checksum(ip.source, ip.destination, b"ping").unwrap());
}

#[test]
fn fields_can_be_wrong_on_purpose() {
    let frame = Packet::new()
        .with(Ethernet::default().ether_type(0x1234))
        .with(Vlan::service(5).ether_type(0x5678))
        .with(Ipv4::default().total_length(0).checksum(0xbeef).protocol(99))
        .udp(1, 2)
        .build();
    assert_eq!(frame[12..14], [0x12, 0x34]);
    assert_eq!(frame[16..18], [0x56, 0x78]);
    assert_eq!(frame[20..22], [0, 0]);
    assert_eq!((frame[27], &frame[28..30]), (99, &[0xbe, 0xef][..]));
    let frame = Packet::new().with(Ipv6::default().payload_length(0).next_header(99)).tcp(1, 2).build();
    assert_eq!(frame[4..7], [0, 0, 99]);
}

#[test]
fn more_than_a_length_can_say_says_zero() {
    let frame = Packet::new().with(Ipv4::default()).tcp(8143, 50000).payload(vec![0; 70_000]).build();
    assert_eq!((frame.len(), &frame[2..4]), (70_040, &[0, 0][..]));
}

#[test]
fn sctp_is_whole_words_with_its_crc() {
    let frame = Packet::new().with(Ipv4::default()).sctp(8143, 50000).payload("mail!").build();
    assert_eq!(frame[9], 132);
    assert_eq!(frame[20..24], [0x1f, 0xcf, 0xc3, 0x50]);
    assert_eq!(frame.len(), 20 + 12 + 16 + 8, "padded");
    assert_eq!(frame[34..36], [0, 21], "the chunk's length without padding");
}
