//! `cargo xtask vm`: the kernel suites on other kernels, in an emulated machine.
//!
//! The guest has no network: a kernel of Debian's, and an initial file system in memory with busybox, the kernel's
//! modules, and the test programs with their libraries. One has a disk, which it only reads, with real services.

mod backports;
mod guest;
mod image;
mod kernel;
mod modules;
mod tools;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    thread::{self, ScopedJoinHandle},
};

use anyhow::{Result, bail};

use self::{
    guest::{Disk, Guest, Machine, Outcome},
    kernel::Kernel,
    tools::Tools,
};
use crate::{
    run,
    services::{self, Extent},
    setup::{
        self,
        packages::{self, Purpose},
    },
    suites::{self, Suite},
    tally::Tally,
    workspace,
};

/// The kernels: the oldest that is supported, the newest that Debian offers beside it, and one with `PREEMPT_RT` on
/// which programs of one hook share a CPU.
const VERSIONS: [&str; 3] = ["6.1", "6.12", "6.18-rt"];
/// Suites for a kernel with `PREEMPT_RT` where none are named: what depends on how programs share a CPU.
/// `kernel_preempt` has verdicts and attachments among it.
const RT_SUITES: [&str; 3] = ["kernel_load", "kernel_events", "kernel_preempt"];
/// It counts instructions, in a machine of its own that does.
const COUNTED: &str = "guest_cost";
/// It takes processors away and brings them back, in a machine of its own that has many.
const WIDE: &str = "guest_cpus";
/// What one kernel shows for both where nothing is named.
const ON_ONE: [&str; 2] = [COUNTED, "guest_bonds"];
/// Suites that try all once by BPF LSM and once by tracing programs, which takes minutes: where nothing is named, a kernel
/// tries one of the two.
const BY_BOTH: [&str; 3] = ["guest_copies", "guest_relays", "guest_ways"];
/// How their tests by tracing programs begin, and those by BPF LSM.
const BY_TRACING: &str = "without_bpf_lsm";
const BY_LSM: [&str; 3] = ["a_carrier_that_writes", "who_is_handed", "what_is_handed_on"];
/// It takes long, and the other kernels need only load the programs that it is about, which `kernel_load` does.
const RT_ONLY: &str = suites::PREEMPT;
/// Left out of the usual run whole: what it shows of programs that share a CPU hangs on little that changes.
const REAL_TIME: &str = "6.18-rt";
/// What is left out of the usual run, for each takes minutes: they are of paths that a change seldom touches, and
/// `cargo xtask nightly` runs them. That the programs of a shadow load is in `kernel_load`.
const NIGHTLY: [&str; 19] = [
    "guest_bonds",
    "guest_copies",
    "guest_cost",
    "guest_cpus",
    "guest_kernel",
    "guest_nfsd",
    "guest_paths",
    "guest_pins",
    "guest_relays",
    "guest_volumes",
    "guest_ways",
    "kernel_attach_dump",
    "kernel_attach_identity",
    "kernel_attach_many",
    "kernel_differential",
    "kernel_rewritten",
    "kernel_shadow",
    "kernel_tamper",
    "kernel_trace",
];
/// Of what runs on both other kernels, the suites that one of them runs alone in the usual run: so that guests of two
/// processors end at the same time, and half as late. How programs load differs, and is tried on
/// both; on the newest they attach as on the machine of the tests.
const USUAL_ON_ONE: [&str; 7] = [
    "guest_clock",
    "guest_senders",
    "kernel_host",
    "kernel_socket_facts",
    "kernel_socket_users",
    "kernel_sockets",
    "kernel_volumes",
];
/// And those that the oldest runs alone.
const USUAL_ON_OLDEST: [&str; 6] =
    ["kernel_attach", "kernel_bare", "kernel_bypass", "kernel_cgroup", "kernel_events", "kernel_quota"];
/// Test files of these kinds run in the guest: those of the kernel side alone, and those that no other machine
/// may run.
const PREFIXES: [&str; 2] = ["kernel_", suites::GUEST];
/// Test files of this kind run there when they are named.
const DAEMON: &str = "e2e_";
/// The kernel on which real services run, by volume, and what one kernel shows for all.
const ONE: &str = "6.12";

