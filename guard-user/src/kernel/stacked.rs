//! Which interfaces are stacked on which: what comes in by a port of a bridge and is for the host comes in by the bridge. And
//! which loop back: what comes in by them may have been sent there by a process of this host.

use std::collections::{BTreeMap, BTreeSet};

use super::netlink::{attributes, number, value};

/// `IFLA_LINK`, `IFLA_MASTER`, `IFLA_LINKINFO` and `IFLA_LINK_NETNSID` (linux/if_link.h).
const LINK: u16 = 5;
const MASTER: u16 = 10;
const LINKINFO: u16 = 18;
const LINK_NETNSID: u16 = 37;
/// `IFLA_INFO_KIND` and `IFLA_INFO_DATA` (linux/if_link.h).
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
/// `IFLA_VXLAN_LINK` (linux/if_link.h): what `ip link` calls `dev`. Other tunnels tell it by [`LINK`].
const VXLAN_LINK: u16 = 3;
/// `IFLA_VXLAN_PORT` and `IFLA_GENEVE_PORT` (linux/if_link.h), in network byte order.
const VXLAN_PORT: u16 = 15;
const GENEVE_PORT: u16 = 5;
/// The ports of these tunnels that the programs read: `guard_common::packet`.
const READ_VXLAN: [u16; 3] = [4789, 4790, 8472];
const READ_GENEVE: u16 = 6081;
/// `IFLA_BOND_MODE` (linux/if_link.h) and `BOND_MODE_BROADCAST` (linux/if_bonding.h).
const BOND_MODE: u16 = 1;
const BOND_MODE_BROADCAST: u8 = 3;
/// `IFLA_MACVLAN_MODE` and `MACVLAN_MODE_BRIDGE` (linux/if_link.h).
const MACVLAN_MODE: u16 = 1;
const MACVLAN_MODE_BRIDGE: u32 = 4;
/// Kinds whose `IFLA_LINK` is the other end of a pair, and nothing below.
const PAIRS: [&[u8]; 3] = [b"veth", b"netkit", b"vxcan"];
/// Kinds of tunnels without keys: an ordinary datagram, or a raw packet, to the host's own end of one comes in by it as
/// whatever it carries. Tunnels with keys (WireGuard, IPsec) take nothing from who has none.
const TUNNELS: [&[u8]; 14] = [
    b"amt",
    b"bareudp",
    b"erspan",
    b"geneve",
    b"gre",
    b"gretap",
    b"gtp",
    b"ip6erspan",
    b"ip6gre",
    b"ip6gretap",
    b"ip6tnl",
    b"ipip",
    b"sit",
    b"vxlan",
];

/// Kinds of tunnels whose packets are read where they leave, whatever their options are.
const READ_TUNNELS: [&[u8]; 7] = [b"gre", b"gretap", b"ip6gre", b"ip6gretap", b"ip6tnl", b"ipip", b"sit"];
/// Kinds that are made on another interface, and send by it.
const MADE_ON: [&[u8]; 6] = [b"ipvlan", b"ipvtap", b"macsec", b"macvlan", b"macvtap", b"vlan"];
/// Kinds that send by their parts alone.
const WHOLES: [&[u8]; 7] = [b"batadv", b"bond", b"bridge", b"hsr", b"openvswitch", b"team", b"vrf"];
/// Kinds that send nothing out of this network namespace.
const SINKS: [&[u8]; 4] = [b"dummy", b"ifb", b"nlmon", b"vcan"];

/// Where frames go that leave by an interface itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum End {
    /// To a wire: hardware.
    #[default]
    Hardware,
    /// Somewhere that the kernel does not tell: to a process, into packets that are not read, or of a kind that is not
    /// known.
    Unknown,
    /// To another network namespace, by the other end of a pair.
    Namespace(u32),
    /// To interfaces below it, or into packets that are read where they leave.
    Below,
    /// Nowhere outside of this network namespace.
    Nowhere,
}

