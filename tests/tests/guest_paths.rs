//! Attempts to get marked mails to the US by devices and protocols of the kernel's that not every machine has, each with its
//! Belgian twin. In the guests of `cargo xtask vm` alone, for there these are. All devices stand at once, beside each other,
//! so that one daemon judges them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

#[path = "support/mail.rs"]
mod mail;
#[path = "support/topology.rs"]
mod topology;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use guard_tests::bed::{BELGIUM, Bed, CLIENT_PORT, Family, MAIL_PORT, OTHER_PORT, STORE, US};
use guard_tests::marked::{MARK, Marked};
use guard_tests::netns::Netns;
use guard_user::health::ProblemCode;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, Protocol, RawProtocol, SendFlags, SocketFlags, SocketType};

use mail::{BY_PORT, COUNT, client, datagram, v4};
use topology::{Place, bind_to, output, run};

/// What else is the mailbox's: the own ports of two WireGuard devices, SCTP, what the host's firewall has marked before it
/// rewrote the source, and what comes in by some interfaces.
const MORE: &str = "[[pin]]\nname = \"more\"\nhome = \"IE\"\npermit = [\"EU\"]\naction = \"drop\"\n\
    [[pin.select]]\nports = [\"udp/51143-51144\", \"sctp/143\"]\n[[pin.select]]\nmarks = [\"0x20/0xff\"]\n\
    [[pin.select]]\ninterfaces = [\"c-*\"]\n";
/// A port that the host publishes for a container.
const PUBLISHED: u16 = 8143;

/// A way for mails to a host.
struct Path<'a> {
    name: &'static str,
    /// Where they are looked for: at that host, unless they are in a tunnel that ends elsewhere.
    at: Option<&'static str>,
    send: Box<dyn Fn(&str) + 'a>,
}

impl<'a> Path<'a> {
    fn new(name: &'static str, send: impl Fn(&str) + 'a) -> Self {
        Self { name, at: None, send: Box::new(send) }
    }

    /// In a tunnel that ends in Belgium.
    fn in_tunnel(name: &'static str, send: impl Fn(&str) + 'a) -> Self {
        Self { at: Some(BELGIUM), ..Self::new(name, send) }
    }

    /// How many mails arrive of those to a host.
    fn arrive(&self, bed: &Bed, host: &str) -> usize {
        let marked = Marked::at(bed.host(self.at.unwrap_or(host)).unwrap()).unwrap();
        for _ in 0..COUNT {
            (self.send)(host);
        }
        marked.count().unwrap()
    }
}

/// What arrives by each path, in the US and in Belgium, as far as it is not what it should be.
fn wrong(
    bed: &Bed,
    paths: &[Path<'_>],
    is_right: impl Fn([usize; 2]) -> bool,
) -> Vec<(&'static str, [usize; 2])> {
    let arrived = paths.iter().map(|path| (path.name, [US, BELGIUM].map(|host| path.arrive(bed, host))));
    arrived.filter(|(_, counts)| !is_right(*counts)).collect()
}

/// Sends by one device, whatever other routes there are.
fn by<'a>(netns: &'a Netns, device: &'a str) -> impl Fn(&str) + 'a {
    move |host| datagram(netns, client(host, Family::V4), MARK, |socket| bind_to(socket, device))
}

/// VLANs, bonds, VRFs, macvlan and ipvlan: above a guarded device, or guarded themselves.
fn stacked<'a>(bed: &'a Bed, place: &Place<'_>, paths: &mut Vec<Path<'a>>) {
    let (store, router) = (bed.host(STORE).unwrap(), bed.router());
    run(store, "link add link eth0 name v7 type vlan id 7");
    run(router, "link add link port0 name rv7 type vlan id 7");
    place.lead("v7", "rv7");
    paths.push(Path::new("a VLAN above the guarded interface", by(store, "v7")));

    place.cable("trunk");
    run(store, "link add link trunk name g-v8 type vlan id 8");
    run(router, "link add link r-trunk name rv8 type vlan id 8");
    place.lead("g-v8", "rv8");
    paths.push(Path::new("a guarded VLAN", by(store, "g-v8")));

    for (bond, members) in [("g-bond", ["ma1", "ma2"]), ("bond-b", ["g-mb1", "g-mb2"])] {
        let far = format!("r-{bond}");
        for (netns, name) in [(store, bond), (router, &far)] {
            run(netns, &format!("link add {name} type bond mode balance-rr"));
        }
        for member in members {
            place.cable(member);
            for (netns, name, of) in [(store, member, bond), (router, &format!("r-{member}"), &far)] {
                run(netns, &format!("link set {name} down"));
                run(netns, &format!("link set {name} master {of}"));
            }
        }
        place.lead(bond, &far);
    }
    paths.push(Path::new("a guarded bond", by(store, "g-bond")));
    paths.push(Path::new("a bond whose members are guarded", by(store, "bond-b")));

    place.cable("g-vrf");
    run(store, "link add vrf7 type vrf table 7");
    run(store, "link set vrf7 up");
    run(store, "link set g-vrf master vrf7");
    let [_, gateway] = place.addresses((store, "g-vrf"), (router, "r-g-vrf"));
    run(store, &format!("route add default via {gateway} dev g-vrf table 7"));
    paths.push(Path::new("a VRF whose interface is guarded", by(store, "vrf7")));

    run(store, "link add link eth0 name mv0 type macvlan mode bridge");
    place.lead("mv0", "port0");
    paths.push(Path::new("a macvlan device above the guarded interface", by(store, "mv0")));

    place.cable("g-ip");
    run(store, "link add link g-ip name iv2 type ipvlan mode l2");
    run(store, "link set g-ip up");
    place.lead("iv2", "r-g-ip");
    paths.push(Path::new("an ipvlan device above the guarded interface", by(store, "iv2")));
}

