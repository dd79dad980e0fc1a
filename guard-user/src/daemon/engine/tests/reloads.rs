//! Configs that are read again, and the end.

use super::super::{Input, SignedFile, Surroundings};
use super::inputs::{APPROVED, BAD, CGROUP, CONFIG, MOVED, ONE, POST, STOR, TWO, document};
use super::world::{Part, World};
use crate::control::protocol::{Request, Response};
use crate::exemption::record::ApprovedBy;
use crate::health::{Problem, ProblemCode};
use crate::kernel::memory::Operation;
use crate::store::sha256;

#[test]
fn a_config_that_is_refused_leaves_the_old_one_live_and_is_a_problem() {
    let mut world = World::new(CONFIG, &["eth0", "eth1"]);
    world.settle();
    world.config = BAD;
    let reload = world.ask(Request::Reload {});
    world.settle();
    assert!(matches!(world.answer(reload), Response::Error { .. }), "{:?}", world.answers);
    assert_eq!(world.codes(), [ProblemCode::ConfigRefused]);
    assert_eq!(world.kernel.guarded(), ["eth0", "eth1"]);
    world.config = ONE;
    let reload = world.ask(Request::Reload {});
    world.settle();
    assert!(world.is_done(reload));
    assert_eq!((world.kernel.guarded(), world.problems()), (vec!["eth0".to_owned()], vec![]));
}

#[test]
fn a_key_that_counts_from_the_start_alone_is_told_until_it_has_its_value_back() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.config = MOVED;
    let reload = world.ask(Request::Reload {});
    world.settle();
    let Response::Done { message, .. } = world.answer(reload) else { panic!("{:?}", world.answers) };
    assert!(
        message.contains("`state.pin_path` was changed") && message.contains("`control.groups`"),
        "{message}"
    );
    let told: Vec<_> = world.problems().into_iter().map(|it| (it.code, it.subject.unwrap())).collect();
    let told: Vec<_> = told.iter().map(|(code, subject)| (*code, subject.as_str())).collect();
    let needed = ProblemCode::RestartNeeded;
    assert_eq!(told, [(needed, "control.groups"), (needed, "metrics.listen"), (needed, "state.pin_path")]);
    world.config = CONFIG;
    world.ask(Request::Reload {});
    world.settle();
    assert_eq!(world.problems(), []);
}

#[test]
fn the_trail_is_in_the_status_once_it_was_verified() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    let before = world.status().audit;
    assert_eq!((before.verified, before.whole, before.records), (None, None, None));
    for (found, whole) in [(Ok(7), true), (Err("record 3 was altered".to_owned()), false), (Ok(8), true)] {
        let records = found.as_ref().ok().copied();
        world.step(Input::Verified(found));
        let status = world.status();
        assert_eq!((status.audit.whole, status.audit.records), (Some(whole), records));
        assert!(status.audit.verified.is_some());
        assert_eq!(world.codes().contains(&ProblemCode::AuditBroken), !whole);
    }
}

#[test]
fn a_store_that_is_not_where_it_belongs_is_told_at_the_end() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.step(Input::Stop { with_host: false });
    world.all_but(Part::Store);
    assert!(!world.has_ended, "its place is looked at last");
    world.step(Input::Surroundings(Surroundings::State(Some("it was moved".to_owned()))));
    assert_eq!(world.engine.store_is_lost(), Some("it was moved"));
    world.settle();
    assert!(world.has_ended && world.engine.store_is_lost().is_none(), "the last look counts");
}

#[test]
fn a_guard_that_was_gone_before_the_start_is_told_for_a_minute() {
    let mut world = World::new(CONFIG, &["eth0"]);
    let problems =
        [ProblemCode::AttachmentLost, ProblemCode::StoreMoved].map(|code| Problem::new(code, "gone"));
    world.step(Input::Surroundings(Surroundings::Start(problems.to_vec())));
    world.settle();
    assert_eq!(world.codes(), [ProblemCode::AttachmentLost, ProblemCode::StoreMoved]);
    world.pass(61_000_000_000);
    world.settle();
    assert_eq!(world.codes(), [ProblemCode::StoreMoved], "a new store is told until the end");
}

