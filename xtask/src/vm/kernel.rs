//! Debian's kernels, taken from their packages without installing them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{backports, modules};
use crate::{run, setup::packages};

/// At the end of the name of a version with `PREEMPT_RT`.
pub(super) const RT: &str = "-rt";

/// An unpacked kernel.
pub(super) struct Kernel {
    /// The file that qemu boots.
    pub(super) image: PathBuf,
    /// The folder of its modules, which lie in `kernel/` there.
    pub(super) modules: PathBuf,
}

impl Kernel {
    /// The module files of the guest, each after what it needs, relative to [`Self::modules`].
    pub(super) fn modules_in_order(&self, busybox: &Path) -> Result<Vec<String>> {
        let dep = self.modules.join("modules.dep");
        if !dep.exists() {
            // A package's own script would do this at its installation.
            let base = self.modules.ancestors().nth(3).context("the modules are not in lib/modules")?;
            let version = self.modules.file_name().context("the modules' folder has no name")?;
            run::output(Command::new(busybox).arg("depmod").arg("-b").arg(base).arg(version)).with_context(
                || format!("cannot find what the modules in {} need", self.modules.display()),
            )?;
        }
        let dep = fs::read_to_string(&dep).with_context(|| format!("cannot read {}", dep.display()))?;
        Ok(modules::in_order(&dep))
    }

    /// Finds Debian's cloud kernel of this version in `cache`, or downloads and unpacks it there. A version that ends
    /// in `-rt` is one with `PREEMPT_RT` of a later release of Debian's.
    pub(super) fn get(version: &str, cache: &Path) -> Result<Self> {
        let dir = match version.strip_suffix(RT) {
            Some(version) => backports::unpack_rt(version, cache)?,
            None => {
                let package = newest_package(version)?;
                let dir = cache.join(&package);
                if !dir.exists() {
                    packages::unpack_one(&package, &dir)?;
                }
                dir
            }
        };
        Ok(Self {
            image: only_entry(&dir.join("boot"), |name| name.starts_with("vmlinuz-"))?,
            modules: only_entry(&dir.join("lib/modules"), |_| true)
                .or_else(|_| only_entry(&dir.join("usr/lib/modules"), |_| true))?,
        })
    }
}

/// The package that Debian's meta packages name for a version at present.
fn newest_package(version: &str) -> Result<String> {
    let find = || -> Option<String> {
        [format!("linux-image-{version}-cloud-amd64"), "linux-image-cloud-amd64".to_owned()]
            .iter()
            .filter_map(|meta| run::output(Command::new("apt-cache").args(["depends", meta])).ok())
            .find_map(|text| package_in(&text, version))
    };
    if let Some(package) = find() {
        return Ok(package);
    }
    if packages::can_install() {
        packages::update()?;
        if let Some(package) = find() {
            return Ok(package);
        }
    }
    bail!(
        "apt knows no cloud kernel {version}: run `sudo apt-get update`; Debian 12 with its security updates \
         has it"
    );
}

/// The kernel package of this version in what `apt-cache depends` prints.
fn package_in(depends: &str, version: &str) -> Option<String> {
    let start = format!("linux-image-{version}.");
    depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|package| package.starts_with(&start))
        .map(str::to_owned)
}

fn only_entry(dir: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    fs::read_dir(dir)
        .with_context(|| format!("cannot read {}", dir.display()))?
        .filter_map(Result::ok)
        .find(|entry| entry.file_name().to_str().is_some_and(&wanted))
        .map(|entry| entry.path())
        .with_context(|| format!("{} lacks what a kernel package should have", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_matched_to_its_end() {
        let text = "linux-image-cloud-amd64\n  Depends: linux-image-6.12.117+deb12-cloud-amd64\n";
        assert_eq!(package_in(text, "6.1"), None);
        assert_eq!(package_in(text, "6.12").as_deref(), Some("linux-image-6.12.117+deb12-cloud-amd64"));
        let text = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n  Suggests: x\n";
        assert_eq!(package_in(text, "6.1").as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
    }
}