/// Containers: by ipvlan that routes, and by netkit where the kernel has it.
fn containers(place: &Place<'_>, store: &Netns, devices: &mut Vec<(&'static str, Netns)>) {
    place.cable("g-ip3");
    run(store, "link add link g-ip3 name iv3 type ipvlan mode l3");
    place.lead("g-ip3", "r-g-ip3");
    let container = Netns::new("container").unwrap();
    run(store, &format!("link set iv3 netns {}", container.name()));
    run(&container, "link set iv3 up");
    run(&container, "address add 192.0.2.120/32 dev iv3");
    run(&container, "route add default dev iv3");
    devices.push(("a container by an ipvlan device that routes", container));

    if store.ip(&["link", "add", "ctrnk", "type", "netkit"]).is_err() {
        assert!(release() < [6, 7], "this kernel has netkit");
        return;
    }
    let (container, _) = place.container(["ctrnk", "nk0"], |container| {
        run(store, &format!("link set nk0 netns {}", container.name()));
    });
    devices.push(("a container by netkit", container));
}

/// Containers by an interface that a pin selects, whose packets come in by one above it: a VLAN, a bond, a VRF.
fn below_others(place: &Place<'_>, store: &Netns, devices: &mut Vec<(&'static str, Netns)>) {
    let (container, _) = place.container(["above-vlan", "vlan"], |container| {
        container.link("eth0", store, "c-vlan").unwrap();
        run(store, "link add link c-vlan name above-vlan type vlan id 9");
        run(container, "link add link eth0 name vlan type vlan id 9");
    });
    devices.push(("a container by a VLAN on a selected interface", container));

    let (container, _) = place.container(["above-bond", "eth0"], |container| {
        container.link("eth0", store, "c-bond").unwrap();
        run(store, "link add above-bond type bond mode balance-rr");
        run(store, "link set c-bond down");
        run(store, "link set c-bond master above-bond");
    });
    devices.push(("a container by a bond of a selected interface", container));

    let (container, _) = place.container(["c-vrf", "eth0"], |container| {
        container.link("eth0", store, "c-vrf").unwrap();
        run(store, "link add above-vrf type vrf table 8");
        run(store, "link set above-vrf up");
        run(store, "link set c-vrf master above-vrf");
        run(store, "route add default via 192.0.2.1 dev eth0 table 8");
    });
    devices.push(("a container by a VRF with a selected interface", container));
}

/// The kernel's version, as far as it tells what devices there are.
fn release() -> [u32; 2] {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|part| part.parse().unwrap());
    [numbers.next().unwrap(), numbers.next().unwrap()]
}

/// Where nobody is, in the country of a host.
fn beside(host: &str) -> Ipv4Addr {
    let [a, b, c, _] = v4(host).octets();
    Ipv4Addr::new(a, b, c, 77)
}

