//! Programs that cargo builds into the checkout's tool folder. Each appears there whole or not at all.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{run, workspace};

/// A program of the package of the same name.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// The arguments by which it says its version.
    pub(crate) asked_by: &'static [&'static str],
}

impl Tool {
    /// The program's folder, relative to the workspace.
    pub(super) fn dir(&self) -> PathBuf {
        Path::new(".tools").join(self.name).join("bin")
    }

    /// The program's file.
    pub(crate) fn program(&self) -> PathBuf {
        workspace::root().join(self.dir()).join(self.name)
    }

    /// Whether the program is there in this version and starts.
    pub(crate) fn works(&self) -> bool {
        run::output(Command::new(self.program()).args(self.asked_by))
            .is_ok_and(|text| text.split_whitespace().any(|word| word == self.version))
    }

    /// Builds the program with this cargo, to which `adapt` gives what this one needs beside.
    pub(crate) fn build(
        &self,
        why: &str,
        mut cargo: Command,
        adapt: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Result<()> {
        let Self { name, version, .. } = self;
        let tools = workspace::tools_dir();
        let new = tools.join(format!("{name}.new"));
        remove(&new)?;
        // What is compiled stays there when this is interrupted, for the next try.
        let objects = workspace::target_dir().join(name);
        cargo
            .args(["install", name, "--version", version, "--locked", "--force", "--root"])
            .arg(&new)
            .env("CARGO_TARGET_DIR", &objects)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_BUILD_TARGET");
        run::step(&format!("building {name} {version}, {why} (a minute or two)"), name, adapt(&mut cargo))?;
        let whole = tools.join(name);
        remove(&whole)?;
        fs::rename(&new, &whole).with_context(|| format!("cannot rename {}", new.display()))?;
        if !self.works() {
            bail!("the new {} does not start", self.program().display());
        }
        remove(&objects)
    }
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}
