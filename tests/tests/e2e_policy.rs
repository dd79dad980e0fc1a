//! A config that newly lets anything pass waits for the signatures that the one in force asks for, at a reload and at a start:
//! judged by what a client elsewhere receives.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::time::Duration;

use guard_tests::bed::{BELGIUM, Bed, PATIENCE, US};
use guard_tests::proc::retry_until;
use guard_tests::signing::{COMPLIANCE, LEGAL, Signers};
use guard_user::approval::POLICY;
use guard_user::health::ProblemCode;
use guard_user::store::last_policy::{self, LastPolicy};

/// A pin that permits these, whose next config compliance has to sign where it opens.
fn configure(bed: &Bed, signers: &Signers, permit: &str) {
    let pin = format!(
        "[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [{permit}]\naction = \"drop\"\n\
         select.sources = [\"192.0.2.0/24\", \"2001:db8:1::/64\"]\nselect.ports = [\"udp/143\"]\n"
    );
    let asked = "[approval.policy]\nrequired = [{ role = \"compliance\", count = 1 }]\n";
    bed.configure(&format!("{pin}{}{asked}", signers.config())).unwrap();
}

/// Where packets pass: to Belgium, to the United States.
fn passes(bed: &Bed) -> [bool; 2] {
    [BELGIUM, US].map(|to| bed.passes(to).unwrap())
}

fn refused(bed: &Bed) -> Option<String> {
    let problems = bed.status().unwrap().problems;
    problems.into_iter().find(|it| it.code == ProblemCode::ConfigRefused).map(|it| it.message)
}

#[test]
#[ignore = "needs root and BPF"]
fn a_config_that_opens_waits_for_its_signatures_and_one_that_closes_does_not() {
    let bed = Bed::new("e2e-policy").unwrap();
    let signers = Signers::new(&bed.file("")).unwrap();
    configure(&bed, &signers, "\"BE\"");
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(passes(&bed), [true, false]);

    configure(&bed, &signers, "\"BE\", \"US\"");
    let answer = bed.ask(&["reload"]).unwrap();
    assert!(!answer.is_done(), "{answer:?}");
    let told = refused(&bed).unwrap();
    assert!(told.contains("the pin mail (permit)") && told.contains("1 as \"compliance\""), "{told}");
    assert_eq!(passes(&bed), [true, false]);
    // By who may approve something else, and over what was there before.
    signers.sign(LEGAL, POLICY, &bed.config()).unwrap();
    assert!(!bed.ask(&["reload"]).unwrap().is_done());
    assert_eq!(passes(&bed), [true, false]);
    signers.sign(COMPLIANCE, POLICY, &bed.config()).unwrap();
    bed.tell(&["reload"]).unwrap();
    assert!(refused(&bed).is_none());
    assert_eq!(passes(&bed), [true, true]);

    // What closes asks nobody, and what it closed needs a signature again; the old one is over other bytes.
    configure(&bed, &signers, "");
    bed.tell(&["reload"]).unwrap();
    assert_eq!(passes(&bed), [false, false]);
    configure(&bed, &signers, "\"BE\"");
    assert!(!bed.ask(&["reload"]).unwrap().is_done());
    assert_eq!(passes(&bed), [false, false]);

    // A start by it goes on by the one in force, also where nothing guards, as after a reboot.
    daemon.kill(PATIENCE).unwrap();
    for is_rebooted in [false, true] {
        if is_rebooted {
            bed.tell(&["detach"]).unwrap();
        }
        let daemon = bed.start(&[]).unwrap();
        let why = refused(&bed).unwrap();
        assert!(why.contains("newly lets pass: the pin mail (permit)"), "{why}");
        assert_eq!(passes(&bed), [false, false]);
        let last = bed.trail().unwrap().into_iter().rfind(|record| record.kind == "refusal").unwrap();
        assert_eq!(last.detail["request"], "start", "{last:?}");
        daemon.kill(PATIENCE).unwrap();
    }
    // By a file that can't be used it goes on too, and nothing is let pass by that.
    bed.tell(&["detach"]).unwrap();
    let beside = bed.file("policy.d");
    fs::create_dir(&beside).unwrap();
    fs::write(beside.join("1.toml"), "x =\n").unwrap();
    let daemon = bed.start(&[]).unwrap();
    let why = refused(&bed).unwrap();
    assert!(why.contains("1.toml") && why.contains("the one that is kept as taken last goes on"), "{why}");
    assert_eq!(passes(&bed), [false, false]);
    assert!(!bed.ask(&["reload"]).unwrap().is_done());
    daemon.kill(PATIENCE).unwrap();
    fs::remove_dir_all(&beside).unwrap();
    let daemon = bed.start(&[]).unwrap();
    // The very text that was in force before: its signatures could be of that time.
    signers.sign(COMPLIANCE, POLICY, &bed.config()).unwrap();
    let answer = bed.ask(&["reload"]).unwrap();
    let told = format!("{answer:?}");
    assert!(!answer.is_done() && told.contains("was in force before and was replaced since"), "{told}");
    assert_eq!(passes(&bed), [false, false]);
    let text = fs::read_to_string(bed.config()).unwrap();
    fs::write(bed.config(), format!("# of 29 November 2026\n{text}")).unwrap();
    signers.sign(COMPLIANCE, POLICY, &bed.config()).unwrap();
    bed.tell(&["reload"]).unwrap();
    assert!(refused(&bed).is_none(), "it is no problem any more");
    assert_eq!(passes(&bed), [true, false]);
    daemon.kill(PATIENCE).unwrap();
    // Where what is kept of the one in force is damaged or gone, the audit trail has it too.
    let last = bed.file("state/policy.last");
    let unheld =
        || bed.status().unwrap().problems.into_iter().find(|it| it.code == ProblemCode::ConfigUnheld);
    configure(&bed, &signers, "\"BE\", \"US\"");
    for is_removed in [false, true] {
        match is_removed {
            false => fs::write(&last, "nonsense").unwrap(),
            true => fs::remove_file(&last).unwrap(),
        }
        let daemon = bed.start(&[]).unwrap();
        let why = refused(&bed).unwrap();
        assert!(why.contains("newly lets pass: the pin mail (permit)"), "removed: {is_removed}: {why}");
        assert_eq!((passes(&bed), unheld()), ([true, false], None));
        daemon.kill(PATIENCE).unwrap();
    }
    // Also where it is removed under a daemon that runs.
    let _daemon = bed.start(&[]).unwrap();
    let _gone = fs::remove_file(&last);
    assert!(!bed.ask(&["reload"]).unwrap().is_done());
    assert_eq!(passes(&bed), [true, false]);
}

