//! `cargo xtask fuzz`: inputs at random for everything that reads bytes of others.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{bpf, run, setup, workspace};

/// Give inputs made at random to everything that reads bytes of others
///
/// libFuzzer changes inputs by what code they reach, and keeps those that reach more in target/fuzz/corpus. Beside it a target
/// begins with its own seeds and with tests/corpus, which `cargo xtask test fuzz` reads at every run. An input that shows a
/// fault is kept in target/fuzz/faults, and ends its target.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long each target is given inputs
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u64,
    /// End each target after so many inputs, if that is sooner
    #[arg(long, value_name = "NUMBER")]
    inputs: Option<u64>,
    /// Print the names of all targets, and what each reads
    #[arg(long)]
    list: bool,
    /// Only targets whose name contains one of these
    names: Vec<String>,
}

/// What libFuzzer is told of the code that an input reaches (clang's SanitizerCoverage; these are the flags that cargo-fuzz
/// gives).
const COVERAGE: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];
/// An input that takes longer than this is a fault.
const SLOW: u64 = 10;
/// Megabytes past which an input is a fault.
const MEMORY: u64 = 2048;

/// A target, as the program lists it.
struct Target {
    name: String,
    needs_bpf: bool,
    longest: u64,
    what: String,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    let program = build()?;
    let targets = targets(&program)?;
    if arguments.list {
        targets.iter().for_each(|it| println!("{:12} {}", it.name, it.what));
        return Ok(ExitCode::SUCCESS);
    }
    let names = &arguments.names;
    let chosen: Vec<Target> = targets
        .into_iter()
        .filter(|it| names.is_empty() || names.iter().any(|name| it.name.contains(name.as_str())))
        .collect();
    if chosen.is_empty() {
        bail!("no target's name contains {}", names.join(" or "));
    }
    let kernel = bpf::usable();
    let mut are_good = true;
    for target in chosen {
        match &kernel {
            Err(why) if target.needs_bpf => {
                eprintln!("{}: skipped: {why}", target.name);
                are_good = false;
            }
            _ => are_good &= fuzz(&program, &target, arguments)?,
        }
    }
    Ok(if are_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds the program in a folder of its own, so that nothing else is built anew. Build scripts stay as they are: the flags are
/// for the target alone.
fn build() -> Result<PathBuf> {
    let record = setup::ensure()?;
    let host = run::output(setup::rustup_run(&record.host, "rustc").args(["--print", "host-tuple"]))?
        .trim()
        .to_owned();
    let folder = folder().join("build");
    let flags = format!("CARGO_TARGET_{}_RUSTFLAGS", host.to_uppercase().replace('-', "_"));
    let mut cargo = setup::cargo()?;
    cargo
        .args(["build", "--package", "guard-tests", "--bin", "guard-fuzz", "--features", "fuzz"])
        .args(["--profile", "fuzz", "--target", &host, "--target-dir"])
        .arg(&folder)
        .env(flags, COVERAGE.join(" "));
    if !cargo.status().context("cannot start cargo")?.success() {
        bail!("the fuzzer does not build");
    }
    Ok(folder.join(host).join("fuzz/guard-fuzz"))
}

fn folder() -> PathBuf {
    workspace::target_dir().join("fuzz")
}

fn targets(program: &Path) -> Result<Vec<Target>> {
    let text = run::output(Command::new(program).env("GUARD_FUZZ", "list"))?;
    let target = |line: &str| {
        let mut fields = line.split('\t');
        let mut next = || fields.next().map(str::to_owned);
        Some(Target {
            name: next()?,
            needs_bpf: next()? == "true",
            longest: next()?.parse().ok()?,
            what: next()?,
        })
    };
    text.lines().map(|line| target(line).with_context(|| format!("not a target: {line}"))).collect()
}

/// Whether the target took all inputs.
fn fuzz(program: &Path, target: &Target, arguments: &Arguments) -> Result<bool> {
    let name = &target.name;
    let [corpus, seeds] = ["corpus", "seeds"].map(|part| folder().join(part).join(name));
    let faults = folder().join("faults");
    for made in [&corpus, &seeds, &faults] {
        fs::create_dir_all(made).with_context(|| format!("cannot make {}", made.display()))?;
    }
    let log = folder().join(format!("{name}.log"));
    let mut command = Command::new(program);
    command
        .env("GUARD_FUZZ", name)
        .env("GUARD_FUZZ_SEEDS", &seeds)
        .arg(format!("-max_total_time={}", arguments.seconds))
        .arg(format!("-max_len={}", target.longest))
        .arg(format!("-timeout={SLOW}"))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .arg(format!("-artifact_prefix={}/{name}-", faults.display()))
        .arg("-print_final_stats=1");
    if let Some(inputs) = arguments.inputs {
        command.arg(format!("-runs={inputs}"));
    }
    // What is found goes into the first folder.
    command.args([&corpus, &seeds]);
    let kept = workspace::root().join("tests/corpus").join(name);
    if kept.is_dir() {
        command.arg(kept);
    }
    let file = fs::File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
    command.stdout(file.try_clone()?).stderr(file);
    let begin = Instant::now();
    let status = command.status().with_context(|| format!("cannot start {}", program.display()))?;
    let text = fs::read_to_string(&log).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units: "));
    let count = count.map_or_else(|| "?".to_owned(), |count| count.trim().to_owned());
    let took = run::duration(Duration::from_secs(begin.elapsed().as_secs()));
    if status.success() {
        println!("{name:12} {count:>12} inputs in {took}: none shows a fault ({})", target.what);
        return Ok(true);
    }
    println!("{name:12} {count:>12} inputs in {took}: FAULT, {status} ({})", target.what);
    let told = |line: &&str| {
        line.contains("panicked at")
            || line.contains("ERROR: libFuzzer")
            || line.contains("Test unit written to")
    };
    text.lines().filter(told).for_each(|line| println!("    {line}"));
    println!("    the whole of it is in {}", log.display());
    println!(
        "    keep the input: cp it to tests/corpus/{name}/, named by what it shows; `cargo xtask test fuzz` reads it"
    );
    Ok(false)
}
