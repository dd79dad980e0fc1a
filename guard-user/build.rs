//! Builds the kernel program and puts its object where the library embeds it from: `borderguard-ebpf` in
//! `OUT_DIR`, `borderguard-trace-ebpf` and `borderguard-shadow-ebpf` beside it, and with the feature `bench` also `borderguard-bench-ebpf`.
//!
//! The compiler and the linker are those that `cargo xtask setup` wrote to `.tools/ebpf-toolchain`.
//! `aya_build` takes its settings from the environment of its own process, so this script runs itself once
//! more in a clean one: nothing of the outer cargo (its flags, clippy's wrapper, its profile) gets in, and
//! no environment is changed under a running program.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};

/// The object that ships.
const OBJECT: &str = "borderguard-ebpf";
/// The object that only the bench loads.
const BENCH_OBJECT: &str = "borderguard-bench-ebpf";
/// The one that takes its place while packets are traced.
const TRACE_OBJECT: &str = "borderguard-trace-ebpf";
/// The one that takes its place while packets are judged by a candidate too.
const SHADOW_OBJECT: &str = "borderguard-shadow-ebpf";
/// The kernel program's package, seen from this one.
const PACKAGE_DIR: &str = "../guard-ebpf";
/// Everything else that the objects are made of.
const SOURCES: [&str; 4] = ["build.rs", "../guard-common", "../Cargo.toml", "../Cargo.lock"];
/// What setup chose.
const RECORD: &str = "../.tools/ebpf-toolchain";
/// Set for the second run of this script: the toolchain to build with.
const INNER: &str = "BORDERGUARD_EBPF_TOOLCHAIN";
/// Set for the second run of this script where the bench's object is wanted too.
const BENCH: &str = "BORDERGUARD_EBPF_BENCH";
/// Said in every place where the build cannot go on without it.
const RUN_SETUP: &str = "the kernel program's toolchain is not set up: run `cargo xtask setup`";

