use std::fs;

use super::*;

const COUNTERS: &str = "boot 7 map 9";

fn key(dport: u16) -> FlowKey {
    FlowKey {
        src: Addr { hi: 1, lo: 2 },
        dst: Addr { hi: 3, lo: u64::from(dport) },
        sport: 143,
        dport,
        proto: 17,
        hook: 1,
        verdict: 3,
        reason: 9,
        place: 0x1234,
        exemption: 0xfffe,
        pins: 0x89ab_cdef,
    }
}

fn flow(dport: u16, packets: u64) -> ToldFlow {
    ToldFlow { key: key(dport), first_ns: 5, told: Some(Count { packets, bytes: 100 * packets }) }
}

fn told(known: &KnownFlows, dport: u16, packets_by_now: u64) -> Option<u64> {
    let told = known.told(&key(dport), 5, packets_by_now)?;
    assert_eq!(told.bytes, 100 * told.packets);
    Some(told.packets)
}

/// Opens it as a run that wrote no line, and whose predecessor wrote none.
fn open(state: &Path, counters: &str) -> ToldFlows {
    ToldFlows::open(state, counters, None)
}

/// What the next run knows.
fn next(state: &Path) -> KnownFlows {
    open(state, COUNTERS).take_known()
}

#[test]
fn what_lines_tell_is_known_to_the_next_run_however_this_one_ends() {
    let state = tempfile::tempdir().unwrap();
    let mut flows = open(state.path(), COUNTERS);
    assert!(told(&flows.take_known(), 1, 7).is_none());
    flows.keep(&[flow(1, 3), flow(2, 4)], 1000);
    flows.keep(&[flow(1, 6)], 2000);
    drop(flows);
    let known = next(state.path());
    assert_eq!((told(&known, 1, 9), told(&known, 2, 4), told(&known, 3, 1)), (Some(6), Some(4), None));
    assert!(known.told(&key(1), 6, 9).is_none(), "a record that was made anew is another one");
    assert!(!known.are_all(), "killed, it may have told of others");
    // The one after that knows it too, though this one has written nothing.
    assert_eq!(told(&next(state.path()), 1, 9), Some(6));
}

#[test]
fn at_its_end_a_run_leaves_every_flow() {
    let state = tempfile::tempdir().unwrap();
    let mut flows = open(state.path(), COUNTERS);
    flows.keep(&[flow(1, 3)], 1000);
    flows.left_out(3000);
    flows.keep_all(&[flow(1, 8), flow(2, 9)], 4000);
    drop(flows);
    let mut flows = open(state.path(), COUNTERS);
    let known = flows.take_known();
    assert_eq!((told(&known, 1, 20), told(&known, 2, 20)), (Some(8), Some(9)));
    assert!(known.are_all());
    // A run that is killed has told of others. Its word on a flow counts, whichever row the one before has left.
    flows.keep(&[flow(2, 12)], 5000);
    drop(flows);
    let known = next(state.path());
    assert_eq!((told(&known, 1, 20), told(&known, 2, 20), known.are_all()), (Some(8), Some(12), false));
}

#[test]
fn a_flow_of_which_more_was_told_than_its_row_has_is_not_known() {
    let state = tempfile::tempdir().unwrap();
    let mut flows = open(state.path(), COUNTERS);
    flows.keep(&[flow(1, 3), flow(2, 3)], 1000);
    flows.left_out(1500);
    flows.keep(&[flow(2, 5)], 2000);
    drop(flows);
    let known = next(state.path());
    assert_eq!((told(&known, 1, 4), told(&known, 2, 6)), (None, Some(5)));
    assert_eq!(told(&known, 1, 3), Some(3), "there was no more to tell");
    // What is in a sum that no line has yet is not told.
    let mut flows = open(state.path(), COUNTERS);
    flows.keep(&[ToldFlow { told: None, ..flow(2, 0) }], 3000);
    drop(flows);
    assert_eq!(told(&next(state.path()), 2, 6), None);
    assert_eq!(told(&next(state.path()), 1, 4), None, "and the next run knows no more of another");
}