#[test]
fn a_config_that_the_kernel_refuses_is_not_half_live() {
    let mut world = World::new(CONFIG, &["eth0", "eth1"]);
    world.settle();
    world.config = ONE;
    world.kernel.fail(Operation::Publish, 1);
    let reload = world.ask(Request::Reload {});
    world.settle();
    assert!(matches!(world.answer(reload), Response::Error { .. }), "{:?}", world.answers);
    assert_eq!(world.kernel.guarded(), ["eth0", "eth1"], "interfaces follow the config that is live");
    assert!(world.codes().contains(&ProblemCode::ConfigRefused));
}

#[test]
fn requests_to_reload_while_one_is_on_its_way_are_each_answered_by_a_later_reading() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    let first = world.ask(Request::Reload {});
    let second = world.ask(Request::Reload {});
    world.step(Input::Hangup);
    world.rest();
    assert!(world.is_done(first) && world.is_done(second), "{:?}", world.answers);
}

#[test]
fn the_end_waits_for_what_is_to_be_kept() {
    for with_host in [false, true] {
        let mut world = World::new(CONFIG, &["eth0"]);
        world.settle();
        world.load("a", 1);
        world.settle();
        world.step(Input::Stop { with_host });
        assert!(!world.has_ended);
        world.settle();
        assert!(world.has_ended, "{:?}", world.log);
        assert_eq!(world.open().is_empty(), with_host, "what is enforced goes on without a daemon");
        assert_eq!(world.kernel.guarded(), ["eth0"]);
        let refused = world.load("b", 1);
        assert!(matches!(world.answer(refused), Response::Error { .. }));
    }
}

#[test]
fn an_end_with_a_broken_kernel_or_disk_is_an_end() {
    for operation in [Operation::Publish, Operation::Uses, Operation::Reset] {
        let mut world = World::new(CONFIG, &["eth0"]);
        world.settle();
        world.load("a", 1);
        world.settle();
        world.kernel.fail(operation, 100);
        world.step(Input::Stop { with_host: true });
        world.rest();
        assert!(world.has_ended, "{operation:?}: {:?}", world.log);
    }
}

#[test]
fn what_is_loaded_during_a_reload_does_not_bring_the_old_policy_back() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.config = TWO;
    let reload = world.ask(Request::Reload {});
    world.work(Part::Loader);
    let loaded = world.load("a", 1);
    world.work(Part::Store);
    world.settle();
    assert!(world.is_done(reload) && world.is_done(loaded), "{:?}", world.answers);
    assert_eq!((world.open(), world.kernel.pins()), (vec!["a".to_owned()], 2));
}

#[test]
fn a_config_whose_grace_period_failed_is_live_and_made_so_again() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.config = TWO;
    world.kernel.fail(Operation::Wait, 1);
    let reload = world.ask(Request::Reload {});
    world.settle();
    let Response::Error { message, .. } = world.answer(reload) else { panic!("{:?}", world.answers) };
    assert!(message.contains("may still be judged by the generation before"), "{message}");
    assert_eq!(world.status().pins.len(), 2, "the status is of what the kernel has");
    assert!(world.codes().contains(&ProblemCode::TablesBehind));
    world.rest();
    assert_eq!((world.kernel.pins(), world.problems()), (2, vec![]));
}

#[test]
fn a_first_config_that_the_kernel_refuses_can_be_replaced() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.kernel.fail(Operation::Publish, 1000);
    world.rest();
    assert!(world.codes().contains(&ProblemCode::ConfigRefused), "{:?}", world.codes());
    assert!(world.log.iter().any(|line| line.contains("can't be made live")), "{:?}", world.log);
    let refused = world.ask(Request::Reload {});
    world.rest();
    assert!(matches!(world.answer(refused), Response::Error { .. }), "{:?}", world.answers);
    world.kernel.heal();
    world.config = TWO;
    let reload = world.ask(Request::Reload {});
    world.rest();
    assert!(world.is_done(reload), "{:?}", world.answers);
    assert_eq!((world.kernel.pins(), world.problems()), (2, vec![]));
}

#[test]
fn what_an_earlier_daemon_guards_is_mended_where_the_first_config_is_not_live() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.kernel.fail(Operation::Publish, 1000);
    world.restart();
    world.rest();
    world.kernel.add("eth1");
    world.step(Input::Changed);
    world.settle();
    assert_eq!(world.kernel.guarded(), ["eth0", "eth1"]);
    assert!(world.engine.is_ready(), "whoever waits for it must not kill it");
}

