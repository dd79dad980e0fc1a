//! Geo databases that are replaced while the daemon runs, and the yes to what waits.

use std::sync::Arc;

use super::super::{Applied, Input, LoadFailure, LoadOf, Prepared, SignedFile, Surroundings, Waits};
use super::inputs::{BAD, CONFIG, ONE, prepared};
use super::openings::to_keep;
use super::world::{Part, World};
use crate::config::policy::Policy;
use crate::control::protocol::{ErrorKind, Request, Response};
use crate::health::ProblemCode;
use crate::kernel::memory::Operation;

/// What the loader is asked for.
pub(super) enum Load {
    /// Config and databases.
    Config(LoadOf),
    /// The databases of this policy; with a yes, or without.
    Databases(Arc<Policy>, bool),
}

/// The databases on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnDisk {
    Good,
    /// They change so much that they wait for a yes.
    Waiting,
    Bad,
}

impl Load {
    /// What the loader answers.
    pub(super) fn done(self, config: &mut &'static str, (on_disk, signed): (OnDisk, &[SignedFile])) -> Input {
        let fault = |message| LoadFailure { kind: ErrorKind::BadInput, message };
        if let (Self::Config(LoadOf::Confirmed(it, _)), OnDisk::Good | OnDisk::Waiting) = (&self, on_disk) {
            *config = String::from_utf8(it.bytes.clone()).unwrap().leak();
        }
        if let Self::Config(LoadOf::Plan(ticket)) = self {
            return Input::Planned(ticket, prepared(config).map(Box::new).map_err(fault));
        }
        let waits_for_record =
            matches!(self, Self::Config(LoadOf::File)) && signed.iter().any(|it| it.by.is_empty());
        let result = match (self, on_disk) {
            (Self::Config(LoadOf::Candidate(it, in_force)), _) => {
                candidate(&it, Some(&in_force)).map_err(fault)
            }
            (Self::Config(LoadOf::Confirmed(it, _)), _) => candidate(&it, None).map_err(fault),
            (_, OnDisk::Bad) => Err(fault("the geo database is damaged".to_owned())),
            (Self::Config(_), OnDisk::Waiting) => prepared(config).map(waiting).map_err(fault),
            (Self::Config(_), OnDisk::Good) => prepared(config).map_err(fault),
            (Self::Databases(policy, accepted), on_disk) => prepared(CONFIG).map_err(fault).map(|it| {
                let of_policy = Prepared { policy, ..it };
                match on_disk == OnDisk::Waiting && !accepted {
                    true => Prepared { geo: None, ..waiting(of_policy) },
                    false => of_policy,
                }
            }),
        };
        let by = |mut it: Prepared| {
            it.held.signed = signed.to_vec();
            it.held.to_keep = waits_for_record.then(|| to_keep(&it.policy));
            Box::new(it)
        };
        Input::Loaded(result.map(by))
    }
}

/// A candidate, and what is live before it, where that is to be gone back to.
fn candidate(it: &Applied, in_force: Option<&Arc<Policy>>) -> Result<Prepared, String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let before = in_force.map(|policy| prepared(&text(&policy.text)).map(Box::new)).transpose()?;
    Ok(Prepared { before, ..prepared(&text(&it.bytes))? })
}

fn waiting(prepared: Prepared) -> Prepared {
    Prepared { database_waits: Some(Waits::All("it changes half the world".to_owned())), ..prepared }
}

fn running() -> World {
    let mut world = World::new(CONFIG, &["eth0", "eth1"]);
    world.settle();
    world
}

#[test]
fn replaced_databases_are_taken_and_the_config_is_not_read() {
    let mut world = running();
    let before = world.status().generation;
    // Somebody edits it, and has not reloaded.
    world.config = BAD;
    world.step(Input::DatabasesReplaced);
    world.settle();
    assert_eq!((world.status().generation, world.problems()), (before + 1, vec![]));
    world.config = ONE;
    world.step(Input::DatabasesReplaced);
    world.settle();
    assert_eq!(world.kernel.guarded(), ["eth0", "eth1"], "the config that is live goes on");
    assert!(world.log.iter().any(|line| line.starts_with("geo databases are taken")), "{:?}", world.log);
}

