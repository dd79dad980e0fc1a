//! Which interfaces a route leads out by.

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use guard_common::packet::Addr;
use netlink_packet_core::parse_ip;
use netlink_packet_route::route::{RouteFlags, RouteHeader, RouteType};

use super::netlink::{Dump, Request, attributes, emit, number, value};

/// `RTM_NEWROUTE`, `RTM_GETROUTE`, `RTM_NEWNEXTHOP`, `RTM_GETNEXTHOP` (linux/rtnetlink.h).
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;
const NEW_NEXT_HOP: u16 = 104;
const GET_NEXT_HOP: u16 = 106;
/// Bytes of `struct rtmsg`, `rtnexthop` and `nhmsg`.
const ROUTE: usize = 12;
const HOP: usize = 8;
const NEXT_HOP: usize = 8;
/// `RTA_DST`, `RTA_OIF`, `RTA_GATEWAY`, `RTA_MULTIPATH`, `RTA_TABLE`, `RTA_VIA`, `RTA_NH_ID`.
const DESTINATION: u16 = 1;
const OUT: u16 = 4;
const GATEWAY: u16 = 5;
const MULTIPATH: u16 = 9;
const TABLE: u16 = 15;
const VIA: u16 = 18;
const NEXT_HOP_ID: u16 = 30;
/// `NHA_ID`, `NHA_GROUP`, `NHA_OIF`, `NHA_GATEWAY` (linux/nexthop.h), and the bytes of a group's member.
const HOP_ID: u16 = 1;
const HOP_GROUP: u16 = 2;
const HOP_OUT: u16 = 5;
const HOP_GATEWAY: u16 = 6;
const MEMBER: usize = 8;
/// `LOOPBACK_IFINDEX` (include/net/flow.h): the loopback interface's index in every network namespace.
const LOOPBACK: u32 = 1;
/// `RT_TABLE_LOCAL`: what reaches the host itself.
const LOCAL: u32 = 255;

/// Longer than this no look at the routes may take: a router's table has a million of them.
const LONGEST: Duration = Duration::from_millis(200);

/// What the routes say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Routes {
    /// Indexes of interfaces by which a unicast route of any table but the local one leads. Routes to
    /// link-local and multicast addresses alone do not count: every interface with IPv6 has them.
    pub(super) out: BTreeSet<u32>,
    /// Those by which one leads that has all addresses of a family, or half of them.
    pub(super) default: BTreeSet<u32>,
    /// The gateways of those, each with the interface.
    pub(super) gateways: BTreeSet<(u32, Addr)>,
    /// Whether there were too many routes to look at all.
    pub(super) is_cut: bool,
    /// Objects of next hops that routes name instead of an interface.
    pub(super) hops: BTreeSet<u32>,
    pub(super) default_hops: BTreeSet<u32>,
}

/// Asks for the routes of all tables and both families.
pub(super) fn list() -> io::Result<Routes> {
    list_within(Until::from_now(LONGEST))
}

fn list_within(until: Until) -> io::Result<Routes> {
    let mut routes = Routes::default();
    // AF_UNSPEC: all families.
    let end = Request::route(GET_ROUTE, &emit(&RouteHeader::default())).dump(|kind, payload| {
        if kind == NEW_ROUTE {
            routes.take(payload);
        }
        until.goes_on()
    })?;
    routes.is_cut = end == Dump::Stopped;
    if !routes.hops.is_empty() {
        routes.resolve(until, |each| Request::route(GET_NEXT_HOP, &[0; NEXT_HOP]).dump(each))?;
    }
    // What has addresses there has routes by it, which lead nowhere.
    routes.out.remove(&LOOPBACK);
    routes.default.remove(&LOOPBACK);
    Ok(routes)
}

/// When a look at the routes is cut, with all that it asks for.
#[derive(Clone, Copy)]
struct Until(Instant);

impl Until {
    fn from_now(most: Duration) -> Self {
        Self(Instant::now() + most)
    }

