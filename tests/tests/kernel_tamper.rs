//! Any change by another hand of any table that decides is found by the look, and is gone after it or with the next
//! generation; what the programs themselves change is never taken for one.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use guard_common::abi::{CarrierControl, Hook, MAX_VOLUMES, device_bit};
use guard_common::host::HostOrigin;
use guard_common::interval::build::GeoImage;
use guard_common::packet::Link;
use guard_common::verdict::{Reason, Verdict};
use guard_tests::proc::retry_until;
use guard_tests::raw_map::{RawMap, live};
use guard_user::kernel::{
    BypassTarget, CgroupTarget, Kernel, LinuxKernel, Mending, Tampered, View, VolumeTarget,
};
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use support::{OTHER, PinPlace, STORAGE, frame, geo, judged, policy};

/// Within this all geo tables are looked at.
const ALL_GEO: Duration = Duration::from_secs(62);
const GEO: [&str; 5] = ["V4_NODES", "V4_ENTRIES", "V6_NODES", "V6_ENTRIES", "V6_DETAIL"];

struct Guarded {
    pins: PinPlace,
    kernel: LinuxKernel,
    geo: Arc<GeoImage>,
}

impl Guarded {
    fn new(label: &str) -> Self {
        let pins = PinPlace::new(label);
        let kernel = support::open_to_judge(&pins.path()).unwrap();
        let mut it = Self { pins, kernel, geo: Arc::new(geo("US")) };
        it.publish(true);
        assert_eq!(it.look(), []);
        it
    }

    fn publish(&mut self, with_geo: bool) {
        let table = policy(self.kernel.generation() + 1, "\"IE\"");
        Kernel::publish(&mut self.kernel, &table, with_geo.then_some(&self.geo)).unwrap();
    }

    fn look(&mut self) -> Vec<Tampered> {
        let observed = Kernel::observe(&mut self.kernel).unwrap();
        assert_eq!(observed.blind, Vec::<String>::new());
        observed.tampered
    }

    fn map(&self, name: &str) -> RawMap {
        RawMap::open(&self.pins.map(name)).unwrap()
    }

