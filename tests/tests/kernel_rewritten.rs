//! Packets of a local socket that a rule of the host gives another source: what a pin knows by sources or ports stays known, by
//! the socket's own end. Judged by what the client receives.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use guard_common::abi::{Place, PlacedBy};
use guard_common::interval::build::GeoImage;
use guard_tests::netns::{HOST_INTERFACE, Host, Lan, Netns};
use guard_user::compile::{HostFacts, policy_table};
use guard_user::config::{self, Surroundings};
use guard_user::kernel::{Interface, Kernel as _, LinuxKernel};
use support::PinPlace;

/// How long nothing is waited for.
const NOTHING: Duration = Duration::from_millis(400);
/// How long something is waited for.
const SOON: Duration = Duration::from_secs(5);

/// The pinned address, another one of the host, and the client, of each family.
const V4: [&str; 3] = ["192.0.2.10", "192.0.2.20", "203.0.113.30"];
const V6: [&str; 3] = ["2001:db8:1::10", "2001:db8:1::20", "2001:db8:3::30"];

struct Bed {
    lan: Lan,
    pins: PinPlace,
}

impl Bed {
    fn new(label: &str) -> Self {
        let net = |address: &str, prefix| format!("{address}/{prefix}").parse().unwrap();
        let dublin = Host::new("dublin").address(net(V4[0], 24)).address(net(V6[0], 64));
        let client = Host::new("client").address(net(V4[2], 24)).address(net(V6[2], 64));
        let lan = Lan::new(&[dublin, client]).unwrap();
        for (address, prefix) in [(V4[1], 24), (V6[1], 64)] {
            lan.host("dublin").unwrap().add_address(HOST_INTERFACE, net(address, prefix)).unwrap();
        }
        Self { lan, pins: PinPlace::new(label) }
    }

    fn dublin(&self) -> &Netns {
        self.lan.host("dublin").unwrap()
    }

    fn client(&self) -> &Netns {
        self.lan.host("client").unwrap()
    }

    /// A guard with a pin by these selectors that permits these places, the client being in the US.
    fn guard(&self, select: &str, permit: &str) -> Guarded<'_> {
        let text = format!(
            "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\n\
             permit = [{permit}]\naction = \"drop\"\n[pin.select]\n{select}\n"
        );
        let checked =
            config::parse(Path::new("test.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap();
        let place = |code: &str| Place::new(code.parse().unwrap(), PlacedBy::Database);
        let v4 = [(0, Place::UNKNOWN), (u32::from(Ipv4Addr::new(203, 0, 113, 0)), place("US"))];
        let v6 = [(0, Place::UNKNOWN), (0x2001_0db8_0003 << 80, place("US"))];
        let geo = GeoImage::build(v4.into_iter(), v6.into_iter()).unwrap();
        let kernel = self
            .dublin()
            .run(|| {
                let mut kernel = self.pins.open();
                let table =
                    policy_table(&checked.policy, &[], &HostFacts::default(), kernel.generation() + 1)
                        .unwrap();
                kernel.publish(&table, Some(&geo)).unwrap();
                kernel.attach(&Interface::by_name(HOST_INTERFACE).unwrap(), false).unwrap();
                kernel
            })
            .unwrap();
        Guarded { bed: self, kernel }
    }

    fn nft(&self, rules: &str) {
        let mut child = self.dublin().command("nft").unwrap();
        let mut child = child.args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{rules}");
    }

    /// From where the client receives a datagram that is sent from here; `None` where it receives none.
    fn sends(&self, from: &str, to: &str) -> Option<SocketAddr> {
        let socket = self.client().run(|| UdpSocket::bind((to, 40_000)).unwrap()).unwrap();
        self.dublin()
            .run(|| {
                let own = UdpSocket::bind(from).unwrap();
                // That it is dropped shows as an error, or not at all.
                let _dropped = own.send_to(b"a mail", (to, 40_000));
            })
            .unwrap();
        socket.set_read_timeout(Some(NOTHING)).unwrap();
        match socket.recv_from(&mut [0; 16]) {
            Ok((_, sender)) => Some(sender),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
                None
            }
        }
    }

    /// Whether a connection from here brings the client a mail.
    fn connects(&self, from: &str, to: &str) -> bool {
        self.connects_by(from, to, 40_000)
    }

    /// The same, where the process names another port.
    fn connects_by(&self, from: &str, to: &str, port: u16) -> bool {
        let listener = self.client().run(|| TcpListener::bind((to, 40_000)).unwrap()).unwrap();
        let sent = self.dublin().run(|| {
            let from: SocketAddr = from.parse().unwrap();
            let mut stream = connect_from(from, (to.parse::<IpAddr>().unwrap(), port).into())?;
            stream.write_all(b"a mail").ok()
        });
        if sent.unwrap().is_none() {
            return false;
        }
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.read(&mut [0; 16]).is_ok_and(|read| read == 6)
    }

