//! Kernels of a later release of Debian's, from its backports: read by a list of sources of their own, so that nothing
//! of this system's changes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{run, setup::packages};

/// The release that kernels newer than this system's come from.
const SUITE: &str = "trixie-backports";
/// The keys of Debian's archive, which are installed with apt.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Finds the newest kernel of this version with `PREEMPT_RT` in `cache`, or downloads and unpacks it there.
pub(super) fn unpack_rt(version: &str, cache: &Path) -> Result<PathBuf> {
    let unpacked = fs::read_dir(cache).into_iter().flatten().filter_map(std::result::Result::ok);
    let unpacked: Vec<String> = unpacked.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    if let Some(package) = newest(&unpacked.join("\n"), version) {
        return Ok(cache.join(package));
    }
    let options = options(&cache.join("apt"))?;
    let names = run::output(Command::new("apt-cache").args(&options).args(["pkgnames", "linux-image-"]))?;
    let package = newest(&names, version)
        .with_context(|| format!("{SUITE} has no kernel {version} with PREEMPT_RT any more"))?;
    let dir = cache.join(&package);
    packages::unpack_from(&options, &package, &dir)?;
    Ok(dir)
}

/// The options by which apt works with a list of sources, and a state, in `dir`; the list of packages is read.
fn options(dir: &Path) -> Result<Vec<String>> {
    for folder in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(dir.join(folder)).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    let sources = dir.join("sources.list");
    let line = format!("deb [signed-by={KEYS}] {} {SUITE} main\n", mirror()?);
    fs::write(&sources, line).with_context(|| format!("cannot write {}", sources.display()))?;
    let options: Vec<String> = [
        format!("Dir::Etc::sourcelist={}", sources.display()),
        "Dir::Etc::sourceparts=-".to_owned(),
        format!("Dir::State::lists={}", dir.join("lists").display()),
        format!("Dir::Cache={}", dir.join("cache").display()),
    ]
    .into_iter()
    .flat_map(|option| ["-o".to_owned(), option])
    .collect();
    run::step(
        &format!("reading the list of {SUITE}"),
        "apt-get-update-backports",
        Command::new("apt-get").args(&options).arg("update"),
    )?;
    Ok(options)
}

/// The mirror of Debian's that this system uses.
fn mirror() -> Result<String> {
    let format = ["indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"];
    let targets = || run::output(Command::new("apt-get").args(format));
    let mut found = targets()?;
    if mirror_in(&found).is_none() && packages::can_install() {
        packages::update()?;
        found = targets()?;
    }
    mirror_in(&found).map(str::to_owned).context("this system's apt knows no mirror of Debian's")
}

fn mirror_in(targets: &str) -> Option<&str> {
    targets.lines().find_map(|line| line.strip_prefix("Debian "))
}

/// The kernel package of the highest number among those of this version with `PREEMPT_RT`.
fn newest(names: &str, version: &str) -> Option<String> {
    let start = format!("linux-image-{version}.");
    let number = |name: &str| {
        let rest = name.strip_prefix(&start)?.strip_suffix("-rt-amd64")?;
        rest.split('+').next()?.parse::<u32>().ok()
    };
    names.lines().filter_map(|name| Some((number(name)?, name))).max().map(|(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_of_a_version_is_found() {
        let names = "linux-image-6.18.9+deb13-rt-amd64\nlinux-image-6.18.15+deb13-rt-amd64\n\
            linux-image-6.18.15+deb13-rt-amd64-dbg\nlinux-image-6.18.20+deb13-cloud-amd64\n\
            linux-image-6.1.0-56-rt-amd64\nlinux-image-6.19.6+deb13-rt-amd64\n";
        assert_eq!(newest(names, "6.18").as_deref(), Some("linux-image-6.18.15+deb13-rt-amd64"));
        assert_eq!(newest(names, "6.17"), None);
    }

    #[test]
    fn debians_own_mirror_is_taken() {
        let targets =
            "Debian-Security http://mirror.example/security/\nDebian http://mirror.example/debian/\n";
        assert_eq!(mirror_in(targets), Some("http://mirror.example/debian/"));
        assert_eq!(mirror_in("Other http://other.example/\n"), None);
    }
}
