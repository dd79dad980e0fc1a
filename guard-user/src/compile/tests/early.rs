//! What is refused at a call, every packet of it would be dropped for: whatever of it is not known then.

use std::cell::RefCell;
use std::collections::BTreeMap;

use guard_common::abi::{Hook, MAX_CGROUP_LEVELS, port_key};
use guard_common::decide::{self, Call, NoTrace, decide};
use guard_common::host::HostTables;
use guard_common::packet::{Layer, Packet};
use guard_common::verdict::Verdict;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::super::{geo_image, policy_table};
use super::generate::{Case, case, host};
use super::packets::{origin, parsed};
use super::reference::PlainPacket;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Ports that a process may have named where a packet does not show it.
const NAMED: [u16; 4] = [25, 443, 4500, 40_000];

/// The processes that may have made the call: each that used the socket.
fn callers(packet: &PlainPacket) -> impl Iterator<Item = ([u64; MAX_CGROUP_LEVELS], u32)> {
    let levels = |ids: &Vec<u64>| {
        let mut levels = [0; MAX_CGROUP_LEVELS];
        levels.iter_mut().zip(ids).for_each(|(level, id)| *level = *id);
        levels
    };
    let cgroups = std::iter::once(&packet.cgroups).chain(&packet.parties).map(levels);
    cgroups.flat_map(|cgroups| packet.users.iter().map(move |user| (cgroups, *user)))
}

/// Calls of which a packet with this layer may come.
fn calls(layer: &Layer) -> impl Iterator<Item = Call> {
    let is_shown = layer.flags & Layer::HAS_PORTS != 0;
    let ports = if is_shown { vec![layer.dport] } else { NAMED.to_vec() };
    let is_ours = [TCP, UDP].contains(&layer.proto);
    let (destination, proto) = (layer.dst, layer.proto);
    let call = move |port| Call { destination, port_key: port_key(proto, port), by_caller: 0 };
    ports.into_iter().filter(move |_| is_ours).map(call)
}

/// How many calls were refused, and how many left to their packets, which were dropped or not.
type Seen = BTreeMap<(&'static str, &'static str), usize>;

fn holds(case: &Case, seen: &RefCell<Seen>) -> Result<(), TestCaseError> {
    let policy = policy_table(&case.policy, &case.exemptions, &host(), 1).unwrap();
    let tables = HostTables::new(policy, geo_image(&case.db, &case.policy.sites).unwrap());
    let policy = &tables.policy;
    let mut left = Packet::default();
    // What is forwarded no process has called for.
    for plain in case.packets.iter().filter(|it| it.hook == Hook::Egress && it.came_in_by == 0) {
        let (parsed, packet) = parsed(plain, &left);
        left = packet;
        let from = origin(plain);
        let decided = decide(Hook::Egress, parsed, &packet, &tables, &from, || plain.now, &mut NoTrace);
        for call in packet.layers().iter().flat_map(calls) {
            let mut refused = 0;
            for (cgroups, user) in callers(plain) {
                let by_caller = decide::caller_pins(policy, &cgroups, user);
                let place = |address| decide::place(&tables, policy, address);
                refused |= decide::refusing(policy, &Call { by_caller, ..call }, place);
            }
            if refused != 0 {
                prop_assert_eq!(decided.verdict, Verdict::Drop, "{:?}: {:?}", call, plain);
                prop_assert_eq!(decided.denied & refused, refused, "{:?}: {:?}", call, plain);
            }
            let how = if refused == 0 { "left" } else { "refused" };
            *seen.borrow_mut().entry((how, decided.verdict.name())).or_insert(0) += 1;
        }
    }
    Ok(())
}

#[test]
fn no_packet_passes_of_a_call_that_is_refused() {
    const CASES: u32 = 600;
    const PACKETS: usize = 60;
    let seen = RefCell::new(Seen::new());
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    if let Err(error) = runner.run(&case(PACKETS), |case| holds(&case, &seen)) {
        panic!("{error}");
    }
    let seen = seen.into_inner();
    // Of 9,000 calls some 20 are refused: fewer than 3 are not chance.
    for outcome in [("refused", "drop"), ("left", "drop"), ("left", "pass")] {
        assert!(seen.get(&outcome).is_some_and(|times| *times > 2), "{outcome:?} is rare: {seen:?}");
    }
}