/// A start by a file that is broken goes by what was taken last, whatever somebody has put there meanwhile; and whoever puts another
/// file in the broken one's place has that signed first.
#[test]
#[ignore = "needs root and BPF"]
fn a_start_by_a_broken_file_goes_by_the_config_taken_last_until_another_one_is_signed() {
    let bed = Bed::new("e2e-broken").unwrap();
    let signers = Signers::new(&bed.file("")).unwrap();
    configure(&bed, &signers, "\"BE\", \"US\"");
    let wide = fs::read(bed.config()).unwrap();
    configure(&bed, &signers, "\"BE\"");
    let narrow = fs::read(bed.config()).unwrap();
    bed.start(&[]).unwrap().kill(PATIENCE).unwrap();
    let (state, narrow_text) = (bed.file("state"), String::from_utf8(narrow.clone()).unwrap());
    let honest = last_policy::read(&state).unwrap().unwrap();
    assert_eq!(honest.bytes, narrow);
    let forged = LastPolicy { bytes: wide.clone(), ..honest.clone() };
    // One that says where socket and state are, and is no config.
    let broken = narrow_text.replace("action = \"drop\"", "action = \"dorp\"");
    for (kept, why) in
        [(&honest, "the one that is kept as taken last goes on"), (&forged, "the pin mail (permit)")]
    {
        // As after a reboot, so that nothing but the start guards.
        bed.tell(&["detach"]).unwrap();
        last_policy::write(&state, kept).unwrap();
        fs::write(bed.config(), &broken).unwrap();
        let daemon = bed.start(&[]).unwrap();
        let told = refused(&bed).unwrap();
        assert!(told.contains("dorp") && told.contains(why), "{told}");
        assert_eq!(passes(&bed), [true, false], "{told}");
        daemon.kill(PATIENCE).unwrap();
    }
    // Another file that can be used, and opens: it is held against the one in force, as any other is.
    bed.tell(&["detach"]).unwrap();
    last_policy::write(&state, &honest).unwrap();
    fs::write(bed.config(), &wide).unwrap();
    let daemon = bed.start(&[]).unwrap();
    let told = refused(&bed).unwrap();
    assert!(told.contains("the pin mail (permit)") && told.contains("1 as \"compliance\""), "{told}");
    assert_eq!(passes(&bed), [true, false]);
    daemon.kill(PATIENCE).unwrap();
    signers.sign(COMPLIANCE, POLICY, &bed.config()).unwrap();
    let _daemon = bed.start(&[]).unwrap();
    assert_eq!((passes(&bed), refused(&bed)), ([true, true], None));
}

