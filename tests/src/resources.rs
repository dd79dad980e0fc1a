//! What a process uses of the machine, and which CPUs it may use.

use std::fs;

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_setaffinity};

/// A field of a process's memory in KiB, such as `VmRSS`, `VmHWM` or `RssAnon` (proc(5), /proc/pid/status).
///
/// # Errors
/// Where there is no such process or field.
pub fn memory_kib(pid: u32, field: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let value = value.with_context(|| format!("no {field} in the status of process {pid}"))?;
    Ok(value.trim().trim_end_matches(" kB").parse()?)
}

/// Seconds of a CPU that a process has used so far, with those of its threads that ended (proc(5), fields 14 and 15 of
/// /proc/pid/stat).
///
/// # Errors
/// Where there is no such process.
pub fn processor_time(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // A command's name may have blanks and brackets.
    let (_, fields) = text.rsplit_once(") ").context("no command in stat")?;
    let ticks: Vec<u64> = fields.split(' ').skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<u64>() as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// This CPU alone.
#[must_use]
pub fn only(cpu: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(cpu);
    set
}

/// Keeps the calling thread on one CPU from now on.
///
/// # Errors
/// Where the machine has no such CPU.
pub fn stay_on(cpu: usize) -> Result<()> {
    sched_setaffinity(None, &only(cpu)).with_context(|| format!("stay on the CPU {cpu}"))
}
