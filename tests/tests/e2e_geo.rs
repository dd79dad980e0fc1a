//! Geo databases that are replaced while the daemon runs: taken whole, or not at all, and what changes much with a yes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs::{self, OpenOptions};
use std::io::{Seek as _, Write as _};
use std::time::Duration;

use guard_tests::bed::{Bed, Family, MAIL_PORT, PATIENCE, PIN, US};
use guard_tests::geo_file;
use guard_tests::proc::retry_until;
use guard_tests::signing::{COMPLIANCE, LEGAL, Signers};
use guard_user::approval::GEO;
use guard_user::digest::sha256;
use guard_user::health::ProblemCode;

/// What Boston's networks are in, by a database.
fn database(country: &'static str) -> Vec<u8> {
    geo_file::countries(&[("203.0.113.0/24", country), ("2001:db8:3::/64", country)]).unwrap()
}

/// The pin, and the sites without Boston's: its place is the database's.
fn configure(bed: &Bed, ask_above: &str) {
    let file = bed.file("geo.mmdb");
    let geo = format!("[geo]\nfiles = [{file:?}]\nmax_age = \"36500d\"\nask_above = {ask_above:?}\n");
    bed.configure(&format!("{PIN}{geo}")).unwrap();
    let text = fs::read_to_string(bed.config()).unwrap();
    let (before, site) = text.split_once("[[site]]\nname = \"boston\"").unwrap();
    let (_, after) = site.split_once("[[pin]]").unwrap();
    fs::write(bed.config(), format!("{before}[[pin]]{after}")).unwrap();
}

fn rename_into_place(bed: &Bed, content: &[u8]) {
    fs::write(bed.file("geo.new"), content).unwrap();
    fs::rename(bed.file("geo.new"), bed.file("geo.mmdb")).unwrap();
}

/// What arrives in Boston of five datagrams by each family.
fn arrived(bed: &Bed) -> [u64; 2] {
    Family::ALL.map(|family| bed.send(5, MAIL_PORT, US, family).unwrap())
}

fn codes(bed: &Bed) -> Vec<ProblemCode> {
    bed.status().unwrap().problems.iter().map(|problem| problem.code).collect()
}

/// Waits until another generation than this one is live, and says which.
fn wait_for_another(bed: &Bed, generation: u64) -> u64 {
    let another = || Some(bed.status().ok()?.generation).filter(|now| *now != generation);
    retry_until(PATIENCE, "another generation", another).unwrap()
}

fn wait_for(bed: &Bed, wanted: &[ProblemCode]) {
    retry_until(PATIENCE, "the problems", || (codes(bed) == wanted).then_some(())).unwrap();
}

/// Longer than a file has to be left alone.
fn a_while() {
    std::thread::sleep(Duration::from_secs(4));
}

