//! The files of a flow history: segments, and beside each who sent.
//!
//! A segment is `NUMBER.jsonl`, whose first line says when it was begun and its later lines have a record each. Where
//! records have users, commands, processes or cgroups, `NUMBER.people.jsonl` has these, a line for each such record by
//! the number of its line. A line that is there in part, after the host lost its power, is left out.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};

use crate::no_symlinks;
use serde::{Deserialize, Serialize};

/// The form of the files.
pub(super) const FORM: u32 = 1;
/// How a segment's name ends.
const ENDING: &str = ".jsonl";
/// How the name of who sent ends.
const PEOPLE_ENDING: &str = ".people.jsonl";
/// Digits of a number in a name.
const DIGITS: usize = 12;
/// The most bytes of a first line; no record is as short.
pub(super) const HEADER: u64 = 64;
/// What a file takes on the disk is counted in units of so many bytes.
const BLOCK: u64 = 4096;

/// The first line of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// The form of the file.
    pub(super) form: u32,
    /// When it was begun.
    pub(super) begun: Timestamp,
}

/// A segment of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number: a higher one is newer.
    pub number: u64,
    /// When it was begun; `None` where its first line can't be read.
    pub begun: Option<Timestamp>,
    /// Bytes of its file.
    pub bytes: u64,
    /// Bytes of the file with who sent; 0 without one.
    pub people_bytes: u64,
}

impl Segment {
    /// What it takes on the disk.
    #[must_use]
    pub fn on_disk(&self) -> u64 {
        blocks(self.bytes) + blocks(self.people_bytes)
    }
}

/// What a file of this length takes on the disk.
pub(super) fn blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK).saturating_mul(BLOCK)
}

/// The path of a segment.
pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:0DIGITS$}{ENDING}"))
}

/// The path of who sent.
pub(super) fn people_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:0DIGITS$}{PEOPLE_ENDING}"))
}

/// Makes the folder, for its owner alone, where it is not there.
///
/// # Errors
/// Where that can't be, or what is there is no folder of this user's that others can't write to.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(folder)?;
    let is_ours = found.uid() == rustix::process::geteuid().as_raw();
    match found.is_dir() && is_ours && found.mode() & 0o022 == 0 {
        true => Ok(()),
        false => Err(io::Error::other("it is no folder of this user's that nobody else can write to")),
    }
}

/// Opens a file of the folder, which is a regular one and no link.
pub(super) fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o600) } else { Mode::empty() };
    let file = File::from(no_symlinks::open(path, flags, mode)?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file")),
    }
}

/// Whether a file that is written to is still the one of this name.
///
/// # Errors
/// Where it is not: what is written would be lost.
pub(super) fn is_in_place(file: &File, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let (open, named) = (file.metadata()?, fs::symlink_metadata(path)?);
    match (open.dev(), open.ino()) == (named.dev(), named.ino()) {
        true => Ok(()),
        false => Err(io::Error::other(format!("{} was replaced", path.display()))),
    }
}

/// The segments of a folder, the oldest first; none where there is no folder. Files of other names are left alone.
///
/// # Errors
/// Where the folder can't be read.
pub fn list(folder: &Path) -> io::Result<Vec<Segment>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut segments = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(digits) = name.to_str().and_then(|name| name.strip_suffix(ENDING)) else { continue };
        let is_number = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
        let Some(number) = is_number.then(|| digits.parse().ok()).flatten() else { continue };
        // It may be removed meanwhile.
        let Ok(bytes) = entry.metadata().map(|found| found.len()) else { continue };
        let people_bytes = fs::symlink_metadata(people_path(folder, number)).map_or(0, |found| found.len());
        segments.push(Segment { number, begun: begun(folder, number), bytes, people_bytes });
    }
    segments.sort_unstable_by_key(|segment| segment.number);
    Ok(segments)
}

/// When a segment was begun, as its first line has it.
fn begun(folder: &Path, number: u64) -> Option<Timestamp> {
    let file = open(&path(folder, number), OFlags::RDONLY).ok()?;
    let mut line = Vec::new();
    BufReader::new(io::Read::take(file, HEADER)).read_until(b'\n', &mut line).ok()?;
    let header: Header = serde_json::from_slice(&line).ok()?;
    (header.form == FORM).then_some(header.begun)
}
