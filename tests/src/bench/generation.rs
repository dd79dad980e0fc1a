//! The time and memory of a whole generation.

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use aya::maps::MapData;
use guard_common::jurisdiction::Jurisdiction;
use guard_user::compile::{HostFacts, geo_image, policy_table};
use guard_user::geo::{Address, GeoDb, Runs, embedded};
use guard_user::kernel::LinuxKernel;
use guard_user::openings::{World, openings};

use super::figures::{Figures, median};
use super::policies::{Kind, policy};

/// Maps that hold the tables of both generations.
const TABLES: [&str; 6] = ["POLICY", "V4_NODES", "V4_ENTRIES", "V6_NODES", "V6_ENTRIES", "V6_DETAIL"];

/// Builds and publishes generations of the full embedded database, and leaves the last one live.
pub(crate) fn measure(pins: &Path, figures: &mut Figures) -> Result<LinuxKernel> {
    let mut kernel = LinuxKernel::open(pins)?;
    let policy = policy(Kind::Permit)?;
    let (mut build, mut flip, mut total) = (Vec::new(), Vec::new(), Vec::new());
    for generation in 1..=7 {
        let begin = Instant::now();
        let image = geo_image(&embedded::load(), &policy.sites)?;
        let table = policy_table(&policy, &[], &HostFacts::default(), generation)?;
        let built = Instant::now();
        kernel.publish(&table, Some(&image))?;
        build.push((built - begin).as_secs_f64() * 1e3);
        flip.push(built.elapsed().as_secs_f64() * 1e3);
        total.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    figures.set("generation_build_ms", median(build));
    figures.set("generation_flip_ms", median(flip));
    figures.set("generation_total_ms", median(total));
    figures.set("policy_diff_ms", policy_diff()?);
    let bytes: Result<Vec<u64>> = TABLES
        .iter()
        .map(|name| {
            let pin = pins.join("maps").join(name);
            let map = MapData::from_pin(&pin).with_context(|| format!("open {}", pin.display()))?;
            memory(&map)
        })
        .collect();
    figures.set("kernel_tables_mib", mib(bytes?.iter().sum()));
    Ok(kernel)
}

/// Milliseconds to compute all that opens where a tenth of the embedded database's ranges are moved into the union, as
/// `borderguard policy diff` does with two databases.
fn policy_diff() -> Result<f64> {
    let policy = &policy(Kind::Forbid)?;
    let old = embedded::load();
    let ireland = "IE".parse()?;
    let new = GeoDb {
        v4: a_tenth_moved(&old.v4, ireland),
        v6: a_tenth_moved(&old.v6, ireland),
        info: old.info.clone(),
    };
    let world = |geo| World { policy, geo, exemptions: &[], may_exempt: false };
    let mut took = Vec::new();
    for _ in 0..3 {
        let begin = Instant::now();
        let found = openings(&world(&old), &world(&new))?;
        took.push(begin.elapsed().as_secs_f64() * 1e3);
        ensure!(!found.flows.is_empty(), "nothing opens though a tenth of the ranges was moved");
    }
    Ok(median(took))
}

fn a_tenth_moved<K: Address>(runs: &Runs<K>, to: Jurisdiction) -> Runs<K> {
    let mut moved = Runs::unknown();
    for (number, (start, place)) in runs.iter().enumerate() {
        moved.push(start, if number % 10 == 3 { to } else { place });
    }
    moved
}

/// Kernel memory of a map in bytes, as its fdinfo has it (`memlock`: Documentation/filesystems/proc.rst
/// leaves it to kernel/bpf/syscall.c, `bpf_map_show_fdinfo`).
pub(crate) fn memory(map: &MapData) -> Result<u64> {
    let path = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("memlock:")).context("no memlock in fdinfo")?;
    line.trim().parse().context("memlock is no number")
}

/// Bytes as MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