/// Tunnels of the kernel's own to Belgium, for what would go on from there; the guarded interface is below them.
fn tunnels<'a>(bed: &'a Bed, place: &Place<'_>, paths: &mut Vec<Path<'a>>) {
    let store = bed.host(STORE).unwrap();
    let (own, end) = (v4(STORE), v4(BELGIUM));
    for (name, device, kind) in [
        ("GRE", "tun-gre", format!("gre local {own} remote {end} ttl 64")),
        ("IP in IP", "tun-ipip", format!("ipip local {own} remote {end} ttl 64")),
        ("Geneve", "tun-gnv", format!("geneve id 7 remote {end}")),
        ("VXLAN", "tun-vx", format!("vxlan id 7 remote {end} dstport 4789 dev eth0")),
    ] {
        run(store, &format!("link add {device} type {kind}"));
        run(store, &format!("link set {device} up"));
        place.route(device, "");
        run(store, &format!("address add 192.0.2.121/32 dev {device}"));
        let has_neighbours = matches!(name, "Geneve" | "VXLAN");
        for host in [US, BELGIUM].into_iter().filter(|_| has_neighbours) {
            let to = beside(host);
            run(store, &format!("neigh add {to} lladdr 02:00:00:00:00:77 dev {device}"));
        }
        let send = move |host: &str| {
            let to = SocketAddr::new(beside(host).into(), CLIENT_PORT);
            datagram(store, to, MARK, |socket| bind_to(socket, device));
        };
        paths.push(Path::in_tunnel(name, send));
    }
}

/// A WireGuard device with a key of its own, which it returns the public half of.
fn wireguard(netns: &Netns, device: &str, port: u16) -> String {
    run(netns, &format!("link add {device} type wireguard"));
    let key = output(netns, "wg", "genkey", "");
    output(netns, "wg", &format!("set {device} listen-port {port} private-key /proc/self/fd/0"), &key);
    run(netns, &format!("link set {device} up"));
    output(netns, "wg", "pubkey", &key).trim().to_owned()
}

/// WireGuard: what is inside of a guarded device, and where the encrypted packets go of one that is not.
fn vpns<'a>(bed: &'a Bed, place: &Place<'_>, paths: &mut Vec<Path<'a>>) {
    let store = bed.host(STORE).unwrap();
    let ends = [US, BELGIUM].map(|host| (host, wireguard(bed.host(host).unwrap(), "wg", 51000)));
    for (device, port, end, own) in [
        ("g-wg", 51999, &ends[1], "192.0.2.122"),
        ("wg-us", 51143, &ends[0], "192.0.2.123"),
        ("wg-be", 51144, &ends[1], "192.0.2.124"),
    ] {
        let (host, key) = end;
        let public = wireguard(store, device, port);
        let peer = format!("set {device} peer {key} allowed-ips 0.0.0.0/0 endpoint {}:51000", v4(host));
        output(store, "wg", &peer, "");
        output(bed.host(host).unwrap(), "wg", &format!("set wg peer {public} allowed-ips {own}/32"), "");
        run(store, &format!("address add {own}/32 dev {device}"));
        place.route(device, "");
    }
    let send = move |host: &str, device: &str| {
        let to = SocketAddr::new(beside(host).into(), CLIENT_PORT);
        datagram(store, to, MARK, |socket| bind_to(socket, device));
    };
    paths.push(Path::in_tunnel("inside a guarded WireGuard device", move |host| send(host, "g-wg")));
    // Inside is nothing that the guard sees: to the storage's own country.
    let outside = move |host: &str| {
        let to = SocketAddr::new(Ipv4Addr::new(192, 0, 2, 99).into(), CLIENT_PORT);
        let device = if host == US { "wg-us" } else { "wg-be" };
        datagram(store, to, MARK, |socket| bind_to(socket, device));
    };
    paths.push(Path::new("outside a WireGuard device whose port is the pin's", outside));
}

/// ESP in transport mode, with a cipher that leaves the mark as it is.
fn esp<'a>(bed: &'a Bed, place: &Place<'_>, paths: &mut Vec<Path<'a>>) {
    let store = bed.host(STORE).unwrap();
    place.cable("g-esp");
    let own = place.lead("g-esp", "r-g-esp");
    for (number, host) in [US, BELGIUM].into_iter().enumerate() {
        let [spi, own, to] = [format!("0x{}", 101 + number), own.to_string(), v4(host).to_string()];
        let of = ["src", &own, "dst", &to];
        let esp = ["proto", "esp", "spi", &spi, "mode", "transport"];
        let null = ["auth", "digest_null", "", "enc", "ecb(cipher_null)", ""];
        store.ip(&[&["xfrm", "state", "add"][..], &of, &esp, &null].concat()).unwrap();
        store
            .ip(&[&["xfrm", "policy", "add"][..], &of, &["dir", "out", "tmpl"], &of, &esp].concat())
            .unwrap();
    }
    paths.push(Path::new("ESP in transport mode", by(store, "g-esp")));
}

fn sctp_socket(netns: &Netns) -> OwnedFd {
    let protocol = RawProtocol::new(132).map(Protocol::from_raw);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let make = || rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, protocol);
    netns.run(make).unwrap().unwrap()
}

