//! Root file systems of Debian's, made by debootstrap with the packages of this machine's mirrors.

use std::{ffi::OsStr, fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    files::{create_dir, remove},
    run,
};

/// The release of Debian that the README names.
pub(crate) const RELEASE: &str = "bookworm";

/// Makes a root file system with Debian's smallest set of packages and these.
pub(crate) fn bootstrap(dir: &Path, packages: &[&str]) -> Result<()> {
    bootstrap_release(RELEASE, dir, packages)
}

/// The same of another release, which this machine's mirror has too. That one gets no list of where packages come from: it
/// is for a guest without a network.
pub(crate) fn bootstrap_release(release: &str, dir: &Path, packages: &[&str]) -> Result<()> {
    create_dir(dir)?;
    let sources = Sources::of_this_machine();
    // It mounts and unmounts below the new root: in a namespace of its own, nothing of that outlives it.
    let mut debootstrap = alone();
    debootstrap
        .args(["debootstrap", "--variant=minbase"])
        .arg(format!("--include={}", packages.join(",")))
        .arg(release)
        .arg(dir)
        .args(&sources.mirror);
    run::step("making a fresh root filesystem by debootstrap", "debootstrap", &mut debootstrap)?;
    let list = dir.join("etc/apt/sources.list");
    if release == RELEASE && !sources.lines.is_empty() {
        fs::write(&list, sources.lines.concat())
            .with_context(|| format!("cannot write {}", list.display()))?;
    }
    let settings = dir.join("etc/apt/apt.conf.d/90mirror");
    fs::write(&settings, sources.settings.concat())
        .with_context(|| format!("cannot write {}", settings.display()))?;
    remove(&dir.join("var/cache/apt/archives"))
}

/// Installs packages in a root file system, as apt-get would on a machine of its own. None of their services starts.
pub(crate) fn install(dir: &Path, what: &str, packages: &[&str]) -> Result<()> {
    let policy = dir.join("usr/sbin/policy-rc.d");
    fs::write(&policy, "#!/bin/sh\nexit 101\n")
        .with_context(|| format!("cannot write {}", policy.display()))?;
    run::output(Command::new("chmod").arg("755").arg(&policy))?;
    for file in ["/etc/resolv.conf", "/etc/hosts"] {
        fs::copy(file, dir.join(file.trim_start_matches('/')))
            .with_context(|| format!("cannot copy {file}"))?;
    }
    let apt_get = |words: &[&OsStr]| {
        let mut command = alone();
        command
            .arg("chroot")
            .arg(dir)
            .args(["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "apt-get", "--yes"])
            .args(words);
        command
    };
    run::step("reading its list of packages", "root-update", &mut apt_get(&["update".as_ref()]))?;
    let install = ["install", "--no-install-recommends"].iter().chain(packages).map(OsStr::new);
    let what = format!("installing {what}");
    run::step(&what, "root-install", &mut apt_get(&install.collect::<Vec<_>>()))
}

/// What is run with mounts and processes of its own, which all end when this program does.
fn alone() -> Command {
    let mut command = Command::new("setpriv");
    command.args([
        "--pdeathsig",
        "KILL",
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    command
}

/// How this machine reaches Debian's packages.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sources {
    /// Where it has the release itself from; debootstrap knows one where this machine is of another release.
    mirror: Option<String>,
    /// The lines of `sources.list` for the release, with its updates.
    lines: Vec<String>,
    /// Settings of apt's about the way there, such as a proxy.
    settings: Vec<String>,
}

impl Sources {
    fn of_this_machine() -> Self {
        const FORMAT: &str = "$(CREATED_BY) $(REPO_URI) $(RELEASE) $(COMPONENT)";
        let targets = run::output(Command::new("apt-get").args(["indextargets", "--format", FORMAT]));
        let settings = run::output(Command::new("apt-config").arg("dump"));
        Self::parse(&targets.unwrap_or_default(), &settings.unwrap_or_default())
    }

    fn parse(targets: &str, settings: &str) -> Self {
        let mut sources = Self::default();
        for target in targets.lines() {
            let words: Vec<&str> = target.split_whitespace().collect();
            let ["Packages", uri, release, component] = words[..] else { continue };
            let part = release.strip_prefix(RELEASE);
            if component != "main" || !matches!(part, Some("" | "-updates" | "-security")) {
                continue;
            }
            if release == RELEASE && sources.mirror.is_none() {
                sources.mirror = Some(uri.to_owned());
            }
            let line = format!("deb {uri} {release} {component}\n");
            if !sources.lines.contains(&line) {
                sources.lines.push(line);
            }
        }
        // Whether a list may be old is for the mirror to say; the lists are made old below all the same.
        let of_the_way = |line: &&str| {
            let name = line.split([' ', ';']).next().unwrap_or_default();
            ["Acquire::http::", "Acquire::https::", "Acquire::Check-"]
                .iter()
                .any(|start| name.starts_with(start))
        };
        sources.settings = settings.lines().filter(of_the_way).map(|line| format!("{line}\n")).collect();
        sources
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirrors_of_this_release_alone_are_taken() {
        let targets = "DEP-11 http://deb.example.org/debian/ bookworm main\n\
            Packages http://deb.example.org/debian/ bookworm main\n\
            Packages http://deb.example.org/debian/ bookworm non-free\n\
            Packages http://deb.example.org/debian-security/ bookworm-security main\n\
            Packages http://deb.example.org/debian-security/ bookworm-security main\n\
            Packages http://deb.example.org/debian/ bookworm-backports main\n\
            Packages https://other.example.org/ nodistro main\n";
        let settings = "Acquire \"\";\nAcquire::http::Proxy \"http://192.0.2.1:3142\";\n\
            Acquire::Languages:: \"none\";\nAcquire::Check-Valid-Until \"false\";\nAPT::Get \"\";\n";
        assert_eq!(
            Sources::parse(targets, settings),
            Sources {
                mirror: Some("http://deb.example.org/debian/".to_owned()),
                lines: vec![
                    "deb http://deb.example.org/debian/ bookworm main\n".to_owned(),
                    "deb http://deb.example.org/debian-security/ bookworm-security main\n".to_owned(),
                ],
                settings: vec![
                    "Acquire::http::Proxy \"http://192.0.2.1:3142\";\n".to_owned(),
                    "Acquire::Check-Valid-Until \"false\";\n".to_owned(),
                ],
            }
        );
    }

    #[test]
    fn another_release_says_nothing_of_this_one() {
        let targets = "Packages http://deb.example.org/debian/ trixie main\n";
        assert_eq!(Sources::parse(targets, ""), Sources::default());
    }
}
