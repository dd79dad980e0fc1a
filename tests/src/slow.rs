//! A daemon whose disk, or whose source of names, takes as long as a test says: by a small library that stands before
//! the C library's functions (ld.so(8), `LD_PRELOAD`).

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::bed::{Bed, PATIENCE, STORE};
use crate::proc::Process;
use crate::program;

/// What stands before the C library.
const SOURCE: &str = include_str!("slow.c");

/// What can be slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Syncs of files, and writes into them at a place.
    Disk,
    /// Opening the config that is kept as the one that the next is held against.
    Config,
    /// Opening any file of the state directory.
    Files,
    /// Lookups of users and groups.
    Names,
}

impl Part {
    const fn file(self) -> &'static str {
        match self {
            Self::Disk => "slow-disk",
            Self::Config => "slow-config",
            Self::Files => "slow-files",
            Self::Names => "slow-names",
        }
    }
}

/// Starts the daemon of a bed so that its parts can be made slow, and waits until it answers.
///
/// # Errors
/// Where there is no C compiler, or the daemon does not answer.
pub fn start(bed: &Bed) -> Result<Process> {
    let daemon = spawn(bed)?;
    daemon.wait_for(PATIENCE, "the daemon to answer", || bed.status().ok().map(drop))?;
    Ok(daemon)
}

/// As [`start`], and waits for nothing.
///
/// # Errors
/// Where there is no C compiler, or no process can be had.
pub fn spawn(bed: &Bed) -> Result<Process> {
    let library = build(bed)?;
    let mut command = bed.host(STORE)?.command(&program::borderguard()?.to_string_lossy())?;
    command.arg("run").arg("--config").arg(bed.config());
    command.env("LD_PRELOAD", library);
    command.env("SLOW_DISK", bed.file(Part::Disk.file()));
    command.env("SLOW_CONFIG", bed.file(Part::Config.file()));
    command.env("SLOW_STATE", bed.file("state"));
    command.env("SLOW_FILES", bed.file(Part::Files.file()));
    command.env("SLOW_NAMES", bed.file(Part::Names.file()));
    Process::spawn("borderguard", command).map_err(Into::into)
}

/// Makes a part hang from now on.
///
/// # Errors
/// Where the bed's folder can't be written.
pub fn hang(bed: &Bed, part: Part) -> Result<()> {
    File::create(bed.file(part.file())).context("make the part hang").map(drop)
}

/// Lets it go on.
///
/// # Errors
/// Where it did not hang.
pub fn go_on(bed: &Bed, part: Part) -> Result<()> {
    std::fs::remove_file(bed.file(part.file())).context("let the part go on")
}

fn build(bed: &Bed) -> Result<PathBuf> {
    let (source, library) = (bed.write("slow.c", SOURCE)?, bed.file("slow.so"));
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(source)
        .arg("-ldl")
        .output()
        .context("start the C compiler")?;
    ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Ok(library)
}
