//! The Debian package.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::place::{epoch, folder, only_file};
use crate::{
    files::{create_dir, remove},
    run,
    setup::tool::Tool,
};

/// Makes the Debian package by the metadata in guard-user's `Cargo.toml`: maintained since 2016, with what debhelper
/// does for units, groups and their maintainer scripts.
pub(super) const CARGO_DEB: Tool = Tool { name: "cargo-deb", version: "3.8.0", asked_by: &["--version"] };

/// The package of what is built, in this folder, with another version than the program's where one is given: such a
/// one is for tests of an upgrade.
pub(super) fn make(into: &Path, version: Option<&str>) -> Result<PathBuf> {
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

/// What must be in the package, by its path there and its mode.
const CONTENTS: [(&str, &str); 13] = [
    ("./usr/bin/borderguard", "-rwxr-xr-x"),
    ("./usr/lib/systemd/system/borderguard.service", "-rw-r--r--"),
    ("./usr/lib/systemd/system/borderguard-checkpoint.service", "-rw-r--r--"),
    ("./usr/lib/systemd/system/borderguard-checkpoint.timer", "-rw-r--r--"),
    ("./usr/lib/sysusers.d/borderguard.conf", "-rw-r--r--"),
    ("./etc/borderguard/policy.toml", "-rw-r-----"),
    ("./etc/borderguard/policy.d/README", "-rw-r--r--"),
    ("./etc/logrotate.d/borderguard", "-rw-r--r--"),
    ("./usr/share/man/man1/borderguard.1.gz", "-rw-r--r--"),
    ("./usr/share/man/man1/borderguard-exemption-stay.1.gz", "-rw-r--r--"),
    ("./usr/share/bash-completion/completions/borderguard", "-rw-r--r--"),
    ("./usr/share/doc/borderguard/copyright", "-rw-r--r--"),
    ("./usr/share/doc/borderguard/docs/sre.md", "-rw-r--r--"),
];

/// Holds the package against what has to be in it, by dpkg itself, and against a second one of the same files.
pub(super) fn look_at(deb: &Path) -> Result<()> {
    let listed = run::output(Command::new("dpkg-deb").arg("--contents").arg(deb))?;
    for (path, mode) in CONTENTS {
        let is_it = |line: &str| line.starts_with(mode) && line.ends_with(path) && line.contains(" 0/0 ");
        if !listed.lines().any(is_it) {
            bail!("{} has no {path} of root's with the mode {mode}", deb.display());
        }
    }
    let folder = folder().join("again");
    let again = make(&folder, None)?;
    let bytes = |deb: &Path| fs::read(deb).with_context(|| format!("cannot read {}", deb.display()));
    if bytes(&again)? != bytes(deb)? {
        bail!("two packages of the same files differ: {} and {}", deb.display(), again.display());
    }
    remove(&folder)
}
