//! What root writes into the kernel's tables under a daemon that runs: it opens what is pinned as long as the daemon is held
//! up, and nothing once the daemon has looked, which is told and recorded. Judged by what arrives at the far side.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::mem::offset_of;
use std::time::{Duration, Instant};

use guard_common::abi::failsafe::{begun, minute_at, minute_of};
use guard_common::abi::{Exemption, Live, Place, PlacedBy, PolicyTable, dimension};
use guard_common::jurisdiction::Jurisdiction;
use guard_tests::bed::{BELGIUM, Bed, Family, MAIL_PORT, PATIENCE, PIN, US};
use guard_tests::proc::{Process, retry_until};
use guard_tests::raw_map::{RawMap, live};
use guard_tests::resources::stay_on;
use guard_user::exemption::Clocks;
use guard_user::health::{Problem, ProblemCode};
use guard_user::kernel::LinuxKernel;
use rustix::process::Signal;

/// How soon the far side gets nothing again: the daemon looks each second, and at the policy's table every two.
const SOON: Duration = Duration::from_secs(3);
/// Likewise where a geo table alone is changed: all of them are looked at within a minute.
const GEO_SOON: Duration = Duration::from_secs(62);

fn map(bed: &Bed, name: &str) -> RawMap {
    RawMap::open(&bed.pin_path().join("maps").join(name)).unwrap()
}

fn boot_ns() -> u64 {
    Clocks::read().boot_ns
}

fn policy_slot(bed: &Bed) -> [u8; 4] {
    live(&bed.pin_path()).unwrap().policy_slot().to_ne_bytes()
}

/// Changes the live table of the policy, and its number, so that nothing is remembered of what was looked up before.
fn change_policy(bed: &Bed, change: impl FnOnce(&mut [u8])) {
    let change = |bytes: &mut [u8]| {
        bytes[offset_of!(PolicyTable, generation) + 5] ^= 1;
        change(bytes);
    };
    map(bed, "POLICY").change(&policy_slot(bed), change).unwrap();
}

fn set(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Sets a bit of a word in each of these many elements.
fn set_bits(bytes: &mut [u8], (at, stride, count): (usize, usize, usize)) {
    (0..count).for_each(|number| bytes[at + number * stride] |= 1);
}

fn add_dimension(bytes: &mut [u8], bits: u32) {
    let at = offset_of!(PolicyTable, dimensions);
    let dimensions = u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap()) | bits;
    set(bytes, at, &dimensions.to_ne_bytes());
}

fn us() -> Jurisdiction {
    "US".parse().unwrap()
}

/// What arrives in Boston of five datagrams of the mailbox.
fn arrived(bed: &Bed) -> u64 {
    bed.send(5, MAIL_PORT, US, Family::V4).unwrap()
}

/// The problems that tables were changed.
fn told(bed: &Bed) -> Vec<Problem> {
    let problems = bed.status().unwrap().problems.into_iter();
    problems.filter(|problem| problem.code == ProblemCode::TablesChanged).collect()
}

/// Has root change a table while the daemon is held up, which lets mails to Boston, and the daemon go on: soon none arrives
/// any more, and it is told and on record, until a reload.
fn opens_until_it_is_seen(
    (bed, daemon): (&Bed, &Process),
    (table, soon): (&str, Duration),
    change: impl FnOnce(&Bed),
) {
    assert_eq!(arrived(bed), 0, "{table}: nothing leaves before");
    daemon.signal(Signal::STOP);
    change(bed);
    assert!(arrived(bed) > 0, "{table}: what root has changed opens nothing, so that this test says nothing");
    daemon.signal(Signal::CONT);
    let begin = Instant::now();
    retry_until(PATIENCE, "nothing to arrive any more", || (arrived(bed) == 0).then_some(())).unwrap();
    let took = begin.elapsed();
    println!("{table}: closed after {took:?}");
    assert!(took < soon, "{table}: it took {took:?}");
    is_told_until_a_reload(bed, table);
    assert_eq!(arrived(bed), 0, "{table}: it stays closed");
}

