//! Attempts to get marked bytes of a pinned mailbox to the US by paths through the host and in packets of unusual forms. Each
//! looks at the US for the mark, whatever it is in, and its Belgian twin arrives.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

#[path = "support/arrival.rs"]
mod arrival;
#[path = "support/mail.rs"]
mod mail;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use guard_tests::bed::{BELGIUM, Bed, CLIENT_PORT, Family, MAIL_PORT, STORE, US};
use guard_tests::marked::{MARK, Marked};
use guard_tests::netns::{HOST_INTERFACE, Netns};
use guard_tests::packet::{Ethernet, Ipv4, Packet};
use guard_tests::sockopt;
use rustix::net::{AddressFamily, Protocol, RawProtocol, SendFlags, SocketFlags, SocketType};

use arrival::{BY_ADDRESS, BY_HOST, arrive, container};
use mail::{BY_PORT, COUNT, client, datagram, v4};

/// Has the attempt made without a guard, where it gets through, and with it, where its twin alone does.
fn attempt(label: &str, config: &str, prepare: impl Fn(&Bed), send: impl Fn(&Bed, &str)) {
    let bed = Bed::new(label).unwrap();
    prepare(&bed);
    let [us, belgium] = arrive(&bed, |host| send(&bed, host));
    assert!(us > 0 && belgium > 0, "without a guard it arrives: {us} and {belgium}");
    bed.configure(config).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let [us, belgium] = arrive(&bed, |host| send(&bed, host));
    assert_eq!(us, 0, "with the mark in the US");
    assert!(belgium > 0, "the twin arrives");
    let is_it = |event: &serde_json::Value| event["verdict"] == "drop" && event["pins"][0] == "mail";
    bed.event(Duration::from_secs(5), "an event of the attempt", is_it).unwrap();
}

fn from_store(bed: &Bed, to: &str) {
    for family in Family::ALL {
        datagram(bed.host(STORE).unwrap(), client(to, family), MARK, |_| ());
    }
}

/// A raw socket that sends with an IPv4 header of the kernel's making.
fn raw(host: &Netns, protocol: u32) -> OwnedFd {
    let protocol = Protocol::from_raw(RawProtocol::new(protocol).unwrap());
    let make = || {
        rustix::net::socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol))
    };
    host.run(make).unwrap().unwrap()
}

/// The IPv4 packet of a marked mail to a host.
fn mail(to: Ipv4Addr) -> Vec<u8> {
    Packet::new().with(Ipv4::to(to).from(v4(STORE))).udp(MAIL_PORT, CLIENT_PORT).payload(MARK).build()
}

#[test]
#[ignore = "needs root and BPF"]
fn fragments_of_a_large_datagram() {
    // The mark is in the last of the fragments, which has no ports.
    let payload = [&[b'.'; 4000], MARK].concat();
    attempt(
        "fragments",
        BY_PORT,
        |_| (),
        |bed, host| {
            for family in Family::ALL {
                datagram(bed.host(STORE).unwrap(), client(host, family), &payload, |_| ());
            }
        },
    );
}