    fn goes_on(self) -> ControlFlow<()> {
        if Instant::now() < self.0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

impl Routes {
    fn take(&mut self, payload: &[u8]) {
        let Ok(header) = RouteHeader::parse(payload) else { return };
        if header.kind != RouteType::Unicast || header.flags.contains(RouteFlags::Cloned) {
            return;
        }
        let mut table = u32::from(header.table);
        let (mut out, mut hop, mut leads_away) = (Vec::new(), None, true);
        let (mut by, mut gateway, mut gateways) = (None, None, Vec::new());
        for attribute in attributes(payload.get(ROUTE..).unwrap_or_default()) {
            let kind = attribute.kind();
            let value = value(attribute);
            match kind {
                TABLE => table = number(value).unwrap_or(table),
                OUT => by = number(value),
                GATEWAY | VIA => gateway = address(kind, value),
                MULTIPATH => {
                    for (index, gateway) in hops(value) {
                        out.push(index);
                        gateways.extend(gateway.map(|it| (index, it)));
                    }
                }
                NEXT_HOP_ID => hop = number(value),
                DESTINATION => leads_away = !is_for_neighbours(value),
                _ => {}
            }
        }
        if table == LOCAL || !leads_away {
            return;
        }
        out.extend(by);
        gateways.extend(by.zip(gateway));
        // With net.ipv4.nexthop_compat_mode = 0 the object is all that there is.
        let hop = hop.filter(|_| out.is_empty());
        // A VPN names two halves, so that its routes win over the default route.
        if header.destination_prefix_length <= 1 {
            self.default_hops.extend(hop);
            self.default.extend(&out);
            self.gateways.extend(gateways);
        }
        self.hops.extend(hop);
        self.out.extend(out);
    }

    /// Looks up the objects of next hops, and the members of groups, in a dump of all objects.
    fn resolve(
        &mut self,
        until: Until,
        dump: impl FnOnce(&mut dyn FnMut(u16, &[u8]) -> ControlFlow<()>) -> io::Result<Dump>,
    ) -> io::Result<()> {
        let mut all = Vec::new();
        let end = dump(&mut |kind, payload| {
            if kind == NEW_NEXT_HOP {
                all.extend(Object::read(payload));
            }
            until.goes_on()
        })?;
        self.is_cut |= end == Dump::Stopped;
        for (hops, out) in [(&mut self.hops, &mut self.out), (&mut self.default_hops, &mut self.default)] {
            let named = |object: &&Object| hops.contains(&object.id);
            let members: BTreeSet<u32> =
                all.iter().filter(named).flat_map(|object| &object.members).copied().collect();
            hops.extend(members);
            out.extend(all.iter().filter(|object| hops.contains(&object.id)).filter_map(|it| it.out));
        }
        let of_default = all.iter().filter(|object| self.default_hops.contains(&object.id));
        self.gateways.extend(of_default.filter_map(|it| it.out.zip(it.gateway)));
        Ok(())
    }
}

/// The address in `RTA_GATEWAY`, or in `RTA_VIA` after its family (`struct rtvia`).
fn address(kind: u16, value: &[u8]) -> Option<Addr> {
    let bytes = if kind == VIA { value.get(2..)? } else { value };
    parse_ip(bytes).ok().map(Addr::from)
}

/// The interfaces of `struct rtnexthop`, one after the other, each with its gateway: length, flags, weight, interface,
/// attributes.
fn hops(mut bytes: &[u8]) -> Vec<(u32, Option<Addr>)> {
    let mut out = Vec::new();
    while let Some(hop) = bytes.get(..HOP) {
        let len = hop.first_chunk().map_or(0, |len| usize::from(u16::from_ne_bytes(*len)));
        let mut of_hop = attributes(bytes.get(HOP..len).unwrap_or_default());
        let gateway = of_hop.find_map(|it| {
            let kind = it.kind();
            [GATEWAY, VIA].contains(&kind).then(|| address(kind, value(it)))?
        });
        out.extend(hop.get(4..).and_then(number).map(|index| (index, gateway)));
        bytes = bytes.get(len.max(HOP).next_multiple_of(4)..).unwrap_or_default();
    }
    out
}

/// Whether these are addresses that every interface with IPv6 has routes to.
fn is_for_neighbours(destination: &[u8]) -> bool {
    match parse_ip(destination) {
        Ok(std::net::IpAddr::V6(address)) => address.is_unicast_link_local() || address.is_multicast(),
        Ok(std::net::IpAddr::V4(address)) => address.is_multicast(),
        Err(_) => false,
    }
}

/// A next hop as an object of its own, or a group of them.
struct Object {
    id: u32,
    out: Option<u32>,
    gateway: Option<Addr>,
    members: Vec<u32>,
}

impl Object {
    fn read(payload: &[u8]) -> Option<Self> {
        let (mut id, mut out, mut gateway, mut members) = (None, None, None, Vec::new());
        for attribute in attributes(payload.get(NEXT_HOP..)?) {
            let kind = attribute.kind();
            let value = value(attribute);
            match kind {
                HOP_ID => id = number(value),
                HOP_OUT => out = number(value),
                HOP_GATEWAY => gateway = address(GATEWAY, value),
                HOP_GROUP => members.extend(value.chunks_exact(MEMBER).filter_map(number)),
                _ => {}
            }
        }
        Some(Self { id: id?, out, gateway, members })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn route(kind: RouteType, attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = emit(&RouteHeader { kind, table: 254, ..RouteHeader::default() });
        bytes.extend(attributes.concat());
        bytes
    }

    fn out(payload: &[u8]) -> Vec<u32> {
        let mut routes = Routes::default();
        routes.take(payload);
        routes.out.into_iter().chain(routes.hops).collect()
    }

    #[test]
    fn routes_that_lead_out_are_told_from_others() {
        let by = |index: u32| attribute(OUT, &index.to_ne_bytes());
        let to = |address: &str| match address.parse().unwrap() {
            std::net::IpAddr::V4(address) => attribute(DESTINATION, &address.octets()),
            std::net::IpAddr::V6(address) => attribute(DESTINATION, &address.octets()),
        };
        assert_eq!(out(&route(RouteType::Unicast, &[by(7)])), [7], "the default route");
        assert_eq!(out(&route(RouteType::Unicast, &[to("192.0.2.0"), by(7)])), [7]);
        assert_eq!(out(&route(RouteType::Unicast, &[to("2001:db8::"), by(7)])), [7]);
        for address in ["fe80::", "ff00::", "224.0.0.0"] {
            assert_eq!(out(&route(RouteType::Unicast, &[to(address), by(7)])), [0; 0], "{address}");
        }
        for kind in [RouteType::Local, RouteType::Broadcast, RouteType::BlackHole, RouteType::Unreachable] {
            assert_eq!(out(&route(kind, &[by(7)])), [0; 0]);
        }
        let local = attribute(TABLE, &LOCAL.to_ne_bytes());
        assert_eq!(out(&route(RouteType::Unicast, &[local, by(7)])), [0; 0]);
        let table = attribute(TABLE, &1000_u32.to_ne_bytes());
        assert_eq!(out(&route(RouteType::Unicast, &[table, by(7)])), [7], "any other table counts");
        let is_default = |bits: u8| {
            let header = RouteHeader {
                destination_prefix_length: bits,
                kind: RouteType::Unicast,
                table: 254,
                ..RouteHeader::default()
            };
            let mut routes = Routes::default();
            routes.take(&[emit(&header), by(7)].concat());
            routes.default.contains(&7)
        };
        assert_eq!([0, 1, 2, 24].map(is_default), [true, true, false, false]);
    }

    #[test]
    fn every_path_of_a_route_counts() {
        let hop = |index: u32, more: &[u8]| {
            let mut bytes = u16::try_from(HOP + more.len()).unwrap().to_ne_bytes().to_vec();
            bytes.extend([0, 1]);
            bytes.extend(index.to_ne_bytes());
            bytes.extend(more);
            bytes
        };
        let gateway = attribute(5, &[192, 0, 2, 1]);
        let paths = attribute(MULTIPATH, &[hop(3, &gateway), hop(4, &[])].concat());
        assert_eq!(out(&route(RouteType::Unicast, &[paths])), [3, 4]);
        assert_eq!(
            hops(&[0, 0, 0, 0, 9, 0, 0, 0]),
            [(u32::from_ne_bytes([9, 0, 0, 0]), None)],
            "a length of 0 ends"
        );
        let object = attribute(NEXT_HOP_ID, &77_u32.to_ne_bytes());
        assert_eq!(out(&route(RouteType::Unicast, &[object])), [77], "to be looked up");
    }

    #[test]
    fn gateways_of_default_routes_are_known_with_their_interfaces() {
        let v4 = |last: u8| Addr::from(std::net::IpAddr::from([192, 0, 2, last]));
        let v6: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
        let by = |index: u32| attribute(OUT, &index.to_ne_bytes());
        let gateways = |header: &RouteHeader, attributes: &[Vec<u8>]| {
            let mut routes = Routes::default();
            routes.take(&[emit(header), attributes.concat()].concat());
            routes.gateways.into_iter().collect::<Vec<_>>()
        };
        let default = RouteHeader { kind: RouteType::Unicast, table: 254, ..RouteHeader::default() };
        let to = attribute(GATEWAY, &[192, 0, 2, 1]);
        assert_eq!(gateways(&default, &[to.clone(), by(7)]), [(7, v4(1))]);
        let via = attribute(VIA, &[&10_u16.to_ne_bytes()[..], &v6.octets()].concat());
        assert_eq!(gateways(&default, &[by(7), via]), [(7, Addr::from(std::net::IpAddr::from(v6)))]);
        let narrow = RouteHeader { destination_prefix_length: 24, ..default.clone() };
        assert_eq!(gateways(&narrow, &[to.clone(), by(7)]), []);
        assert_eq!(gateways(&default, &[by(7)]), [], "a route without a gateway");
        let hop = |index: u32, last: u8| {
            let gateway = attribute(GATEWAY, &[192, 0, 2, last]);
            let len = u16::try_from(HOP + gateway.len()).unwrap().to_ne_bytes();
            [&len[..], &[0, 1], &index.to_ne_bytes(), &gateway].concat()
        };
        let paths = attribute(MULTIPATH, &[hop(3, 1), hop(4, 2)].concat());
        assert_eq!(gateways(&default, &[paths]), [(3, v4(1)), (4, v4(2))]);
        let object = [
            vec![0; NEXT_HOP],
            attribute(HOP_ID, &5_u32.to_ne_bytes()),
            attribute(HOP_OUT, &7_u32.to_ne_bytes()),
            attribute(HOP_GATEWAY, &[192, 0, 2, 1]),
        ]
        .concat();
        let set = BTreeSet::from([5]);
        let mut routes = Routes { hops: set.clone(), default_hops: set, ..Routes::default() };
        let one = |each: &mut dyn FnMut(u16, &[u8]) -> ControlFlow<()>| {
            assert!(each(NEW_NEXT_HOP, &object).is_continue());
            Ok(Dump::Whole)
        };
        routes.resolve(Until::from_now(Duration::from_secs(60)), one).unwrap();
        assert_eq!(routes.gateways.into_iter().collect::<Vec<_>>(), [(7, v4(1))]);
    }

    #[test]
    fn objects_and_their_groups_are_read() {
        let mut payload = vec![0; NEXT_HOP];
        payload.extend(attribute(HOP_ID, &5_u32.to_ne_bytes()));
        let member = |id: u32| [id.to_ne_bytes(), [0; 4]].concat();
        payload.extend(attribute(HOP_GROUP, &[member(6), member(7)].concat()));
        let group = Object::read(&payload).unwrap();
        assert_eq!((group.id, group.out, group.members), (5, None, vec![6, 7]));
    }

    #[test]
    fn a_look_at_more_objects_than_there_is_time_for_is_cut() {
        let mut object = vec![0; NEXT_HOP];
        object.extend(
            [attribute(HOP_ID, &5_u32.to_ne_bytes()), attribute(HOP_OUT, &7_u32.to_ne_bytes())].concat(),
        );
        let mut routes = Routes { hops: BTreeSet::from([5]), ..Routes::default() };
        let mut shown = 0;
        let endless = |each: &mut dyn FnMut(u16, &[u8]) -> ControlFlow<()>| {
            while each(NEW_NEXT_HOP, &object).is_continue() {
                shown += 1;
                assert!(shown < 100_000_000, "it goes on for ever");
            }
            Ok(Dump::Stopped)
        };
        routes.resolve(Until::from_now(Duration::from_millis(20)), endless).unwrap();
        assert!(routes.is_cut && routes.out.contains(&7), "{routes:?}");
        // A look that has its time is whole.
        let mut routes = Routes { hops: BTreeSet::from([5]), ..Routes::default() };
        let one = |each: &mut dyn FnMut(u16, &[u8]) -> ControlFlow<()>| {
            assert!(each(NEW_NEXT_HOP, &object).is_continue());
            Ok(Dump::Whole)
        };
        routes.resolve(Until::from_now(Duration::from_secs(60)), one).unwrap();
        assert!(!routes.is_cut && routes.out.contains(&7), "{routes:?}");
    }

    #[test]
    fn this_host_s_routes_can_be_listed() {
        assert!(!list().unwrap().out.contains(&1), "the loopback leads nowhere");
    }
}
