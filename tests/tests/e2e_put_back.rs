//! What root puts back, forges or breaks between a stop and a start, so that the daemon takes it for what was in force:
//! judged by what a client elsewhere receives, and by what `status` says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use guard_tests::bed::{Bed, Family, MAIL_PORT, PATIENCE, PIN, US};
use guard_tests::geo_file;
use guard_tests::proc::retry_until;
use guard_tests::signing::{COMPLIANCE, LEGAL, Signers};
use guard_user::approval::POLICY;
use guard_user::geo::mmdb;
use guard_user::health::ProblemCode;
use guard_user::store::{last_database, sha256};
use rustix::process::Signal;

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

/// Puts this database in the place of the config's.
fn put_database(bed: &Bed, country: &'static str) {
    fs::write(bed.file("geo.new"), database(country)).unwrap();
    fs::rename(bed.file("geo.new"), bed.file("geo.mmdb")).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn a_database_and_a_config_that_are_changed_at_once_hide_nothing_of_each_other() {
    let (bed, _signers) = stopped("pb-both");
    let honest = fs::read_to_string(bed.config()).unwrap();
    let site = "[[site]]\nname = \"boston\"\njurisdiction = \"BE\"\ncidrs = [\"203.0.113.0/24\"]\n[[pin]]";
    let moved = honest.replacen("[[pin]]", site, 1);
    let permits = honest.replacen("permit = [", "permit = [\"US\", ", 1);
    for text in [&moved, &permits] {
        // By a reload, and by a start; and when the honest database is back, nothing is left of it.
        fs::write(bed.config(), &honest).unwrap();
        let daemon = bed.start(&[]).unwrap();
        put_database(&bed, "BE");
        fs::write(bed.config(), text).unwrap();
        assert!(!bed.ask(&["reload"]).unwrap().is_done());
        assert_eq!(arrived(&bed), 0);
        put_database(&bed, "US");
        let _answer = bed.ask(&["reload"]).unwrap();
        assert_eq!((arrived(&bed), has(&bed, ProblemCode::ConfigRefused)), (0, true));
        daemon.kill(PATIENCE).unwrap();
        put_database(&bed, "BE");
        let daemon = bed.start(&[]).unwrap();
        assert_eq!((arrived(&bed), has(&bed, ProblemCode::ConfigRefused)), (0, true));
        put_database(&bed, "US");
        let _answer = bed.ask(&["reload"]).unwrap();
        assert_eq!((arrived(&bed), has(&bed, ProblemCode::ConfigRefused)), (0, true));
        daemon.kill(PATIENCE).unwrap();
    }
}

#[test]
#[ignore = "needs root and BPF"]
fn a_config_that_was_replaced_takes_new_signatures() {
    let (bed, signers) = stopped("pb-replayed");
    let narrow = fs::read_to_string(bed.config()).unwrap();
    let wide = narrow.replacen("permit = [", "permit = [\"US\", ", 1);
    let daemon = bed.start(&[]).unwrap();
    let take = |text: &str| {
        fs::write(bed.config(), text).unwrap();
        bed.ask(&["reload"]).unwrap()
    };
    fs::write(bed.config(), &wide).unwrap();
    signers.sign(COMPLIANCE, POLICY, &bed.config()).unwrap();
    assert!(take(&wide).is_done());
    assert_eq!(arrived(&bed), 5);
    assert!(take(&narrow).is_done());
    assert_eq!(arrived(&bed), 0);
    assert!(!take(&wide).is_done());
    assert_eq!(arrived(&bed), 0);
    daemon.kill(PATIENCE).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!((arrived(&bed), has(&bed, ProblemCode::ConfigRefused)), (0, true));
    let anew = format!("# 2026-11-29\n{wide}");
    fs::write(bed.config(), &anew).unwrap();
    signers.sign(COMPLIANCE, POLICY, &bed.config()).unwrap();
    assert!(take(&anew).is_done());
    assert_eq!(arrived(&bed), 5);
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

/// Has the files of one of these folders, and the config, under another name; the store itself is not among them where it is
/// locked.
fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Who keeps the store locked has another config, or another geo database, judge for a while, kills the daemon, and puts all
/// files back.
#[test]
#[ignore = "needs root and BPF"]
fn what_was_live_while_the_store_was_locked_is_known_when_all_is_put_back() {
    for (name, is_config) in [("pb-locked", true), ("pb-locked-geo", false)] {
        let (bed, signers) = stopped(name);
        let places = ["", "state", "state-mark"];
        for place in places {
            copy_files(&bed.file(place), &bed.file(&format!("kept/{place}")));
        }
        match is_config {
            true => {
                configure(&bed, &signers, ("legal", "US"));
                signers.sign(LEGAL, POLICY, &bed.config()).unwrap();
                fs::remove_file(bed.file("state/policy.last")).unwrap();
            }
            false => {
                put_database(&bed, "BE");
                fs::remove_file(bed.file("state/geo.last")).unwrap();
            }
        }
        let other = sha256(&fs::read(bed.config()).unwrap());
        let store = fs::File::open(bed.file("state/store.redb")).unwrap();
        store.lock().unwrap();
        let daemon = bed.start(&[]).unwrap();
        assert_eq!(arrived(&bed), 5, "a host without a guard lets everything pass");
        retry_until(PATIENCE, "the note", || {
            let text = fs::read_to_string(bed.file("state-mark/high-water.json")).unwrap();
            text.contains("config_sha256").then_some(())
        })
        .unwrap();
        // What closes is taken all the same.
        let answer = bed.ask(&["reload"]).unwrap();
        assert!(
            answer.is_done() && answer.out.contains("the audit trail has no record of it yet"),
            "{answer:?}"
        );
        daemon.signal(Signal::KILL);
        daemon.wait(PATIENCE).unwrap();
        drop(store);
        for place in places {
            copy_files(&bed.file(&format!("kept/{place}")), &bed.file(place));
        }
        for _ in 0..2 {
            let daemon = bed.start(&[]).unwrap();
            assert_eq!((arrived(&bed), has(&bed, ProblemCode::ConfigUnrecorded)), (0, true));
            daemon.kill(PATIENCE).unwrap();
        }
        let daemon = bed.start(&[]).unwrap();
        let trail = bed.trail().unwrap();
        let found: Vec<_> = trail.iter().filter(|it| it.kind == "unrecorded").collect();
        assert!(matches!(&found[..], [it] if it.detail["config_sha256"] == other.as_str()), "{found:?}");
        let report = bed.tell(&["report", "--format", "json"]).unwrap();
        assert!(report.contains(&format!("the first of them was that of the SHA-256 {other}")), "{report}");
        bed.tell(&["reload"]).unwrap();
        assert!(!has(&bed, ProblemCode::ConfigUnrecorded));
        daemon.kill(PATIENCE).unwrap();
        let daemon = bed.start(&[]).unwrap();
        assert!(!has(&bed, ProblemCode::ConfigUnrecorded));
        daemon.kill(PATIENCE).unwrap();
    }
}

/// Where nobody is asked, a reload is judged by nobody: what was live while the store was locked is another config.
#[test]
#[ignore = "needs root and BPF"]
fn a_reload_that_nobody_judged_while_the_store_was_locked_is_known_afterwards() {
    let bed = Bed::new("pb-unjudged").unwrap();
    bed.configure(PIN).unwrap();
    let honest = fs::read_to_string(bed.config()).unwrap();
    bed.start(&[]).unwrap().kill(PATIENCE).unwrap();
    let store = fs::File::open(bed.file("state/store.redb")).unwrap();
    store.lock().unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(arrived(&bed), 0, "the config in force");
    let wide = honest.replacen("permit = [", "permit = [\"US\", ", 1);
    fs::write(bed.config(), &wide).unwrap();
    assert!(bed.ask(&["reload"]).unwrap().is_done());
    assert_eq!(arrived(&bed), 5);
    let noted = || {
        let text = fs::read_to_string(bed.file("state-mark/high-water.json")).ok()?;
        text.contains(&sha256(wide.as_bytes())).then_some(())
    };
    retry_until(PATIENCE, "the note", noted).unwrap();
    fs::write(bed.config(), &honest).unwrap();
    assert!(bed.ask(&["reload"]).unwrap().is_done());
    assert_eq!(arrived(&bed), 0);
    daemon.signal(Signal::KILL);
    daemon.wait(PATIENCE).unwrap();
    drop(store);
    let daemon = bed.start(&[]).unwrap();
    assert!(has(&bed, ProblemCode::ConfigUnrecorded));
    let trail = bed.trail().unwrap();
    let is_it = |detail: &serde_json::Map<String, serde_json::Value>| {
        detail["config_sha256"] == sha256(wide.as_bytes()).as_str() && detail["other"] == true
    };
    assert!(trail.iter().any(|it| it.kind == "unrecorded" && is_it(&it.detail)), "{trail:?}");
    daemon.kill(PATIENCE).unwrap();
}

/// A config that asks nobody takes the place of one that does, where nothing can be read of that one.
#[test]
#[ignore = "needs root and BPF"]
fn a_config_without_approvals_that_was_held_against_none_is_told_and_held_later() {
    let (bed, _signers) = stopped("pb-none");
    let asking = fs::read_to_string(bed.config()).unwrap();
    let file = bed.file("geo.mmdb");
    let geo = format!("[geo]\nfiles = [{file:?}]\nmax_age = \"36500d\"\nask_above = \"never\"\n");
    bed.configure(&format!("{PIN}{geo}")).unwrap();
    let none = fs::read_to_string(bed.config()).unwrap().replacen("permit = [", "permit = [\"US\", ", 1);
    fs::write(bed.config(), &none).unwrap();
    fs::remove_file(bed.file("state/policy.last")).unwrap();
    let store = fs::File::open(bed.file("state/store.redb")).unwrap();
    store.lock().unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(arrived(&bed), 5, "a host without a guard lets everything pass");
    assert!(has(&bed, ProblemCode::ConfigUnheld));
    drop(store);
    let goes_on = || (arrived(&bed) == 0 && has(&bed, ProblemCode::ConfigRefused)).then_some(());
    retry_until(Duration::from_secs(30), "the config in force to go on", goes_on).unwrap();
    daemon.kill(PATIENCE).unwrap();
    // With the config that asks in its place all is well again.
    fs::write(bed.config(), asking).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!((arrived(&bed), has(&bed, ProblemCode::ConfigRefused)), (0, false));
    daemon.kill(PATIENCE).unwrap();
}