#[test]
fn the_last_good_database_is_told_until_the_configs_was_read() {
    let mut world = World::new(CONFIG, &["eth0"]);
    let why = Some("no such file".to_owned());
    world.step(Input::Surroundings(Surroundings::LastDatabase(why)));
    world.rest();
    assert_eq!(world.codes(), [ProblemCode::LastDatabase]);
    world.ask(Request::Reload {});
    world.rest();
    assert_eq!(world.problems(), []);
}

#[test]
fn an_exemption_whose_pin_is_gone_is_a_problem_until_it_is_back_or_revoked() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.load("a", 1);
    world.settle();
    assert!(!world.kernel.open_slots().is_empty());
    let whole = world.codes();
    let mut reload = |config| {
        world.config = config;
        world.ask(Request::Reload {});
        world.settle();
        let mut codes = world.codes();
        codes.retain(|code| !whole.contains(code));
        let open = world.kernel.open_slots();
        (codes, open.is_empty())
    };
    let lost = (vec![ProblemCode::ExemptionWithoutPin], true);
    assert_eq!(reload(POST), lost);
    assert_eq!(reload(CONFIG), (vec![], false));
    assert_eq!(reload(POST), lost);
    world.ask(Request::ExemptionRevoke {
        id: "a".to_owned(),
        why: "its pin has another name".to_owned(),
        dry_run: false,
    });
    world.settle();
    assert!(!world.codes().contains(&ProblemCode::ExemptionWithoutPin));
}

#[test]
fn an_exemption_that_nobody_approved_is_a_problem_where_approvals_are_asked_for() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.load("a", 1);
    world.settle();
    assert!(!world.codes().contains(&ProblemCode::ApprovalsMissing));
    world.config = APPROVED;
    world.ask(Request::Reload {});
    world.settle();
    let problems = world.problems();
    let is_told =
        |it: &&Problem| it.code == ProblemCode::ApprovalsMissing && it.subject.as_deref() == Some("a");
    assert!(problems.iter().any(|it| is_told(&it)), "{problems:?}");
    world.ask(Request::ExemptionRevoke {
        id: "a".to_owned(),
        why: "nobody approved it".to_owned(),
        dry_run: false,
    });
    world.settle();
    assert!(!world.codes().contains(&ProblemCode::ApprovalsMissing));
}

#[test]
fn a_look_that_began_before_a_reload_says_nothing_of_its_cgroups() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.step(Input::Changed);
    world.config = CGROUP;
    world.ask(Request::Reload {});
    world.work(Part::Loader);
    world.settle();
    let known = world.engine.config.cgroups.cgroups.iter().map(|it| it.path.clone());
    assert_eq!(known.collect::<Vec<_>>(), ["absent.slice/mail.service"]);
    assert_eq!(world.codes(), [ProblemCode::CgroupMissing]);
}

#[test]
fn an_end_makes_entries_that_are_gone_again_or_says_what_is_not_guarded_any_more() {
    for fails in [0, 1000] {
        let mut world = World::new(CONFIG, &["eth0"]);
        world.settle();
        world.kernel.remove_entries();
        world.kernel.fail(Operation::Restore, fails);
        world.step(Input::Stop { with_host: false });
        world.settle();
        assert!(world.has_ended, "{:?}", world.log);
        let is_kept = fails == 0;
        assert_eq!(world.engine.not_kept().is_empty(), is_kept);
        let last = world.log.last().unwrap();
        assert_eq!(last.contains("stays in force"), is_kept, "{last}");
        assert_eq!(last.contains("with it the guard of eth0"), !is_kept, "{last}");
    }
}