/// Connects by SCTP and sends a mail, if that can be done soon.
fn by_sctp(bed: &Bed, host: &str) {
    let listener = sctp_socket(bed.host(host).unwrap());
    rustix::net::sockopt::set_socket_reuseaddr(&listener, true).unwrap();
    rustix::net::bind(&listener, &client(host, Family::V4)).unwrap();
    rustix::net::listen(&listener, 8).unwrap();
    let socket = sctp_socket(bed.host(STORE).unwrap());
    // Its end is the association's, so that the port is free again.
    rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    rustix::net::bind(&socket, &SocketAddr::new(v4(STORE).into(), MAIL_PORT)).unwrap();
    let _begun = rustix::net::connect(&socket, &client(host, Family::V4));
    let soon = Timespec { tv_sec: 0, tv_nsec: 300_000_000 };
    let ready = poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&soon)).unwrap();
    if ready > 0 {
        let _dropped = rustix::net::send(&socket, MARK, SendFlags::NOSIGNAL);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A container whose packets the host marks before it rewrites their source, and a port of its that the host publishes.
fn rewritten<'a>(bed: &'a Bed, container: &'a Netns, own: Ipv4Addr, paths: &mut Vec<Path<'a>>) {
    let store = bed.host(STORE).unwrap();
    let rules = format!(
        "table ip paths {{\n\
         chain tag {{ type filter hook prerouting priority mangle; ip saddr {own} meta mark set meta mark & 0xffffff00 | 0x20; }}\n\
         chain publish {{ type nat hook prerouting priority dstnat; udp dport {PUBLISHED} dnat to {own}:{OTHER_PORT}; }}\n\
         chain rewrite {{ type nat hook postrouting priority srcnat; ip saddr {own} oifname \"eth0\" masquerade; }}\n}}\n"
    );
    output(store, "nft", "-f -", &rules);
    let send = move |host: &str| {
        let socket = container.run(|| UdpSocket::bind((own, 0))).unwrap().unwrap();
        let _dropped = socket.send_to(MARK, client(host, Family::V4));
    };
    paths.push(Path::new("a source that was marked and then rewritten", send));
    let answer = move |host: &str| {
        let server = container.run(|| UdpSocket::bind((own, OTHER_PORT))).unwrap().unwrap();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let asks =
            bed.host(host).unwrap().run(|| UdpSocket::bind(client(host, Family::V4))).unwrap().unwrap();
        asks.send_to(b"a question", (v4(STORE), PUBLISHED)).unwrap();
        let (_, from) = server.recv_from(&mut [0; 64]).unwrap();
        let _dropped = server.send_to(MARK, from);
    };
    paths.push(Path::new("a published port whose answers are marked", answer));
}

#[test]
#[ignore = "needs root and BPF"]
fn a_mail_by_any_device_or_protocol_of_the_kernel() {
    let bed = Bed::new("paths").unwrap();
    let (place, store) = (Place::of(&bed), bed.host(STORE).unwrap());
    let mut inside = Vec::new();
    containers(&place, store, &mut inside);
    let mut selected = Vec::new();
    below_others(&place, store, &mut selected);
    let (behind_nat, own) = place.container(["ctr0", "eth0"], |container| {
        container.link("eth0", store, "ctr0").unwrap();
    });
    let mut paths = Vec::new();
    stacked(&bed, &place, &mut paths);
    for (name, container) in &inside {
        paths.push(Path::new(name, |host| datagram(container, client(host, Family::V4), MARK, |_| ())));
    }
    for (name, container) in &selected {
        let send = |host: &str| {
            let socket = container.run(|| UdpSocket::bind(("0.0.0.0", OTHER_PORT))).unwrap().unwrap();
            let _dropped = socket.send_to(MARK, client(host, Family::V4));
        };
        paths.push(Path::new(name, send));
    }
    tunnels(&bed, &place, &mut paths);
    vpns(&bed, &place, &mut paths);
    esp(&bed, &place, &mut paths);
    paths.push(Path::new("SCTP", |host| by_sctp(&bed, host)));
    rewritten(&bed, &behind_nat, own, &mut paths);

    let wrongly = wrong(&bed, &paths, |[us, belgium]| us > 0 && belgium > 0);
    assert_eq!(wrongly, [], "of {} without a guard all arrive", paths.len());
    bed.configure_for(&["eth0", "g-*"], &[BY_PORT, MORE].concat()).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    let wrongly = wrong(&bed, &paths, |[us, belgium]| us == 0 && belgium > 0);
    let mut problems: Vec<_> =
        bed.status().unwrap().problems.into_iter().map(|problem| problem.code).collect();
    assert_eq!(wrongly, [], "with one their Belgian twins alone; {problems:?}");
    problems.retain(|code| *code != ProblemCode::LoopSlow);
    assert_eq!(problems, [], "as far as an emulated machine has the time");
}
