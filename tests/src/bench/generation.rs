//! The time and memory of a whole generation.

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use aya::maps::MapData;
use guard_user::compile::{HostFacts, geo_image, policy_table};
use guard_user::geo::embedded;
use guard_user::kernel::LinuxKernel;

use super::figures::{Figures, median};
use super::policies::{Kind, policy};

/// Maps that hold the tables of both generations.
const TABLES: [&str; 6] = ["POLICY", "V4_INDEX", "V4_ENTRIES", "V6_INDEX", "V6_ENTRIES", "V6_DETAIL"];

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