#[test]
#[ignore = "needs root and BPF"]
fn an_ipv4_source_route_by_way_of_belgium() {
    // Loose source and record route (RFC 791, section 3.1): the header's destination is a router's address in Belgium, the
    // last hop the real one. Routers of this network forward it.
    let accept = |bed: &Bed| {
        for netns in [bed.router(), bed.host(US).unwrap(), bed.host(BELGIUM).unwrap()] {
            for key in ["ipv4/conf/all/accept_source_route", "ipv4/conf/default/accept_source_route"] {
                netns.sysctl(key, "1").unwrap();
            }
        }
        for (number, _) in [STORE, BELGIUM, US].iter().enumerate() {
            bed.router().sysctl(&format!("ipv4/conf/port{number}/accept_source_route"), "1").unwrap();
        }
    };
    attempt("source-route", BY_PORT, accept, |bed, host| {
        let hop = Ipv4Addr::new(198, 51, 100, 1).octets();
        let route = [&[131, 7, 4][..], &hop, &[0]].concat();
        let options =
            |socket: &UdpSocket| sockopt::set(socket, libc::IPPROTO_IP, libc::IP_OPTIONS, &route).unwrap();
        datagram(bed.host(STORE).unwrap(), client(host, Family::V4), MARK, options);
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn a_packet_in_a_packet_for_belgium() {
    // IP in IP (RFC 2003) to a host that a permitted jurisdiction has: what is inside goes on from there.
    attempt_inside("ip-in-ip", 4, |inner| inner);
}

#[test]
#[ignore = "needs root and BPF"]
fn a_packet_in_gre_for_belgium() {
    attempt_inside("gre", 47, |inner| [&[0, 0, 8, 0][..], &inner].concat());
}

/// A mail to a host in a tunnel's packet to Belgium: that host alone may be the real destination. Belgium sees the packets
/// either way, so what is counted is what comes there.
fn attempt_inside(label: &str, protocol: u32, around: impl Fn(Vec<u8>) -> Vec<u8>) {
    let bed = Bed::new(label).unwrap();
    let sent = |inner: &str| {
        let marked = Marked::at(bed.host(BELGIUM).unwrap()).unwrap();
        let socket = raw(bed.host(STORE).unwrap(), protocol);
        let to = SocketAddr::new(v4(BELGIUM).into(), 0);
        for _ in 0..COUNT {
            let _dropped = rustix::net::sendto(&socket, &around(mail(v4(inner))), SendFlags::empty(), &to);
        }
        marked.count().unwrap()
    };
    assert!(sent(US) > 0 && sent(BELGIUM) > 0, "without a guard it arrives");
    bed.configure(BY_PORT).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    assert_eq!(sent(US), 0, "for the US");
    assert!(sent(BELGIUM) > 0, "for Belgium");
}

#[test]
#[ignore = "needs root and BPF"]
fn a_frame_by_a_packet_socket() {
    attempt(
        "packet-socket",
        BY_PORT,
        |_| (),
        |bed, host| {
            let store = bed.host(STORE).unwrap();
            let (from, to) = (store.mac(HOST_INTERFACE).unwrap(), bed.router().mac("port0").unwrap());
            let frame = Packet::new()
                .with(Ethernet::new(from, to))
                .with(Ipv4::to(v4(host)).from(v4(STORE)))
                .udp(MAIL_PORT, CLIENT_PORT)
                .payload(MARK)
                .build();
            let send = || {
                let socket = sockopt::packet_socket().unwrap();
                sockopt::send_frame(&socket, HOST_INTERFACE, &frame).unwrap();
            };
            store.run(send).unwrap();
        },
    );
}

#[test]
#[ignore = "needs root and BPF"]
fn a_frame_that_the_host_forwards_from_its_loopback_interface() {
    attempt(
        "loopback",
        BY_HOST,
        |bed| {
            let store = bed.host(STORE).unwrap();
            store.forward().unwrap();
            for key in ["all/rp_filter", "lo/rp_filter"] {
                store.sysctl(&format!("ipv4/conf/{key}"), "0").unwrap();
            }
        },
        |bed, host| {
            // Of no address of the host, so that it is the host's by where it came from alone.
            let foreign = Ipv4Addr::new(198, 51, 100, 99);
            let frame = Packet::new()
                .with(Ethernet::new([0; 6], [0; 6]))
                .with(Ipv4::to(v4(host)).from(foreign))
                .udp(MAIL_PORT, CLIENT_PORT)
                .payload(MARK)
                .build();
            let send = || {
                let socket = sockopt::packet_socket().unwrap();
                sockopt::send_frame(&socket, "lo", &frame).unwrap();
            };
            bed.host(STORE).unwrap().run(send).unwrap();
        },
    );
}

#[test]
#[ignore = "needs root and BPF"]
fn a_datagram_to_the_hosts_own_vxlan_port() {
    // `vx0`, or a bridge above it.
    let made = [
        &[
            "link",
            "add",
            "vx0",
            "address",
            "02:00:00:00:00:07",
            "type",
            "vxlan",
            "id",
            "7",
            "dstport",
            "4789",
        ][..],
        &["link", "set", "vx0", "up"],
        &["link", "add", "br0", "address", "02:00:00:00:00:07", "type", "bridge", "forward_delay", "0"],
        &["link", "set", "vx0", "master", "br0"],
        &["link", "set", "br0", "up"],
    ];
    for made in [&made[..2], &made[..]] {
        attempt(
            "own-vxlan",
            BY_HOST,
            |bed| {
                let store = bed.host(STORE).unwrap();
                store.forward().unwrap();
                store.sysctl("ipv4/conf/all/rp_filter", "0").unwrap();
                for command in made {
                    store.ip(command).unwrap();
                }
                let upper = if made.len() > 2 { "br0" } else { "vx0" };
                store.sysctl(&format!("ipv4/conf/{upper}/rp_filter"), "0").unwrap();
                store.ip(&["address", "add", "198.51.100.98/31", "dev", upper]).unwrap();
            },
            |bed, host| {
                // What nobody needs a right for: a datagram to a port of the host, with any source in it.
                let frame = Packet::new()
                    .with(Ethernet::new([2, 0, 0, 0, 0, 8], [2, 0, 0, 0, 0, 7]))
                    .with(Ipv4::to(v4(host)).from(Ipv4Addr::new(198, 51, 100, 99)))
                    .udp(MAIL_PORT, CLIENT_PORT)
                    .payload(MARK)
                    .build();
                let vxlan = [&[8, 0, 0, 0, 0, 0, 7, 0][..], &frame].concat();
                datagram(bed.host(STORE).unwrap(), "127.0.0.1:4789".parse().unwrap(), &vxlan, |_| ());
            },
        );
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn a_ping_with_a_mail_in_it() {
    attempt(
        "ping",
        BY_ADDRESS,
        |_| (),
        |bed, host| {
            let socket = raw(bed.host(STORE).unwrap(), 1);
            // An echo request (RFC 792); its checksum is not looked at before it comes.
            let message = [&[8, 0, 0, 0, 0, 1, 0, 1][..], MARK].concat();
            let _dropped = rustix::net::sendto(
                &socket,
                &message,
                SendFlags::empty(),
                &SocketAddr::new(v4(host).into(), 0),
            );
        },
    );
}

#[test]
#[ignore = "needs root and BPF"]
fn a_bridge_whose_port_is_guarded() {
    attempt("bridge", BY_PORT, to_bridge, from_store);
}

/// Puts the storage host's interface below a bridge, which gets its addresses and routes.
fn to_bridge(bed: &Bed) {
    let store = bed.host(STORE).unwrap();
    let mac = store.mac(HOST_INTERFACE).unwrap().map(|byte| format!("{byte:02x}")).join(":");
    store.ip(&["link", "add", "br0", "address", &mac, "type", "bridge", "forward_delay", "0"]).unwrap();
    store.ip(&["link", "set", HOST_INTERFACE, "master", "br0"]).unwrap();
    above(bed, "br0");
}

/// Moves the storage host's addresses and routes to an interface above its own.
fn above(bed: &Bed, name: &str) {
    let store = bed.host(STORE).unwrap();
    store.ip(&["address", "flush", "dev", HOST_INTERFACE, "scope", "global"]).unwrap();
    store.ip(&["link", "set", name, "up"]).unwrap();
    for address in ["192.0.2.10/24", "2001:db8:1::10/64"] {
        store.add_address(name, address.parse().unwrap()).unwrap();
    }
    for gateway in ["192.0.2.1", "2001:db8:1::1"] {
        let family = if gateway.contains(':') { "-6" } else { "-4" };
        store.ip(&[family, "route", "replace", "default", "via", gateway, "dev", name]).unwrap();
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn a_macvlan_above_the_guarded_interface() {
    let prepare = |bed: &Bed| {
        let store = bed.host(STORE).unwrap();
        store
            .ip(&["link", "add", "mv0", "link", HOST_INTERFACE, "type", "macvlan", "mode", "bridge"])
            .unwrap();
        above(bed, "mv0");
    };
    attempt("macvlan", BY_PORT, prepare, from_store);
}

#[test]
#[ignore = "needs root and BPF"]
fn a_vxlan_device_above_the_guarded_interface() {
    // A tunnel to Belgium that the host itself has; by it the US is as near as the tunnel's end takes it.
    let bed = Bed::new("vxlan").unwrap();
    let store = bed.host(STORE).unwrap();
    let add =
        ["link", "add", "vx0", "type", "vxlan", "id", "7", "remote", "198.51.100.10", "dstport", "4789"];
    store.ip(&[&add[..], &["dev", HOST_INTERFACE]].concat()).unwrap();
    store.ip(&["link", "set", "vx0", "up"]).unwrap();
    store.ip(&["address", "add", "192.0.2.201/29", "dev", "vx0"]).unwrap();
    for host in [US, BELGIUM] {
        let through =
            format!("{}/32", if host == US { "203.0.113.77".to_owned() } else { "198.51.100.77".to_owned() });
        let via = if host == US { "203.0.113.77" } else { "198.51.100.77" };
        store.ip(&["route", "add", &through, "dev", "vx0"]).unwrap();
        store.ip(&["neigh", "add", via, "lladdr", "02:00:00:00:00:77", "dev", "vx0"]).unwrap();
    }
    let sent = |to: &str| {
        let marked = Marked::at(bed.host(BELGIUM).unwrap()).unwrap();
        for _ in 0..COUNT {
            datagram(store, format!("{to}:{CLIENT_PORT}").parse().unwrap(), MARK, |_| ());
        }
        marked.count().unwrap()
    };
    assert!(sent("203.0.113.77") > 0 && sent("198.51.100.77") > 0, "without a guard it arrives");
    bed.configure(BY_PORT).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    assert_eq!(sent("203.0.113.77"), 0, "for the US");
    assert!(sent("198.51.100.77") > 0, "for Belgium");
}

#[test]
#[ignore = "needs root and BPF"]
fn a_second_address_of_the_host() {
    let prepare = |bed: &Bed| {
        let store = bed.host(STORE).unwrap();
        store.ip(&["address", "add", "192.0.2.66/32", "dev", HOST_INTERFACE]).unwrap();
    };
    attempt("second-address", BY_ADDRESS, prepare, |bed, host| {
        let socket = bed.host(STORE).unwrap().run(|| UdpSocket::bind("192.0.2.66:0")).unwrap().unwrap();
        let _dropped = socket.send_to(MARK, client(host, Family::V4));
    });
}

#[test]
#[ignore = "needs root and BPF"]
fn an_address_that_the_host_gets_a_moment_before() {
    attempt(
        "new-address",
        BY_HOST,
        |_| (),
        |bed, host| {
            let store = bed.host(STORE).unwrap();
            store.ip(&["address", "add", "192.0.2.66/32", "dev", HOST_INTERFACE]).unwrap();
            let socket = store.run(|| UdpSocket::bind("192.0.2.66:0")).unwrap().unwrap();
            let _dropped = socket.send_to(MARK, client(host, Family::V4));
            drop(socket);
            store.ip(&["address", "del", "192.0.2.66/32", "dev", HOST_INTERFACE]).unwrap();
        },
    );
}

#[test]
#[ignore = "needs root and BPF"]
fn a_container_that_sends_with_an_address_of_the_host() {
    let bed = Bed::new("host-address").unwrap();
    let (container, store) = (container(&bed), bed.host(STORE).unwrap());
    // Who forwards takes packets with its own addresses only so.
    for key in ["all/rp_filter", "ctr0/rp_filter"] {
        store.sysctl(&format!("ipv4/conf/{key}"), "0").unwrap();
    }
    store.sysctl("ipv4/conf/ctr0/accept_local", "1").unwrap();
    // IPPROTO_RAW: the header is the sender's.
    let send_from = |from: Ipv4Addr, host: &str| {
        let packet = Packet::new().with(Ipv4::to(v4(host)).from(from)).udp(MAIL_PORT, CLIENT_PORT);
        let to = SocketAddr::new(v4(host).into(), 0);
        let packet = packet.payload(MARK).build();
        let _dropped = rustix::net::sendto(raw(&container, 255), &packet, SendFlags::empty(), &to);
    };
    let [own, hosts] = [Ipv4Addr::new(192, 0, 2, 130), v4(STORE)];
    for from in [own, hosts] {
        let [us, belgium] = arrive(&bed, |host| send_from(from, host));
        assert!(us > 0 && belgium > 0, "without a guard it arrives: {us} and {belgium} from {from}");
    }
    bed.configure(BY_HOST).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let [us, belgium] = arrive(&bed, |host| send_from(hosts, host));
    assert_eq!(us, 0, "with the mark in the US");
    assert!(belgium > 0, "the twin arrives");
    let [us, belgium] = arrive(&bed, |host| send_from(own, host));
    assert!(us > 0 && belgium > 0, "a container's own address is not the host's: {us} and {belgium}");
}
