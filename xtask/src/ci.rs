//! `cargo xtask ci`: every check that a change must pass.

use std::{
    env,
    path::Path,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    licences, run,
    setup::{
        self,
        packages::{self, Purpose},
    },
    unit, workspace,
};

/// Run every check that a change must pass: format, lints, the tree's rules, licences, tests,
/// a fresh machine with the demo, other kernels
///
/// What takes longest on other kernels, and the long run of the services, are in `cargo xtask nightly`. All checks run even if one fails; a table at the end says how each went and how long it took.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only checks whose name contains one of these
    names: Vec<String>,
}

/// A check by name. It says itself what is wrong; the error says only that something is.
type Check = (&'static str, fn() -> Result<()>);

const CHECKS: [Check; 9] = [
    ("format", format),
    ("clippy", clippy),
    ("clippy of the kernel program", clippy_of_kernel_program),
    ("tidy", || this_program(&["tidy"])),
    ("licences", licences::check),
    ("systemd unit", unit::check),
    ("tests", || this_program(&["test", "--ci"])),
    ("a fresh machine and the demo", || this_program(&["fresh"])),
    ("other kernels", || this_program(&["vm", "--usual"])),
];

/// What is checked each night beside [`CHECKS`], for it takes hours.
const NIGHTLY: [Check; 7] = [
    ("the release program", || this_program(&["build"])),
    ("packages", || this_program(&["package", "--check", "bookworm", "--check", "trixie", "--check", "oci"])),
    ("ten minutes of each fuzzer", || this_program(&["fuzz", "--seconds", "600"])),
    ("all on other kernels", || this_program(&["vm"])),
    ("services, the long run", || this_program(&["services", "--all"])),
    ("services by volume, the long run", || this_program(&["vm", "--kernel", "6.12", "more::"])),
    ("bench", || this_program(&["bench", "--", "--check"])),
];

/// Run all that is checked each night: what `ci` runs, the program as it ships, packages, fuzzers, the suites that take long on other kernels, the long run of the
/// services, and the bench with its bounds
///
/// It takes hours. All checks run even if one fails; a table at the end says how each went and how long it took.
#[derive(clap::Args)]
pub(crate) struct Nightly {
    /// Only checks whose name contains one of these
    names: Vec<String>,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    check(CHECKS.into_iter(), &arguments.names)
}

pub(crate) fn nightly(arguments: &Nightly) -> Result<ExitCode> {
    check(CHECKS.into_iter().chain(NIGHTLY), &arguments.names)
}

fn check(checks: impl Iterator<Item = Check>, names: &[String]) -> Result<ExitCode> {
    let chosen = |check: &Check| names.is_empty() || names.iter().any(|name| check.0.contains(name.as_str()));
    let started = Instant::now();
    let mut results = Vec::new();
    for (name, check) in checks.filter(chosen) {
        println!("\n==== {name}");
        let started = Instant::now();
        let result = check();
        if let Err(error) = &result {
            eprintln!("error: {name}: {error:#}");
        }
        results.push((name, result.is_ok(), started.elapsed()));
    }
    if results.is_empty() {
        bail!("no check's name contains {}", names.join(" or "));
    }
    println!("\n{}", table(&results, started.elapsed()));
    let good = results.iter().all(|(_, good, _)| *good);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(results: &[(&str, bool, Duration)], all: Duration) -> String {
    let mut text = String::new();
    for (name, good, took) in results {
        let word = if *good { "ok" } else { "FAILED" };
        text.push_str(&format!("{name:50} {word:8} {}\n", run::duration(*took)));
    }
    text + &format!("{:50} {:8} {}", "everything", "", run::duration(all))
}

fn format() -> Result<()> {
    status(setup::cargo()?.args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    status(setup::cargo()?.args(["clippy", "--all-targets", "--", "-D", "warnings"]))
}

/// Clippy for the kernel program's own target and with its own compiler. Where that compiler has no
/// clippy and none can be installed, this says so.
fn clippy_of_kernel_program() -> Result<()> {
    let record = setup::ensure()?;
    let lints = record.has_clippy() || (packages::ensure(Purpose::Lint).is_ok() && record.has_clippy());
    if !lints {
        println!("not checked: toolchain {} has no clippy, and none can be installed", record.toolchain);
        return Ok(());
    }
    let mut path = vec![workspace::root().join(&record.linker_dir)];
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let mut cargo = setup::rustup_run(&record.toolchain, "cargo");
    cargo
        .args(["clippy", "--package", "guard-ebpf", "--lib", "--bins", "--features", "bench", "--release"])
        .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core"])
        .arg("--target-dir")
        .arg(workspace::target_dir().join("ebpf/clippy"))
        .args(["--", "-D", "warnings"])
        .env("PATH", env::join_paths(path).context("a folder on PATH has a colon in its name")?)
        .env("CARGO_ENCODED_RUSTFLAGS", format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH))
        // A stable compiler takes `-Z` flags with this alone.
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("RUSTC");
    status(&mut cargo)
}

/// Another command of this program, just as a person would type it.
fn this_program(arguments: &[&str]) -> Result<()> {
    let program = env::current_exe().context("cannot find this program's own file")?;
    // A check before may have built it anew at the same place: then Linux names the file that is no more
    // (proc(5), /proc/pid/exe).
    let name = program.to_string_lossy();
    let program = name.strip_suffix(" (deleted)").unwrap_or(&name);
    status(Command::new(Path::new(program)).args(arguments))
}

fn status(command: &mut Command) -> Result<()> {
    let status =
        command.status().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_every_check() {
        let results =
            [("format", true, Duration::from_millis(300)), ("tests", false, Duration::from_secs(90))];
        let table = table(&results, Duration::from_secs(91));
        let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[0], ["format", "ok", "0.3", "s"]);
        assert_eq!(words[1], ["tests", "FAILED", "1", "min", "30", "s"]);
        assert_eq!(words[2], ["everything", "1", "min", "31", "s"]);
    }
}
