//! Tools of PyPI that tests run.
//!
//! pip gets them by their versions and SHA-256 to a folder of their own below `.tools`. They run in tests alone and are shipped
//! with nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    files::{create_dir, remove},
    run,
    setup::packages::{self, Purpose},
    workspace,
};

/// A copy of what was installed, beside it.
const INSTALLED: &str = "requirements.txt";

/// A tool, with all that it is made of.
pub(crate) struct PythonTool {
    /// What a person calls it.
    pub(crate) name: &'static str,
    /// Its folder below `.tools`.
    pub(crate) folder: &'static str,
    /// pip's requirements: each package with its version and SHA-256.
    pub(crate) requirements: &'static str,
}

impl PythonTool {
    /// Where it is: for `PYTHONPATH`.
    pub(crate) fn folder(&self) -> PathBuf {
        workspace::tools_dir().join(self.folder)
    }

    /// Gets it where it is not there, or is another one.
    pub(crate) fn ensure(&self) -> Result<()> {
        let folder = self.folder();
        let installed = fs::read_to_string(folder.join(INSTALLED));
        if installed.is_ok_and(|installed| installed == self.requirements) {
            return Ok(());
        }
        packages::ensure(Purpose::Python)?;
        let new = folder.with_extension("new");
        for old in [&folder, &new] {
            remove(old)?;
        }
        create_dir(&new)?;
        let list = new.join(INSTALLED);
        fs::write(&list, self.requirements).with_context(|| format!("cannot write {}", list.display()))?;
        run::step(&format!("getting {}", self.name), self.folder, &mut pip(&new, &list))?;
        fs::rename(&new, &folder).with_context(|| format!("cannot rename {}", new.display()))
    }
}

fn pip(into: &Path, list: &Path) -> Command {
    let mut pip = Command::new("pip3");
    pip.args(["install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--target"])
        .arg(into)
        .arg("--requirement")
        .arg(list);
    pip
}