/// How an interface gets what leaves by those that lie above it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Joined {
    /// From whatever is above, which need not pass the egress of that.
    #[default]
    Somehow,
    /// From the one above alone: as a member of a bond or a team, or as what a VLAN or a macvlan is made on.
    FromAbove,
    /// From the one above, and from its other ports: as a port of a bridge.
    AsPort,
}

/// What the kernel says of the interfaces above and below one, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stacked {
    /// The bridge, bond, team or VRF that it is a part of.
    master: Option<u32>,
    /// The one that it is made on, as a VLAN is, or the other end of a pair.
    link: Option<u32>,
    /// That number is one of another network namespace.
    is_elsewhere: bool,
    /// Which, by the number that this one knows it by.
    namespace: Option<u32>,
    is_pair: bool,
    /// It is one of [`TUNNELS`].
    is_tunnel: bool,
    /// How what leaves by it leaves by those below.
    passing: Passing,
    /// Where frames go that leave by it, as its kind says.
    end: End,
    is_bridge: bool,
    /// What it sends reaches its parts by its own egress alone.
    is_bundle: bool,
}

/// How what leaves by an interface leaves by those below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Passing {
    /// Otherwise: as copies, inside other packets, or not at all.
    #[default]
    Other,
    /// As it is, by the one that it is made on.
    ByLink,
    /// As it is, by one of its parts.
    ByOnePart,
}

impl Stacked {
    /// Takes an attribute of an interface, where it is about this. Numbers are in the host's byte order.
    pub(super) fn take(&mut self, kind: u16, bytes: &[u8]) {
        match kind {
            MASTER => self.master = number(bytes),
            LINK => self.link = number(bytes),
            LINK_NETNSID => (self.is_elsewhere, self.namespace) = (true, number(bytes)),
            LINKINFO => self.take_info(bytes),
            _ => {}
        }
    }

    /// Takes what is told of its kind.
    fn take_info(&mut self, bytes: &[u8]) {
        let find = |wanted| attributes(bytes).find(|attribute| attribute.kind() == wanted).map(value);
        let kind = find(INFO_KIND).unwrap_or_default();
        let kind = kind.strip_suffix(b"\0").unwrap_or(kind);
        self.is_pair = PAIRS.contains(&kind);
        self.is_tunnel = TUNNELS.contains(&kind);
        let data = find(INFO_DATA).unwrap_or_default();
        let of_data = |wanted| attributes(data).find(|attribute| attribute.kind() == wanted).map(value);
        if kind == b"vxlan" {
            let made_on = of_data(VXLAN_LINK).and_then(number);
            self.link = made_on.filter(|link| *link != 0).or(self.link);
        }
        self.is_bridge = kind == b"bridge";
        self.is_bundle = [&b"bond"[..], b"team"].contains(&kind);
        let port = |wanted| of_data(wanted).and_then(|it| it.first_chunk()).map(|it| u16::from_be_bytes(*it));
        let is_read = match kind {
            b"vxlan" => port(VXLAN_PORT).is_some_and(|port| READ_VXLAN.contains(&port)),
            b"geneve" => port(GENEVE_PORT) == Some(READ_GENEVE),
            kind => READ_TUNNELS.contains(&kind),
        };
        self.end = match kind {
            b"" => End::Hardware,
            kind if is_read || WHOLES.contains(&kind) || MADE_ON.contains(&kind) => End::Below,
            kind if SINKS.contains(&kind) => End::Nowhere,
            _ => End::Unknown,
        };
        self.passing = match kind {
            b"vlan" => Passing::ByLink,
            // In bridge mode what goes to another one on the same interface does not pass that.
            b"macvlan"
                if of_data(MACVLAN_MODE).and_then(number).is_some_and(|it| it != MACVLAN_MODE_BRIDGE) =>
            {
                Passing::ByLink
            }
            // In broadcast mode each member gets a copy.
            b"bond" if of_data(BOND_MODE).is_some_and(|mode| mode != [BOND_MODE_BROADCAST]) => {
                Passing::ByOnePart
            }
            _ => Passing::Other,
        };
    }

