//! By which interfaces frames leave the host without passing a guarded one.

use std::collections::{BTreeMap, BTreeSet};

use guard_common::packet::Addr;

use super::KernelError;
use super::interface::{self, Listed, unlisted};
use super::inward::Inward;
use super::link_type::LinkType;
use super::routes::{self, Routes};
use super::stacked::{End, Joined, Stack};

/// Interfaces that are stacked on one another at most (`MAX_NEST_DEV`, include/linux/netdevice.h).
const MOST_STACKED: usize = 8;

/// What tells whether frames leave the host by an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Whether it is up and has a carrier.
    pub is_up: bool,
    /// Whether what is sent by it leaves the host by it itself, as far as is known: not by interfaces below it, and not into a
    /// network namespace that leads nowhere else.
    pub is_exit: bool,
    /// Whether all that comes in by it was sent by other machines: it is hardware, or a bond or VLAN of hardware alone.
    pub is_wire: bool,
    /// Whether a unicast route of any table but the local one leads by it.
    pub has_route: bool,
    /// Whether one that has all addresses of a family, or half of them, does.
    pub has_default_route: bool,
    /// The numbers of the interfaces directly above it, and how it gets what they send.
    pub above: Vec<(u32, Joined)>,
}

/// The name and the place of each interface, by number.
pub type Places = BTreeMap<u32, (String, Place)>;

/// An interface by which frames leave the host that passed no guarded one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unguarded {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// How they come to it, in words.
    pub how: String,
}

/// The places of the interfaces of the calling thread's network namespace, as far as 200 ms are enough to look at the routes.
///
/// # Errors
///
/// [`KernelError::Netlink`] where the kernel does not answer.
pub fn places_here() -> Result<Places, KernelError> {
    let listed = interface::list().map_err(unlisted)?.interfaces;
    let (stack, routes) = (interface::stack(&listed), routes::list().map_err(unlisted)?);
    let inward = Inward::default().of(ends(&listed, &stack, &routes));
    Ok(places(&listed, &stack, &routes, &inward))
}

/// The numbers of other namespaces into which frames may leave by pairs that a route leads by or that lie below something, each
/// with the gateways that may be there: those of default routes by what lies above the pair.
pub(super) fn ends(
    listed: &BTreeMap<u32, Listed>,
    stack: &Stack,
    routes: &Routes,
) -> BTreeMap<u32, BTreeSet<Addr>> {
    let is_used = |index: &u32| routes.out.contains(index) || !stack.above(*index).is_empty();
    let of_used = listed.iter().filter(|(index, it)| it.is_up && is_used(index));
    let below: Vec<_> = routes.gateways.iter().map(|(index, it)| (stack.below(*index), *it)).collect();
    let mut ends: BTreeMap<u32, BTreeSet<Addr>> = BTreeMap::new();
    for (index, it) in of_used {
        if let End::Namespace(namespace) = it.stacked.end() {
            let above = below.iter().filter(|(below, _)| below.contains(index));
            ends.entry(namespace).or_default().extend(above.map(|(_, gateway)| *gateway));
        }
    }
    ends
}

