//! A trace: one at a time, bounded in packets and time, kept by its client, and over whatever goes wrong.

use guard_common::abi::traced::{OUTCOME, PACKET, head};

use super::super::{Input, Ticket};
use super::inputs::{CONFIG, OPEN};
use super::world::{Part, World};
use crate::control::protocol::{ErrorKind, Request, Response, TraceWanted};
use crate::health::ProblemCode;
use crate::kernel::TraceRecords;
use crate::kernel::memory::Operation;

const SECOND: u64 = 1_000_000_000;

fn wanted() -> TraceWanted {
    TraceWanted { from: None, to: None, pin: None, packets: 10, seconds: 10 }
}

/// The number of the host's first interface.
const FIRST: u64 = 2;

/// A packet of this number on the first interface.
fn packet(number: u64) -> TraceRecords {
    vec![[head(number, PACKET, 0), 1, 0, FIRST, 0], [head(number, OUTCOME, 0), 0, 0, 0, 0]]
}

impl World {
    fn trace(&mut self, id: &str, begin: Option<TraceWanted>) -> Ticket {
        let ticket = self.ask(Request::Trace { id: id.to_owned(), begin });
        self.work(Part::Kernel);
        self.settle();
        ticket
    }

    /// Begins a trace, whose programs are on the interfaces then.
    fn traced(wanted: TraceWanted) -> Self {
        let mut world = Self::new(CONFIG, &["eth0"]);
        world.settle();
        let ticket = world.trace("a", Some(wanted));
        assert_eq!(world.told(ticket), (false, false, 0), "they are loaded first");
        let ticket = world.trace("a", None);
        assert_eq!(world.told(ticket), (true, false, 0));
        assert!(world.kernel.traced().is_some());
        world
    }

    /// Whether it is on, whether it is over, and how many packets were told.
    fn told(&self, ticket: Ticket) -> (bool, bool, usize) {
        match self.answer(ticket) {
            Response::Trace { is_on, is_over, packets, .. } => (*is_on, *is_over, packets.len()),
            other => panic!("{other:?}"),
        }
    }

