//! A shadow: its candidate is read apart, its tables follow what is open, and no closing waits for it or ends it.

use std::path::PathBuf;
use std::sync::Arc;

use super::super::shadow::same_failsafes;
use super::super::{Action, Asker, Input, LoadFailure, ShadowEnd, ShadowLoad, ShadowPrepared, Ticket};
use super::inputs::{CONFIG, document, geo, policy};
use super::world::{Part, World};
use crate::audit::Who;
use crate::compile::HostFacts;
use crate::control::protocol::{ErrorKind, Request, Response, ShadowWanted, TraceWanted};
use crate::exemption::{self, Document};
use crate::geo::Info;
use crate::health::ProblemCode;
use crate::kernel::memory::Operation;

const SECOND: u64 = 1_000_000_000;

/// What was asked of the runtime.
#[derive(Default)]
pub(super) struct Asked {
    loads: Vec<(String, ShadowLoad)>,
    ends: Vec<(Ticket, ShadowEnd)>,
}

impl Asked {
    pub(super) fn take(&mut self, action: Action) {
        match action {
            Action::LoadShadow(id, load) => self.loads.push((id, *load)),
            Action::TellShadow(ticket, end) => self.ends.push((ticket, *end)),
            other => panic!("{other:?}"),
        }
    }
}

fn wanted() -> ShadowWanted {
    ShadowWanted {
        name: "/etc/new.toml".into(),
        config: CONFIG.to_owned(),
        geo: Vec::new(),
        exemptions: Vec::new(),
        without: Vec::new(),
        seconds: 10,
    }
}

fn prepared(documents: Vec<Document>) -> Box<ShadowPrepared> {
    Box::new(ShadowPrepared {
        policy: Arc::new(policy(CONFIG).unwrap()),
        geo: geo().0,
        database: Info { source: "the candidate's".to_owned(), ..Info::default() },
        cgroups: HostFacts::default(),
        documents,
        observes: false,
    })
}

impl World {
    fn shadow(&mut self, id: &str, begin: Option<ShadowWanted>) -> Ticket {
        let ticket = self.ask(Request::Shadow { id: id.to_owned(), begin: begin.map(Box::new) });
        self.work(Part::Kernel);
        self.settle();
        ticket
    }

    /// Begins a shadow, whose programs are on the interfaces then.
    fn shadowed(mut self, wanted: ShadowWanted, documents: Vec<Document>) -> Self {
        let ticket = self.shadow("a", Some(wanted));
        assert!(!self.is_shadow_on(ticket));
        assert_eq!(self.shadow.loads.len(), 1);
        let ticket = self.shadow("a", None);
        assert!(!self.is_shadow_on(ticket), "the candidate is being read");
        self.step(Input::ShadowLoaded("a".to_owned(), Ok(prepared(documents))));
        let ticket = self.shadow("a", None);
        assert!(!self.is_shadow_on(ticket), "the programs are loaded first");
        let ticket = self.shadow("a", None);
        assert!(self.is_shadow_on(ticket));
        self
    }

    fn is_shadow_on(&self, ticket: Ticket) -> bool {
        match self.answer(ticket) {
            Response::Shadow { is_on, report: None } => *is_on,
            other => panic!("{other:?}"),
        }
    }