    /// Whether a client that connects to this end is sent a mail by who listens at the other.
    fn is_served(&self, at: &str, listens: &str) -> bool {
        let listener = self.dublin().run(|| TcpListener::bind(listens).unwrap()).unwrap();
        listener.set_nonblocking(true).unwrap();
        let at: SocketAddr = at.parse().unwrap();
        let stream = self.client().run(|| TcpStream::connect_timeout(&at, NOTHING)).unwrap();
        let Ok(mut stream) = stream else { return false };
        let (mut served, _) = listener.accept().unwrap();
        served.set_nonblocking(false).unwrap();
        served.write_all(b"a mail").unwrap();
        stream.set_read_timeout(Some(NOTHING)).unwrap();
        stream.read(&mut [0; 16]).is_ok_and(|read| read == 6)
    }
}

/// A guard, until it goes.
struct Guarded<'a> {
    bed: &'a Bed,
    kernel: LinuxKernel,
}

impl Drop for Guarded<'_> {
    fn drop(&mut self) {
        let Self { bed, kernel } = self;
        bed.dublin().run(|| kernel.release(&Interface::by_name(HOST_INTERFACE).unwrap()).unwrap()).unwrap();
    }
}

/// A connection from this end; `None` where nobody answers soon.
fn connect_from(from: SocketAddr, to: SocketAddr) -> Option<TcpStream> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
    let family = if from.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    // It also bounds how long connect(2) waits (socket(7)).
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(NOTHING)).unwrap();
    rustix::net::bind(&socket, &from).unwrap();
    rustix::net::connect(&socket, &to).ok()?;
    Some(TcpStream::from(socket))
}

fn end(address: &str, port: u16) -> String {
    SocketAddr::new(address.parse().unwrap(), port).to_string()
}

const SOURCES: &str = "sources = [\"192.0.2.10/32\", \"2001:db8:1::10/128\"]";