#[test]
fn an_end_that_is_broken_off_leaves_nothing_that_counts() {
    let state = tempfile::tempdir().unwrap();
    let mut flows = open(state.path(), COUNTERS);
    flows.keep_all(&[flow(1, 8), flow(2, 9)], 4000);
    drop(flows);
    let file = state.path().join(FILE);
    let whole = fs::read(&file).unwrap();
    let mut broken = whole.clone();
    broken[LEFT_OUT..LEFT_OUT + MOMENT].copy_from_slice(&ALL.to_ne_bytes());
    fs::write(&file, &broken).unwrap();
    let known = next(state.path());
    assert_eq!((told(&known, 1, 9), told(&known, 1, 8), known.are_all()), (None, Some(8), false));
    // Cut off anywhere it is read as far as it goes.
    for length in [0, 1, HEAD, HEAD + 3, RUNS, BEGIN, BEGIN + ROW - 1, whole.len() - 1] {
        fs::write(&file, &whole[..length]).unwrap();
        let known = next(state.path());
        assert_eq!(told(&known, 2, 20), None, "{length}");
    }
}

#[test]
fn other_counters_have_told_nothing() {
    let state = tempfile::tempdir().unwrap();
    open(state.path(), COUNTERS).keep(&[flow(1, 3)], 1000);
    let known = open(state.path(), "another boot").take_known();
    assert!(told(&known, 1, 3).is_none());
    assert!(told(&next(state.path()), 1, 3).is_none(), "and it began anew");
    fs::write(state.path().join(FILE), "no such file").unwrap();
    assert!(told(&next(state.path()), 1, 3).is_none());
    // Where it can't be kept, nothing stops.
    fs::remove_file(state.path().join(FILE)).unwrap();
    fs::create_dir(state.path().join(FILE)).unwrap();
    let mut flows = open(state.path(), COUNTERS);
    flows.keep(&[flow(1, 3)], 1000);
    flows.keep_all(&[flow(1, 3)], 1000);
}

#[test]
fn there_is_room_for_so_many_and_no_more() {
    let state = tempfile::tempdir().unwrap();
    let flow_of = |number: u64| {
        let dst = Addr { hi: 3, lo: number };
        ToldFlow { key: FlowKey { dst, ..key(1) }, ..flow(1, number) }
    };
    let mut flows = open(state.path(), COUNTERS);
    let many: Vec<ToldFlow> = (1..=ROWS as u64 + 1).map(flow_of).collect();
    flows.keep_all(&many[..ROWS], 1000);
    assert!(next(state.path()).are_all());
    flows.keep_all(&many, 2000);
    flows.keep(&many, 3000);
    drop(flows);
    assert!(fs::metadata(state.path().join(FILE)).unwrap().len() <= place_of(ROWS as u64));
    let known = next(state.path());
    assert!(!known.are_all());
    // Whatever is known is right.
    let kept = many.iter().filter_map(|flow| known.told(&flow.key, 5, u64::MAX).zip(flow.told));
    let kept: Vec<(Count, Count)> = kept.collect();
    assert!(kept.len() > ROWS / 2 && kept.iter().all(|(known, told)| known == told), "{}", kept.len());
}

#[test]
fn what_another_run_than_that_of_the_last_line_has_left_is_not_believed() {
    let state = tempfile::tempdir().unwrap();
    let at = |second| Some(Timestamp::new(second, 5).unwrap());
    let known_after =
        |last| told(&ToldFlows::open(state.path(), COUNTERS, last).take_known(), 1, 9).is_some();
    let leave = |last, session: Option<Timestamp>| {
        let mut flows = ToldFlows::open(state.path(), COUNTERS, last);
        flows.begin(session.unwrap(), last);
        flows.keep_all(&[flow(1, 3)], 1000);
    };
    leave(None, at(10));
    assert!(known_after(at(10)), "its own last line");
    leave(at(10), at(20));
    assert!(known_after(at(10)), "it wrote none");
    leave(at(10), at(20));
    assert!(!known_after(at(30)), "a version without such a file wrote lines since");
    assert!(!known_after(at(20)), "and it began anew");
}
