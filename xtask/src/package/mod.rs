//! `cargo xtask package`: what is installed, and what goes with it.

mod guest;
mod sbom;

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    build,
    files::{create_dir, remove},
    run,
    setup::{self, tool::Tool},
    workspace,
};

/// Makes the Debian package by the metadata in guard-user's `Cargo.toml`: maintained since 2016, with what debhelper
/// does for units, groups and their maintainer scripts.
const CARGO_DEB: Tool = Tool { name: "cargo-deb", version: "3.8.0", asked_by: &["--version"] };
/// What a checksum is written to.
const SUMS: &str = "SHA256SUMS";

/// Make the Debian package, an archive of the same files for other distributions, and their bills of materials
///
/// They are in target/package, with their SHA-256. The same commit gives the same bytes, where the compiler is the same.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Install, use, upgrade, downgrade, remove and purge the package in guests that boot systemd of these releases of
    /// Debian: bookworm, trixie
    #[arg(long, value_name = "RELEASE", value_parser = guest::RELEASES)]
    check: Vec<String>,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    let made = make()?;
    for file in &made {
        println!("made {}", file.display());
    }
    for release in &arguments.check {
        guest::check(release)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes all of it anew, and returns its files.
fn make() -> Result<Vec<PathBuf>> {
    println!("built {}", build::shipped()?);
    let record = setup::ensure()?;
    let ensure = |tool: &Tool| match tool.works() {
        true => Ok(()),
        false => {
            tool.build("which makes packages", setup::rustup_run(&record.toolchain, "cargo"), |cargo| cargo)
        }
    };
    ensure(&CARGO_DEB)?;
    ensure(&sbom::CARGO_CYCLONEDX)?;
    let folder = folder();
    remove(&folder)?;
    create_dir(&folder)?;
    let program = workspace::target_dir().join("release/borderguard");
    run::output(Command::new(program).arg("generate").arg(folder.join("generated")))?;

    let deb = deb(&folder, None)?;
    look_at(&deb)?;
    let name = format!("borderguard-{}-{}-linux", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let archive = archive(&deb, &folder.join(format!("{name}.tar.gz")))?;
    let mut made = vec![deb, archive];
    made.extend(sbom::make(&folder)?);
    let sums = sums(&folder, &made)?;
    made.push(sums);
    Ok(made)
}

fn folder() -> PathBuf {
    workspace::target_dir().join("package")
}

/// The package of what is built, in this folder, with another version than the program's where one is given: such a
/// one is for tests of an upgrade.
fn deb(into: &Path, version: Option<&str>) -> Result<PathBuf> {
    create_dir(into)?;
    let mut cargo_deb = Command::new(CARGO_DEB.program());
    cargo_deb
        // As cargo calls a subcommand of its own.
        .args(["deb", "--quiet", "--package", "guard-user", "--no-build", "--no-strip", "--output"])
        .arg(into)
        .env("SOURCE_DATE_EPOCH", epoch());
    if let Some(version) = version {
        cargo_deb.args(["--deb-version", version]);
    }
    run::step("making the Debian package", "cargo-deb", &mut cargo_deb)?;
    only_file(into, "deb")
}

/// When the commit was made, seconds since 1970: the time of every file in a package. Without git it is the time of
/// the first release's first day, so that it depends on nothing else of this machine.
fn epoch() -> String {
    const WITHOUT_GIT: &str = "1767225600";
    let git =
        run::output(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(workspace::root()));
    git.map_or_else(|_| WITHOUT_GIT.to_owned(), |text| text.trim().to_owned())
}

fn only_file(folder: &Path, extension: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension() == Some(OsStr::new(extension)))
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(file), true) => Ok(file),
        _ => bail!("{} is to have one .{extension}", folder.display()),
    }
}

/// What must be in the package, by its path there and its mode.
const CONTENTS: [(&str, &str); 12] = [
    ("./usr/bin/borderguard", "-rwxr-xr-x"),
    ("./usr/lib/systemd/system/borderguard.service", "-rw-r--r--"),
    ("./usr/lib/systemd/system/borderguard-checkpoint.service", "-rw-r--r--"),
    ("./usr/lib/systemd/system/borderguard-checkpoint.timer", "-rw-r--r--"),
    ("./usr/lib/sysusers.d/borderguard.conf", "-rw-r--r--"),
    ("./etc/borderguard/policy.toml", "-rw-r-----"),
    ("./etc/logrotate.d/borderguard", "-rw-r--r--"),
    ("./usr/share/man/man1/borderguard.1.gz", "-rw-r--r--"),
    ("./usr/share/man/man1/borderguard-exemption-stay.1.gz", "-rw-r--r--"),
    ("./usr/share/bash-completion/completions/borderguard", "-rw-r--r--"),
    ("./usr/share/doc/borderguard/copyright", "-rw-r--r--"),
    ("./usr/share/doc/borderguard/docs/sre.md", "-rw-r--r--"),
];

/// Holds the package against what has to be in it, by dpkg itself, and against a second one of the same files.
fn look_at(deb: &Path) -> Result<()> {
    let listed = run::output(Command::new("dpkg-deb").arg("--contents").arg(deb))?;
    for (path, mode) in CONTENTS {
        let is_it = |line: &str| line.starts_with(mode) && line.ends_with(path) && line.contains(" 0/0 ");
        if !listed.lines().any(is_it) {
            bail!("{} has no {path} of root's with the mode {mode}", deb.display());
        }
    }
    let folder = folder().join("again");
    let again = self::deb(&folder, None)?;
    let bytes = |deb: &Path| fs::read(deb).with_context(|| format!("cannot read {}", deb.display()));
    if bytes(&again)? != bytes(deb)? {
        bail!("two packages of the same files differ: {} and {}", deb.display(), again.display());
    }
    remove(&folder)
}

/// The package's files in an archive that is unpacked at `/`.
fn archive(deb: &Path, to: &Path) -> Result<PathBuf> {
    let script = "set -o pipefail; dpkg-deb --fsys-tarfile \"$1\" | gzip --no-name --best > \"$2\"";
    let mut bash = Command::new("bash");
    run::step("packing the archive", "archive", bash.args(["-c", script, "bash"]).arg(deb).arg(to))?;
    Ok(to.to_path_buf())
}

fn sums(folder: &Path, files: &[PathBuf]) -> Result<PathBuf> {
    let names = files.iter().filter_map(|file| file.file_name());
    let text = run::output(Command::new("sha256sum").args(names).current_dir(folder))?;
    let file = folder.join(SUMS);
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}
