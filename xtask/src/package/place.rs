//! Where what is made lies, and of which time it is.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{run, workspace};

/// The folder of all that is made.
pub(super) fn folder() -> PathBuf {
    workspace::target_dir().join("package")
}

/// When the commit was made, seconds since 1970: the time of every file in a package. Without git it is the time of
/// the first release's first day, so that it depends on nothing else of this machine.
pub(super) fn epoch() -> String {
    const WITHOUT_GIT: &str = "1767225600";
    let git =
        run::output(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(workspace::root()));
    git.map_or_else(|_| WITHOUT_GIT.to_owned(), |text| text.trim().to_owned())
}

/// The one file of a folder whose name ends so.
pub(super) fn only_file(folder: &Path, extension: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension() == Some(OsStr::new(extension)))
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(file), true) => Ok(file),
        _ => bail!("{} is to have one .{extension}", folder.display()),
    }
}