#[test]
#[ignore = "needs root and BPF"]
fn a_source_that_the_host_rewrites_stays_pinned() {
    let bed = Bed::new("rewritten");
    for (family, [own, other, client]) in [("ip", V4), ("ip6", V6)] {
        let snat = format!(
            "table {family} rewrites {{ chain out {{ type nat hook postrouting priority 100; \
             oifname \"eth0\" {family} saddr {own} snat to {other}; }}\n}}\n"
        );
        // Without a guard it leaves, as another's.
        bed.nft(&snat);
        assert_eq!(bed.sends(&end(own, 5143), client).map(|it| it.ip().to_string()), Some(other.to_owned()));
        assert!(bed.connects(&end(own, 5144), client), "{family}");
        {
            let _kernel = bed.guard(SOURCES, "");
            assert_eq!(bed.sends(&end(own, 143), client), None, "{family}");
            assert!(!bed.connects(&end(own, 144), client), "{family}");
            // The other address is of no pin.
            assert_eq!(bed.sends(&end(other, 145), client).map(|it| it.to_string()), Some(end(other, 145)));
            assert!(bed.connects(&end(other, 146), client), "{family}");
        }
        {
            let _kernel = bed.guard(SOURCES, "\"US\"");
            assert!(bed.sends(&end(own, 147), client).is_some(), "{family}");
            assert!(bed.connects(&end(own, 148), client), "{family}");
        }
        bed.nft(&format!("delete table {family} rewrites\n"));
        // The same by masquerade, and by a rule that sets an address without any connection.
        for rule in [
            "type nat hook postrouting priority 100; oifname \"eth0\" masquerade".to_owned(),
            format!("type filter hook output priority 0; {family} saddr {own} {family} saddr set {other}"),
        ] {
            bed.nft(&format!("table {family} rewrites {{ chain out {{ {rule}; }}\n}}\n"));
            let _kernel = bed.guard(SOURCES, "");
            assert_eq!(bed.sends(&end(own, 149), client), None, "{rule}");
            assert!(!bed.connects(&end(own, 150), client), "{rule}");
            bed.nft(&format!("delete table {family} rewrites\n"));
        }
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn a_port_that_the_host_rewrites_stays_pinned() {
    let bed = Bed::new("rewritten-port");
    let by_port = "ports = [\"udp/143\", \"tcp/143\"]";
    bed.nft(
        "table inet rewrites { chain out { type nat hook postrouting priority 100; \
         meta l4proto { tcp, udp } masquerade to :50000-50100; }\n}\n",
    );
    for [own, _, client] in [V4, V6] {
        let sender = bed.sends(&end(own, 5143), client).unwrap();
        assert!((50_000..=50_100).contains(&sender.port()), "{sender}");
        let any = if client.contains(':') { "[::]:143" } else { "0.0.0.0:143" };
        {
            let _kernel = bed.guard(by_port, "");
            assert_eq!(bed.sends(&end(own, 143), client), None);
            assert_eq!(bed.sends(any, client), None, "one that is bound to no address has its port");
            assert!(!bed.connects(&end(own, 143), client));
            assert!(bed.sends(&end(own, 144), client).is_some());
        }
        let _kernel = bed.guard(by_port, "\"US\"");
        assert!(bed.sends(&end(own, 143), client).is_some());
    }
}

/// As a cluster's service addresses do it: a pin by the port that the process named knows the connection by that.
#[test]
#[ignore = "needs root and BPF"]
fn a_remote_port_that_the_host_rewrites_stays_pinned() {
    let bed = Bed::new("rewritten-remote");
    for (family, [own, _, client]) in [("ip", V4), ("ip6", V6)] {
        let to = if family == "ip" { format!("{client}:40000") } else { format!("[{client}]:40000") };
        bed.nft(&format!(
            "table {family} rewrites {{ chain out {{ type nat hook output priority -100; \
             {family} daddr {client} meta l4proto {{ tcp, udp }} th dport 2380 dnat to {to}; }}\n}}\n"
        ));
        let arrives = |from: &str| {
            let socket = bed.client().run(|| UdpSocket::bind((client, 40_000)).unwrap()).unwrap();
            bed.dublin()
                .run(|| {
                    let own = UdpSocket::bind(from).unwrap();
                    own.connect((client, 2380)).unwrap();
                    let _dropped = own.send(b"a mail");
                })
                .unwrap();
            socket.set_read_timeout(Some(NOTHING)).unwrap();
            socket.recv_from(&mut [0; 16]).is_ok()
        };
        let by_port = "remote_ports = [\"tcp/2380\", \"udp/2380\"]";
        assert!(bed.connects_by(&end(own, 5151), client, 2380) && arrives(&end(own, 5151)));
        {
            let _kernel = bed.guard(by_port, "");
            assert!(!bed.connects_by(&end(own, 5152), client, 2380), "{family}");
            assert!(!arrives(&end(own, 5152)), "{family}");
            // Who names the other port is of no pin.
            assert!(bed.connects(&end(own, 5153), client), "{family}");
        }
        {
            let _kernel = bed.guard(by_port, "\"US\"");
            assert!(bed.connects_by(&end(own, 5154), client, 2380) && arrives(&end(own, 5154)), "{family}");
        }
        bed.nft(&format!("delete table {family} rewrites\n"));
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn what_a_service_answers_behind_a_redirection_stays_pinned() {
    let bed = Bed::new("rewritten-answer");
    let [own, other, _] = V4;
    bed.nft(&format!(
        "table ip rewrites {{ chain in {{ type nat hook prerouting priority -100; \
         ip daddr {other} tcp dport 8025 dnat to {own}:8143; }}\n}}\n"
    ));
    assert!(bed.is_served(&end(other, 8025), &end(own, 8143)));
    {
        let _kernel = bed.guard(SOURCES, "");
        assert!(!bed.is_served(&end(other, 8025), &end(own, 8143)));
    }
    let _kernel = bed.guard(SOURCES, "\"US\"");
    assert!(bed.is_served(&end(other, 8025), &end(own, 8143)));
}

/// A chain at an interface's egress is asked before the guard, and is told.
#[test]
#[ignore = "needs root and BPF"]
fn a_chain_before_the_guard_is_seen() {
    let bed = Bed::new("chain-before");
    let mut guarded = bed.guard(SOURCES, "");
    let mut before = || {
        let observed = bed.dublin().run(|| guarded.kernel.observe().unwrap()).unwrap();
        assert_eq!(observed.blind, Vec::<String>::new());
        let it = observed.interfaces.into_iter().find(|it| it.interface.name == HOST_INTERFACE).unwrap();
        it.attachments[0].before.clone()
    };
    assert_eq!(before(), Vec::<String>::new());
    bed.nft("table netdev taps { chain out { type filter hook egress device \"eth0\" priority 0; }\n}\n");
    assert_eq!(before(), ["the nftables chain netdev taps out"]);
    bed.nft("delete table netdev taps\n");
    bed.nft("table netdev taps { chain in { type filter hook ingress device \"eth0\" priority 0; }\n}\n");
    assert_eq!(before(), Vec::<String>::new());
}
