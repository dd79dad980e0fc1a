//! The root filesystem: made once by debootstrap, then unpacked from what was kept of it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::files::{create_dir, remove};
use crate::{run, workspace};

/// The release of Debian that the README names.
const RELEASE: &str = "bookworm";

/// Debian's packages that the README asks for beforehand.
pub(super) const BEFOREHAND: [&str; 4] = ["ca-certificates", "gcc", "libc6-dev", "git"];

/// A root filesystem that is removed when this goes.
pub(super) struct Root {
    dir: PathBuf,
    removed: bool,
    /// Held as long as the root filesystem is there; the kernel lets go of it when this program ends in any way.
    _lock: File,
}

impl Root {
    /// Makes the root filesystem anew.
    pub(super) fn make() -> Result<Self> {
        let folder = workspace::target_dir().join("fresh");
        create_dir(&folder)?;
        let lock = File::create(folder.join("lock")).context("cannot create the lock of the fresh root")?;
        lock.try_lock().context("another run in this checkout has its fresh root there")?;
        let root = Self { dir: folder.join("root"), removed: false, _lock: lock };
        // One that was left by a run that was killed. Nothing is mounted in it: only the processes of that run saw
        // their mounts.
        remove(&root.dir)?;
        let packed = workspace::tools_dir().join(format!("fresh/{RELEASE}-{}.tar", BEFOREHAND.join("-")));
        if packed.exists() {
            root.unpack(&packed)?;
        } else {
            root.bootstrap()?;
            root.pack(&packed)?;
        }
        Ok(root)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.dir
    }

    /// Removes it, and says so where that fails.
    pub(super) fn remove(mut self) -> Result<()> {
        self.removed = true;
        remove(&self.dir)
    }

    fn bootstrap(&self) -> Result<()> {
        create_dir(&self.dir)?;
        let sources = Sources::of_this_machine();
        // It mounts and unmounts below the new root: in a namespace of its own, nothing of that outlives it.
        let mut debootstrap = Command::new("setpriv");
        debootstrap
            .args([
                "--pdeathsig",
                "KILL",
                "unshare",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ])
            .args(["debootstrap", "--variant=minbase"])
            .arg(format!("--include={}", BEFOREHAND.join(",")))
            .arg(RELEASE)
            .arg(&self.dir)
            .args(&sources.mirror);
        run::step("making a fresh root filesystem by debootstrap", "debootstrap", &mut debootstrap)?;
        let list = self.dir.join("etc/apt/sources.list");
        if !sources.lines.is_empty() {
            fs::write(&list, sources.lines.concat())
                .with_context(|| format!("cannot write {}", list.display()))?;
        }
        let settings = self.dir.join("etc/apt/apt.conf.d/90mirror");
        fs::write(&settings, sources.settings.concat())
            .with_context(|| format!("cannot write {}", settings.display()))?;
        remove(&self.dir.join("var/cache/apt/archives"))
    }

    fn pack(&self, packed: &Path) -> Result<()> {
        if let Some(folder) = packed.parent() {
            create_dir(folder)?;
        }
        let new = packed.with_extension("new");
        run::step(
            "keeping it for the next time",
            "fresh-pack",
            Command::new("tar").args(["--numeric-owner", "-C"]).arg(&self.dir).arg("-cf").arg(&new).arg("."),
        )?;
        fs::rename(&new, packed).with_context(|| format!("cannot rename {}", new.display()))
    }

    fn unpack(&self, packed: &Path) -> Result<()> {
        create_dir(&self.dir)?;
        run::step(
            "unpacking a fresh root filesystem",
            "fresh-unpack",
            Command::new("tar").args(["--numeric-owner", "-C"]).arg(&self.dir).arg("-xf").arg(packed),
        )
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if !self.removed
            && let Err(error) = remove(&self.dir)
        {
            eprintln!("error: {error:#}");
        }
    }
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
