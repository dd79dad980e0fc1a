//! Whole databases.

use std::path::Path;
use std::time::{Duration, Instant};

use guard_common::jurisdiction::Jurisdiction;

use super::super::{World, openings};
use crate::compile::geo_image;
use crate::config::policy::Policy;
use crate::config::{Surroundings, parse};
use crate::geo::{Address, GeoDb, Runs, embedded};

const POLICY: &str = r#"approval = "none"
[host]
interfaces = ["eth0"]
[[failsafe]]
name = "ssh"
peers = ["10.1.250.0/24"]
local_ports = ["tcp/22"]
[[site]]
name = "dublin"
jurisdiction = "IE"
cidrs = ["10.1.0.0/16"]
[[pin]]
name = "mail"
home = "IE"
permit = ["EU"]
action = "drop"
[[pin.select]]
sources = ["10.1.0.10/32"]
ports = ["tcp/143", "tcp/993"]
[[pin.select]]
cgroups = ["mail.slice"]
[[pin]]
name = "files"
home = "FR"
action = "flag"
select.ports = ["tcp/445"]
"#;

/// A tenth of the runs are in Ireland.
fn a_tenth_moved<K: Address>(runs: &Runs<K>, ireland: Jurisdiction) -> Runs<K> {
    let mut moved = Runs::unknown();
    for (number, (start, place)) in runs.iter().enumerate() {
        moved.push(start, if number % 10 == 3 { ireland } else { place });
    }
    moved
}

fn best_of_two(work: impl Fn()) -> Duration {
    let once = || {
        let begun = Instant::now();
        work();
        begun.elapsed()
    };
    once().min(once())
}

#[test]
fn the_whole_embedded_database_takes_no_longer_than_its_tables_some_times_over() {
    let policy: Policy =
        parse(Path::new("policy.toml"), POLICY.as_bytes(), &Surroundings::new(None)).unwrap().policy;
    let old = embedded::load();
    let ireland = "IE".parse().unwrap();
    let new = GeoDb {
        v4: a_tenth_moved(&old.v4, ireland),
        v6: a_tenth_moved(&old.v6, ireland),
        info: old.info.clone(),
    };
    let world = |geo| World { policy: &policy, geo, exemptions: &[], may_exempt: false };
    let found = openings(&world(&old), &world(&new)).unwrap();
    let to: Vec<_> = found.flows.iter().flat_map(|flow| flow.to.iter().flatten()).collect();
    assert!(to.len() > 100 && to.iter().all(|it| it.to == ireland), "{}", to.len());
    let tables = best_of_two(|| drop(geo_image(&new, &policy.sites).unwrap()));
    let compared = best_of_two(|| drop(openings(&world(&old), &world(&new)).unwrap()));
    // A third of a second in a release, where the tables take a twentieth; as the tests are built sorting is slower than that.
    println!("tables {tables:?}, compared {compared:?}");
    assert!(compared < tables * 60, "the tables took {tables:?}, to compare {compared:?}");
}
