//! What of this host no pin knows: addresses, sockets that wait for others, and what the kernel answers by itself.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use guard_common::abi::Direction;

use crate::config::policy::{Pin, Policy, PortRange, Protocol, is_in_cgroup};
use crate::control::status::{UnpinnedSocketStatus, UnpinnedStatus};
use crate::events::event::unit;
use crate::kernel::sockets::Transport;
use crate::kernel::{Listening, Reachable};

/// What is shown in a line of text; JSON has all.
const SHOWN: usize = 12;

/// What of a host no pin of the policy can match.
///
/// A way of a pin that selects volumes, interfaces or marks may match whatever is served, for nobody can tell before. One that
/// selects remote ports does not: clients have any.
#[must_use]
pub fn of(policy: &Policy, host: &Reachable) -> UnpinnedStatus {
    let from = |way: &Pin, address: IpAddr| {
        let select = &way.select;
        !select.has_sources() || select.from_host || select.sources.iter().any(|it| it.contains(address))
    };
    // A way without addresses says nothing of them.
    let by_address: Vec<&Pin> = policy.pins.iter().filter(|way| way.select.has_sources()).collect();
    let is_known = |it: &IpAddr| by_address.is_empty() || by_address.iter().any(|way| from(way, *it));
    let addresses = host.addresses.iter().filter(|it| !is_known(it)).map(ToString::to_string).collect();
    let mut may_be_of: Vec<String> =
        policy.pins.iter().filter(|way| is_unforeseen(way)).map(|way| way.name.clone()).collect();
    may_be_of.dedup();
    let mut sockets = BTreeSet::new();
    for socket in &host.sockets {
        let cgroup = host.cgroups.get(&socket.cgroup).map(String::as_str);
        let ways: Vec<&Pin> = policy.pins.iter().filter(|way| may_serve(way, socket, cgroup)).collect();
        let at = addresses_of(socket, host);
        let unknown: Vec<IpAddr> =
            at.iter().copied().filter(|it| !ways.iter().any(|way| from(way, *it))).collect();
        let is_every = socket.local.ip().is_unspecified() && unknown.len() == at.len();
        let places: Vec<Option<IpAddr>> = match is_every {
            true if ways.is_empty() || !at.is_empty() => vec![None],
            true => Vec::new(),
            false => unknown.into_iter().map(Some).collect(),
        };
        for address in places {
            sockets.insert(UnpinnedSocketStatus {
                protocol: protocol(socket).name().to_owned(),
                port: socket.local.port(),
                address: address.map(|it| it.to_string()),
                cgroup: cgroup.map(str::to_owned),
                unit: cgroup.and_then(unit).map(str::to_owned),
                uid: Some(socket.uid),
            });
        }
    }
    UnpinnedStatus {
        addresses,
        sockets: sockets.into_iter().collect(),
        may_be_of,
        answered: answered(policy, host),
    }
}

/// The pins of which the kernel's own answers are not known: it answers a packet whose source is another's (a ping, an error)
/// without the socket, the cgroup, the user and the interface that sent it, and to where that source says.
fn answered(policy: &Policy, host: &Reachable) -> Vec<String> {
    let takes = |pin: &str, address: &IpAddr| {
        let mut ways = policy.pins.iter().filter(|way| way.name == pin && has_addresses_alone(way));
        ways.any(|way| way.select.from_host || way.select.sources.iter().any(|it| it.contains(*address)))
    };
    // Where no address is known, only the host itself is all of them.
    let is_host = |pin: &str| {
        policy.pins.iter().any(|way| way.name == pin && has_addresses_alone(way) && way.select.from_host)
    };
    let is_known = |pin: &str| {
        is_host(pin) || (!host.addresses.is_empty() && host.addresses.iter().all(|it| takes(pin, it)))
    };
    let asked = policy.pins.iter().filter(|way| is_by_sender(way) && !way.select.has_sources());
    let mut pins: Vec<String> =
        asked.filter(|way| !is_known(&way.name)).map(|way| way.name.clone()).collect();
    pins.dedup();
    pins
}

/// Whether a way goes by who sends, or by where a packet comes from: by what an answer of the kernel's does not have.
fn is_by_sender(way: &Pin) -> bool {
    !(way.select.users.is_empty() && way.select.cgroups.is_empty()) || is_unforeseen(way)
}

