//! What was told as over stays over, whatever the wall clock says at a later start.

use jiff::{SignedDuration, Timestamp};

use super::super::Ticket;
use super::inputs::{CONFIG, document, the_only};
use super::world::{Part, World};
use crate::audit::{Kind, Stored};
use crate::control::protocol::{Request, Response};
use crate::exemption::{State, Summary};
use crate::health::ProblemCode;
use crate::kernel::Kernel as _;

const HOUR: i64 = 3600;
const SECOND: u64 = 1_000_000_000;

/// The records of the clock that say that it was behind at a start.
fn told_at_start(world: &World) -> usize {
    let reader = world.store.reader().unwrap();
    let lines = reader.audit_lines(1, usize::MAX).unwrap();
    let records = lines.iter().map(|line| Stored::read(line.as_bytes()).unwrap());
    records.filter(|it| it.kind == Kind::ClockSet.name() && it.detail.contains_key("at_start")).count()
}

fn is_expired(world: &World) -> bool {
    let is_expired = |it: Summary| it.id == "a" && it.state == State::Expired;
    world.store.kept().list(world.clocks().wall).into_iter().any(is_expired)
}

/// The disk never had it: the kernel has by which time the daemon judged.
#[test]
fn a_window_that_ended_while_the_store_took_nothing_is_not_opened_by_a_clock_that_is_set_back() {
    for is_away in [false, true] {
        let mut world = World::with_one();
        world.rest();
        // The next daemon is the one that sees the end: its store can't be opened, or hangs.
        world.store_is_away = is_away;
        if is_away {
            world.restart();
        }
        world.pass(2 * 3600 * SECOND);
        world.all_but(Part::Store);
        assert_eq!(world.open(), Vec::<String>::new());
        world.now.wall -= SignedDuration::from_hours(2);
        world.store_is_away = false;
        world.restart();
        world.all_but(Part::Store);
        assert_eq!(world.open(), Vec::<String>::new(), "away {is_away}");
        world.rest();
        assert_eq!((world.open(), is_expired(&world)), (Vec::<String>::new(), true), "away {is_away}");
        assert_eq!((told_at_start(&world), world.codes()), (1, vec![ProblemCode::ClockSet]));
        // What is over by then is not loaded either; what ends later is open.
        let over = world.load("b", 1);
        world.rest();
        assert_eq!((refusal(&world, over).0, world.open()), (vec!["expired".to_owned()], vec![]));
        let until = world.clocks().wall + SignedDuration::from_hours(4);
        world.load_text("b", until_then("b", &world, until));
        world.rest();
        assert_eq!(world.open(), ["b"]);
        // It is told by every start until the clock is past that again.
        world.restart();
        world.rest();
        assert_eq!((told_at_start(&world), world.codes()), (2, vec![ProblemCode::ClockSet]));
        world.set_clock(2 * HOUR + 10);
        world.rest();
        assert!(
            !world.problems().iter().any(|it| it.message.contains("is behind")),
            "{:?}",
            world.problems()
        );
        world.restart();
        world.rest();
        assert_eq!((told_at_start(&world), world.codes()), (2, vec![]));
    }
}

/// Codes and message of an answer that refuses.
fn refusal(world: &World, ticket: Ticket) -> (Vec<String>, String) {
    match world.answer(ticket) {
        Response::Error { codes, message, .. } => (codes.clone(), message.clone()),
        other => panic!("{other:?}"),
    }
}

/// A document that has begun by the wall clock, and ends then.
fn until_then(id: &str, world: &World, until: Timestamp) -> String {
    let wall = world.clocks().wall;
    let hour = wall + SignedDuration::from_hours(1);
    document(id, 1, wall).replace(&format!("valid_until = {hour}"), &format!("valid_until = {until}"))
}

