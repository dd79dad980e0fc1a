//! What can be wrong with a database file.

use std::io;
use std::path::PathBuf;

/// Why an MMDB file was refused. Each message names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read.
    #[error(
        "the geo database {} can't be read: {source}; check its path and that borderguard may read it",
        path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A directory, a device, a pipe.
    #[error("the geo database {} is not a regular file; name the .mmdb file itself", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// Larger than [`super::MAX_BYTES`].
    #[error(
        "the geo database {} has {bytes} bytes, more than the {} that are read; use the provider's \
         country database",
        path.display(),
        super::MAX_BYTES
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// Zero bytes.
    #[error("the geo database {} is empty; download it again", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// An archive or a compressed file, as providers deliver them.
    #[error(
        "the geo database {} is a {format} file; unpack it and name the .mmdb file that is in it",
        path.display()
    )]
    Packed {
        /// The file.
        path: PathBuf,
        /// The format, such as `gzip`.
        format: &'static str,
    },
    /// There is no MMDB metadata, which a whole file ends with.
    #[error(
        "{} is no MMDB file, or only the first part of one: the metadata at its end is missing; \
         download it again",
        path.display()
    )]
    NotMmdb {
        /// The file.
        path: PathBuf,
    },
    /// The format is MMDB, but the content contradicts it.
    #[error("the geo database {} is damaged ({reason}); download it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        reason: String,
    },
    /// A sound MMDB file about something else, such as autonomous systems.
    #[error(
        "the geo database {} (type {database_type}) names no country in any of its {networks} \
         networks; use a country or city database",
        path.display()
    )]
    NoCountries {
        /// The file.
        path: PathBuf,
        /// The type in its metadata, at most 64 characters of it.
        database_type: String,
        /// How many networks it has.
        networks: usize,
    },
}
