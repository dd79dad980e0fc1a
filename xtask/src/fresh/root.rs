//! The root filesystem: made once by debootstrap, then unpacked from what was kept of it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    debian::{self, RELEASE},
    files::{create_dir, remove},
    run, workspace,
};

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
            debian::bootstrap(&root.dir, &BEFOREHAND)?;
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