fn main() -> ExitCode {
    let outcome = match env::var(INNER) {
        Ok(toolchain) => inner(&toolchain),
        Err(_) => outer(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Cargo shows this as one line of its own, before everything that the script printed.
            println!("cargo::error={}", format!("{error:#}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

/// The build itself, in the clean environment.
///
/// The tracing object and a shadow's are built first, each by itself: what they have more is a feature, which the ordinary one
/// must not have.
fn inner(toolchain: &str) -> Result<()> {
    build(toolchain, &["trace"])?;
    build(toolchain, &["shadow"])?;
    build(toolchain, if env::var_os(BENCH).is_some() { &["bench"] } else { &[] })
}

/// Builds every object that these features of the kernel program's package let be built.
fn build(toolchain: &str, features: &[&str]) -> Result<()> {
    aya_build::build_ebpf(
        [aya_build::Package {
            name: "guard-ebpf",
            root_dir: PACKAGE_DIR,
            no_default_features: false,
            features,
        }],
        aya_build::Toolchain::Custom(toolchain),
    )
}

/// Prepares the clean environment and takes over what was built in it.
fn outer() -> Result<()> {
    for source in SOURCES.iter().chain([&RECORD]) {
        println!("cargo::rerun-if-changed={source}");
    }
    // By its build id a debugger finds the debug info that was split off, whatever the linker does by itself.
    println!("cargo::rustc-link-arg-bins=-Wl,--build-id=sha1");
    let record = Record::read(Path::new(RECORD)).context(RUN_SETUP)?;
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").context("cargo did not set OUT_DIR")?);
    // One folder for all profiles: the kernel program is always built for release, so that tests judge
    // what is shipped, and a second profile then finds it built.
    let shared = out_dir.ancestors().nth(4).unwrap_or(&out_dir).join("ebpf");
    fs::create_dir_all(&shared).with_context(|| format!("cannot create {}", shared.display()))?;
    // Another cargo with another profile may be at the same objects.
    let lock =
        File::create(shared.join("lock")).context("cannot create the lock of the kernel program's build")?;
    lock.lock().context("cannot lock the kernel program's build")?;

    let status = command(&record, &shared)?
        .status()
        .context("cannot run the build script in its clean environment")?;
    if !status.success() {
        bail!(
            "the kernel program does not build (toolchain {}); see the messages above and below",
            record.toolchain
        );
    }
    let bench = wants_bench().then_some(BENCH_OBJECT);
    for object in [OBJECT, TRACE_OBJECT, SHADOW_OBJECT].into_iter().chain(bench) {
        let (from, to) = (shared.join(object), out_dir.join(object));
        without_debug_info(&from, &to)
            .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    }
    Ok(())
}

/// Copies an object without its DWARF, which nothing reads at run time and which is more than half of it. The kernel's
/// own type and line information stays, in `.BTF` and `.BTF.ext`.
fn without_debug_info(from: &Path, to: &Path) -> Result<()> {
    let object = fs::read(from)?;
    let mut builder = object::build::elf::Builder::read(&*object)?;
    for section in builder.sections.iter_mut() {
        let name = section.name.as_slice();
        section.delete = name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
    }
    // The linker keeps sections' and symbols' names in one table, and the writer wants two.
    let names = builder.sections.add();
    names.name = (&b".shstrtab"[..]).into();
    names.sh_type = object::elf::SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = object::build::elf::SectionData::SectionString;
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    fs::write(to, stripped)?;
    Ok(())
}

/// Whether this package is built with its feature `bench`.
fn wants_bench() -> bool {
    env::var_os("CARGO_FEATURE_BENCH").is_some()
}

/// This script once more, for the inner build, with objects going to `out_dir`.
fn command(record: &Record, out_dir: &Path) -> Result<Command> {
    let mut command = Command::new(env::current_exe().context("cannot find this build script's own file")?);
    for (key, _) in env::vars_os() {
        if is_of_outer_build(&key.to_string_lossy()) {
            command.env_remove(key);
        }
    }
    let mut path = vec![record.linker_dir.clone()];
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    command
        .env(INNER, &record.toolchain)
        .env("OUT_DIR", out_dir)
        .env("PATH", env::join_paths(path).context("a folder on PATH has a colon in its name")?)
        // Cargo would have each line of the inner build's progress shown as a warning.
        .env("CARGO_TERM_QUIET", "true")
        // The workspace's release is made for size.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3")
        // A stable compiler takes `-Z build-std` with this alone.
        .env("RUSTC_BOOTSTRAP", "1");
    if wants_bench() {
        command.env(BENCH, "1");
    }
    Ok(command)
}

/// Whether a variable describes or steers the outer build. What says where cargo keeps its files and how it
/// reaches its registry stays, and so does what `aya_build` reads of the target.
fn is_of_outer_build(key: &str) -> bool {
    const KEPT: [&str; 10] = [
        "CARGO_CFG_TARGET_ARCH",
        "CARGO_CFG_TARGET_ENDIAN",
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_MAKEFLAGS",
        "CARGO_MANIFEST_DIR",
        "CARGO_NET_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
        "CARGO_SOURCE_",
    ];
    const STEERING: [&str; 11] = [
        "CLIPPY",
        "DEBUG",
        "HOST",
        "NUM_JOBS",
        "OPT_LEVEL",
        "PROFILE",
        "RUSTC",
        "RUSTDOC",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
        "TARGET",
    ];
    let starts_with = |prefix: &&str| key.starts_with(*prefix);
    if key.starts_with("CARGO_") {
        return !KEPT.iter().any(starts_with);
    }
    key == "CARGO"
        || STEERING
            .iter()
            .any(|name| key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('_')))
}

/// What `cargo xtask setup` chose.
struct Record {
    toolchain: String,
    linker_dir: PathBuf,
}

impl Record {
    /// Reads the record; `None` where there is none, or its linker is gone.
    fn read(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let value = |key: &str| {
            text.lines()
                .filter_map(|line| line.split_once('='))
                .find(|(name, _)| name.trim() == key)
                .map(|(_, value)| value.trim())
        };
        let workspace = fs::canonicalize("..").ok()?;
        let linker_dir = workspace.join(value("linker-dir")?);
        linker_dir.join("bpf-linker").is_file().then_some(())?;
        Some(Self { toolchain: value("toolchain")?.to_owned(), linker_dir })
    }
}