#[test]
#[ignore = "needs root and BPF"]
fn a_replaced_file_is_taken_whole_and_without_the_config() {
    let bed = Bed::new("geo").unwrap();
    fs::write(bed.file("geo.mmdb"), database("US")).unwrap();
    configure(&bed, "never");
    let daemon = bed.start(&[]).unwrap();
    let mut generation = bed.status().unwrap().generation;
    assert_eq!(arrived(&bed), [0, 0]);

    // As geoipupdate does it, while somebody edits the config.
    let config = fs::read_to_string(bed.config()).unwrap();
    fs::write(bed.config(), format!("{config}[nothing]\nof = \"the kind\"\n")).unwrap();
    rename_into_place(&bed, &database("BE"));
    generation = wait_for_another(&bed, generation);
    assert_eq!((arrived(&bed), codes(&bed)), ([5, 5], vec![]));
    fs::write(bed.config(), config).unwrap();

    // In place, over the old bytes: the file is a whole database at every moment, and half of it is the old one.
    let (old, new) = (database("BE"), database("US"));
    assert_eq!(old.len(), new.len());
    let differ = old.iter().zip(&new).position(|(old, new)| old != new).unwrap();
    let mut file = OpenOptions::new().write(true).open(bed.file("geo.mmdb")).unwrap();
    file.write_all(&new[..=differ]).unwrap();
    a_while();
    assert_eq!((bed.status().unwrap().generation, arrived(&bed)), (generation, [5, 5]));
    let refused = bed.ask(&["reload"]).unwrap();
    assert!(!refused.status.success() && refused.complaint.contains("is being written"), "{refused:?}");
    assert_eq!(
        (bed.status().unwrap().generation, codes(&bed)),
        (generation, vec![ProblemCode::ConfigRefused])
    );
    file.rewind().unwrap();
    file.write_all(&new).unwrap();
    drop(file);
    generation = wait_for_another(&bed, generation);
    assert_eq!(arrived(&bed), [0, 0]);
    bed.tell(&["reload"]).unwrap();
    assert_eq!(codes(&bed), []);
    generation = bed.status().unwrap().generation.max(generation);

    // What can't be used is told, and what was read before goes on and is kept for a start.
    rename_into_place(&bed, &new[..new.len() / 2]);
    wait_for(&bed, &[ProblemCode::DatabaseRefused]);
    assert_eq!((bed.status().unwrap().generation, arrived(&bed)), (generation, [0, 0]));
    let only_ipv4 = geo_file::countries(&[("203.0.113.0/24", "BE")]).unwrap();
    rename_into_place(&bed, &only_ipv4);
    let said = |words: &str| {
        let problems = bed.status().unwrap().problems;
        problems.iter().any(|problem| problem.message.contains(words)).then_some(())
    };
    retry_until(PATIENCE, "the lack", || said("no IPv6")).unwrap();
    assert_eq!(arrived(&bed), [0, 0]);
    fs::remove_file(bed.file("geo.mmdb")).unwrap();
    retry_until(PATIENCE, "the absence", || said("can't be read")).unwrap();
    assert_eq!(arrived(&bed), [0, 0]);
    rename_into_place(&bed, &database("BE"));
    wait_for_another(&bed, generation);
    assert_eq!((arrived(&bed), codes(&bed)), ([5, 5], vec![]));
    daemon.kill(PATIENCE).unwrap();
}

#[test]
#[ignore = "needs root and BPF"]
fn what_changes_much_waits_for_a_yes_also_over_a_reload_and_a_start() {
    let bed = Bed::new("geoask").unwrap();
    fs::write(bed.file("geo.mmdb"), database("US")).unwrap();
    configure(&bed, "25%");
    let daemon = bed.start(&[]).unwrap();
    let kept = bed.file("state").join(guard_user::store::last_database::FILE);
    retry_until(PATIENCE, "the database to be kept", || kept.exists().then_some(())).unwrap();
    assert_eq!(arrived(&bed), [0, 0]);

    rename_into_place(&bed, &database("BE"));
    wait_for(&bed, &[ProblemCode::DatabaseWaits]);
    assert_eq!(arrived(&bed), [0, 0]);
    let said = bed.tell(&["reload"]).unwrap();
    assert!(said.contains("WAIT for a yes") && said.contains("50.0%"), "{said}");
    assert_eq!((arrived(&bed), codes(&bed)), ([0, 0], vec![ProblemCode::DatabaseWaits]));

    let diff = bed.ask(&["geo", "diff"]).unwrap();
    assert_eq!(diff.status.code(), Some(1), "{diff:?}");

    daemon.kill(PATIENCE).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!((arrived(&bed), codes(&bed)), ([0, 0], vec![ProblemCode::DatabaseWaits]));
    // As after a reboot.
    daemon.kill(PATIENCE).unwrap();
    bed.tell(&["detach"]).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!((arrived(&bed), codes(&bed)), ([0, 0], vec![ProblemCode::DatabaseWaits]));

    bed.tell(&["geo", "accept"]).unwrap();
    assert_eq!((arrived(&bed), codes(&bed)), ([5, 5], vec![]));
    let accepted = bed.trail().unwrap().into_iter().filter(|record| record.kind == "reload").any(|record| {
        record.detail.get("accepted").is_some_and(|accepted| accepted == &serde_json::json!(true))
    });
    assert!(accepted, "the trail has who said yes");

    // What would close waits as well, until the earlier file is back.
    rename_into_place(&bed, &database("US"));
    wait_for(&bed, &[ProblemCode::DatabaseWaits]);
    assert_eq!(arrived(&bed), [5, 5]);
    rename_into_place(&bed, &database("BE"));
    wait_for(&bed, &[]);
    daemon.kill(PATIENCE).unwrap();
}

