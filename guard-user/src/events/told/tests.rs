use std::fs;

use guard_common::abi::Hook;
use proptest::prelude::*;

use super::super::Event;
use super::super::tests::dropped;
use super::*;

fn index() -> u32 {
    total_index(Hook::Egress, Verdict::Drop as u8, Reason::Forbidden as u8)
}

fn totals(packets: u64) -> Totals {
    vec![(index(), Count { packets, bytes: packets.wrapping_mul(100) })]
}

fn event(packets: u64) -> Record {
    let event = Event { packets, bytes: packets.wrapping_mul(100), ..dropped() };
    Record::Event(std::sync::Arc::new(event.into()))
}

fn look(told: &mut Told, totals: &[(u32, Count)]) -> Vec<i64> {
    let found = told.look(totals, Timestamp::UNIX_EPOCH);
    for it in &found {
        assert_eq!(it.bytes, it.packets.wrapping_mul(100));
        told.add(&Record::Difference(*it));
    }
    found.iter().map(|it| it.packets).collect()
}

#[test]
fn a_difference_is_told_once_the_total_stood_still_for_two_looks() {
    let mut told = Told::nothing();
    told.add(&event(7));
    for _ in 0..4 {
        assert_eq!(look(&mut told, &totals(7)), [0_i64; 0]);
    }
    assert_eq!(look(&mut told, &totals(10)), [0_i64; 0], "it may be on its way");
    assert_eq!(look(&mut told, &totals(10)), [0_i64; 0]);
    assert_eq!(look(&mut told, &totals(10)), [3]);
    assert_eq!(look(&mut told, &totals(10)), [0_i64; 0], "it is told");
    // A flow that is told from its begin once more.
    told.add(&event(4));
    assert_eq!(look(&mut told, &totals(10)), [-4]);
    told.add(&event(1));
    told.unsettle();
    assert_eq!(look(&mut told, &totals(10)), [0_i64; 0]);
}

#[test]
fn what_has_no_events_has_no_difference() {
    for (hook, verdict, reason) in (0..TOTALS as u32).filter_map(total_at) {
        let mut told = Told::nothing();
        let one = (total_index(hook, verdict as u8, reason as u8), Count { packets: 1, bytes: 100 });
        let found = (0..4).flat_map(|_| told.look(&[one], Timestamp::UNIX_EPOCH)).collect::<Vec<_>>();
        let passes = verdict == Verdict::Pass && !matches!(reason, Reason::Exempt | Reason::Failsafe);
        assert_eq!(found.is_empty(), passes, "{hook:?} {verdict:?} {reason:?}");
        assert!(found.iter().all(|it| (it.hook, it.verdict, it.reason) == (hook, verdict, reason)));
    }
}

#[test]
fn another_run_goes_on_where_the_counters_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let mut told = Told::open(folder.path(), "boot/1", None);
    told.add(&event(5));
    drop(told);
    let settled = |folder: &Path, counters| {
        let mut told = Told::open(folder, counters, None);
        (0..4).flat_map(|_| look(&mut told, &totals(8))).collect::<Vec<_>>()
    };
    assert_eq!(settled(folder.path(), "boot/1"), [3]);
    assert_eq!(settled(folder.path(), "boot/1"), [0_i64; 0], "it was kept that this was told");
    assert_eq!(settled(folder.path(), "boot/2"), [8], "nothing was told of other counters");
    let file = folder.path().join(FILE);
    fs::write(&file, "short").unwrap();
    assert_eq!(settled(folder.path(), "boot/2"), [8]);
    assert_eq!(fs::metadata(&file).unwrap().len(), (MOMENTS + ROW) as u64);
}

#[test]
fn what_was_counted_before_the_counters_were_gone_is_told_of_the_next_ones() {
    let folder = tempfile::tempdir().unwrap();
    let mut told = Told::open(folder.path(), "boot/1", None);
    told.add(&event(5));
    drop(told);
    leave(folder.path(), "boot/1", &totals(9)).unwrap();
    let mut told = Told::open(folder.path(), "boot/7", None);
    drop(told);
    told = Told::open(folder.path(), "boot/7", None);
    assert_eq!((0..4).flat_map(|_| look(&mut told, &[])).collect::<Vec<_>>(), [4]);
    told.add(&event(2));
    assert_eq!((0..4).flat_map(|_| look(&mut told, &totals(2))).collect::<Vec<_>>(), [0_i64; 0]);
    // It is of counters that are two before: nothing more to be told of them.
    let mut told = Told::open(folder.path(), "boot/8", None);
    assert_eq!((0..4).flat_map(|_| look(&mut told, &[])).collect::<Vec<_>>(), [0_i64; 0]);
}

