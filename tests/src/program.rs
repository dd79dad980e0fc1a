//! Where the program under test is.
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// The `borderguard` of the same build as this program: beside it, or above it where this is a test
/// program, which cargo puts into `deps`.
///
/// # Errors
/// Where it was not built; the message names the command that builds it.
pub fn borderguard() -> Result<PathBuf> {
    let this = std::env::current_exe().context("cannot find this program itself")?;
    let folder = this.parent().context("this program is in no folder")?;
    let profile = match folder.file_name() {
        Some(name) if name == "deps" => folder.parent().unwrap_or(folder),
        _ => folder,
    };
    let program = profile.join("borderguard");
    if !program.is_file() {
        bail!(
            "no borderguard program at {}: build it with `cargo build -p guard-user --bins`",
            program.display()
        );
    }
    Ok(program)
}