    /// Whether what comes in by it may have been sent there by a process of this host.
    pub(super) const fn loops_back(self) -> bool {
        self.is_tunnel || self.is_pair && !self.is_elsewhere
    }

    /// Where frames go that leave by it itself.
    pub(super) fn end(self) -> End {
        match (self.is_pair, self.is_elsewhere, self.namespace) {
            (true, true, Some(namespace)) => End::Namespace(namespace),
            (true, true, None) => End::Unknown,
            // To the other end, which is here.
            (true, false, _) => End::Nowhere,
            // A VLAN of another namespace's interface.
            (false, true, _) if self.end == End::Below && !self.is_tunnel => End::Unknown,
            (false, ..) => self.end,
        }
    }

    /// Whether it is a bridge.
    pub(super) const fn is_bridge(self) -> bool {
        self.is_bridge
    }

    /// The number of the interface that it is made on.
    const fn made_on(self) -> Option<u32> {
        if self.is_elsewhere || self.is_pair { None } else { self.link }
    }
}

/// Which interfaces lie directly below each, by number, and how what leaves by it leaves by them.
#[derive(Debug, Default)]
pub(super) struct Stack {
    below: BTreeMap<u32, Vec<u32>>,
    above: BTreeMap<u32, Vec<(u32, Joined)>>,
    passing: BTreeMap<u32, Passing>,
}

impl Stack {
    /// Of what the kernel says of each interface.
    pub(super) fn of(all: impl Iterator<Item = (u32, Stacked)>) -> Self {
        let mut stack = Self::default();
        let all: BTreeMap<u32, Stacked> = all.collect();
        for (&index, it) in &all {
            if let Some(master) = it.master {
                stack.below.entry(master).or_default().push(index);
                let joined = match all.get(&master) {
                    Some(master) if master.is_bridge => Joined::AsPort,
                    Some(master) if master.is_bundle => Joined::FromAbove,
                    _ => Joined::Somehow,
                };
                stack.above.entry(index).or_default().push((master, joined));
            }
            if let Some(lower) = it.made_on() {
                stack.below.entry(index).or_default().push(lower);
                // What a tunnel sends leaves as the routes say.
                if !it.is_tunnel {
                    stack.above.entry(lower).or_default().push((index, Joined::FromAbove));
                }
            }
            // A VLAN of another namespace's interface has nothing below it here, and a bond has parts alone.
            let is_known = match it.passing {
                Passing::ByLink => it.made_on().is_some(),
                Passing::ByOnePart => it.made_on().is_none(),
                Passing::Other => false,
            };
            stack.passing.insert(index, if is_known { it.passing } else { Passing::Other });
        }
        stack
    }