/// Nobody has to start it again for that.
#[test]
fn what_is_loaded_while_the_clock_is_behind_ends_by_the_latest_time_that_is_known() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.rest();
    let was = world.clocks().wall;
    world.set_clock(-3 * HOUR);
    world.rest();
    let [before, after] = [-60, 1800].map(|seconds| was + SignedDuration::from_secs(seconds));
    let over = until_then("a", &world, before);
    let over = world.load_text("a", over);
    let open = until_then("b", &world, after);
    let open = world.load_text("b", open);
    world.rest();
    let (codes, message) = refusal(&world, over);
    assert!(
        codes == ["expired"] && message.contains("the wall clock is behind: it is "),
        "{codes:?} {message}"
    );
    assert!(world.is_done(open), "{:?}", world.answer(open));
    assert_eq!(world.open(), ["b"]);
    // The kernel has it end as well, whether or not a daemon is there to see that, and by whichever generation.
    world.set_clock(-1);
    world.rest();
    let passed = |seconds: u64| world.now.boot_ns + seconds * SECOND;
    let (soon, late) = (passed(1600), passed(1800));
    assert_eq!(world.kernel.ended(soon).unwrap().len(), 0);
    assert_eq!(world.kernel.ended(late).unwrap().len(), 1);
    world.pass(1800 * SECOND);
    world.rest();
    assert_eq!(world.open(), Vec::<String>::new());
    let is_expired = |it: Summary| it.id == "b" && it.state == State::Expired;
    assert!(world.store.kept().list(world.clocks().wall).into_iter().any(is_expired));
    // A clock that is past that time again is what windows end by.
    world.set_clock(3 * HOUR);
    world.rest();
    world.load("c", 1);
    world.rest();
    assert_eq!(world.open(), ["c"]);
}

/// Windows that the kernel had by the wall clock are computed anew once it is past what was known.
#[test]
fn windows_follow_the_wall_clock_once_it_has_caught_up() {
    let mut world = World::with_one();
    world.rest();
    world.set_clock(-600);
    world.rest();
    let published = world.kernel.published();
    let behind = world.now.boot_ns + 3600 * SECOND;
    assert_eq!(world.kernel.ended(behind).unwrap().len(), 1, "it ends an hour after it was loaded");
    world.pass(700 * SECOND);
    world.rest();
    assert!(world.kernel.published() > published);
    assert_eq!((world.kernel.ended(behind).unwrap().len(), world.open()), (0, vec!["a".to_owned()]));
}

/// A start with a store that can't be opened does not forget it either, nor what it opens later.
#[test]
fn a_start_without_a_store_keeps_the_time_for_when_it_opens() {
    let mut world = World::with_one();
    world.rest();
    world.pass(2 * 3600 * SECOND);
    world.all_but(Part::Store);
    world.now.wall -= SignedDuration::from_hours(2);
    world.store_is_away = true;
    world.restart();
    world.rest();
    assert_eq!(world.open(), Vec::<String>::new());
    world.store_is_away = false;
    for _ in 0..10 {
        world.pass(SECOND);
        world.rest();
        assert_eq!(world.open(), Vec::<String>::new());
    }
    assert!(is_expired(&world));
}

/// A wall clock that was ahead for a moment ends what the daemon told as ended by it, and no more.
#[test]
fn a_clock_that_jumps_forward_for_a_moment_raises_nothing() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.set_clock(365 * 24 * HOUR);
    world.rest();
    world.set_clock(-365 * 24 * HOUR);
    world.pass(2 * SECOND);
    world.rest();
    world.restart();
    world.rest();
    assert_eq!((told_at_start(&world), world.codes()), (0, vec![]));
    world.load("a", 1);
    world.rest();
    assert_eq!(world.open(), ["a"]);
    // Keys that end within the year sign on.
    assert!(world.engine.spent_signatures().unwrap().latest.unwrap() <= world.clocks().wall);
}