/// Whether a way matches all that has its addresses: an answer of the kernel's has no ports. It is of either direction.
fn has_addresses_alone(way: &Pin) -> bool {
    let select = &way.select;
    select.has_sources() && !is_by_sender(way) && select.ports.is_empty() && select.remote_ports.is_empty()
}

const fn protocol(socket: &Listening) -> Protocol {
    match socket.transport {
        Transport::Tcp => Protocol::Tcp,
        Transport::Udp => Protocol::Udp,
    }
}

/// The addresses of the host at which a socket can be reached.
fn addresses_of(socket: &Listening, host: &Reachable) -> Vec<IpAddr> {
    let local = socket.local.ip();
    let takes = |address: &IpAddr| match local {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.is_ipv4(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.is_ipv6() || !socket.v6_only,
        _ => false,
    };
    match local.is_unspecified() {
        true => host.addresses.iter().copied().filter(takes).collect(),
        false => vec![local],
    }
}

/// Whether nobody can tell before what served by this host a way matches.
fn is_unforeseen(way: &Pin) -> bool {
    let select = &way.select;
    !select.volumes.is_empty() || !select.interfaces.is_empty() || !select.marks.is_empty()
}

/// Whether a way in which a pin is known may match what a socket sends, whatever its address.
fn may_serve(way: &Pin, socket: &Listening, cgroup: Option<&str>) -> bool {
    let select = &way.select;
    let in_cgroup = |group: &String| cgroup.is_some_and(|path| is_in_cgroup(path, group));
    let (protocol, port) = (protocol(socket), socket.local.port());
    (select.ports.is_empty() || select.ports.iter().any(|range| range.contains(protocol, port)))
        && (select.cgroups.is_empty() || select.cgroups.iter().any(in_cgroup))
        && (select.users.is_empty() || select.users.iter().any(|user| user.uid == Some(socket.uid)))
        && (select.remote_ports.is_empty() || select.remote_ports.iter().any(PortRange::is_full))
        && (protocol != Protocol::Tcp || select.may_be(Direction::Served))
}

/// What is unpinned, as sentences; none where all is known.
#[must_use]
pub fn sentences(unpinned: &UnpinnedStatus) -> Vec<String> {
    let UnpinnedStatus { addresses, sockets, may_be_of, answered } = unpinned;
    let mut said = Vec::new();
    if !addresses.is_empty() {
        said.push(format!("addresses that no pin has among its sources: {}", few(addresses.iter().cloned())));
    }
    if !sockets.is_empty() {
        let socket = |it: &UnpinnedSocketStatus| {
            let at = it.address.as_ref().map(|address| format!(" at {address}")).unwrap_or_default();
            let user = || it.uid.map(|uid| format!("user {uid}"));
            let who = it.unit.clone().or_else(|| it.cgroup.clone()).or_else(user);
            let who = who.map(|who| format!(" ({who})")).unwrap_or_default();
            format!("{}/{}{at}{who}", it.protocol, it.port)
        };
        said.push(format!("served, and known to no pin: {}", few(sockets.iter().map(socket))));
    }
    if !may_be_of.is_empty() {
        said.push(format!(
            "what else is served may be of {}, by volumes, interfaces or marks: it is not listed",
            few(may_be_of.iter().cloned())
        ));
    }
    if !answered.is_empty() {
        said.push(format!(
            "what the kernel itself answers (pings, errors) to a packet of {} with another's source is of no pin: add a \
             [[pin.select]] with sources = [\"host\"], or see docs/limits.md",
            few(answered.iter().cloned())
        ));
    }
    said
}

fn few(all: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = all.collect();
    let more = all.len().saturating_sub(SHOWN);
    all.truncate(SHOWN);
    let more = if more > 0 { format!(" and {more} more (--json has them)") } else { String::new() };
    all.join(", ") + &more
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;
    use std::path::Path;

    use super::*;
    use crate::config::{self, Surroundings};

    fn told(pins: &str) -> Vec<String> {
        let text = format!(
            "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n{pins}"
        );
        let policy = config::parse(Path::new("policy.toml"), text.as_bytes(), &Surroundings::new(None));
        let socket = |local: &str, transport, cgroup| Listening {
            transport,
            local: local.parse::<SocketAddr>().unwrap(),
            v6_only: false,
            uid: 7,
            cgroup,
        };
        let host = Reachable {
            addresses: ["192.0.2.10", "192.0.2.11", "2001:db8::1"].map(|it| it.parse().unwrap()).into(),
            sockets: vec![
                socket("0.0.0.0:22", Transport::Tcp, 1),
                socket("[::]:143", Transport::Tcp, 2),
                socket("192.0.2.11:143", Transport::Udp, 2),
            ],
            cgroups: BTreeMap::from([(2, "mail.slice/imap.service".to_owned())]),
        };
        sentences(&of(&policy.unwrap().policy, &host))
    }

    #[test]
    fn what_no_way_of_any_pin_matches_is_told() {
        let all = "served, and known to no pin: ";
        let (ssh, udp) = ("tcp/22 (user 7)", "udp/143 at 192.0.2.11 (imap.service)");
        let one = "select = { sources = [\"192.0.2.10/32\"], ports = [\"tcp/143\"] }\n";
        assert_eq!(
            told(one),
            [
                "addresses that no pin has among its sources: 192.0.2.11, 2001:db8::1".to_owned(),
                format!(
                    "{all}{ssh}, tcp/143 at 192.0.2.11 (imap.service), tcp/143 at 2001:db8::1 (imap.service), {udp}"
                ),
            ]
        );
        let answers = "what the kernel itself answers (pings, errors) to a packet of mail with another's source is of no pin: add a \
                       [[pin.select]] with sources = [\"host\"], or see docs/limits.md"
            .to_owned();
        let (host, served) = ("select.sources = [\"host\"]\n", "select.cgroups = [\"mail.slice\"]\n");
        assert_eq!(told(host), Vec::<String>::new());
        assert_eq!(told(served), [format!("{all}{ssh}"), answers.clone()]);
        let by_user = "select.users = [7]\n";
        assert_eq!(told(by_user), std::slice::from_ref(&answers));
        let opened = "select = { users = [7], direction = \"opened\" }\n";
        assert_eq!(told(opened), [format!("{all}{ssh}, tcp/143 (imap.service)"), answers.clone()]);
        // Nobody can tell what these match.
        let volume = "select.volumes = [\"/srv/mail\"]\n";
        assert_eq!(
            told(volume),
            [
                "what else is served may be of mail, by volumes, interfaces or marks: it is not listed"
                    .to_owned(),
                answers
            ]
        );
        // A way by ports says nothing of addresses.
        let two =
            "[[pin.select]]\nsources = [\"192.0.2.10/32\"]\n[[pin.select]]\nremote_ports = [\"tcp/2380\"]\n";
        assert_eq!(told(two)[0], "addresses that no pin has among its sources: 192.0.2.11, 2001:db8::1");
    }

    #[test]
    fn what_the_kernel_answers_by_itself_is_known_by_the_host_s_addresses_alone() {
        let is_told =
            |ways: &str| told(ways).iter().any(|it| it.starts_with("what the kernel itself answers"));
        let with = |first: &str, second: &str| {
            is_told(&format!("[[pin.select]]\n{first}\n[[pin.select]]\n{second}\n"))
        };
        for by in [
            "users = [7]",
            "cgroups = [\"mail.slice\"]",
            "volumes = [\"/srv/mail\"]",
            "interfaces = [\"veth0\"]",
            "marks = [\"0x20/0xff\"]",
            "users = [7]\nports = [\"tcp/143\"]",
        ] {
            assert!(is_told(&format!("[[pin.select]]\n{by}\n")), "{by}");
            assert!(!with(by, "sources = [\"host\"]"), "{by}");
            assert!(!with(by, "sources = [\"host\"]\ndirection = \"served\""), "{by}");
            assert!(!with(by, "sources = [\"192.0.2.0/24\", \"2001:db8::/32\"]"), "{by}");
            // Another way has to match answers too, and from each address.
            assert!(with(by, "sources = [\"192.0.2.0/24\"]"), "{by}");
            assert!(with(by, "sources = [\"host\"]\nports = [\"tcp/143\"]"), "{by}");
            assert!(with(by, "sources = [\"host\"]\nusers = [7]"), "{by}");
        }
        // Of what is known by addresses alone nobody is asked.
        assert!(!is_told("select.sources = [\"192.0.2.10/32\"]\n"));
        assert!(!is_told("select.ports = [\"tcp/143\"]\n"));
    }

    #[test]
    fn of_many_a_few_are_told() {
        let addresses = (0..20).map(|it| format!("192.0.2.{it}")).collect();
        let told = sentences(&UnpinnedStatus { addresses, ..Default::default() });
        assert!(told[0].ends_with("192.0.2.11 and 8 more (--json has them)"), "{told:?}");
    }
}