#[test]
fn databases_that_cannot_be_used_are_a_problem_and_those_before_go_on() {
    let mut world = running();
    let before = world.status().generation;
    world.on_disk = OnDisk::Bad;
    world.step(Input::DatabasesReplaced);
    world.settle();
    assert_eq!((world.status().generation, world.codes()), (before, vec![ProblemCode::DatabaseRefused]));
    let accept = world.ask(Request::GeoAccept {});
    world.settle();
    assert!(matches!(world.answer(accept), Response::Error { kind: ErrorKind::BadInput, .. }));
    world.on_disk = OnDisk::Good;
    world.step(Input::DatabasesReplaced);
    world.settle();
    assert_eq!((world.status().generation, world.problems()), (before + 1, vec![]));
}

#[test]
fn what_changes_much_waits_for_a_yes_however_it_comes() {
    let mut world = running();
    let before = world.status().generation;
    world.on_disk = OnDisk::Waiting;
    world.step(Input::DatabasesReplaced);
    world.settle();
    assert_eq!((world.status().generation, world.codes()), (before, vec![ProblemCode::DatabaseWaits]));
    let reload = world.ask(Request::Reload {});
    world.settle();
    let Response::Done { message, .. } = world.answer(reload) else { panic!("{:?}", world.answers) };
    assert!(message.contains("WAIT for a yes: it changes half the world"), "{message}");
    assert_eq!(world.codes(), [ProblemCode::DatabaseWaits]);
    let accept = world.ask(Request::GeoAccept {});
    world.settle();
    assert!(world.is_done(accept), "{:?}", world.answers);
    assert_eq!(world.problems(), []);
    // The earlier files are put back.
    world.step(Input::DatabasesReplaced);
    world.settle();
    assert_eq!(world.codes(), [ProblemCode::DatabaseWaits]);
    world.on_disk = OnDisk::Good;
    world.step(Input::DatabasesReplaced);
    world.settle();
    assert_eq!(world.problems(), []);
}

#[test]
fn a_yes_that_comes_while_something_is_read_counts_for_the_next_reading() {
    let mut world = running();
    world.on_disk = OnDisk::Waiting;
    for begin in [Input::Hangup, Input::DatabasesReplaced] {
        world.step(begin);
        let accept = world.ask(Request::GeoAccept {});
        let reload = world.ask(Request::Reload {});
        world.settle();
        assert!(world.is_done(accept) && world.is_done(reload), "{:?}", world.answers);
        assert!(world.codes().is_empty() || world.codes() == [ProblemCode::DatabaseWaits]);
    }
}

#[test]
fn databases_that_the_kernel_refuses_are_a_problem_of_theirs_and_not_of_the_config() {
    let mut world = running();
    world.kernel.fail(Operation::Publish, 1);
    world.step(Input::DatabasesReplaced);
    world.settle();
    let codes = world.codes();
    assert!(codes.contains(&ProblemCode::DatabaseRefused), "{codes:?}");
    assert!(!codes.contains(&ProblemCode::ConfigRefused), "{codes:?}");
    world.step(Input::DatabasesReplaced);
    world.rest();
    assert_eq!(world.problems(), []);
}

#[test]
fn a_refused_config_stays_a_problem_when_databases_are_taken() {
    let mut world = running();
    world.config = BAD;
    world.ask(Request::Reload {});
    world.settle();
    world.step(Input::DatabasesReplaced);
    world.settle();
    assert_eq!(world.codes(), [ProblemCode::ConfigRefused]);
}

#[test]
fn databases_of_a_first_config_that_is_not_live_yet_take_the_place_of_its_own() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.kernel.fail(Operation::Publish, 1000);
    world.rest();
    let accept = world.ask(Request::GeoAccept {});
    world.rest();
    assert!(matches!(world.answer(accept), Response::Error { .. }), "{:?}", world.answers);
    world.kernel.heal();
    world.step(Input::DatabasesReplaced);
    world.rest();
    assert_eq!((world.kernel.guarded(), world.problems()), (vec!["eth0".to_owned()], vec![]));
}

#[test]
fn a_file_that_somebody_writes_for_long_is_a_problem_until_it_is_closed() {
    let mut world = running();
    world.step(Input::Surroundings(Surroundings::DatabaseWritten(Some("somebody writes it".to_owned()))));
    assert_eq!(world.codes(), [ProblemCode::DatabaseRefused]);
    world.step(Input::Surroundings(Surroundings::DatabaseWritten(None)));
    assert_eq!(world.problems(), []);
    assert!(!world.has_job(Part::Loader));
}
