//! What root puts back, forges or breaks between a stop and a start, so that the daemon takes it for what was in force:
//! judged by what a client elsewhere receives, and by what `status` says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use guard_tests::bed::{Bed, Family, MAIL_PORT, PATIENCE, PIN, US};
use guard_tests::geo_file;
use guard_tests::proc::retry_until;
use guard_tests::signing::{LEGAL, Signers};
use guard_user::approval::POLICY;
use guard_user::geo::mmdb;
use guard_user::health::ProblemCode;
use guard_user::store::last_database;

/// What Boston's networks are in, by a database.
fn database(country: &'static str) -> Vec<u8> {
    geo_file::countries(&[("203.0.113.0/24", country), ("2001:db8:3::/64", country)]).unwrap()
}

/// The pin, and the sites without Boston's, whose place is the database's; whoever has this role signs the next config. `more` is
/// permitted beside.
fn configure(bed: &Bed, signers: &Signers, (role, more): (&str, &str)) {
    let file = bed.file("geo.mmdb");
    let geo = format!("[geo]\nfiles = [{file:?}]\nmax_age = \"36500d\"\nask_above = \"never\"\n");
    let asked = format!("[approval.policy]\nrequired = [{{ role = {role:?}, count = 1 }}]\n");
    bed.configure(&format!("{PIN}{geo}{}{asked}", signers.config())).unwrap();
    let text = fs::read_to_string(bed.config()).unwrap();
    let (before, site) = text.split_once("[[site]]\nname = \"boston\"").unwrap();
    let (_, after) = site.split_once("[[pin]]").unwrap();
    let after = match more {
        "" => after.to_owned(),
        more => after.replacen("permit = [", &format!("permit = [{more:?}, "), 1),
    };
    fs::write(bed.config(), format!("{before}[[pin]]{after}")).unwrap();
}

/// What arrives in Boston of five datagrams.
fn arrived(bed: &Bed) -> u64 {
    bed.send(5, MAIL_PORT, US, Family::V4).unwrap()
}

fn has(bed: &Bed, code: ProblemCode) -> bool {
    bed.status().unwrap().problems.iter().any(|problem| problem.code == code)
}

/// A host on which a guard was at work that let nothing to Boston, and is stopped.
fn stopped(name: &str) -> (Bed, Signers) {
    let bed = Bed::new(name).unwrap();
    let signers = Signers::new(&bed.file("")).unwrap();
    fs::write(bed.file("geo.mmdb"), database("US")).unwrap();
    configure(&bed, &signers, ("compliance", ""));
    let daemon = bed.start(&[]).unwrap();
    let kept = bed.file("state").join(last_database::FILE);
    retry_until(PATIENCE, "the database to be kept", || kept.exists().then_some(())).unwrap();
    assert_eq!(arrived(&bed), 0);
    daemon.kill(PATIENCE).unwrap();
    (bed, signers)
}