/// Signs a database as its signers do, by name of the signer's key.
fn sign(bed: &Bed, signers: &Signers, who: &str) {
    signers.sign(who, GEO, &bed.file("geo.mmdb")).unwrap();
    fs::rename(bed.file("geo.mmdb.sig"), bed.file(&format!("geo.mmdb.{who}.sig"))).unwrap();
}

/// A host with Boston in the US, by a database whose successors legal has to sign where they open.
fn signed(label: &str) -> (Bed, Signers) {
    let bed = Bed::new(label).unwrap();
    let signers = Signers::new(&bed.file("")).unwrap();
    fs::write(bed.file("geo.mmdb"), database("US")).unwrap();
    configure(&bed, "never");
    let approvals =
        format!("{}[approval.policy]\nrequired = [{{ role = \"legal\", count = 1 }}]\n", signers.config());
    let text = fs::read_to_string(bed.config()).unwrap().replace("approval = \"none\"\n", "");
    fs::write(bed.config(), text + &approvals).unwrap();
    (bed, signers)
}

/// What it has opened goes on, and nobody may take that for approved.
#[test]
#[ignore = "needs root and BPF"]
fn a_live_database_that_a_revoked_key_has_signed_is_told_over_restarts() {
    let (bed, signers) = signed("geo-revoked");
    let daemon = bed.start(&[]).unwrap();
    rename_into_place(&bed, &database("BE"));
    wait_for(&bed, &[ProblemCode::DatabaseUnsigned]);
    sign(&bed, &signers, LEGAL);
    bed.tell(&["geo", "accept"]).unwrap();
    assert_eq!((arrived(&bed), codes(&bed)), ([5, 5], vec![]));
    let digest = sha256(&fs::read(bed.file("geo.mmdb")).unwrap());
    // Another one's key says nothing of it.
    let other = signers.fingerprint(COMPLIANCE).unwrap();
    bed.tell(&["approval", "revoke", &other, "--why", "it was lost"]).unwrap();
    assert_eq!(codes(&bed), []);
    let key = signers.fingerprint(LEGAL).unwrap();
    let said = bed.tell(&["approval", "revoke", &key, "--why", "it was stolen"]).unwrap();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let words = format!("the geo database {digest} (");
    assert!(said.contains(&words) && said.contains("goes on until"), "{said}");
    let told = || {
        let problems = bed.status().unwrap().problems.into_iter();
        problems
            .filter(|it| it.code == ProblemCode::ApprovalsMissing)
            .map(|it| it.message)
            .collect::<Vec<_>>()
    };
    let is_it = |told: &[String]| {
        let says = |it: &String| [&*words, &key, "that key is revoked"].iter().all(|part| it.contains(part));
        told.len() == 1 && told.iter().all(says)
    };
    assert!(is_it(&told()), "{:?}", told());
    daemon.kill(PATIENCE).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert!(is_it(&told()), "{:?}", told());
    assert_eq!(arrived(&bed), [5, 5], "it goes on");
    drop(daemon);
}