/// Windows have opened and ended by it meanwhile: neither the clock that is right again nor time takes it away.
#[test]
fn a_clock_that_is_set_by_more_than_a_minute_is_told_until_a_reload_or_a_start() {
    for forward in [2 * HOUR, -2 * HOUR, 90] {
        let mut world = World::new(CONFIG, &["eth0"]);
        world.settle();
        world.set_clock(forward);
        world.rest();
        let problem = the_only(world.problems());
        assert_eq!(problem.code, ProblemCode::ClockSet);
        assert!(problem.message.contains(" s in all"), "{problem}");
        world.set_clock(-forward);
        world.pass(600 * SECOND);
        world.rest();
        assert_eq!(world.codes(), [ProblemCode::ClockSet]);
        let reload = world.ask(Request::Reload {});
        world.rest();
        assert!(world.is_done(reload));
        assert_eq!(world.codes(), []);
        world.set_clock(forward);
        world.rest();
        assert_eq!(world.codes(), [ProblemCode::ClockSet]);
    }
    // In steps that are nothing each; a time synchronisation sets it by less.
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    for (by, codes) in [(40, vec![]), (-40, vec![]), (50, vec![]), (50, vec![ProblemCode::ClockSet])] {
        world.set_clock(by);
        world.rest();
        assert_eq!(world.codes(), codes);
    }
    world.restart();
    world.rest();
    assert_eq!(world.codes(), []);
}

/// As on a host that boots with a wrong clock, which the time synchronisation then sets: nobody has to come for that.
#[test]
fn a_clock_that_is_set_forward_is_told_until_it_is_steady() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.set_clock(2 * HOUR);
    world.rest();
    world.pass(500 * SECOND);
    world.rest();
    let problem = the_only(world.problems());
    assert!(problem.message.ends_with("Told until it was not set for 10 minutes"), "{problem}");
    // The time begins anew with every time that it is set.
    world.set_clock(3);
    world.rest();
    world.pass(570 * SECOND);
    assert_eq!(world.codes(), [ProblemCode::ClockSet]);
    world.pass(30 * SECOND);
    world.rest();
    assert_eq!(world.codes(), []);
    assert!(world.log.iter().any(|line| line.contains("no window began by that")), "{:?}", world.log);
    // What is set back afterwards stays, in however many steps.
    for _ in 0..2 {
        world.set_clock(-40);
        world.rest();
    }
    world.pass(1200 * SECOND);
    world.rest();
    let problem = the_only(world.problems());
    assert!(problem.message.ends_with("for it was set back"), "{problem}");
}

/// Somebody may have set it to open that.
#[test]
fn a_clock_by_which_a_window_began_is_told_until_a_reload() {
    for begins in [1800, -1800] {
        let mut world = World::with_one();
        world.rest();
        let wall = world.clocks().wall;
        let from = wall + SignedDuration::from_secs(begins);
        let until = wall + SignedDuration::from_hours(9);
        let hour = SignedDuration::from_hours(1);
        let text = document("b", 1, wall)
            .replace(&format!("valid_from = {}", wall - hour), &format!("valid_from = {from}"))
            .replace(&format!("valid_until = {}", wall + hour), &format!("valid_until = {until}"));
        let loaded = world.load_text("b", text);
        world.rest();
        assert!(world.is_done(loaded), "{:?}", world.answer(loaded));
        world.set_clock(HOUR);
        world.rest();
        assert_eq!(world.codes(), [ProblemCode::ClockSet]);
        world.pass(1200 * SECOND);
        world.rest();
        let told: Vec<String> = world.problems().into_iter().map(|it| it.message).collect();
        if begins < 0 {
            assert_eq!(told, Vec::<String>::new(), "it had begun before");
            continue;
        }
        assert!(
            matches!(told.as_slice(), [it] if it.ends_with("for the window of b began by it")),
            "{told:?}"
        );
        let reload = world.ask(Request::Reload {});
        world.rest();
        assert!(world.is_done(reload));
        assert_eq!(world.codes(), []);
    }
}

/// Keys that had ended sign nothing again: not by a reload with the clock set back, nor behind a restart.
#[test]
fn the_time_that_keys_are_held_against_is_never_set_back() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    let was = world.clocks().wall;
    world.set_clock(-48 * HOUR);
    world.settle();
    let second = SignedDuration::from_secs(1);
    let latest = |world: &World| world.engine.spent_signatures().unwrap().latest.unwrap();
    assert!(latest(&world) >= was - second);
    // It goes on by the clock since the boot, as the time does that windows end by.
    world.pass(3600 * SECOND);
    world.settle();
    assert!(latest(&world) >= was + SignedDuration::from_hours(1) - second);
    for _ in 0..2 {
        world.restart();
        world.rest();
        assert!(latest(&world) >= was - second);
    }
}