#[test]
#[ignore = "needs root and BPF"]
fn a_database_that_is_forged_beside_a_broken_file_is_none_that_was_kept() {
    let (bed, _signers) = stopped("pb-forged");
    let forged = mmdb::parse(&database("BE"), Path::new("forged.mmdb")).unwrap();
    last_database::write(&bed.file("state"), &forged).unwrap();
    fs::write(bed.file("geo.mmdb"), &database("US")[..100]).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(arrived(&bed), 0);
    assert!(has(&bed, ProblemCode::LastDatabase));
    daemon.kill(PATIENCE).unwrap();
    // The next start does not know it either, whatever the config's file is.
    fs::write(bed.file("geo.mmdb"), database("BE")).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert!(has(&bed, ProblemCode::DatabaseUnheld));
    daemon.kill(PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn other_databases_are_not_taken_where_those_in_force_are_gone() {
    let (bed, _signers) = stopped("pb-other");
    let config = fs::read_to_string(bed.config()).unwrap();
    let (before, geo) = config.split_once("[geo]\n").unwrap();
    let (_, after) = geo.split_once("ask_above = \"never\"\n").unwrap();
    let embedded = format!("{before}{after}");
    // By a start, which goes on by the config in force; and by a reload.
    fs::remove_file(bed.file("state/geo.last")).unwrap();
    fs::write(bed.config(), &embedded).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert!(has(&bed, ProblemCode::ConfigRefused));
    assert_eq!(arrived(&bed), 0);
    let _gone = fs::remove_file(bed.file("state/geo.last"));
    assert!(!bed.ask(&["reload"]).unwrap().is_done());
    assert!(has(&bed, ProblemCode::ConfigRefused));
    assert_eq!(arrived(&bed), 0);
    daemon.kill(PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn what_could_not_be_held_at_once_is_held_later() {
    let (bed, signers) = stopped("pb-hold");
    configure(&bed, &signers, ("legal", "US"));
    signers.sign(LEGAL, POLICY, &bed.config()).unwrap();
    fs::remove_file(bed.file("state/policy.last")).unwrap();
    let store = fs::File::open(bed.file("state/store.redb")).unwrap();
    store.lock().unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(arrived(&bed), 5, "a host without a guard lets everything pass");
    assert!(has(&bed, ProblemCode::ConfigUnheld));
    // Nothing can be compared when the store can be read.
    fs::write(bed.file("geo.new"), &database("US")[..100]).unwrap();
    fs::rename(bed.file("geo.new"), bed.file("geo.mmdb")).unwrap();
    fs::rename(bed.file("state/geo.last"), bed.file("geo.last.kept")).unwrap();
    drop(store);
    retry_until(Duration::from_secs(30), "a refusal", || has(&bed, ProblemCode::ConfigRefused).then_some(()))
        .unwrap();
    assert!(has(&bed, ProblemCode::ConfigUnheld));
    fs::rename(bed.file("geo.last.kept"), bed.file("state/geo.last")).unwrap();
    fs::write(bed.file("geo.new"), database("US")).unwrap();
    fs::rename(bed.file("geo.new"), bed.file("geo.mmdb")).unwrap();
    let _answer = bed.ask(&["reload"]).unwrap();
    retry_until(Duration::from_secs(30), "the config in force to go on", || {
        (arrived(&bed) == 0).then_some(())
    })
    .unwrap();
    daemon.kill(PATIENCE).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!((arrived(&bed), has(&bed, ProblemCode::ConfigRefused)), (0, true));
    daemon.kill(PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn an_older_store_does_not_say_what_was_in_force() {
    let bed = Bed::new("pb-older").unwrap();
    let signers = Signers::new(&bed.file("")).unwrap();
    fs::write(bed.file("geo.mmdb"), database("US")).unwrap();
    configure(&bed, &signers, ("compliance", "US"));
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(arrived(&bed), 5);
    daemon.kill(PATIENCE).unwrap();
    let wide = fs::read(bed.config()).unwrap();
    let copy = |from: &str, to: &str| {
        fs::create_dir_all(bed.file(to)).unwrap();
        for entry in fs::read_dir(bed.file(from)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), bed.file(to).join(entry.file_name())).unwrap();
            }
        }
    };
    copy("state", "state.wide");
    // What closes asks nobody.
    configure(&bed, &signers, ("compliance", ""));
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(arrived(&bed), 0);
    daemon.kill(PATIENCE).unwrap();
    fs::remove_file(bed.file("state/policy.last")).unwrap();
    copy("state.wide", "state");
    fs::remove_file(bed.file("state/policy.last")).unwrap();
    fs::write(bed.config(), wide).unwrap();
    for _ in 0..2 {
        let daemon = bed.start(&[]).unwrap();
        assert!(has(&bed, ProblemCode::ConfigUnheld), "it is told over restarts");
        daemon.kill(PATIENCE).unwrap();
    }
}