    /// The numbers of the interfaces directly below one by which all that leaves by it leaves, as it is; none where it does not.
    pub(super) fn leaves_by(&self, index: u32) -> Vec<u32> {
        match self.passing.get(&index) {
            Some(Passing::ByLink | Passing::ByOnePart) => self.below.get(&index).cloned().unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// The numbers of the interfaces directly above one, and how it gets what they send.
    pub(super) fn above(&self, index: u32) -> Vec<(u32, Joined)> {
        self.above.get(&index).cloned().unwrap_or_default()
    }

    /// The numbers of all interfaces below one: parts of it, what it is made on, and what is below those.
    pub(super) fn below(&self, index: u32) -> BTreeSet<u32> {
        let mut below = BTreeSet::new();
        let mut next = vec![index];
        while let Some(upper) = next.pop() {
            for &lower in self.below.get(&upper).into_iter().flatten().filter(|lower| **lower != index) {
                if below.insert(lower) {
                    next.push(lower);
                }
            }
        }
        below
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_is_found_through_all_that_lies_between() {
        let none = Stacked::default();
        let part_of = |master| Stacked { master: Some(master), ..none };
        let on = |link| Stacked { link: Some(link), ..none };
        let [eth0, eth1, bond, vlan, bridge, tap, elsewhere, veth] = [1, 2, 3, 4, 5, 6, 7, 8];
        let all = [
            (eth0, part_of(bond)),
            (eth1, part_of(bond)),
            (bond, none),
            (vlan, Stacked { master: Some(bridge), ..on(bond) }),
            (bridge, none),
            (tap, part_of(bridge)),
            (elsewhere, Stacked { is_elsewhere: true, ..on(eth0) }),
            (veth, Stacked { is_pair: true, ..on(eth0) }),
        ];
        let stack = Stack::of(all.into_iter());
        assert_eq!(stack.below(bridge), [eth0, eth1, bond, vlan, tap].into());
        assert_eq!(stack.below(vlan), [eth0, eth1, bond].into());
        for nothing in [eth0, eth1, tap, elsewhere, veth, 99] {
            assert_eq!(stack.below(nothing), [].into(), "{nothing}");
        }
        // A circle ends, and an interface is not below itself.
        let circle = Stack::of([(1, on(2)), (2, on(1)), (3, on(3))].into_iter());
        assert_eq!((circle.below(1), circle.below(3)), ([2].into(), [].into()));
    }

    #[test]
    fn by_what_a_packet_leaves_is_known_where_it_is_the_same_one_there() {
        let none = Stacked::default();
        let [eth0, eth1, bond, vlan, bridge, elsewhere] = [1, 2, 3, 4, 5, 6];
        let by_link = |link| Stacked { link: Some(link), passing: Passing::ByLink, ..none };
        let member = Stacked { master: Some(bond), ..none };
        let all = [
            (eth0, member),
            (eth1, member),
            (bond, Stacked { passing: Passing::ByOnePart, master: Some(bridge), ..none }),
            (vlan, by_link(bond)),
            (bridge, none),
            (elsewhere, Stacked { is_elsewhere: true, ..by_link(eth0) }),
        ];
        let stack = Stack::of(all.into_iter());
        assert_eq!((stack.leaves_by(bond), stack.leaves_by(vlan)), (vec![eth0, eth1], vec![bond]));
        for other in [eth0, bridge, elsewhere, 99] {
            assert_eq!(stack.leaves_by(other), Vec::<u32>::new(), "{other}");
        }
    }

    #[test]
    fn attributes_of_the_kernel_are_read() {
        let attribute = |kind: u16, bytes: &[u8]| {
            let length = u16::try_from(4 + bytes.len()).unwrap().to_ne_bytes();
            let mut whole = [&length[..], &kind.to_ne_bytes(), bytes].concat();
            whole.resize(whole.len().next_multiple_of(4), 0);
            whole
        };
        let mut read = Stacked::default();
        read.take(LINK, &7_u32.to_ne_bytes());
        read.take(MASTER, &9_u32.to_ne_bytes());
        read.take(LINKINFO, &attribute(INFO_KIND, b"vlan\0"));
        assert_eq!((read.made_on(), read.master), (Some(7), Some(9)));
        read.take(LINKINFO, &attribute(INFO_KIND, b"veth\0"));
        assert_eq!(read.made_on(), None);
        read.take(LINKINFO, &attribute(INFO_KIND, b"vlan\0"));
        read.take(LINK_NETNSID, &0_u32.to_ne_bytes());
        assert_eq!(read.made_on(), None);
        // As of a VXLAN device with `dev`: its data after its kind.
        let data = attribute(
            INFO_DATA,
            &[attribute(1, &[0; 4]), attribute(VXLAN_LINK, &3_u32.to_ne_bytes())].concat(),
        );
        let mut vxlan = Stacked::default();
        vxlan.take(LINKINFO, &[attribute(INFO_KIND, b"vxlan\0"), data].concat());
        assert_eq!((vxlan.made_on(), vxlan.loops_back()), (Some(3), true));
        let passing = |kind: &[u8], data: Option<u8>| {
            let data =
                data.map(|mode| attribute(INFO_DATA, &attribute(BOND_MODE, &[mode]))).unwrap_or_default();
            let mut read = Stacked::default();
            read.take(LINKINFO, &[attribute(INFO_KIND, kind), data].concat());
            read.passing
        };
        assert_eq!(
            (passing(b"vlan\0", None), passing(b"bond\0", Some(1))),
            (Passing::ByLink, Passing::ByOnePart)
        );
        let macvlan = |mode: u32| {
            let mode = attribute(MACVLAN_MODE, &mode.to_ne_bytes());
            let mut read = Stacked::default();
            read.take(LINKINFO, &[attribute(INFO_KIND, b"macvlan\0"), attribute(INFO_DATA, &mode)].concat());
            read.passing
        };
        assert_eq!((macvlan(1), macvlan(4)), (Passing::ByLink, Passing::Other));
        for (kind, data) in [(&b"bond\0"[..], Some(3)), (b"bond\0", None), (b"bridge\0", None)] {
            assert_eq!(passing(kind, data), Passing::Other);
        }
    }

    #[test]
    fn where_frames_go_is_told_by_the_kind_and_what_is_not_known_is_not_taken_to_stay() {
        let attribute = |kind: u16, bytes: &[u8]| {
            let length = u16::try_from(4 + bytes.len()).unwrap().to_ne_bytes();
            let mut whole = [&length[..], &kind.to_ne_bytes(), bytes].concat();
            whole.resize(whole.len().next_multiple_of(4), 0);
            whole
        };
        let read = |kind: &str, port: Option<(u16, u16)>, namespace: Option<u32>| {
            let data = port.map(|(kind, port)| attribute(INFO_DATA, &attribute(kind, &port.to_be_bytes())));
            let mut read = Stacked::default();
            read.take(LINK, &7_u32.to_ne_bytes());
            if let Some(namespace) = namespace {
                read.take(LINK_NETNSID, &namespace.to_ne_bytes());
            }
            let info = [attribute(INFO_KIND, kind.as_bytes()), data.unwrap_or_default()].concat();
            read.take(LINKINFO, &info);
            read.end()
        };
        assert_eq!(Stacked::default().end(), End::Hardware);
        for kind in ["bridge", "bond", "vlan", "macvlan", "vrf", "openvswitch", "gre", "sit"] {
            assert_eq!(read(kind, None, None), End::Below, "{kind}");
        }
        for kind in ["tun", "wireguard", "xfrm", "ppp", "dsa", "vxlan", "geneve", "one-of-tomorrow"] {
            assert_eq!(read(kind, None, None), End::Unknown, "{kind}");
        }
        for kind in ["macvlan", "vlan"] {
            assert_eq!(
                read(kind, None, Some(3)),
                End::Unknown,
                "{kind} on an interface of another namespace"
            );
        }
        assert_eq!(
            (read("veth", None, Some(3)), read("veth", None, None)),
            (End::Namespace(3), End::Nowhere)
        );
        assert_eq!(read("dummy", None, None), End::Nowhere);
        let vxlan = |port| read("vxlan", Some((VXLAN_PORT, port)), None);
        assert_eq!((vxlan(8472), vxlan(4789), vxlan(7777)), (End::Below, End::Below, End::Unknown));
        let geneve = |port| read("geneve", Some((GENEVE_PORT, port)), None);
        assert_eq!((geneve(6081), geneve(7777)), (End::Below, End::Unknown));
    }

    #[test]
    fn tunnels_loop_back_and_of_pairs_those_with_both_ends_here() {
        let none = Stacked::default();
        let pair = Stacked { is_pair: true, link: Some(4), ..none };
        assert!(pair.loops_back() && Stacked { is_tunnel: true, is_elsewhere: true, ..none }.loops_back());
        assert!(!none.loops_back() && !Stacked { is_elsewhere: true, ..pair }.loops_back());
    }
}
