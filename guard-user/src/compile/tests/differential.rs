//! `decide` over compiled tables gives what the reference gives, and every reason occurs.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use guard_common::abi::{Hook, NO_EXEMPTION, PolicyTable};
use guard_common::decide::{Decision, NoTrace, decide, mirror};
use guard_common::host::HostTables;
use guard_common::interval::{Detail, GeoTables, V4Entries, V4Nodes, V6Entries, V6Nodes};
use guard_common::packet::{Addr, Packet};
use guard_common::tables::{Accounts, Tables};
use guard_common::verdict::{Reason, Verdict};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::super::{geo_image, policy_table};
use super::generate::{Case, case, host};
use super::packets::{origin, parsed};
use super::reference::{Answer, Loaded, PlainPacket, World};

/// Tables of which some can't be read, as where the kernel finds no element.
struct PartlyLoaded {
    tables: HostTables,
    loaded: Loaded,
}

impl PartlyLoaded {
    fn geo(&self) -> Option<&HostTables> {
        (self.loaded == Loaded::All).then_some(&self.tables)
    }
}

impl GeoTables for PartlyLoaded {
    fn v4_nodes(&self) -> Option<&V4Nodes> {
        self.geo()?.v4_nodes()
    }
    fn v4_entries(&self) -> Option<&V4Entries> {
        self.geo()?.v4_entries()
    }
    fn v6_nodes(&self) -> Option<&V6Nodes> {
        self.geo()?.v6_nodes()
    }
    fn v6_entries(&self) -> Option<&V6Entries> {
        self.geo()?.v6_entries()
    }
    fn detail(&self) -> Option<&Detail> {
        self.geo()?.detail()
    }
}

impl Tables for PartlyLoaded {
    fn policy(&self) -> Option<&PolicyTable> {
        (self.loaded != Loaded::Nothing).then_some(())?;
        self.tables.policy()
    }
    fn is_of_host(&self, address: Addr) -> bool {
        self.tables.is_of_host(address)
    }
    guard_common::steps_as_decided!();
}

impl Accounts for PartlyLoaded {
    fn charge(&self, slot: u16, bytes: u64, quota: u64) -> bool {
        self.tables.charge(slot, bytes, quota)
    }
    fn refund(&self, slot: u16, bytes: u64) {
        self.tables.refund(slot, bytes);
    }
    fn book(&self, slot: u16, bytes: u64) {
        self.tables.book(slot, bytes);
    }
    fn spend_failsafe(&self, rule: u32, bytes: u64, budget: u64) -> bool {
        self.tables.spend_failsafe(rule, bytes, budget)
    }
}

fn decide_for(plain: &PlainPacket, left: &mut Packet, tables: &PartlyLoaded) -> Decision {
    tables.tables.now_ns.store(plain.now * PlainPacket::TICK_NS, Ordering::Relaxed);
    let (parsed, mut packet) = parsed(plain, left);
    if plain.hook == Hook::Ingress {
        mirror(&mut packet);
    }
    *left = packet;
    decide(plain.hook, parsed, &packet, tables, &origin(plain), || plain.now, &mut NoTrace)
}

fn pins(bits: u64) -> BTreeSet<usize> {
    (0..64).filter(|pin| bits >> pin & 1 == 1).collect()
}

fn answer(decision: Decision) -> Answer {
    Answer {
        verdict: decision.verdict,
        reason: decision.reason,
        jurisdiction: decision.place.jurisdiction(),
        placed_by: decision.place.placed_by(),
        exemption: (decision.exemption != NO_EXEMPTION).then_some(decision.exemption),
        tag: pins(decision.tag),
        denied: pins(decision.denied),
    }
}

/// How often each outcome was seen.
type Seen = BTreeMap<(&'static str, &'static str, &'static str), usize>;

/// Stands for packets that two exemptions covered together.
const SHARED: (&str, &str, &str) = ("any hook", "shared", "by two exemptions");

fn agrees(case: &Case, seen: &RefCell<Seen>) -> Result<(), TestCaseError> {
    let host = host();
    let policy = policy_table(&case.policy, &case.exemptions, &host, 1).unwrap();
    let geo = geo_image(&case.db, &case.policy.sites).unwrap();
    let mut tables = HostTables::new(policy, geo);
    tables.addresses = case.addresses.iter().copied().map(Addr::from).collect();
    let tables = PartlyLoaded { tables, loaded: case.loaded };
    let mut world = World {
        policy: &case.policy,
        db: &case.db,
        exemptions: &case.exemptions,
        host: &host,
        loaded: case.loaded,
        charged: BTreeMap::new(),
        used: BTreeMap::new(),
        addresses: &case.addresses,
        spent: BTreeMap::new(),
        shared: 0,
    };
    let mut left = Packet::default();
    for packet in &case.packets {
        let expected = world.judge(packet);
        let decided = answer(decide_for(packet, &mut left, &tables));
        prop_assert_eq!(&decided, &expected, "for {:?}", packet);
        let outcome = (packet.hook.name(), decided.verdict.name(), decided.reason.name());
        *seen.borrow_mut().entry(outcome).or_insert(0) += 1;
    }
    *seen.borrow_mut().entry(SHARED).or_insert(0) += world.shared;
    for (slot, used) in tables.tables.used.iter().enumerate() {
        let expected = |of: &BTreeMap<u16, u64>| of.get(&(slot as u16)).copied().unwrap_or(0);
        let charged = tables.tables.charged[slot].load(Ordering::Relaxed);
        prop_assert_eq!(used.load(Ordering::Relaxed), expected(&world.used), "bytes of slot {}", slot);
        prop_assert_eq!(charged, expected(&world.charged), "bytes charged to slot {}", slot);
    }
    Ok(())
}

#[test]
fn tables_decide_as_the_policy_reads() {
    const CASES: u32 = 400;
    const PACKETS: usize = 60;
    let seen = RefCell::new(Seen::new());
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    if let Err(error) = runner.run(&case(PACKETS), |case| agrees(&case, &seen)) {
        panic!("{error}");
    }
    let seen = seen.into_inner();
    let times = |holds: &dyn Fn(&(&str, &str, &str)) -> bool| -> usize {
        seen.iter().filter(|(outcome, _)| holds(outcome)).map(|(_, times)| times).sum()
    };
    // A packet that finds no scratch is not judged at all.
    for reason in Reason::ALL.iter().filter(|reason| **reason != Reason::Busy) {
        assert!(times(&|outcome| outcome.2 == reason.name()) > 20, "{} is rare: {seen:#?}", reason.name());
    }
    for verdict in Verdict::ALL {
        assert!(times(&|outcome| outcome.1 == verdict.name()) > 100, "{} is rare: {seen:#?}", verdict.name());
    }
    assert!(times(&|outcome| *outcome == SHARED) > 5, "sharing is rare: {seen:#?}");
    for hook in Hook::OF_PACKETS {
        for reason in [Reason::Forbidden, Reason::Exempt, Reason::Failsafe, Reason::Permitted] {
            let both = |outcome: &(&str, &str, &str)| outcome.0 == hook.name() && outcome.2 == reason.name();
            assert!(times(&both) > 10, "{} on {} is rare: {seen:#?}", reason.name(), hook.name());
        }
    }
}