    fn refused(&self, ticket: Ticket) -> (ErrorKind, String) {
        match self.answer(ticket) {
            Response::Error { kind, message, .. } => (*kind, message.clone()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn packets_are_told_until_there_are_as_many_as_were_asked_for() {
    let mut world = World::traced(TraceWanted { packets: 3, ..wanted() });
    world.kernel.trace_one(packet(0));
    world.kernel.trace_one(packet(1));
    let ticket = world.trace("a", None);
    assert_eq!(world.told(ticket), (true, false, 2));
    let Response::Trace { packets, taken: 2, .. } = world.answer(ticket) else { panic!() };
    assert_eq!((packets[0].interface.as_deref(), &packets[0].records), (Some("eth0"), &packet(0)));
    world.kernel.trace_one(packet(2));
    let ticket = world.trace("a", None);
    assert_eq!(world.told(ticket), (true, true, 1));
    assert_eq!((world.kernel.traced(), world.problems()), (None, vec![]));
    let ticket = world.trace("a", None);
    assert_eq!(world.refused(ticket).0, ErrorKind::NotFound);
}

#[test]
fn the_kernel_is_told_to_end_when_the_lease_or_the_time_is_over() {
    let mut world = World::traced(wanted());
    let began = world.clocks().boot_ns;
    assert_eq!(world.kernel.traced().unwrap().deadline_ns, began + 3 * SECOND);
    for _ in 0..4 {
        world.pass(2 * SECOND);
        let ticket = world.trace("a", None);
        assert_eq!(world.told(ticket), (true, false, 0));
        let deadline = world.kernel.traced().unwrap().deadline_ns;
        let until = began + 10 * SECOND;
        assert!(deadline <= until + SECOND / 10 && deadline > world.clocks().boot_ns, "{deadline}");
    }
    world.pass(5 * SECOND / 2);
    world.kernel.trace_one(packet(0));
    let ticket = world.trace("a", None);
    assert_eq!(world.told(ticket), (true, true, 1), "what was told by then is told");
    assert_eq!(world.kernel.traced(), None);
}

#[test]
fn a_trace_whose_client_has_gone_is_over() {
    let mut world = World::traced(wanted());
    world.pass(2 * SECOND);
    world.settle();
    assert!(world.kernel.traced().is_some());
    world.pass(2 * SECOND);
    world.settle();
    assert_eq!(world.kernel.traced(), None);
    let ticket = world.trace("a", None);
    assert_eq!(world.refused(ticket).0, ErrorKind::NotFound);
    let ticket = world.trace("b", Some(wanted()));
    assert_eq!(world.told(ticket), (false, false, 0));
}

#[test]
fn a_second_trace_is_refused_by_name_and_the_first_one_goes_on() {
    let mut world = World::traced(wanted());
    for id in ["b", "a"] {
        let ticket = world.trace(id, Some(wanted()));
        let (kind, message) = world.refused(ticket);
        assert!(kind == ErrorKind::Busy && message.contains("the user"), "{message}");
    }
    let ticket = world.trace("b", None);
    assert_eq!(world.refused(ticket).0, ErrorKind::NotFound);
    let ticket = world.trace("a", None);
    assert_eq!(world.told(ticket), (true, false, 0));
}

#[test]
fn what_is_out_of_bounds_or_unknown_is_refused_and_begins_nothing() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    let long = "a".repeat(65);
    for (id, wanted, says) in [
        ("a", TraceWanted { packets: 0, ..wanted() }, "1 to 1000 packets"),
        ("a", TraceWanted { packets: 1001, ..wanted() }, "1 to 1000 packets"),
        ("a", TraceWanted { seconds: 0, ..wanted() }, "1 to 300 seconds"),
        ("a", TraceWanted { seconds: 301, ..wanted() }, "1 to 300 seconds"),
        ("a", TraceWanted { pin: Some("nobody".to_owned()), ..wanted() }, "no pin \"nobody\"; it has "),
        ("", wanted(), "a name"),
        (&long, wanted(), "a name"),
    ] {
        let ticket = world.trace(id, Some(wanted));
        let (kind, message) = world.refused(ticket);
        assert!(kind == ErrorKind::BadInput && message.contains(says), "{message}");
    }
    assert_eq!(world.kernel.traced(), None);
}

#[test]
fn a_pin_is_known_by_all_its_numbers_and_without_it_nothing_is_traced() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    let name = world.status().pins[0].name.clone();
    let by_pin = TraceWanted { pin: Some(name), ..wanted() };
    world.trace("a", Some(by_pin.clone()));
    world.trace("a", None);
    assert_eq!(world.kernel.traced().unwrap().pins, 1);
    world.config = OPEN;
    world.ask(Request::Reload {});
    world.settle();
    let has_it = world.status().pins.iter().any(|pin| Some(&pin.name) == by_pin.pin.as_ref());
    let ticket = world.trace("a", None);
    match has_it {
        true => assert_eq!(world.told(ticket), (true, false, 0)),
        false => assert_eq!((world.refused(ticket).0, world.kernel.traced()), (ErrorKind::NotFound, None)),
    }
}

#[test]
fn what_the_kernel_refuses_ends_the_trace_and_is_put_back() {
    for looks in 0..3 {
        let mut world = World::new(CONFIG, &["eth0"]);
        world.settle();
        let mut begin = Some(wanted());
        for _ in 0..looks {
            world.trace("a", begin.take());
        }
        world.kernel.fail(Operation::Trace, 1);
        let ticket = world.trace("a", begin.take());
        assert_eq!(world.refused(ticket).0, ErrorKind::Failed, "{looks}");
        assert_eq!((world.kernel.traced(), world.problems()), (None, vec![]));
    }
}

#[test]
fn programs_that_can_not_be_put_back_are_a_problem_until_they_are() {
    let mut world = World::traced(wanted());
    world.kernel.fail(Operation::PutBack, 3);
    world.pass(4 * SECOND);
    world.settle();
    assert_eq!(world.codes(), [ProblemCode::TraceLeft]);
    let ticket = world.trace("b", Some(wanted()));
    assert_eq!(world.refused(ticket).0, ErrorKind::Busy);
    for _ in 0..3 {
        world.pass(SECOND);
        world.settle();
    }
    assert_eq!((world.kernel.traced(), world.problems()), (None, vec![]));
}

#[test]
fn the_daemon_ends_with_the_ordinary_programs() {
    let mut world = World::traced(wanted());
    world.step(Input::Stop { with_host: false });
    world.rest();
    assert!(world.has_ended);
    assert_eq!(world.kernel.traced(), None);
}