    fn no_shadow(&self, ticket: Ticket) -> (ErrorKind, String) {
        match self.answer(ticket) {
            Response::Error { kind, message, .. } => (*kind, message.clone()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_shadow_is_on_for_its_time_and_its_end_is_told_once() {
    let mut world = World::with_one().shadowed(wanted(), Vec::new());
    let (open, deadline) = world.kernel.shadow(|it| (it.open.len(), it.deadline_ns));
    assert_eq!((open, deadline), (1, world.clocks().boot_ns + 3 * SECOND));
    assert_eq!(world.kernel.shadow(|it| it.copied.len()), 1, "what is open counts as it is used");
    for _ in 0..4 {
        world.pass(2 * SECOND);
        let ticket = world.shadow("a", None);
        assert!(world.is_shadow_on(ticket));
        assert!(world.kernel.shadow(|it| it.copied.is_empty()), "that was done");
    }
    world.pass(5 * SECOND / 2);
    let ticket = world.shadow("a", None);
    let [(told, end)] = &world.shadow.ends[..] else { panic!("{:?}", world.shadow.ends) };
    assert_eq!((*told, end.sees_people, end.report.open), (ticket, true, 1));
    assert_eq!((end.report.databases[1].source.as_str(), end.report.generations[0]), ("the candidate's", 2));
    assert_eq!(end.then.exemptions.values().map(|it| &**it).collect::<Vec<_>>(), ["a"]);
    assert_eq!(world.kernel.shadow(|it| it.steps), 0, "the ordinary programs again");
    let response = Response::Shadow { is_on: true, report: None };
    world.step(Input::ShadowTold(ticket, response));
    assert!(world.is_shadow_on(ticket));
    let ticket = world.shadow("a", None);
    assert_eq!(world.no_shadow(ticket).0, ErrorKind::NotFound);
    assert_eq!(world.problems(), []);
}

#[test]
fn a_stay_goes_first_and_the_shadow_follows_and_goes_on() {
    let mut world = World::with_one().shadowed(wanted(), Vec::new());
    let tables = world.kernel.shadow(|it| it.tables);
    let stay = world.stay("a");
    // The first job is the order's.
    world.work(Part::Kernel);
    world.settle();
    assert!(world.is_done(stay), "{:?}", world.answers);
    assert!(world.open().is_empty());
    assert_eq!(
        world.kernel.shadow(|it| (it.open.len(), it.tables)),
        (0, tables + 1),
        "it followed by itself"
    );
    let ticket = world.shadow("a", None);
    assert!(world.is_shadow_on(ticket));
    // What is loaded is open on both sides, with what was used of it.
    world.load("b", 1);
    world.settle();
    assert_eq!(world.kernel.shadow(|it| (it.open.len(), it.copied.len())), (1, 1));
    let ticket = world.shadow("a", None);
    assert!(world.is_shadow_on(ticket));
    assert_eq!(world.kernel.shadow(|it| it.tables), tables + 2, "nothing else has changed");
}

#[test]
fn the_candidate_has_what_is_added_and_not_what_is_taken_away() {
    let world = World::with_one();
    let text = document("b", 1, world.clocks().wall);
    let added = exemption::parse("b.toml".as_ref(), text.as_bytes(), &Default::default()).unwrap();
    let without = ShadowWanted { without: vec!["a".to_owned()], ..wanted() };
    let mut world = world.shadowed(without, vec![added]);
    let (open, cleared) = world.kernel.shadow(|it| (it.open.clone(), it.cleared.clone()));
    assert_eq!(open.into_iter().collect::<Vec<_>>(), [255], "from the last slot down");
    assert_eq!(cleared, [255]);
    world.pass(5 * SECOND / 2);
    let ticket = world.shadow("a", None);
    assert!(world.is_shadow_on(ticket));
    // One that is not open can't be taken away.
    world.pass(4 * SECOND);
    world.settle();
    let without = ShadowWanted { without: vec!["nobody".to_owned()], ..wanted() };
    world.shadow("c", Some(without));
    world.step(Input::ShadowLoaded("c".to_owned(), Ok(prepared(Vec::new()))));
    let ticket = world.shadow("c", None);
    let (kind, message) = world.no_shadow(ticket);
    assert!(kind == ErrorKind::BadInput && message.contains("--without nobody"), "{message}");
}

#[test]
fn one_of_both_runs_at_a_time() {
    let trace = TraceWanted { from: None, to: None, pin: None, packets: 10, seconds: 10 };
    let mut world = World::with_one().shadowed(wanted(), Vec::new());
    let ticket = world.shadow("b", Some(wanted()));
    let (kind, message) = world.no_shadow(ticket);
    assert!(kind == ErrorKind::Busy && message.contains("has a shadow now"), "{message}");
    let ticket = world.ask(Request::Trace { id: "a".to_owned(), begin: Some(trace.clone()) });
    assert_eq!(world.no_shadow(ticket).0, ErrorKind::Busy);
    let ticket = world.ask(Request::Trace { id: "a".to_owned(), begin: None });
    assert_eq!(world.no_shadow(ticket).0, ErrorKind::NotFound, "the name is a shadow's");
    let ticket = world.shadow("a", None);
    assert!(world.is_shadow_on(ticket), "the first one goes on");
    world.pass(4 * SECOND);
    world.settle();
    assert_eq!(world.kernel.shadow(|it| it.steps), 0, "its client has gone");
    world.ask(Request::Trace { id: "t".to_owned(), begin: Some(trace) });
    world.settle();
    let ticket = world.shadow("b", Some(wanted()));
    let (_, message) = world.no_shadow(ticket);
    assert!(message.contains("has a trace now"), "{message}");
}

#[test]
fn what_can_not_be_used_is_refused_and_nothing_is_loaded_of_it() {
    let mut world = World::with_one();
    let long = "a".repeat(65);
    for (id, wanted, says) in [
        ("a", ShadowWanted { seconds: 0, ..wanted() }, "1 to 3600 seconds"),
        ("a", ShadowWanted { seconds: 3601, ..wanted() }, "1 to 3600 seconds"),
        ("", wanted(), "a name"),
        (&long, wanted(), "a name"),
    ] {
        let ticket = world.shadow(id, Some(wanted));
        let (kind, message) = world.no_shadow(ticket);
        assert!(kind == ErrorKind::BadInput && message.contains(says), "{message}");
    }
    assert!(world.shadow.loads.is_empty());
    world.shadow("a", Some(wanted()));
    let failure = LoadFailure { kind: ErrorKind::BadInput, message: "line 3".to_owned() };
    world.step(Input::ShadowLoaded("another".to_owned(), Err(failure.clone())));
    let ticket = world.shadow("a", None);
    assert!(!world.is_shadow_on(ticket), "that was of one that is over");
    world.step(Input::ShadowLoaded("a".to_owned(), Err(failure)));
    let ticket = world.shadow("a", None);
    assert_eq!(world.no_shadow(ticket), (ErrorKind::BadInput, "line 3".to_owned()));
    assert_eq!(world.kernel.shadow(|it| it.steps), 0);
    let ticket = world.shadow("b", Some(wanted()));
    assert!(!world.is_shadow_on(ticket), "another one may begin at once");
}

#[test]
fn who_is_not_root_has_no_file_read_that_is_not_the_daemons() {
    let mut world = World::with_one();
    for (uid, may_read) in [(0, None), (1000, Some(Vec::<PathBuf>::new()))] {
        let who = Who { uid, user: None, pid: None };
        let asker = Asker { who, sees_all: true, sees_people: false };
        let request = Request::Shadow { id: format!("{uid}"), begin: Some(Box::new(wanted())) };
        world.step(Input::Request { ticket: Ticket(9000 + u64::from(uid)), request, asker });
        assert_eq!(world.shadow.loads.pop().unwrap().1.may_read, may_read);
        world.pass(4 * SECOND);
        world.settle();
    }
}

/// A pin's name beside a flow says who sent it, as well as a process's name does.
#[test]
fn a_pin_by_users_tells_who_sends_and_takes_the_right_to_see_people() {
    let by = |select: &str| {
        let config = format!(
            "{CONFIG}\n[[pin]]\nname = \"seven\"\nhome = \"IE\"\naction = \"observe\"\nselect = {{ {select} }}\n"
        );
        Box::new(ShadowPrepared { policy: Arc::new(policy(&config).unwrap()), ..*prepared(Vec::new()) })
    };
    for (select, sees_people, is_refused) in [
        ("users = [7]", false, true),
        ("cgroups = [\"a.slice\"]", false, true),
        ("users = [7]", true, false),
        ("ports = [\"tcp/7\"]", false, false),
    ] {
        let mut world = World::with_one();
        let asker = || Asker { who: Who { uid: 1000, user: None, pid: None }, sees_all: true, sees_people };
        for (ticket, begin) in [(9001, Some(Box::new(wanted()))), (9002, None)] {
            let request = Request::Shadow { id: "a".to_owned(), begin };
            world.step(Input::Request { ticket: Ticket(ticket), request, asker: asker() });
            world.step(Input::ShadowLoaded("a".to_owned(), Ok(by(select))));
            world.settle();
        }
        let refused = match world.answer(Ticket(9002)) {
            Response::Error { kind: ErrorKind::NotPermitted, message, .. } => message.contains("\"seven\""),
            Response::Shadow { .. } => false,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused, is_refused, "{select} {sees_people}");
    }
}

#[test]
fn what_the_kernel_refuses_ends_it_and_is_put_back() {
    for at in 0..2 {
        let mut world = World::with_one();
        world.shadow("a", Some(wanted()));
        world.step(Input::ShadowLoaded("a".to_owned(), Ok(prepared(Vec::new()))));
        if at > 0 {
            world.shadow("a", None);
        }
        world.kernel.fail(Operation::Shadow, 1);
        let ticket = world.shadow("a", None);
        assert_eq!(world.no_shadow(ticket).0, ErrorKind::Failed, "{at}");
        assert_eq!((world.kernel.shadow(|it| it.steps), world.problems()), (0, vec![]));
    }
    let mut world = World::with_one().shadowed(wanted(), Vec::new());
    world.kernel.fail(Operation::PutBack, 3);
    world.pass(4 * SECOND);
    world.settle();
    assert_eq!(world.codes(), [ProblemCode::TraceLeft]);
    let ticket = world.shadow("b", Some(wanted()));
    assert_eq!(world.no_shadow(ticket).0, ErrorKind::Busy);
    for _ in 0..3 {
        world.pass(SECOND);
        world.settle();
    }
    assert_eq!(world.problems(), []);
}

#[test]
fn the_daemon_ends_with_the_ordinary_programs() {
    let mut world = World::with_one().shadowed(wanted(), Vec::new());
    world.step(Input::Stop { with_host: false });
    world.rest();
    assert!(world.has_ended);
    assert_eq!(world.kernel.shadow(|it| it.steps), 0);
}

/// As after a reload: the name and the budget of a rule are no matter, nor where it stands and where its peers are placed.
#[test]
fn a_failsafe_rule_goes_on_by_what_the_rule_that_matches_the_same_has_spent() {
    let of = |rules: &str| {
        let text =
            rules.split(' ').map(|rule| rule.split_once('=').unwrap()).fold(CONFIG.to_owned(), |text, (name, peer)| {
                text + &format!(
                    "[[failsafe]]\nname = \"{name}\"\npeers = [\"192.0.2.{peer}/32\"]\nbytes_per_minute = 1{peer}\n"
                )
            });
        policy(&text).unwrap()
    };
    let mut live = of("a=1 b=2 c=3");
    live.failsafe[0].places = Some("US".parse().into_iter().collect());
    assert_eq!(same_failsafes(&live, &of("b=3 a=9 c=1")), [(2, 0), (0, 2)]);
}