/// Where `status` says that the config was held against none.
fn unheld(bed: &Bed) -> bool {
    bed.status().unwrap().problems.iter().any(|it| it.code == ProblemCode::ConfigUnheld)
}

/// Somebody else holds the store while the daemon starts, so that nobody can say what was in force and which keys are
/// revoked: no signature counts, and what opened meanwhile goes back once the store can be read.
#[test]
#[ignore = "needs root and BPF"]
fn what_opens_while_the_store_is_late_goes_back_when_it_is_there() {
    let bed = Bed::new("e2e-late").unwrap();
    let signers = Signers::new(&bed.file("")).unwrap();
    configure(&bed, &signers, "\"BE\"");
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(passes(&bed), [true, false]);
    daemon.kill(PATIENCE).unwrap();
    let store = || fs::File::open(bed.file("state/store.redb")).unwrap();

    // One who may sign what compliance has to sign, for the config says so itself.
    configure(&bed, &signers, "\"BE\", \"US\"");
    let by_legal = fs::read_to_string(bed.config()).unwrap();
    let by_legal = by_legal.replace(
        "required = [{ role = \"compliance\", count = 1 }]\n",
        "required = [{ role = \"legal\", count = 1 }]\n",
    );
    fs::write(bed.config(), by_legal).unwrap();
    signers.sign(LEGAL, POLICY, &bed.config()).unwrap();
    fs::remove_file(bed.file("state/policy.last")).unwrap();
    let held = store();
    held.lock().unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(passes(&bed), [true, true], "a host without a guard lets everything pass");
    assert!(unheld(&bed));
    let reloaded = bed.ask(&["reload"]).unwrap();
    assert!(unheld(&bed), "{reloaded:?}");
    // Orders that only this daemon has.
    for words in [
        &["exemption", "stay", "--all", "--order", "L10", "--not-loaded"][..],
        &["instrument", "invalidate", "MLAT 9", "--why", "it fell", "--not-loaded"],
        &["approval", "revoke", &signers.fingerprint(COMPLIANCE).unwrap(), "--why", "lost"],
    ] {
        let answer = bed.ask(words).unwrap();
        assert!(!answer.is_done() && answer.complaint.contains("could not be kept"), "{answer:?}");
    }
    drop(held);
    retry_until(Duration::from_secs(30), "the config in force to go on", || {
        (passes(&bed) == [true, false]).then_some(())
    })
    .unwrap();
    let why = refused(&bed).unwrap();
    assert!(why.contains("newly lets pass: the pin mail (permit)") && !unheld(&bed), "{why}");
    let kinds: Vec<String> = bed.trail().unwrap().into_iter().map(|record| record.kind).collect();
    for kind in ["stay", "invalidate", "revoke-key"] {
        assert!(kinds.iter().any(|it| it == kind), "{kind}: {kinds:?}");
    }
    daemon.kill(PATIENCE).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!((passes(&bed), refused(&bed).is_some()), ([true, false], true));
    daemon.kill(PATIENCE).unwrap();

    // The key that was revoked meanwhile signs nothing, whether the store is there or not.
    configure(&bed, &signers, "\"BE\", \"US\"");
    signers.sign(COMPLIANCE, POLICY, &bed.config()).unwrap();
    for is_late in [true, false] {
        let held = store();
        if is_late {
            held.lock().unwrap();
        }
        let daemon = bed.start(&[]).unwrap();
        assert_eq!((passes(&bed), refused(&bed).is_some()), ([true, false], true), "late: {is_late}");
        drop(held);
        std::thread::sleep(Duration::from_secs(3));
        assert!(!bed.ask(&["reload"]).unwrap().is_done());
        assert_eq!(passes(&bed), [true, false]);
        daemon.kill(PATIENCE).unwrap();
    }
}
