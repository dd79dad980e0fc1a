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
    setup::{
        packages::{self, Purpose},
        tool::Tool,
    },
};

/// Makes the Debian package by the metadata in guard-user's `Cargo.toml`: maintained since 2016, with what debhelper
/// does for units, groups and their maintainer scripts.
pub(super) const CARGO_DEB: Tool = Tool { name: "cargo-deb", version: "3.8.0", asked_by: &["--version"] };

/// Who answers for the package, in Debian's changelog; as in its metadata.
const MAINTAINER: &str = "The Border Guard project <border-guard@users.noreply.github.com>";
/// The version of the package of this program.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "-1");

/// The package of what is built, in this folder, with another version than the program's where one is given: such a
/// one is for tests of an upgrade.
pub(super) fn make(into: &Path, version: Option<&str>) -> Result<PathBuf> {
    create_dir(into)?;
    write_changelog(version.unwrap_or(VERSION))?;
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

/// Writes the changelog that Debian asks for, where the metadata say that it is.
fn write_changelog(version: &str) -> Result<()> {
    let mut date = Command::new("date");
    date.args(["--utc", "--rfc-email", "--date"]).arg(format!("@{}", epoch())).env("LC_ALL", "C");
    let generated = folder().join("generated");
    create_dir(&generated)?;
    let file = generated.join("changelog");
    fs::write(&file, changelog(version, run::output(&mut date)?.trim()))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Debian's changelog of this version, on a day that is written as in mail: what is new is in the program's own.
fn changelog(version: &str, date: &str) -> String {
    format!(
        "borderguard ({version}) unstable; urgency=medium\n\n  \
            * What is new: /usr/share/doc/borderguard/CHANGELOG.md.\n\n -- {MAINTAINER}  {date}\n"
    )
}

/// What must be in the package, by its path there and its mode.
const CONTENTS: [(&str, &str); 15] = [
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
    ("./usr/share/doc/borderguard/changelog.Debian.gz", "-rw-r--r--"),
    ("./usr/share/doc/borderguard/copyright", "-rw-r--r--"),
    ("./usr/share/doc/borderguard/docs/sre.md", "-rw-r--r--"),
    ("./usr/share/lintian/overrides/borderguard", "-rw-r--r--"),
];

/// Holds the package against what has to be in it, by dpkg itself, against Debian's rules, and against a second one of the
/// same files.
pub(super) fn look_at(deb: &Path) -> Result<()> {
    let listed = run::output(Command::new("dpkg-deb").arg("--contents").arg(deb))?;
    for (path, mode) in CONTENTS {
        let is_it = |line: &str| line.starts_with(mode) && line.ends_with(path) && line.contains(" 0/0 ");
        if !listed.lines().any(is_it) {
            bail!("{} has no {path} of root's with the mode {mode}", deb.display());
        }
    }
    lint(deb)?;
    let folder = folder().join("again");
    let again = make(&folder, None)?;
    let bytes = |deb: &Path| fs::read(deb).with_context(|| format!("cannot read {}", deb.display()));
    if bytes(&again)? != bytes(deb)? {
        bail!("two packages of the same files differ: {} and {}", deb.display(), again.display());
    }
    remove(&folder)
}

/// Has Debian's own checker judge the package: an error or a warning fails. What it passes over is in the package's
/// `packaging/debian/borderguard.lintian-overrides`.
fn lint(deb: &Path) -> Result<()> {
    packages::ensure(Purpose::Package)?;
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning"]).arg(deb).env("LC_ALL", "C");
    run::step("having lintian judge the package", "lintian", &mut lintian)
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = include_str!("../../../guard-user/Cargo.toml");

    #[test]
    fn what_lintian_passes_over_has_a_reason_and_is_packed() {
        let overrides = include_str!("../../../packaging/debian/borderguard.lintian-overrides");
        let lines: Vec<&str> = overrides.lines().collect();
        let mut found = 0;
        for pair in lines.windows(2) {
            if let [before, line] = pair
                && line.starts_with("borderguard: ")
            {
                assert!(before.starts_with("# "), "no reason above {line:?}");
                found += 1;
            }
        }
        let others = |line: &&&str| !line.is_empty() && !line.starts_with('#');
        assert_eq!(found, lines.iter().filter(others).count(), "{overrides}");
        let asset = "\"../packaging/debian/borderguard.lintian-overrides\", \"usr/share/lintian/overrides/borderguard\"";
        assert!(METADATA.contains(asset));
    }

    #[test]
    fn the_copyright_file_has_the_licence_word_for_word() {
        let copyright = include_str!("../../../packaging/debian/copyright");
        let text: String = copyright
            .lines()
            .map(|line| if line == " ." { "" } else { line.trim_start() })
            .map(|line| format!("{line}\n"))
            .collect();
        let (_, terms) = include_str!("../../../LICENSE-MIT").split_once("authors\n\n").unwrap();
        assert!(text.contains(terms));
        assert!(text.contains("/usr/share/common-licenses/Apache-2.0"));
        assert!(METADATA.contains("license-file = [\"../packaging/debian/copyright\", \"0\"]"));
    }

    #[test]
    fn the_changelog_is_one_of_debians() {
        let text = changelog("0.1.0-1", "Mon, 30 Nov 2026 19:00:00 +0000");
        assert_eq!(
            text,
            "borderguard (0.1.0-1) unstable; urgency=medium\n\n  * What is new: \
             /usr/share/doc/borderguard/CHANGELOG.md.\n\n -- The Border Guard project \
             <border-guard@users.noreply.github.com>  Mon, 30 Nov 2026 19:00:00 +0000\n"
        );
        assert!(METADATA.contains(&format!("maintainer = \"{MAINTAINER}\"")));
        assert!(METADATA.contains("changelog = \"../target/package/generated/changelog\""));
    }
}