/// The places of interfaces, where these namespaces lead nowhere else and have no gateway of a default route.
pub(super) fn places(
    listed: &BTreeMap<u32, Listed>,
    stack: &Stack,
    routes: &Routes,
    inward: &BTreeSet<u32>,
) -> Places {
    let end = |it: &Listed| match it.interface.link_type {
        LinkType::LOOPBACK => End::Nowhere,
        _ => it.stacked.end(),
    };
    let leads_on = |index: u32, it: &Listed| match end(it) {
        End::Hardware | End::Unknown => true,
        // What has the default route is taken to lead out.
        End::Namespace(namespace) => !inward.contains(&namespace) || routes.default.contains(&index),
        End::Below | End::Nowhere => false,
    };
    // The other end of a pair that is here may be a part of what leads on.
    let may_lead_on =
        |index: &u32| listed.get(index).is_some_and(|it| leads_on(*index, it) || it.stacked.loops_back());
    // A default route by what sends by nothing but pairs to namespaces that lead back: any of them may have the gateway.
    let by_default =
        routes.default.iter().filter(|index| listed.get(index).is_some_and(|it| !leads_on(**index, it)));
    let perhaps: BTreeSet<u32> = by_default
        .map(|index| stack.below(*index))
        .filter(|below| !below.iter().any(may_lead_on))
        .flatten()
        .collect();
    let leads_out = |index: u32, it: &Listed| {
        leads_on(index, it) || matches!(end(it), End::Namespace(_)) && perhaps.contains(&index)
    };
    let is_wire = |index: u32, it: &Listed| {
        let mut lowest = stack.below(index).into_iter().filter_map(|lower| listed.get(&lower)).peekable();
        match end(it) {
            End::Hardware => true,
            End::Below if !it.stacked.is_bridge() && !it.stacked.loops_back() => {
                lowest.peek().is_some()
                    && lowest.all(|lower| matches!(end(lower), End::Hardware | End::Below))
            }
            _ => false,
        }
    };
    let place = |(&index, it): (&u32, &Listed)| {
        // One that is down counts too: by what else should frames leave once it is down?
        let is_out_below = || {
            stack
                .below(index)
                .into_iter()
                .any(|lower| listed.get(&lower).is_some_and(|it| leads_out(lower, it)))
        };
        // A default route by a bridge none of whose ports it could leave at: what sends it on is not known. Without a port
        // nothing is sent on.
        let has_ports = || !stack.below(index).is_empty();
        let is_odd =
            it.stacked.is_bridge() && routes.default.contains(&index) && has_ports() && !is_out_below();
        let place = Place {
            is_up: it.is_up,
            is_exit: leads_out(index, it) || is_odd,
            is_wire: is_wire(index, it),
            has_route: routes.out.contains(&index),
            has_default_route: routes.default.contains(&index),
            above: stack.above(index),
        };
        (index, (it.interface.name.clone(), place))
    };
    listed.iter().map(place).collect()
}

/// The interfaces by which frames leave the host that passed none that is guarded, neither that nor one above it.
pub fn unguarded<'a>(
    all: impl Iterator<Item = (u32, &'a str, &'a Place)>,
    is_guarded: &dyn Fn(u32) -> bool,
) -> Vec<Unguarded> {
    let all = All { places: all.map(|(index, name, place)| (index, (name, place))).collect(), is_guarded };
    let exits = all.places.iter().filter(|(index, (_, it))| it.is_up && it.is_exit && !is_guarded(**index));
    let told = |(&index, (name, _)): (&u32, &(&str, &Place))| {
        Some(Unguarded { index, name: (*name).to_owned(), how: all.open(index, MOST_STACKED)? })
    };
    exits.filter_map(told).collect()
}

/// All interfaces, and which of them are guarded.
struct All<'a> {
    places: BTreeMap<u32, (&'a str, &'a Place)>,
    is_guarded: &'a dyn Fn(u32) -> bool,
}

