//! The converter of Sigma rules, for the test of `packaging/sigma`.
//!
//! pip gets `sigma-cli` and its backends by their versions and SHA-256 to a folder of their own, `.tools/sigma`. They run in
//! the test alone and are shipped with nothing.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    run,
    setup::packages::{self, Purpose},
    workspace,
};

/// The suite that needs it.
pub(crate) const SUITE: &str = "e2e_sigma";

const REQUIREMENTS: &str = include_str!("sigma/requirements.txt");
/// A copy of what was installed, beside it.
const INSTALLED: &str = "requirements.txt";

/// Gets it where it is not there, or is another one.
pub(crate) fn ensure() -> Result<()> {
    let folder = workspace::tools_dir().join("sigma");
    let installed = fs::read_to_string(folder.join(INSTALLED));
    if installed.is_ok_and(|installed| installed == REQUIREMENTS) {
        return Ok(());
    }
    packages::ensure(Purpose::Sigma)?;
    let new = folder.with_extension("new");
    for old in [&folder, &new] {
        remove(old)?;
    }
    fs::create_dir_all(&new).with_context(|| format!("cannot create {}", new.display()))?;
    let list = new.join(INSTALLED);
    fs::write(&list, REQUIREMENTS).with_context(|| format!("cannot write {}", list.display()))?;
    let mut pip = Command::new("pip3");
    pip.args(["install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--target"]);
    run::step("getting sigma-cli", "sigma", pip.arg(&new).arg("--requirement").arg(&list))?;
    fs::rename(&new, &folder).with_context(|| format!("cannot rename {}", new.display()))
}

fn remove(folder: &Path) -> Result<()> {
    match folder.exists() {
        true => fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display())),
        false => Ok(()),
    }
}
