//! Over random worlds and small changes of them, a packet is of an opened flow exactly where the decision is milder.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use guard_common::abi::Hook;
use guard_common::decide::{NoTrace, decide, mirror};
use guard_common::host::HostTables;
use guard_common::packet::{Addr, Packet};
use guard_common::verdict::Verdict;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::super::judge::Comparison;
use super::super::{World, openings, tables_of};
use super::mutation::{Mutation, mutated, mutations};
use super::point::Point;
use crate::compile::tests::generate::{Case, case, host};
use crate::compile::tests::packets::{origin, parsed};
use crate::compile::tests::reference::{Content, PlainPacket};
use crate::compile::{VolumeFact, geo_image, policy_table};
use crate::config::policy::Spread;

/// Takes away what the oracle does not ask for: budgets and quotas that are used up.
fn plain(mut case: Case) -> Case {
    case.policy.failsafe.iter_mut().for_each(|rule| rule.bytes_per_minute = None);
    let most = case.exemptions.len() % 3;
    case.exemptions.truncate(most);
    for exemption in &mut case.exemptions {
        exemption.account = exemption.slot;
        exemption.quota = u64::MAX;
    }
    // With more, a pair takes long.
    case.policy.pins.truncate(4);
    let pins = &case.policy.pins;
    let has = |name: &String| pins.iter().any(|pin| pin.name == *name);
    case.exemptions.iter_mut().for_each(|it| it.pins.retain(has));
    case.exemptions.retain(|it| !it.pins.is_empty());
    for packet in &mut case.packets {
        carry_in_the_cgroup(&mut packet.volumes);
    }
    case
}

/// Who carries a volume itself is in a cgroup that does: with the slot of a volume that spreads by process comes that of
/// the same volume by cgroup, as [`host`] has them.
fn carry_in_the_cgroup(volumes: &mut Vec<u32>) {
    for fact in host().volumes {
        let is_wider =
            |it: &&VolumeFact| it.volume.path == fact.volume.path && it.volume.spread == Spread::Cgroup;
        if volumes.contains(&fact.slot) {
            volumes.extend(host().volumes.iter().filter(is_wider).map(|it| it.slot));
        }
    }
}

/// And packets with two values of one dimension.
fn plainer(case: Case) -> Case {
    let mut case = plain(case);
    for pin in &mut case.policy.pins {
        pin.select.spread = Spread::Process;
    }
    for (number, packet) in case.packets.iter_mut().enumerate() {
        packet.came_in_by = if number % 2 == 0 && packet.hook != Hook::Ingress { 0 } else { 77 };
        packet.interface = [1, 2, 900_001, 77][number % 4];
        packet.cgroups = match number % 5 {
            0 => vec![11],
            1 => vec![11, 1 << 40],
            2 => vec![13],
            3 => vec![13, 14, 17],
            _ => Vec::new(),
        };
        packet.parties.clear();
        packet.users.truncate(1);
        packet.volumes.truncate(1);
        packet.everybody = false;
        if let Content::Ip { layers, hops } = &mut packet.content {
            layers.truncate(1);
            hops.clear();
        }
    }
    case
}

fn tables(case: &Case) -> HostTables {
    let mut policy = policy_table(&case.policy, &case.exemptions, &host(), 1).unwrap();
    // What is told of is the interfaces that there are: one that came since may be any of them.
    policy.interfaces_until = u32::MAX;
    let mut tables = HostTables::new(policy, geo_image(&case.db, &case.policy.sites).unwrap());
    tables.addresses = case.addresses.iter().copied().map(Addr::from).collect();
    tables
}

fn world(case: &Case) -> World<'_> {
    World { policy: &case.policy, geo: &case.db, exemptions: &case.exemptions, may_exempt: false }
}

fn verdict(plain: &PlainPacket, tables: &HostTables) -> Verdict {
    tables.now_ns.store(plain.now * PlainPacket::TICK_NS, Ordering::Relaxed);
    let (parsed, mut packet) = parsed(plain, &Packet::default());
    if plain.hook == Hook::Ingress {
        mirror(&mut packet);
    }
    decide(plain.hook, parsed, &packet, tables, &origin(plain), || plain.now, &mut NoTrace).verdict
}

fn run<T: std::fmt::Debug>(
    cases: u32,
    strategy: impl Strategy<Value = T>,
    test: impl Fn(T) -> Result<(), TestCaseError>,
) {
    let config = Config { cases, max_shrink_iters: 60, failure_persistence: None, ..Config::default() };
    if let Err(error) = TestRunner::new(config).run(&strategy, test) {
        panic!("{error}");
    }
}