fn is_told_until_a_reload(bed: &Bed, table: &str) {
    let problem = retry_until(Duration::from_secs(70), "the problem", || {
        told(bed)
            .into_iter()
            .find(|it| it.subject.as_deref() == Some(table) && it.message.contains("right again"))
    })
    .unwrap();
    assert!(problem.message.contains("somebody else has changed it"), "{problem}");
    let is_of_it = |record: &guard_user::audit::Stored| record.kind == "tampered" && record.subject == table;
    let records = bed.trail().unwrap();
    let record = records.iter().rev().find(|record| is_of_it(record)).unwrap();
    assert!(record.detail["entries"].as_u64().unwrap() > 0, "{record:?}");
    assert!(!record.detail["first"].as_str().unwrap().is_empty(), "{record:?}");
    let time = |key: &str| record.detail[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(time("last_right") < time("found"), "{record:?}");
    let shown = bed.tell(&["audit", "show"]).unwrap();
    assert!(shown.contains("tampered") && shown.contains(table), "{shown}");
    bed.tell(&["reload"]).unwrap();
    assert_eq!(told(bed), []);
}

#[test]
#[ignore = "needs root and BPF"]
fn a_live_policy_that_root_changes_is_live_again_as_it_was() {
    let bed = Bed::new("tamper-policy").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let it = (&bed, &daemon);
    let policy = ("POLICY", SOON);
    // The forbidden place is permitted.
    opens_until_it_is_seen(it, policy, |bed| {
        let at = offset_of!(PolicyTable, permitted) + 8 * usize::from(us().index());
        change_policy(bed, |bytes| set(bytes, at, &[0xff; 8]));
    });
    // No address is a pin's source.
    opens_until_it_is_seen(it, policy, |bed| {
        let sets = offset_of!(PolicyTable, source_sets)..offset_of!(PolicyTable, local_ports);
        change_policy(bed, |bytes| bytes[sets].fill(0));
    });
    // An exemption that nobody has loaded has everybody there as its recipient, by every port.
    opens_until_it_is_seen(it, policy, |bed| {
        let place = usize::from(us().index());
        change_policy(bed, |bytes| {
            add_dimension(bytes, dimension::EXEMPTION);
            let at = offset_of!(PolicyTable, exemptions);
            set(bytes, at + offset_of!(Exemption, pins), &[0xff; 8]);
            set(bytes, at + offset_of!(Exemption, valid_until_ns), &[0xff; 8]);
            set(bytes, at + offset_of!(Exemption, quota), &[0xff; 8]);
            set_bits(bytes, (offset_of!(PolicyTable, exempt_jurisdictions) + 32 * place, 32, 1));
            set_bits(bytes, (offset_of!(PolicyTable, exempt_pins), 32, 64));
            set_bits(bytes, (offset_of!(PolicyTable, remote_sets) + 16, 48, 1024));
        });
    });
    // A failsafe rule covers all.
    opens_until_it_is_seen(it, policy, |bed| {
        change_policy(bed, |bytes| {
            add_dimension(bytes, dimension::FAILSAFE);
            set_bits(bytes, (offset_of!(PolicyTable, local_sets) + 8, 16, 1024));
            set_bits(bytes, (offset_of!(PolicyTable, remote_sets) + 8, 48, 1024));
            set_bits(bytes, (offset_of!(PolicyTable, peer_sets), 40, 4096));
        });
    });
    // What went by the exemption that nobody has loaded is in no exemption's use, which the next daemon finds.
    daemon.kill(PATIENCE).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let is_found = || told(&bed).into_iter().find(|it| it.subject.as_deref() == Some("EXEMPTION_USE"));
    retry_until(PATIENCE, "the bytes of no exemption", is_found).unwrap();
    bed.tell(&["reload"]).unwrap();
    restarts_cleanly(&bed, daemon);
}

/// The next daemon finds nothing wrong, and the trail is whole.
fn restarts_cleanly(bed: &Bed, daemon: Process) {
    daemon.kill(PATIENCE).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(told(bed), []);
    let verified = bed.ask(&["audit", "verify"]).unwrap();
    assert!(verified.is_done(), "{verified:?}");
    assert_eq!(arrived(bed), 0);
    daemon.kill(PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn an_older_generation_that_root_makes_live_is_not() {
    let bed = Bed::new("tamper-live").unwrap();
    bed.configure(&PIN.replace("[\"EU\"]", "[\"EU\", \"US\"]")).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(arrived(&bed), 5);
    bed.configure(PIN).unwrap();
    bed.tell(&["reload"]).unwrap();
    // The slot that is not live has what was live before.
    opens_until_it_is_seen((&bed, &daemon), ("CONTROL", SOON), |bed| {
        let now = live(&bed.pin_path()).unwrap();
        let before = Live::new(now.policy_slot() ^ 1, now.geo_slot());
        map(bed, "CONTROL").change(&[0; 4], |bytes| set(bytes, 0, &before.0.to_ne_bytes())).unwrap();
    });
    // A word that no version writes, by which no table is found, and the ABI of another version.
    for at in [1, 4] {
        map(&bed, "CONTROL").change(&[0; 4], |bytes| bytes[at] ^= 0xff).unwrap();
        is_told_until_a_reload(&bed, "CONTROL");
        assert_eq!(arrived(&bed), 0);
    }
    restarts_cleanly(&bed, daemon);
}

#[test]
#[ignore = "needs root and BPF"]
fn a_range_that_root_moves_to_another_country_is_back_where_it_was() {
    let bed = Bed::new("tamper-geo").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    stay_on(0).unwrap();
    opens_until_it_is_seen((&bed, &daemon), ("V4_ENTRIES", GEO_SOON), |bed| {
        let slot = live(&bed.pin_path()).unwrap().geo_slot().to_ne_bytes();
        let [from, to] = ["US", "BE"].map(|code| Place::new(code.parse().unwrap(), PlacedBy::Site).0);
        map(bed, "V4_ENTRIES")
            .change(&slot, |bytes| {
                for entry in bytes.chunks_exact_mut(4).filter(|entry| entry[..2] == from.to_ne_bytes()) {
                    set(entry, 0, &to.to_ne_bytes());
                }
            })
            .unwrap();
        // Each processor remembers the place of the last destination.
        assert_eq!(bed.send(5, MAIL_PORT, BELGIUM, Family::V4).unwrap(), 5);
    });
    restarts_cleanly(&bed, daemon);
}

#[test]
#[ignore = "needs root and BPF"]
fn what_root_changes_just_before_a_reload_is_told_though_the_reload_has_it_right() {
    let bed = Bed::new("tamper-left").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let site = "[[site]]\nname = \"new\"\njurisdiction = \"BE\"\ncidrs = [\"2001:db8:77::/48\"]\n";
    daemon.signal(Signal::STOP);
    let at = offset_of!(PolicyTable, permitted) + 8 * usize::from(us().index());
    change_policy(&bed, |bytes| set(bytes, at, &[0xff; 8]));
    let geo_slot = live(&bed.pin_path()).unwrap().geo_slot().to_ne_bytes();
    map(&bed, "V6_DETAIL").change(&geo_slot, |bytes| bytes[9] ^= 1).unwrap();
    assert!(arrived(&bed) > 0, "what root has changed opens nothing");
    // Other places too, so that the geo tables are filled anew.
    bed.configure(&format!("{PIN}{site}")).unwrap();
    daemon.signal(Signal::HUP);
    daemon.signal(Signal::CONT);
    retry_until(PATIENCE, "nothing to arrive any more", || (arrived(&bed) == 0).then_some(())).unwrap();
    retry_until(Duration::from_secs(70), "both tables to be told", || {
        let told = told(&bed);
        let is_told = |table: &str| told.iter().any(|it| it.subject.as_deref() == Some(table));
        (is_told("POLICY") && is_told("V6_DETAIL")).then_some(())
    })
    .unwrap();
    is_told_until_a_reload(&bed, "POLICY");
    restarts_cleanly(&bed, daemon);
}

#[test]
#[ignore = "needs root and BPF"]
fn a_quota_that_root_makes_whole_again_is_spent_all_the_same() {
    const QUOTA: u64 = 10_000;
    let bed = Bed::new("tamper-quota").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    // Bytes of a datagram as a frame.
    let frame = 14 + 20 + 8 + 21;
    // What is charged falls, or what may be charged rises.
    for (id, table) in [("charged", "EXEMPTION_USE"), ("quota", "POLICY")] {
        bed.exempt(id, &["203.0.113.10/32"], 600, Some(QUOTA)).unwrap();
        let slot = bed.exemption(id).unwrap().slot.unwrap();
        let passed = bed.send(100, MAIL_PORT, US, Family::V4).unwrap();
        assert_eq!(passed, 100);
        retry_until(PATIENCE, "a look at it", || {
            (bed.exemption(id).unwrap().used_bytes == 100 * frame).then_some(())
        })
        .unwrap();
        std::thread::sleep(SOON);
        daemon.signal(Signal::STOP);
        let more = bed.send(100, MAIL_PORT, US, Family::V4).unwrap();
        assert_eq!(more, QUOTA / frame - 100, "the kernel ends it by itself");
        match table {
            "POLICY" => change_policy(&bed, |bytes| {
                let at = offset_of!(PolicyTable, exemptions) + usize::from(slot) * size_of::<Exemption>();
                set(bytes, at + offset_of!(Exemption, quota), &u64::MAX.to_ne_bytes());
            }),
            _ => map(&bed, table).change(&u32::from(slot).to_ne_bytes(), |bytes| bytes.fill(0)).unwrap(),
        }
        assert_eq!(arrived(&bed), 5, "{table}");
        daemon.signal(Signal::CONT);
        let begin = Instant::now();
        std::thread::sleep(SOON);
        // What the daemon has not seen of the use is open once more, and no more.
        let again = bed.send(500, MAIL_PORT, US, Family::V4).unwrap();
        assert!(again <= more, "{table}: {again} more after {:?}", begin.elapsed());
        assert_eq!(arrived(&bed), 0, "{table}");
        is_told_until_a_reload(&bed, table);
        assert_eq!(arrived(&bed), 0, "{table}");
    }
    // What left by the changed tables is in no exemption's use, and the next daemon says so.
    daemon.kill(PATIENCE).unwrap();
    let daemon = bed.start(&[]).unwrap();
    unattributed(&bed);
    bed.tell(&["reload"]).unwrap();
    is_told_no_more(&bed);
    restarts_cleanly(&bed, daemon);
}

/// What is told of bytes that exemptions have let through and none of them has in its use.
fn unattributed(bed: &Bed) -> String {
    let is_it = |it: &Problem| {
        it.subject.as_deref() == Some("EXEMPTION_USE") && it.message.contains("none of them has in its use")
    };
    let found = || told(bed).into_iter().find(is_it);
    retry_until(SOON * 10, "bytes of no exemption to be told", found).unwrap().message
}

/// The record of the reload is on the disk some moments after the answer.
fn is_told_no_more(bed: &Bed) {
    retry_until(SOON * 10, "nothing to be told any more", || told(bed).is_empty().then_some(())).unwrap();
}

/// What a daemon that was killed had not saved, and root has lowered before the next one: the store has never had it.
#[test]
#[ignore = "needs root and BPF"]
fn bytes_that_are_in_no_exemptions_use_are_told_over_restarts_until_a_reload() {
    let bed = Bed::new("tamper-unsaved").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    bed.exempt("whole", &["203.0.113.10/32"], 600, Some(10_000)).unwrap();
    let slot = bed.exemption("whole").unwrap().slot.unwrap();
    let sent = || assert_eq!(bed.send(50, MAIL_PORT, US, Family::V4).unwrap(), 50);
    sent();
    // What the kernel counts is held against uses when it is first booked, some seconds after the start.
    std::thread::sleep(SOON * 4);
    // A restart under load is no finding.
    daemon.kill(PATIENCE).unwrap();
    sent();
    let daemon = bed.start(&[]).unwrap();
    std::thread::sleep(SOON * 4);
    assert_eq!(told(&bed), []);
    daemon.signal(Signal::STOP);
    assert_eq!(bed.send(20, MAIL_PORT, US, Family::V4).unwrap(), 20);
    daemon.kill(PATIENCE).unwrap();
    map(&bed, "EXEMPTION_USE").change(&u32::from(slot).to_ne_bytes(), |bytes| bytes.fill(0)).unwrap();
    let frame = 14 + 20 + 8 + 21;
    for _ in 0..2 {
        let daemon = bed.start(&[]).unwrap();
        let message = unattributed(&bed);
        assert!(message.contains(&format!("{} bytes of the pin \"mail\"", 20 * frame)), "{message}");
        daemon.kill(PATIENCE).unwrap();
    }
    let is_of_it = |it: &guard_user::audit::Stored| {
        it.kind == "tampered" && it.detail.contains_key("unattributed_bytes")
    };
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(bed.trail().unwrap().iter().filter(|it| is_of_it(it)).count(), 1);
    bed.tell(&["exemption", "revoke", "whole", "--why", "it was spent twice"]).unwrap();
    bed.tell(&["reload"]).unwrap();
    is_told_no_more(&bed);
    restarts_cleanly(&bed, daemon);
}

#[test]
#[ignore = "needs root and BPF"]
fn a_quota_that_root_makes_whole_again_while_no_daemon_runs_goes_on_where_it_was() {
    const QUOTA: u64 = 10_000;
    let bed = Bed::new("tamper-between").unwrap();
    bed.configure(PIN).unwrap();
    let daemon = bed.start(&[]).unwrap();
    bed.exempt("spent", &["203.0.113.10/32"], 600, Some(QUOTA)).unwrap();
    let slot = bed.exemption("spent").unwrap().slot.unwrap();
    let frame = 14 + 20 + 8 + 21;
    assert_eq!(bed.send(100, MAIL_PORT, US, Family::V4).unwrap(), 100);
    retry_until(PATIENCE, "a look at it", || {
        (bed.exemption("spent").unwrap().used_bytes == 100 * frame).then_some(())
    })
    .unwrap();
    // Its end saves what was used.
    daemon.signal(Signal::TERM);
    daemon.wait(PATIENCE).unwrap();
    map(&bed, "EXEMPTION_USE").change(&u32::from(slot).to_ne_bytes(), |bytes| bytes.fill(0)).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let left = QUOTA / frame - 100;
    assert_eq!(bed.send(500, MAIL_PORT, US, Family::V4).unwrap(), left);
    is_told_until_a_reload(&bed, "EXEMPTION_USE");
    assert!(bed.tell(&["audit", "show"]).unwrap().contains("EXEMPTION_USE"), "it is on record");
    restarts_cleanly(&bed, daemon);
}

#[test]
#[ignore = "needs root and BPF"]
fn a_budget_of_a_failsafe_rule_that_root_makes_whole_again_stays_spent() {
    let bed = Bed::new("tamper-budget").unwrap();
    let rule = "[[failsafe]]\nname = \"rescue\"\nlocal_ports = [\"udp/143\"]\npeers = [\"203.0.113.0/24\"]\n\
                bytes_per_minute = 20_000\n";
    bed.configure(&format!("{PIN}{rule}")).unwrap();
    let daemon = bed.start(&[]).unwrap();
    // All of it is within one minute of the kernel's clock.
    let left = 60_000_000_000 - boot_ns() % 60_000_000_000;
    if left < 40_000_000_000 {
        std::thread::sleep(Duration::from_nanos(left));
    }
    let passed = bed.send(500, MAIL_PORT, US, Family::V4).unwrap();
    assert_eq!(passed, 20_000 / (14 + 20 + 8 + 21));
    std::thread::sleep(SOON);
    let minute = minute_at(boot_ns());
    opens_until_it_is_seen((&bed, &daemon), ("FAILSAFE_USE", SOON), |bed| {
        for element in 0..64_u32 {
            let is_spent =
                |bytes: &[u8]| minute_of(u64::from_ne_bytes(bytes[..8].try_into().unwrap())) == minute;
            map(bed, "FAILSAFE_USE")
                .change(&element.to_ne_bytes(), |bytes| {
                    if is_spent(bytes) {
                        set(bytes, 0, &begun(minute).to_ne_bytes());
                    }
                })
                .unwrap();
        }
    });
    assert_eq!(minute_at(boot_ns()), minute, "it took too long to say anything");
    daemon.kill(PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn what_decides_beside_the_tables_is_set_back_and_told() {
    let bed = Bed::new("tamper-beside").unwrap();
    let select = "sources = [\"192.0.2.10/32\", \"2001:db8:1::10/128\"]";
    assert!(PIN.contains(select));
    bed.configure(&PIN.replace(select, "sources = [\"host\"]")).unwrap();
    let daemon = bed.start(&[]).unwrap();
    // An address of the host, and a cgroup whose processes may send past the guard.
    let addresses = map(&bed, "HOST_ADDRESSES");
    let address = addresses.first_key().unwrap().unwrap();
    addresses.remove(&address).unwrap();
    is_told_until_a_reload(&bed, "HOST_ADDRESSES");
    assert!(addresses.get(&address).is_ok());
    let allowed = map(&bed, "BYPASS_ALLOWED");
    allowed.set(&7_u64.to_ne_bytes(), &[1]).unwrap();
    is_told_until_a_reload(&bed, "BYPASS_ALLOWED");
    assert_eq!(allowed.first_key().unwrap(), None);
    // What a daemon that starts again goes by.
    let held = map(&bed, "HELD");
    held.change(&3_u32.to_ne_bytes(), |bytes| bytes[0] = 1).unwrap();
    is_told_until_a_reload(&bed, "HELD");
    assert_eq!(held.get(&3_u32.to_ne_bytes()).unwrap(), [0; 8]);
    let mark = map(&bed, "HIGH_WATER");
    mark.change(&[0; 4], |bytes| bytes.fill(0)).unwrap();
    is_told_until_a_reload(&bed, "HIGH_WATER");
    assert_ne!(mark.get(&[0; 4]).unwrap()[..8], [0; 8]);
    assert_eq!(arrived(&bed), 0);
    restarts_cleanly(&bed, daemon);
}

/// Exchanges maps of the guard's and of another instance in the same BPF file system.
fn exchange(bed: &Bed, names: &[&str]) {
    let (own, beside) = (bed.pin_path(), bed.pin_path().with_file_name("beside"));
    let other = own.with_file_name("other");
    for name in names.iter().map(|name| format!("maps/{name}")) {
        let steps = [(own.join(&name), beside.clone()), (other.join(&name), own.join(&name))];
        for (from, to) in steps.into_iter().chain([(beside.clone(), other.join(&name))]) {
            fs::rename(from, to).unwrap();
        }
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn maps_of_another_instance_that_root_moves_here_for_a_time_are_told() {
    let bed = Bed::new("tamper-maps").unwrap();
    bed.configure(PIN).unwrap();
    drop(LinuxKernel::open(&bed.pin_path().with_file_name("other")).unwrap());
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(told(&bed), []);
    daemon.kill(PATIENCE).unwrap();
    let names = ["HIGH_WATER", "TOTALS"];
    // While they are here, and when they are back: what is attached then is the daemon's in between.
    for _ in 0..2 {
        exchange(&bed, &names);
        let daemon = bed.start(&[]).unwrap();
        assert!(told(&bed).iter().any(|it| it.message.contains("the map itself")), "{:?}", told(&bed));
        is_told_until_a_reload(&bed, "HIGH_WATER");
        assert_eq!(arrived(&bed), 0);
        daemon.kill(PATIENCE).unwrap();
    }
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(told(&bed), []);
    restarts_cleanly(&bed, daemon);
}