#[test]
fn a_reload_says_what_it_lets_go() {
    let mut world = World::new(CONFIG, &["eth0", "eth1"]);
    world.settle();
    for (config, words) in
        [(ONE, "not guarded any more: eth1"), (STOR, "NOTHING is guarded now"), (CONFIG, "reloaded")]
    {
        world.config = config;
        let reload = world.ask(Request::Reload {});
        world.settle();
        let Response::Done { message, .. } = world.answer(reload) else { panic!("{:?}", world.answers) };
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn a_config_that_takes_for_ever_to_be_read_is_a_problem() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    world.ask(Request::Reload {});
    world.pass(16_000_000_000);
    let problems = world.engine.problems(world.clocks());
    assert_eq!(problems.iter().map(|it| it.subject.as_deref()).collect::<Vec<_>>(), [Some("config")]);
    world.settle();
    assert_eq!(world.problems(), []);
}

#[test]
fn what_is_open_for_another_fleet_is_told() {
    const OF_A_FLEET: &str = "approval = \"none\"\n[host]\ninterfaces = [\"eth*\"]\nfleet = \"mail-eu\"\n[[pin]]\n\
         name = \"mail\"\nhome = \"IE\"\naction = \"drop\"\nselect.ports = [\"tcp/143\"]\n";
    let mut world = World::new(OF_A_FLEET, &["eth0"]);
    world.settle();
    let text =
        document("a", 1, world.clocks().wall).replacen("\npurpose", "\nhosts = [\"mail-eu\"]\npurpose", 1);
    let loaded = world.load_text("a", text);
    world.settle();
    assert!(world.is_done(loaded), "{:?}", world.answers);
    let told = |world: &mut World| world.codes().contains(&ProblemCode::ExemptionOtherHost);
    assert!(!told(&mut world));
    world.config = CONFIG;
    world.ask(Request::Reload {});
    world.settle();
    assert!(told(&mut world) && world.open() == ["a"], "{:?}", world.codes());
    world.config = OF_A_FLEET;
    world.ask(Request::Reload {});
    world.settle();
    assert!(!told(&mut world));
}

#[test]
fn what_opens_is_not_taken_where_the_trail_cannot_have_who_signed_it() {
    let mut world = World::new(CONFIG, &["eth0", "eth1"]);
    world.settle();
    let by = ApprovedBy { identity: "anne".to_owned(), role: None, fingerprint: "SHA256:x".to_owned() };
    let (sha256, opens) = ("07".repeat(32), "the pin mail".to_owned());
    world.signed = vec![SignedFile { file: "policy.toml".into(), sha256, opens, by: vec![by] }];
    world.config = ONE;
    let approvals = |world: &World| {
        let lines = world.store.reader().unwrap().audit_lines(0, usize::MAX).unwrap();
        lines.iter().filter(|line| line.contains(r#""kind":"approval""#)).count()
    };
    world.disk.fail_during(0, 1000);
    let reload = world.ask(Request::Reload {});
    world.settle();
    let Response::Error { message, .. } = world.answer(reload) else { panic!("{:?}", world.answers) };
    assert!(message.contains("can't have who signed it"), "{message}");
    assert_eq!(world.kernel.guarded(), ["eth0", "eth1"]);
    world.disk.heal();
    // Until the trail says what it lacks nothing is let go.
    world.pass(6_000_000_000);
    world.rest();
    let reload = world.ask(Request::Reload {});
    world.settle();
    assert!(world.is_done(reload), "{:?}", world.answers);
    assert_eq!((world.kernel.guarded(), approvals(&world)), (vec!["eth0".to_owned()], 1));
}

/// What the key has signed goes on, and so does what comes after it without a signature.
#[test]
fn a_config_that_a_revoked_key_has_signed_is_told_until_others_have_signed_one() {
    let leaked = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let asks =
        leaked(format!("{APPROVED}[approval.policy]\nrequired = [{{ role = \"legal\", count = 1 }}]\n"));
    let [stolen, other] = ["A", "B"].map(|first| format!("SHA256:{first}{}", "A".repeat(42)));
    let signed = |text: &str, key: &str| {
        let by = ApprovedBy { identity: "anne".to_owned(), role: None, fingerprint: key.to_owned() };
        let (sha256, opens) = (sha256(text.as_bytes()), "the pin mail".to_owned());
        vec![SignedFile { file: "policy.toml".into(), sha256, opens, by: vec![by] }]
    };
    let told = |world: &mut World| -> Vec<String> {
        let problems = world.problems().into_iter();
        problems.filter(|it| it.code == ProblemCode::ApprovalsMissing).map(|it| it.message).collect()
    };
    let revoke = |world: &mut World, key: &str, dry_run: bool| {
        let (key, why) = (key.to_owned(), "lost".to_owned());
        let ticket = world.ask(Request::ApprovalRevoke { key, why, unknown: true, dry_run });
        world.rest();
        match world.answer(ticket) {
            Response::Done { message, .. } | Response::Planned { message, .. } => message.clone(),
            other => panic!("{other:?}"),
        }
    };
    let reload = |world: &mut World, config: &'static str, by: Vec<SignedFile>| {
        (world.config, world.signed) = (config, by);
        let reload = world.ask(Request::Reload {});
        world.rest();
        assert!(world.is_done(reload), "{:?}", world.answer(reload));
        world.signed.clear();
    };
    let mut world = World::new(APPROVED, &["eth0"]);
    world.settle();
    reload(&mut world, asks, signed(asks, &stolen));
    let digest = sha256(asks.as_bytes());
    assert!(!revoke(&mut world, &other, true).contains(&digest));
    assert_eq!(told(&mut world), Vec::<String>::new());
    let would = revoke(&mut world, &stolen, true);
    assert!(would.contains(&digest) && would.contains("would go on until"), "{would}");
    let answer = revoke(&mut world, &stolen, false);
    let words = format!("the config {digest}, which is signed with {stolen} of anne, is in force");
    assert!(answer.contains(&words) && answer.contains("goes on until a config"), "{answer}");
    assert!(told(&mut world).iter().all(|it| it.contains(&words)) && told(&mut world).len() == 1);
    world.restart();
    world.rest();
    assert_eq!(told(&mut world).len(), 1);
    assert!(world.engine.spent_signatures().unwrap().is_by_revoked);
    // A later one that opens nothing has what that one opened.
    let next = leaked(format!("{asks}# later\n"));
    reload(&mut world, next, Vec::new());
    let later = told(&mut world);
    assert!(later.len() == 1 && later[0].contains("was in force before"), "{later:?}");
    reload(&mut world, next, signed(next, &other));
    assert_eq!(told(&mut world), Vec::<String>::new());
    world.restart();
    world.rest();
    assert_eq!(told(&mut world), Vec::<String>::new());
    assert!(!world.engine.spent_signatures().unwrap().is_by_revoked);
}

/// What the start opened is recorded in its own time, and is no word on what a reload opens meanwhile.
#[test]
fn the_starts_signatures_are_kept_once_the_disk_takes_them() {
    let mut world = World::new(CONFIG, &["eth0", "eth1"]);
    world.settle();
    let by = ApprovedBy { identity: "anne".to_owned(), role: None, fingerprint: "SHA256:x".to_owned() };
    let (sha256, opens) = ("07".repeat(32), "the pin mail".to_owned());
    world.signed = vec![SignedFile { file: "policy.toml".into(), sha256, opens, by: vec![by] }];
    world.restart();
    world.disk.fail_during(0, 1000);
    world.settle();
    assert!(world.codes().contains(&ProblemCode::AuditGap), "{:?}", world.problems());
    assert_eq!(world.kernel.guarded(), ["eth0", "eth1"]);
    world.disk.heal();
    world.rest();
    let lines = world.store.reader().unwrap().audit_lines(0, usize::MAX).unwrap();
    assert_eq!(lines.iter().filter(|line| line.contains(r#""kind":"approval""#)).count(), 1, "{lines:?}");
}

/// Who kills the daemon right after the flip leaves a mark by which the next start tells of the config.
#[test]
fn the_kernel_knows_another_config_before_it_is_live() {
    let mut world = World::new(CONFIG, &["eth0"]);
    world.settle();
    let (mark, at_flip) = world.kernel.marks();
    assert!(mark.live != [0; 32] && at_flip.live == mark.live);
    world.config = ONE;
    world.ask(Request::Reload {});
    world.settle();
    let (other, at_flip) = world.kernel.marks();
    assert!(other.live != mark.live && at_flip.live == other.live && other.untold_count == 2);
    // One that does not become live is none of them.
    world.config = CONFIG;
    world.kernel.fail(Operation::Publish, 1);
    world.ask(Request::Reload {});
    world.settle();
    assert_eq!(world.kernel.marks().0, other);
}