/// How many packets did not open, and how many did.
type Seen = [Cell<usize>; 2];

fn agrees(old: &Case, new: &Case, seen: &Seen) -> Result<(), TestCaseError> {
    let worlds = [world(old), world(new)];
    let of = [tables_of(&worlds[0]).unwrap(), tables_of(&worlds[1]).unwrap()];
    let comparison = Comparison::new([&worlds[0], &worlds[1]], &of).unwrap();
    let found = comparison.found().unwrap();
    prop_assert_eq!(openings(&worlds[0], &worlds[1]).unwrap().flows.is_empty(), found.is_empty());
    let (was, is) = (tables(old), tables(new));
    // What exemptions let pass, and what goes by the IPv4 address in another, is told of more.
    let is_exact = old.exemptions.is_empty() && new.exemptions.is_empty();
    for packet in &old.packets {
        let Some(point) = Point::of(packet, old, new) else { continue };
        let opens = verdict(packet, &is) < verdict(packet, &was);
        let is_found = found.iter().any(|found| point.is_of(&comparison, found));
        if opens || is_exact && point.is_exact(&comparison) {
            let verdicts = [verdict(packet, &was), verdict(packet, &is)];
            let told = found.iter().map(|it| (it.way, it.by, it.packets, it.hook, it.verdicts));
            let told: Vec<_> = told.collect();
            prop_assert_eq!(is_found, opens, "{:?} {:?} {:?}", packet, verdicts, told);
        }
        let times = &seen[usize::from(opens)];
        times.set(times.get() + 1);
    }
    Ok(())
}

fn pair(packets: usize) -> impl Strategy<Value = (Case, Case, Vec<Mutation>)> {
    (case(packets), case(0), mutations())
}

#[test]
fn a_packet_is_of_an_opened_flow_where_the_decision_is_milder() {
    let seen = Seen::default();
    run(150, pair(200), |(old, donor, mutations)| {
        let (old, donor) = (plainer(old), plainer(donor));
        let mut new = plainer(mutated(&old, &donor, &mutations));
        new.packets = old.packets.clone();
        agrees(&old, &new, &seen)?;
        agrees(&Case { packets: old.packets.clone(), ..new }, &old, &seen)
    });
    let [stays, opens] = seen.map(Cell::into_inner);
    assert!(stays > 5_000 && opens > 500, "{stays} packets fare as before, {opens} better");
}

#[test]
fn where_nothing_is_told_no_packet_whatever_it_carries_fares_better() {
    let seen = Seen::default();
    let test = |old: &Case, new: &Case| {
        let found = openings(&world(old), &world(new)).unwrap();
        if !found.is_empty() {
            return Ok(());
        }
        let (was, is) = (tables(old), tables(new));
        for packet in &old.packets {
            let (was, is) = (verdict(packet, &was), verdict(packet, &is));
            prop_assert!(is >= was, "{:?}", packet);
            let times = &seen[usize::from(is != was)];
            times.set(times.get() + 1);
        }
        Ok(())
    };
    run(200, pair(150), |(old, donor, mutations)| {
        let (old, donor) = (plain(old), plain(donor));
        let mut new = plain(mutated(&old, &donor, &mutations));
        new.packets = old.packets.clone();
        test(&old, &new)?;
        test(&new, &old)
    });
    let [same, closed] = seen.map(Cell::into_inner);
    assert!(same > 1_000 && closed > 100, "{same} packets fare as before, {closed} worse");
}

#[test]
fn nothing_opens_between_a_world_and_itself_in_another_order() {
    run(60, case(0), |old| {
        let old = plain(old);
        let mut new = old.clone();
        new.policy.pins.reverse();
        new.policy.failsafe.reverse();
        new.policy.sites.reverse();
        new.exemptions.reverse();
        for pin in &mut new.policy.pins {
            pin.select.sources.reverse();
            // The halves of a network are the network.
            let halves = |network: &ipnetwork::IpNetwork| match network {
                ipnetwork::IpNetwork::V4(it) if it.prefix() < 32 => {
                    let half = 1 << (31 - it.prefix());
                    let second = std::net::Ipv4Addr::from(u32::from(it.network()) | half);
                    [it.network(), second]
                        .map(|at| ipnetwork::IpNetwork::new(at.into(), it.prefix() + 1).unwrap())
                        .to_vec()
                }
                other => vec![*other],
            };
            pin.select.sources = pin.select.sources.iter().flat_map(halves).collect();
        }
        let found = openings(&world(&old), &world(&new)).unwrap();
        prop_assert!(found.is_empty(), "{:?}", found);
        Ok(())
    });
}
