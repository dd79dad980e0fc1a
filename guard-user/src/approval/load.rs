//! Reads the file of allowed signers: the only thing here that touches the disk.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use super::allowed_signers::{AllowedSigners, FILE_BYTES, FileError};

/// Why there are no allowed signers.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file can't be opened or read.
    #[error("the allowed signers {file} can't be read: {error}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Whoever may write the file may approve everything.
    #[error("the allowed signers {file} can be changed by {who}: let root alone write the file")]
    Open {
        /// The file.
        file: PathBuf,
        /// Who could change it.
        who: String,
    },
    /// The file is there and can't be used.
    #[error("the allowed signers {file}, {error}")]
    Bad {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        error: FileError,
    },
}

/// Reads and parses the file; times without `Z` are in `zone`.
///
/// # Errors
/// Where it can't be read, has a line that is not understood, or could be changed by somebody else than
/// root or the user who runs this.
pub fn load(file: &Path, zone: &TimeZone) -> Result<AllowedSigners, LoadError> {
    let unreadable = |error| LoadError::Unreadable { file: file.to_owned(), error };
    // A named pipe would keep whoever opens it waiting for ever.
    let opened =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(file).map_err(unreadable)?;
    let metadata = opened.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unreadable(io::Error::other("it is no file")));
    }
    if let Some(who) = who_else(metadata.uid(), metadata.mode()) {
        return Err(LoadError::Open { file: file.to_owned(), who });
    }
    let mut bytes = Vec::new();
    opened.take(FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    AllowedSigners::parse(&bytes, zone).map_err(|error| LoadError::Bad { file: file.to_owned(), error })
}

/// Who else than root and this user could change a file of this owner and mode.
fn who_else(owner: u32, mode: u32) -> Option<String> {
    let own = rustix::process::geteuid().as_raw();
    if owner != 0 && owner != own {
        return Some(format!("its owner, the user {owner}"));
    }
    match (mode & 0o002 != 0, mode & 0o020 != 0) {
        (true, _) => Some("everybody".to_owned()),
        (false, true) => Some("its group".to_owned()),
        (false, false) => None,
    }
}