    /// As an engine does: what a generation has wrong, the next one has right.
    fn mend(&mut self, found: &[Tampered]) {
        let is = |mending: &Mending| found.iter().any(|it| it.mending == *mending);
        if is(&Mending::NextGeo) {
            self.publish(true);
        } else if is(&Mending::NextGeneration) {
            self.publish(false);
        }
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn any_byte_of_the_policy_and_of_the_live_word_that_changes_is_found() {
    let mut it = Guarded::new("tamper-any");
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    for round in 0..200 {
        let table = if round % 4 == 0 { "CONTROL" } else { "POLICY" };
        let slot = live(&it.pins.path()).unwrap().policy_slot().to_ne_bytes();
        let key = if table == "CONTROL" { [0; 4] } else { slot };
        let map = it.map(table);
        let written = map.get(&key).unwrap();
        let at = random.next_u64() as usize % written.len();
        map.change(&key, |bytes| bytes[at] ^= 1 + (random.next_u64() % 255) as u8).unwrap();
        // The policy has a pace of its own, but where anything else was found.
        it.map("HELD").change(&3_u32.to_ne_bytes(), |bytes| bytes.fill(1)).unwrap();
        let mut found = it.look();
        found.retain(|it| it.table != "HELD");
        assert_eq!(found.iter().map(|it| it.table).collect::<Vec<_>>(), [table], "byte {at}");
        assert_eq!((found[0].entries, found[0].right_ns), (1, None), "{found:?}");
        it.mend(&found);
        assert_eq!(it.look(), [], "byte {at} of {table}");
        if table == "CONTROL" {
            assert_eq!(map.get(&key).unwrap(), written);
        }
        assert_eq!(judged(&it.kernel, STORAGE), (Verdict::Drop, Reason::Forbidden));
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn any_byte_of_a_geo_table_that_changes_is_found_within_a_minute() {
    let mut it = Guarded::new("tamper-geo");
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[8; 32]);
    let slot = live(&it.pins.path()).unwrap().geo_slot().to_ne_bytes();
    let mut places = BTreeMap::new();
    let mut change = |it: &Guarded, table: &'static str| {
        let at = random.next_u64() as usize % it.map(table).get(&slot).unwrap().len();
        it.map(table).change(&slot, |bytes| bytes[at] ^= 1).unwrap();
        places.insert(table, at);
    };
    // The one that was looked at last comes last: by then all of them are looked at.
    change(&it, "V4_NODES");
    let begin = Instant::now();
    let found =
        retry_until(ALL_GEO, "the change to be found", || Some(it.look()).filter(|it| !it.is_empty()));
    println!("found after {:?}", begin.elapsed());
    assert_eq!(found.unwrap()[0].table, "V4_NODES");
    // Where anything else was changed, all are looked at at once.
    GEO.into_iter().skip(1).for_each(|table| change(&it, table));
    it.map("HELD").change(&3_u32.to_ne_bytes(), |bytes| bytes.fill(1)).unwrap();
    let mut found = it.look();
    found.retain(|it| it.table != "HELD");
    found.sort_by_key(|it| GEO.iter().position(|table| *table == it.table));
    assert_eq!(found.iter().map(|it| it.table).collect::<Vec<_>>(), GEO);
    for tampered in &found {
        let word = format!("word {}", places[tampered.table] / 8);
        assert_eq!((&tampered.mending, &tampered.first), (&Mending::NextGeo, &word), "{tampered:?}");
        assert!(tampered.right_ns.is_some() && tampered.entries == 1, "{tampered:?}");
    }
    it.mend(&found);
    it.map("HELD").change(&3_u32.to_ne_bytes(), |bytes| bytes.fill(1)).unwrap();
    assert_eq!(it.look().iter().map(|it| it.table).collect::<Vec<_>>(), ["HELD"]);
    assert_eq!(judged(&it.kernel, STORAGE), (Verdict::Drop, Reason::Forbidden));
}

#[test]
#[ignore = "needs root and BPF"]
fn what_is_of_no_generation_is_set_back_by_the_look() {
    let mut it = Guarded::new("tamper-beside");
    View::hold(&it.kernel, 7, true).unwrap();
    Kernel::hold(&mut it.kernel, 9, true).unwrap();
    let addresses: BTreeSet<_> = [STORAGE, OTHER].map(guard_common::packet::Addr::from_v4_octets).into();
    it.kernel.know_addresses(&addresses).unwrap();
    let _first = it.look();
    let held = it.map("HELD");
    let slots = |kernel: &LinuxKernel| View::held(kernel).unwrap().into_iter().collect::<Vec<u16>>();
    assert_eq!(slots(&it.kernel), [9], "what another hand has marked is gone");
    // A mark of this process's own that another hand takes away.
    held.change(&9_u32.to_ne_bytes(), |bytes| bytes.fill(0)).unwrap();
    assert_eq!(it.look()[0].table, "HELD");
    assert_eq!(slots(&it.kernel), [9]);
    // The mark of the trail, whoever of this process changes it next.
    let mark = it.map("HIGH_WATER");
    Kernel::change_mark(&mut it.kernel, &mut |mark| mark.is_by(1_000, 50)).unwrap();
    let written = mark.get(&[0; 4]).unwrap();
    for changes_next in [false, true] {
        mark.change(&[0; 4], |bytes| bytes.fill(1)).unwrap();
        if changes_next {
            Kernel::change_mark(&mut it.kernel, &mut |_| {}).unwrap();
            assert_eq!(mark.get(&[0; 4]).unwrap(), written);
        }
        assert_eq!(it.look().iter().map(|it| it.table).collect::<Vec<_>>(), ["HIGH_WATER"]);
        assert_eq!(mark.get(&[0; 4]).unwrap(), written);
    }
    // Nobody has said yet to whom ways past the hooks are not refused; from then on it is held.
    let allowed = it.map("BYPASS_ALLOWED");
    let cgroup = guard_tests::cgroup::Cgroup::new("tamper").unwrap();
    let target = BypassTarget { cgroup: cgroup.path().into(), id: cgroup.id().unwrap(), allowed: [5].into() };
    it.kernel.refuse_bypass(Some(&target)).unwrap();
    allowed.remove(&5_u64.to_ne_bytes()).unwrap();
    allowed.set(&6_u64.to_ne_bytes(), &[1]).unwrap();
    let found = it.look();
    assert_eq!((found[0].table, found[0].entries), ("BYPASS_ALLOWED", 2));
    assert_eq!(allowed.first_key().unwrap(), Some(5_u64.to_ne_bytes().to_vec()));
    assert_eq!(it.look(), []);
    it.kernel.refuse_bypass(None).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn what_hooks_of_sockets_and_carriers_go_by_is_set_back_by_the_look() {
    let mut it = Guarded::new("tamper-volumes");
    let cgroup = guard_tests::cgroup::Cgroup::new("tamper-volumes").unwrap();
    let device = 0x00f0_0007_u32;
    let slots = std::iter::once(77).chain(std::iter::repeat_n(0, MAX_VOLUMES - 1)).collect();
    let volumes = VolumeTarget {
        devices: [(device, 1)].into(),
        spread: 1,
        tagged: 1,
        slots,
        ..VolumeTarget::default()
    };
    let (cgroup_path, id) = (cgroup.path().to_path_buf(), cgroup.id().unwrap());
    let target = CgroupTarget { cgroup: cgroup_path, id, senders: false, volumes: Some(volumes) };
    // Where the kernel does not take the programs, what they go by is written all the same.
    let _only_the_programs_may_be_refused = it.kernel.note_sockets(Some(&target));
    assert_eq!(it.look(), []);
    for (table, key) in [
        ("VOLUMES", device),
        ("VOLUME_SLOTS", 0),
        ("DEVICE_BITS", device_bit(device).0),
        ("CARRIER_CONTROL", CarrierControl::Tagged as u32),
    ] {
        let (map, key) = (it.map(table), key.to_ne_bytes());
        let written = map.get(&key).unwrap();
        assert_ne!(written, [0; 8], "{table}");
        map.change(&key, |bytes| bytes.fill(0)).unwrap();
        assert_eq!(it.look().iter().map(|it| it.table).collect::<Vec<_>>(), [table]);
        assert_eq!(map.get(&key).unwrap(), written, "{table}");
        assert_eq!(it.look(), []);
    }
    // What hooks count there themselves is none of it.
    let control = it.map("CARRIER_CONTROL");
    control.change(&(CarrierControl::Reported as u32).to_ne_bytes(), |bytes| bytes[0] += 1).unwrap();
    assert_eq!(it.look(), []);
    // Once sockets are named, nobody but the guard says that they are not.
    let named = it.map("SOCKETS_NAMED");
    named.set(&[0; 4], &1_u64.to_ne_bytes()).unwrap();
    assert_eq!(it.look(), []);
    named.set(&[0; 4], &[0; 8]).unwrap();
    assert_eq!(it.look().iter().map(|it| it.table).collect::<Vec<_>>(), ["SOCKETS_NAMED"]);
    assert_eq!(named.get(&[0; 4]).unwrap(), 1_u64.to_ne_bytes());
    it.kernel.note_sockets(None).unwrap();
    assert_eq!(it.look(), []);
}

/// Nothing undoes it, and what is refused by it says so.
#[test]
#[ignore = "needs root and BPF"]
fn a_map_that_somebody_freezes_is_found_and_what_it_refuses_says_what_helps() {
    let mut it = Guarded::new("tamper-frozen");
    it.map("HELD").freeze().unwrap();
    let found = retry_until(Duration::from_secs(7), "the freezing to be found", || {
        Some(it.look()).filter(|it| !it.is_empty())
    });
    let found = found.unwrap();
    assert_eq!((found.len(), found[0].table, &found[0].mending), (1, "HELD", &Mending::Frozen));
    assert_eq!(it.look(), found, "at each look from then on");
    it.map("POLICY").freeze().unwrap();
    let table = policy(it.kernel.generation() + 1, "\"IE\"");
    let refused = Kernel::publish(&mut it.kernel, &table, None).unwrap_err().to_string();
    for words in ["the map POLICY: somebody has frozen it", "BPF_MAP_FREEZE", "`borderguard detach`"] {
        assert!(refused.contains(words), "{refused}");
    }
    assert_eq!(judged(&it.kernel, STORAGE), (Verdict::Drop, Reason::Forbidden), "what was live goes on");
}

#[test]
#[ignore = "needs root and BPF"]
fn what_packets_change_is_no_change_by_another_hand() {
    let mut it = Guarded::new("tamper-packets");
    for round in 0..50 {
        for from in [STORAGE, OTHER] {
            for _ in 0..20 {
                let frame = frame(from);
                it.kernel.judge_frame(Hook::Egress, Link::Ethernet, &frame, &HostOrigin::default()).unwrap();
            }
        }
        if round % 10 == 0 {
            it.publish(round % 20 == 0);
        }
        assert_eq!(it.look(), []);
    }
}