#[derive(Clone, Debug)]
enum Step {
    Packets(u64),
    Told(u64),
    Look,
    Unsettle,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..1000_u64).prop_map(Step::Packets),
        (1..1000_u64).prop_map(Step::Told),
        Just(Step::Look),
        Just(Step::Look),
        Just(Step::Unsettle),
        Just(Step::Restart),
    ]
}

proptest! {
    /// Whatever is counted, told, forgotten and kept: where it stands still, lines add up to what was counted.
    #[test]
    fn lines_add_up_to_the_totals(steps in prop::collection::vec(step(), 0..60)) {
        let folder = tempfile::tempdir().unwrap();
        let mut told = Told::open(folder.path(), "a", None);
        let (mut counted, mut lines) = (0_u64, 0_i64);
        for step in steps {
            match step {
                Step::Packets(packets) => counted += packets,
                Step::Told(packets) => {
                    told.add(&event(packets));
                    lines += packets.cast_signed();
                }
                Step::Look => lines += look(&mut told, &totals(counted)).iter().sum::<i64>(),
                Step::Unsettle => told.unsettle(),
                Step::Restart => told = Told::open(folder.path(), "a", None),
            }
        }
        for _ in 0..=STILL {
            lines += look(&mut told, &totals(counted)).iter().sum::<i64>();
        }
        prop_assert_eq!(lines, counted.cast_signed());
    }
}

/// What was lost while no daemon ran is told by the next run; what a run of an earlier version told is not known.
#[test]
fn losses_are_told_once_over_restarts_and_not_those_of_before_they_were_kept() {
    let folder = tempfile::tempdir().unwrap();
    let lost = |loss: Loss, count: u64| {
        Record::Lost(Lost { time: Timestamp::UNIX_EPOCH, what: What::Kernel(loss), count })
    };
    let mut told = Told::open(folder.path(), "a", Some([9; Loss::COUNT]));
    assert_eq!(told.losses(), Some([0; Loss::COUNT]), "these counters began without a file");
    told.add(&lost(Loss::Events, 5));
    told.add(&lost(Loss::Events, 2));
    told.add(&lost(Loss::Limited, 3));
    let mut wanted = [0; Loss::COUNT];
    (wanted[Loss::Events as usize], wanted[Loss::Limited as usize]) = (7, 3);
    assert_eq!(Told::open(folder.path(), "a", Some([9; Loss::COUNT])).losses(), Some(wanted));
    // Of other counters nothing was told.
    assert_eq!(Told::open(folder.path(), "b", Some([9; Loss::COUNT])).losses(), Some([0; Loss::COUNT]));
    // A file of an earlier version.
    let file = File::options().write(true).open(folder.path().join(FILE)).unwrap();
    file.set_len(WITHOUT_LOSSES as u64).unwrap();
    assert_eq!(Told::open(folder.path(), "b", Some([9; Loss::COUNT])).losses(), Some([9; Loss::COUNT]));
    assert_eq!(Told::open(folder.path(), "b", Some([11; Loss::COUNT])).losses(), Some([9; Loss::COUNT]));
    assert_eq!(Told::nothing().losses(), None);
}

#[test]
fn the_next_run_knows_up_to_when_flows_were_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let mut told = Told::open(folder.path(), "a", None);
    assert_eq!(told.reported(), Reported::default());
    told.swept(7);
    told.add(&event(1));
    let reported = Told::open(folder.path(), "a", None).reported();
    let now = Clocks::read().boot_ns;
    assert_eq!(reported.swept_ns, 7);
    assert!(
        reported.last_ns > now - 60_000_000_000 && reported.last_ns <= now + BEHIND_NS,
        "{reported:?} {now}"
    );
    // It is of these counters alone.
    assert_eq!(Told::open(folder.path(), "b", None).reported(), Reported::default());
}