impl All<'_> {
    /// How frames come to an interface that have passed nothing guarded above it; `None` where none do.
    fn open(&self, index: u32, depth: usize) -> Option<String> {
        let (_, place) = self.places.get(&index)?;
        match (place.has_default_route, place.has_route) {
            (true, _) => return Some("the default route leads by it".to_owned()),
            (false, true) => return Some("a route leads by it".to_owned()),
            (false, false) => {}
        }
        place.above.iter().find_map(|(upper, joined)| self.open_from(index, *upper, *joined, depth))
    }

    /// How they come from one above it.
    fn open_from(&self, index: u32, upper: u32, joined: Joined, depth: usize) -> Option<String> {
        let name = self.places.get(&upper).map_or("an interface that is not listed", |(name, _)| *name);
        let is_judged = (self.is_guarded)(upper)
            || depth > 0
                && self.places.get(&upper).is_some_and(|(_, it)| !it.above.is_empty())
                && self.open(upper, depth.saturating_sub(1)).is_none();
        let port = || {
            let is_port = |it: &Place| it.above.contains(&(upper, Joined::AsPort));
            let mut others = self.places.iter().filter(|(other, (_, it))| **other != index && is_port(it));
            others.find(|(_, (_, it))| it.is_up && !it.is_wire).map(|(_, (name, _))| *name)
        };
        match joined {
            Joined::Somehow => Some(format!("it is a part of {name}, and what leaves by it need not pass that")),
            Joined::FromAbove if is_judged => None,
            Joined::FromAbove => Some(format!("it lies below {name}, which is not guarded")),
            Joined::AsPort if !is_judged => {
                Some(format!("it is a port of {name}, which is not guarded"))
            }
            Joined::AsPort => port().map(|other| {
                format!("it is a port of {name}, and what comes in by the port {other} leaves by it without passing {name}")
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stacked::Stacked;
    use super::*;

    const ETH0: u32 = 2;
    const ETH1: u32 = 3;
    const BR0: u32 = 4;
    const CTR0: u32 = 5;
    const VLAN: u32 = 6;

    fn exit(above: &[(u32, Joined)]) -> Place {
        Place { is_up: true, is_exit: true, is_wire: true, above: above.to_vec(), ..Place::default() }
    }

    fn upper(above: &[(u32, Joined)]) -> Place {
        Place { is_up: true, above: above.to_vec(), ..Place::default() }
    }

    fn routed(place: Place) -> Place {
        Place { has_route: true, ..place }
    }

    fn found(all: &[(u32, &str, Place)], guarded: &[u32]) -> Vec<(String, String)> {
        let all = all.iter().map(|(index, name, place)| (*index, *name, place));
        unguarded(all, &|index| guarded.contains(&index)).into_iter().map(|it| (it.name, it.how)).collect()
    }

    fn names(all: &[(u32, &str, Place)], guarded: &[u32]) -> Vec<String> {
        found(all, guarded).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_second_uplink_of_a_bridge_is_told_and_one_below_a_guarded_bridge_is_not() {
        let port = [(BR0, Joined::AsPort)];
        let all =
            [(ETH0, "eth0", exit(&port)), (ETH1, "eth1", exit(&port)), (BR0, "br0", routed(upper(&[])))];
        let told = ("eth1".to_owned(), "it is a port of br0, which is not guarded".to_owned());
        assert_eq!(found(&all, &[ETH0]), [told]);
        assert_eq!(names(&all, &[BR0]), [""; 0], "all of the host's own passes it");
        assert_eq!(names(&all, &[ETH0, ETH1]), [""; 0]);
        assert_eq!(names(&all, &[]), ["eth0", "eth1"]);
        let down = Place { is_up: false, ..exit(&port) };
        assert_eq!(names(&[all[0].clone(), (ETH1, "eth1", down), all[2].clone()], &[ETH0]), [""; 0]);
    }

    #[test]
    fn what_a_bridge_forwards_does_not_pass_it() {
        let port = [(BR0, Joined::AsPort)];
        let mut all = vec![
            (ETH0, "eth0", exit(&port)),
            (BR0, "br0", routed(upper(&[]))),
            (CTR0, "ctr0", Place { is_exit: false, is_wire: false, ..exit(&port) }),
        ];
        let [(name, how)] = &found(&all, &[BR0])[..] else { panic!("{all:?}") };
        assert!(name == "eth0" && how.contains("ctr0"), "{name}: {how}");
        assert_eq!(names(&all, &[ETH0]), [""; 0], "the container's end leads inwards");
        all[2].2.is_up = false;
        assert_eq!(names(&all, &[BR0]), [""; 0]);
    }

    #[test]
    fn bonds_and_vlans_cover_what_is_below_unless_something_else_sends_by_it() {
        let member = [(BR0, Joined::FromAbove)];
        let bond = |above: &[(u32, Joined)]| {
            vec![(ETH0, "eth0", exit(&member)), (ETH1, "eth1", exit(&member)), (BR0, "bond0", upper(above))]
        };
        assert_eq!(names(&bond(&[]), &[BR0]), [""; 0]);
        assert_eq!(names(&bond(&[]), &[ETH0]), ["eth1"]);
        // A guarded VLAN on the bond, and nothing else that sends by it.
        let mut all = bond(&[(VLAN, Joined::FromAbove)]);
        all.push((VLAN, "vlan5", routed(upper(&[]))));
        assert_eq!(names(&all, &[VLAN]), [""; 0]);
        all[2].2.has_route = true;
        assert_eq!(names(&all, &[VLAN]), ["eth0", "eth1"], "the bond sends by itself too");
        all[2].2.has_route = false;
        all[0].2.has_route = true;
        assert_eq!(names(&all, &[VLAN]), ["eth0"], "a route leads by the member itself");
    }

    #[test]
    fn parts_of_vrfs_and_switches_are_told_whatever_is_guarded_above() {
        let all = [(ETH0, "eth0", exit(&[(BR0, Joined::Somehow)])), (BR0, "ovs-system", routed(upper(&[])))];
        assert_eq!(names(&all, &[BR0]), ["eth0"]);
        assert_eq!(names(&all, &[ETH0]), [""; 0]);
    }

    #[test]
    fn a_route_by_an_exit_is_told_and_by_what_stays_on_the_host_not() {
        let default = Place { has_default_route: true, ..routed(exit(&[])) };
        let all = [
            (ETH0, "eth0", routed(exit(&[]))),
            (ETH1, "eth1", default),
            (BR0, "docker0", routed(upper(&[]))),
            (VLAN, "eth9", exit(&[])),
        ];
        let how = |name: &str, how: &str| (name.to_owned(), how.to_owned());
        assert_eq!(
            found(&all, &[]),
            [how("eth0", "a route leads by it"), how("eth1", "the default route leads by it")]
        );
        assert_eq!(names(&all, &[ETH0]), ["eth1"]);
    }

    /// `IFLA_LINK`, `IFLA_MASTER`, `IFLA_LINKINFO`, `IFLA_LINK_NETNSID`, `IFLA_INFO_KIND` (linux/if_link.h).
    const LINK: u16 = 5;
    const MASTER: u16 = 10;
    const LINKINFO: u16 = 18;
    const NAMESPACE: u16 = 37;
    const KIND: u16 = 1;

    fn listed(index: u32, kind: &[u8], of: &[(u16, u32)]) -> (u32, Listed) {
        let mut stacked = Stacked::default();
        if !kind.is_empty() {
            let len = u16::try_from(4 + kind.len()).unwrap().to_ne_bytes();
            stacked.take(LINKINFO, &[&len[..], &KIND.to_ne_bytes(), kind].concat());
        }
        for (attribute, number) in of {
            stacked.take(*attribute, &number.to_ne_bytes());
        }
        let name = format!("if{index}");
        let interface = interface::Interface { index, name, link_type: LinkType::ETHERNET };
        (index, Listed { interface, xdp_native: None, xdp_generic: None, stacked, is_up: true })
    }

    /// A pair into the namespace of this number, which is a part of `master` or of nothing.
    fn pair(index: u32, namespace: u32, master: Option<u32>) -> (u32, Listed) {
        let master = master.map(|master| (MASTER, master));
        listed(index, b"veth", &[&[(LINK, 9), (NAMESPACE, namespace)], master.as_slice()].concat())
    }

    /// Those that count as leading out, of interfaces with a default route by one of them and namespaces that lead back.
    fn exits(all: &[(u32, Listed)], default: u32, inward: &[u32]) -> Vec<u32> {
        let listed: BTreeMap<u32, Listed> = all.iter().cloned().collect();
        let default = BTreeSet::from([default]);
        let routes = Routes { out: default.clone(), default, ..Routes::default() };
        let inward = inward.iter().copied().collect();
        let places = places(&listed, &interface::stack(&listed), &routes, &inward);
        places.into_iter().filter(|(_, (_, it))| it.is_exit).map(|(index, _)| index).collect()
    }

    #[test]
    fn a_default_route_leads_out_by_a_pair_below_what_has_it() {
        let bridge = [listed(BR0, b"bridge", &[]), pair(ETH1, 1, Some(BR0)), pair(CTR0, 2, Some(BR0))];
        assert_eq!(exits(&bridge, BR0, &[2]), [ETH1], "its namespace has the gateway");
        assert_eq!(exits(&bridge, BR0, &[1, 2]), [ETH1, CTR0], "which one has it is not known");
        assert_eq!(exits(&bridge, CTR0, &[1, 2]), [CTR0]);
        let with_wire = [&bridge[..], &[listed(ETH0, b"", &[(MASTER, BR0)])]].concat();
        assert_eq!(exits(&with_wire, BR0, &[1, 2]), [ETH0], "the wire has it");
        assert_eq!(exits(&bridge[..1], BR0, &[]), [0; 0], "without a port nothing is sent on");
        let dead_end = [bridge[0].clone(), listed(ETH0, b"dummy", &[(MASTER, BR0)])];
        assert_eq!(exits(&dead_end, BR0, &[]), [BR0], "nothing below it leads out");
        for kind in [&b"vlan"[..], b"macvlan"] {
            let made_on = [pair(ETH1, 1, None), pair(CTR0, 2, None), listed(VLAN, kind, &[(LINK, ETH1)])];
            assert_eq!(exits(&made_on, VLAN, &[1, 2]), [ETH1]);
        }
        for kind in [&b"bond"[..], b"team"] {
            let bundle = [listed(BR0, kind, &[]), pair(ETH1, 1, Some(BR0)), pair(CTR0, 2, Some(BR0))];
            assert_eq!(exits(&bundle, BR0, &[1, 2]), [ETH1, CTR0]);
            // A VLAN on it.
            let vlan = [&bundle[..], &[listed(VLAN, b"vlan", &[(LINK, BR0)])]].concat();
            assert_eq!(exits(&vlan, VLAN, &[1, 2]), [ETH1, CTR0]);
        }
    }

    #[test]
    fn a_namespace_is_asked_for_the_gateways_of_what_lies_above_its_pair() {
        let all = [
            listed(BR0, b"bridge", &[]),
            pair(ETH1, 1, Some(BR0)),
            pair(CTR0, 2, Some(BR0)),
            pair(ETH0, 3, None),
            listed(VLAN, b"vlan", &[(LINK, ETH0)]),
        ];
        let listed: BTreeMap<u32, Listed> = all.into_iter().collect();
        let at = |last: u8| Addr::from(std::net::IpAddr::from([192, 0, 2, last]));
        let routes = Routes { gateways: [(BR0, at(1)), (VLAN, at(2))].into(), ..Routes::default() };
        let of = |last| BTreeSet::from([at(last)]);
        let expected = BTreeMap::from([(1, of(1)), (2, of(1)), (3, of(2))]);
        assert_eq!(ends(&listed, &interface::stack(&listed), &routes), expected);
    }

    #[test]
    fn a_circle_of_interfaces_ends() {
        let all = [
            (ETH0, "eth0", exit(&[(BR0, Joined::FromAbove)])),
            (BR0, "br0", upper(&[(VLAN, Joined::FromAbove)])),
            (VLAN, "vlan", upper(&[(BR0, Joined::FromAbove)])),
        ];
        assert_eq!(names(&all, &[]), ["eth0"], "what can't be told counts as open");
    }
}