/// Run the kernel suites on Debian's 6.1, 6.12 and real-time 6.18 kernels, in an emulated machine
///
/// The verifiers of these kernels differ from each other and from this machine's, and on the real-time one programs
/// share a CPU. The guest has no network,
/// and neither root nor an installed qemu is needed: what is missing is unpacked below .tools.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only this kernel
    #[arg(long, value_parser = VERSIONS)]
    kernel: Option<String>,
    /// Only tests whose name, or whose file's name, contains one of these; also of the e2e suites then, and of the
    /// services of the long run by `more::`
    names: Vec<String>,
    /// The part that `cargo xtask ci` runs, without what takes longest
    #[arg(long, conflicts_with = "names")]
    usual: bool,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("the kernels for this are Debian's for x86_64, and so must this machine be");
    }
    setup::ensure()?;
    packages::ensure(Purpose::Vm)?;
    let tools = Tools::get()?;
    let mut suites = suites_with(suites::build()?, &arguments.names)?;
    if arguments.usual {
        suites.retain(|suite| !NIGHTLY.contains(&suite.name.as_str()));
    }
    let is_here = |version: &str, suite: &Suite| {
        let name = suite.name.as_str();
        !arguments.usual
            || match version {
                REAL_TIME => false,
                ONE => name != RT_ONLY && !USUAL_ON_OLDEST.contains(&name),
                _ => name != RT_ONLY && !USUAL_ON_ONE.contains(&name),
            }
    };
    let suites_on = |version: &str, suites: &[Suite]| {
        let mut on = suites_of(version, suites, &arguments.names);
        on.retain(|suite| is_here(version, suite));
        on
    };
    // What is named may be for some kernels alone.
    let versions = VERSIONS.into_iter().filter(|version| {
        arguments.kernel.as_deref().is_none_or(|only| only == *version)
            && !suites_on(version, &suites).is_empty()
    });
    // One after the other, for they share a log and a lock of apt's.
    let kernels: Vec<(&str, Result<Kernel>)> =
        versions.map(|version| (version, Kernel::get(version, &dir()))).collect();
    if kernels.is_empty() {
        bail!("what is named is for another kernel: real services run on {ONE} alone");
    }
    let (tools, suites, suites_on) = (&tools, &suites[..], &suites_on);
    // A guest keeps one processor busy: its tests run one after the other.
    let tallies: Vec<(&str, Result<Tally>)> = thread::scope(|scope| {
        let start = |(version, kernel): (_, Result<_>)| {
            (
                version,
                scope.spawn(move || {
                    on_kernel(version, &kernel?, tools, &suites_on(version, suites), &arguments.names)
                }),
            )
        };
        let guests: Vec<_> = kernels.into_iter().map(start).collect();
        let end =
            |guest: ScopedJoinHandle<'_, _>| guest.join().unwrap_or_else(|_| bail!("its thread panicked"));
        guests.into_iter().map(|(version, guest)| (version, end(guest))).collect()
    });

    let mut sum = Tally::default();
    for (version, tally) in tallies {
        match tally {
            Ok(tally) => sum.add(tally),
            Err(error) => {
                eprintln!("error: Linux {version}: {error:#}");
                sum.failed += 1;
                sum.failures.push(format!("Linux {version}: the guest itself"));
            }
        }
    }

    println!("\n{}\n", sum.longest());
    for failure in &sum.failures {
        println!("failed: {failure}");
    }
    println!("{sum}");
    Ok(if sum.failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The suites for the guest that have a test to run: those that are always for it, and where names are given
/// those of the whole daemon too, which take long in an emulated machine.
fn suites_with(all: Vec<Suite>, names: &[String]) -> Result<Vec<Suite>> {
    let mut suites = Vec::new();
    for mut suite in all.into_iter().filter(|suite| suite.integration && is_for_the_guest(&suite.name, names))
    {
        if suite.name == suites::PREEMPT {
            suite.skipped = Vec::new();
        }
        if suite.name == suites::SERVICES {
            suite.skipped = vec![suites::BY_SLICE];
            if !is_long(names) {
                suite.skipped.push(suites::LONG);
            }
        }
        let tests = suite.tests(names)?;
        if !tests.plain.is_empty() || !tests.kernel.is_empty() {
            suites.push(suite);
        }
    }
    if suites.is_empty() {
        bail!("no test to run in tests/tests/{}*.rs", PREFIXES.join("*.rs, tests/tests/"));
    }
    Ok(suites)
}

/// Whether services of the long run are named.
fn is_long(names: &[String]) -> bool {
    names.iter().any(|name| name.starts_with(suites::LONG))
}

fn is_for_the_guest(suite: &str, names: &[String]) -> bool {
    let always = suite == suites::SERVICES || PREFIXES.iter().any(|prefix| suite.starts_with(prefix));
    always || (!names.is_empty() && suite.starts_with(DAEMON))
}

/// The suites for this kernel: all that are named, else those that are for it.
fn suites_of(version: &str, suites: &[Suite], names: &[String]) -> Vec<Suite> {
    let is_for_it = |suite: &&Suite| match version.ends_with(kernel::RT) {
        // They take minutes to start there.
        _ if suite.name == suites::SERVICES => version == ONE && !names.is_empty(),
        _ if names.is_empty() && ON_ONE.contains(&suite.name.as_str()) => version == ONE,
        _ if names.iter().any(|name| suite.name.contains(name.as_str()) && name != "kernel_") => true,
        true => RT_SUITES.contains(&suite.name.as_str()),
        false => suite.name != RT_ONLY,
    };
    let part = |mut suite: Suite| {
        if names.is_empty() && BY_BOTH.contains(&suite.name.as_str()) {
            suite.skipped = if version == ONE { vec![BY_TRACING] } else { BY_LSM.to_vec() };
        }
        suite
    };
    suites.iter().filter(is_for_it).cloned().map(part).collect()
}

/// Where kernels, images and consoles are.
fn dir() -> PathBuf {
    workspace::target_dir().join("vm")
}

fn on_kernel(
    version: &str,
    kernel: &Kernel,
    tools: &Tools,
    suites: &[Suite],
    names: &[String],
) -> Result<Tally> {
    let machine_of = |suite: &Suite| match suite.name.as_str() {
        COUNTED => Machine::Counted,
        WIDE => Machine::Wide,
        _ => Machine::Fast,
    };
    let mut sum = Tally::default();
    for machine in [Machine::Fast, Machine::Wide, Machine::Counted] {
        let suites: Vec<Suite> =
            suites.iter().filter(|suite| machine_of(suite) == machine).cloned().collect();
        if !suites.is_empty() {
            sum.add(on_machine(machine, (version, kernel), tools, &suites, names)?);
        }
    }
    Ok(sum)
}

fn on_machine(
    machine: Machine,
    (version, kernel): (&str, &Kernel),
    tools: &Tools,
    suites: &[Suite],
    names: &[String],
) -> Result<Tally> {
    let dir = dir();
    let mut skipped = Vec::new();
    let mut suites = suites.to_vec();
    let mut disk = None;
    if let Some(place) = suites.iter().position(|suite| suite.name == suites::SERVICES) {
        let extent = if is_long(names) { Extent::All } else { Extent::Usual };
        disk = services::image(extent)?;
        if disk.is_none() {
            let suite = suites.remove(place);
            skipped = suite.tests(names)?.kernel;
            println!(
                "Linux {version}: {} skipped: they come by debootstrap, as root on Debian",
                suite.title()
            );
        }
    }
    if suites.is_empty() {
        return Ok(Tally { skipped: skipped.len() as u64, ..Tally::default() });
    }
    let name = match machine {
        Machine::Fast => version.to_owned(),
        Machine::Wide => format!("{version}-wide"),
        Machine::Counted => format!("{version}-counted"),
    };
    let initramfs = image::build(kernel, &tools.busybox, &suites, names, &dir.join(format!("{name}-image")))?;
    let log = dir.join(format!("{name}.log"));
    let guest = Guest { kernel, initramfs: &initramfs, disk: disk.as_deref().map(Disk::Read), machine };
    let mut tally = boot(tools, version, &guest, &log)?;
    tally.skipped += skipped.len() as u64;
    for failure in &mut tally.failures {
        *failure = format!("Linux {version}: {failure}");
    }
    for (suite, _) in &mut tally.times {
        *suite = format!("Linux {version}: {suite}");
    }
    Ok(tally)
}

/// Boots a guest, and says how long it took.
fn boot(tools: &Tools, version: &str, guest: &Guest<'_>, log: &Path) -> Result<Tally> {
    let Outcome { release, booted, took, tally } = guest::run(tools.qemu(), version, guest, log)?;
    println!(
        "Linux {release}: up after {}, ended after {}, console in {}",
        run::duration(booted),
        run::duration(took),
        log.display()
    );
    Ok(tally)
}

/// Boots what is on a disk, with a kernel of this version, until it ends by itself; nothing of it stays on the disk. It
/// prints as the guests of the suites do.
pub(crate) fn boot_disk(version: &str, disk: &Path, name: &str) -> Result<Tally> {
    packages::ensure(Purpose::Vm)?;
    let (tools, dir) = (Tools::get()?, dir());
    let kernel = Kernel::get(version, &dir)?;
    let initramfs = image::for_disk(&kernel, &tools.busybox, &dir.join(format!("{name}-image")))?;
    let log = dir.join(format!("{name}.log"));
    let machine = Machine::Fast;
    let guest = Guest { kernel: &kernel, initramfs: &initramfs, disk: Some(Disk::Scratch(disk)), machine };
    boot(&tools, version, &guest, &log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_that_is_left_out_exists() {
        for suite in NIGHTLY
            .iter()
            .chain(&USUAL_ON_ONE)
            .chain(&USUAL_ON_OLDEST)
            .chain(&ON_ONE)
            .chain(&BY_BOTH)
            .chain([&RT_ONLY])
        {
            let file = workspace::root().join("tests/tests").join(suite).with_extension("rs");
            assert!(file.exists(), "{}", file.display());
        }
    }
}
