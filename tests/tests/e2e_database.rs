//! A start that can't read its geo database guards all the same: with the last one that was good, and with what the
//! present config says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;

use guard_tests::bed::{BELGIUM, Bed, Family, MAIL_PORT, PATIENCE, PIN, US};
use guard_tests::geo_file;
use guard_tests::netns::HOST_INTERFACE;
use guard_tests::proc::retry_until;
use guard_user::health::ProblemCode;
use guard_user::store::last_database;

/// Addresses of the US host that a database can place: those for documentation only a site can.
const BOSTON: [&str; 2] = ["192.88.99.10", "4000:db8:3::10"];
const BOSTON_NETWORKS: [&str; 2] = ["192.88.99.0/24", "4000:db8:3::/64"];

fn bed() -> Bed {
    let bed = Bed::new("database").unwrap();
    for (at, router, bits) in [(BOSTON[0], "192.88.99.1", 24), (BOSTON[1], "4000:db8:3::1", 64)] {
        bed.host(US).unwrap().add_address(HOST_INTERFACE, format!("{at}/{bits}").parse().unwrap()).unwrap();
        bed.router().add_address("port2", format!("{router}/{bits}").parse().unwrap()).unwrap();
    }
    bed
}

/// The pin, and the sites without Boston's or with it in this country.
fn configure(bed: &Bed, boston: Option<&str>) {
    let geo = format!("[geo]\nfiles = [{:?}]\nmax_age = \"36500d\"\n", bed.file("geo.mmdb"));
    bed.configure(&format!("{PIN}{geo}")).unwrap();
    let text = fs::read_to_string(bed.config()).unwrap();
    let (before, site) = text.split_once("[[site]]\nname = \"boston\"").unwrap();
    let (site, after) = site.split_once("[[pin]]").unwrap();
    let site = boston.map(|country| {
        let site = site.replace("\"US\"", &format!("{country:?}"));
        let site =
            site.replace("203.0.113.0/24", BOSTON_NETWORKS[0]).replace("2001:db8:3::/64", BOSTON_NETWORKS[1]);
        format!("[[site]]\nname = \"boston\"{site}")
    });
    fs::write(bed.config(), format!("{before}{}[[pin]]{after}", site.unwrap_or_default())).unwrap();
}

fn write_database(bed: &Bed) {
    let networks = BOSTON_NETWORKS.map(|network| (network, "US"));
    fs::write(bed.file("geo.mmdb"), geo_file::countries(&networks).unwrap()).unwrap();
}

fn remove_database(bed: &Bed) {
    fs::remove_file(bed.file("geo.mmdb")).unwrap();
}

/// What arrives of five datagrams to each host, and what the daemon says of its database.
fn seen(bed: &Bed) -> ([u64; 2], Option<String>) {
    let boston = BOSTON.map(|at| bed.send_at(5, MAIL_PORT, US, at.parse().unwrap()).unwrap());
    let belgium = Family::ALL.map(|family| bed.send(5, MAIL_PORT, BELGIUM, family).unwrap());
    let arrived = [boston, belgium].map(|counts| {
        assert_eq!(counts[0], counts[1]);
        counts[0]
    });
    let mut problems = bed.status().unwrap().problems.into_iter();
    (arrived, problems.find(|it| it.code == ProblemCode::LastDatabase).map(|it| it.message))
}

#[test]
#[ignore = "needs root and BPF"]
fn a_start_without_its_database_takes_the_last_one_and_the_present_sites() {
    let bed = bed();
    write_database(&bed);
    configure(&bed, Some("BE"));
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(seen(&bed), ([5, 5], None), "the config has Boston in Belgium");
    let kept = bed.file("state").join(last_database::FILE);
    daemon.wait_for(PATIENCE, "the database to be kept", || Some(()).filter(|()| kept.exists())).unwrap();
    daemon.kill(PATIENCE).unwrap();

    // The config is corrected, and the file is gone: what the kernel has is of the site's time.
    configure(&bed, None);
    remove_database(&bed);
    let daemon = bed.start(&[]).unwrap();
    let (arrived, why) = seen(&bed);
    assert_eq!(arrived, [0, 5], "{why:?}");
    assert!(why.unwrap().contains("The last one that was good is in force: "));
    daemon.kill(PATIENCE).unwrap();

    // As after a reboot.
    bed.tell(&["detach"]).unwrap();
    let daemon = bed.start(&[]).unwrap();
    assert_eq!(seen(&bed).0, [0, 5]);
    daemon.kill(PATIENCE).unwrap();

    // Without either the kernel's tables go on, and the problem says what does not count.
    fs::write(&kept, "nothing of the kind").unwrap();
    let daemon = bed.start(&[]).unwrap();
    let (arrived, why) = seen(&bed);
    assert_eq!(arrived, [0, 5], "{why:?}");
    assert!(why.unwrap().contains("a change of those does not count yet"));
    write_database(&bed);
    bed.tell(&["reload"]).unwrap();
    assert_eq!(seen(&bed), ([0, 5], None));

    // The reload has it kept again, once the disk takes it.
    let is_kept = || last_database::read(&bed.file("state")).ok().flatten().map(drop);
    retry_until(PATIENCE, "the database to be kept", is_kept).unwrap();
    let in_the_way = bed.file("state").join(format!("{}.new", last_database::FILE));
    fs::create_dir_all(in_the_way.join("folder")).unwrap();
    fs::remove_file(&kept).unwrap();
    bed.tell(&["reload"]).unwrap();
    let codes = || -> Vec<ProblemCode> { bed.status().unwrap().problems.iter().map(|it| it.code).collect() };
    let is = |wanted: &'static [ProblemCode]| move || (codes() == wanted).then_some(());
    retry_until(PATIENCE, "the problem", is(&[ProblemCode::StoreUnwritable])).unwrap();
    fs::remove_dir_all(&in_the_way).unwrap();
    retry_until(PATIENCE, "it to be mended", is(&[])).unwrap();
    assert!(is_kept().is_some());
    daemon.kill(PATIENCE).unwrap();

    bed.tell(&["detach"]).unwrap();
    remove_database(&bed);
    fs::write(&kept, "nothing of the kind").unwrap();
    let daemon = bed.spawn(&[]).unwrap();
    daemon.wait(PATIENCE).unwrap();
    let said = daemon.stderr();
    for words in ["NOTHING is guarded", "geo.mmdb", "geo.last: the last geo database is damaged"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}