#[test]
#[ignore = "needs root and BPF"]
fn what_a_database_opens_waits_for_signatures_also_over_a_restart_and_without_the_one_before() {
    let (bed, signers) = signed("geo-signed");
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(
        (arrived(&bed), codes(&bed)),
        ([0, 0], vec![]),
        "the first database of a host is compared with none"
    );
    // Boston's networks are said to be in Belgium, and those of Brussels in the US: that one is a site's, and no database's.
    rename_into_place(&bed, &database("BE"));
    wait_for(&bed, &[ProblemCode::DatabaseUnsigned]);
    assert_eq!(arrived(&bed), [0, 0]);
    for command in [["geo", "accept"].as_slice(), &["reload"]] {
        let answer = bed.ask(command).unwrap();
        let words = format!("{}{}", answer.out, answer.complaint);
        assert!(
            words.contains("geo.may_open") && words.contains("1 as \"legal\""),
            "{command:?}: {answer:?}"
        );
        assert_eq!((arrived(&bed), codes(&bed)), ([0, 0], vec![ProblemCode::DatabaseUnsigned]));
    }
    drop(daemon);
    let daemon = bed.start(&[]).unwrap();
    assert_eq!((arrived(&bed), codes(&bed)), ([0, 0], vec![ProblemCode::DatabaseUnsigned]));
    sign(&bed, &signers, COMPLIANCE);
    assert!(!bed.ask(&["geo", "accept"]).unwrap().status.success(), "of another role");
    fs::remove_file(bed.file(&format!("geo.mmdb.{COMPLIANCE}.sig"))).unwrap();
    sign(&bed, &signers, LEGAL);
    let file = bed.file("geo.mmdb");
    let verify = ["policy", "verify", file.to_str().unwrap()];
    assert!(bed.ask(&verify).unwrap().status.success());
    bed.tell(&["geo", "accept"]).unwrap();
    assert_eq!((arrived(&bed), codes(&bed)), ([5, 5], vec![]));
    let approved = bed.trail().unwrap().into_iter().filter(|it| it.kind == "approval").count();
    assert_eq!(approved, 1);
    drop(daemon);
    // Whoever removes the one before is told of.
    fs::remove_file(bed.file("state/geo.last")).unwrap();
    fs::remove_file(bed.file(&format!("geo.mmdb.{LEGAL}.sig"))).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(codes(&bed), [ProblemCode::DatabaseUnheld]);
    for _ in 0..2 {
        bed.tell(&["reload"]).unwrap();
        assert_eq!(codes(&bed), [ProblemCode::DatabaseUnheld], "it is told until it is signed");
    }
    drop(daemon);
    // Nor does it end where both are gone, and the tables that the kernel has go on.
    let aside = bed.file("geo.aside");
    fs::rename(bed.file("geo.mmdb"), &aside).unwrap();
    let _it_may_not_be_written_yet = fs::remove_file(bed.file("state/geo.last"));
    let daemon = bed.start(&[]).unwrap();
    let told = codes(&bed);
    let both = [ProblemCode::DatabaseUnheld, ProblemCode::LastDatabase];
    assert!(both.iter().all(|code| told.contains(code)), "{told:?}");
    assert_eq!(arrived(&bed), [5, 5]);
    drop(daemon);
    fs::rename(&aside, bed.file("geo.mmdb")).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(codes(&bed), [ProblemCode::DatabaseUnheld]);
    assert!(bed.trail().unwrap().iter().any(|it| it.detail.contains_key("database_unheld")));
    sign(&bed, &signers, LEGAL);
    bed.tell(&["geo", "accept"]).unwrap();
    assert_eq!(codes(&bed), []);
    // Under a daemon that runs, what can't be compared is not taken, whoever removed the one before.
    rename_into_place(&bed, &database("US"));
    retry_until(PATIENCE, "what closes", || (arrived(&bed) == [0, 0]).then_some(())).unwrap();
    fs::remove_file(bed.file("state/geo.last")).unwrap();
    rename_into_place(&bed, &database("BE"));
    fs::remove_file(bed.file(&format!("geo.mmdb.{LEGAL}.sig"))).unwrap();
    a_while();
    bed.tell(&["reload"]).unwrap();
    assert_eq!(arrived(&bed), [0, 0]);
    assert!(codes(&bed).contains(&ProblemCode::DatabaseUnsigned), "{:?}", codes(&bed));
    drop(daemon);
}
