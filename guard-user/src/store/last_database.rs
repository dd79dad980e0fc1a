//! The geo database that was good last, in a file beside the store: what a start guards with that can't read the
//! databases of its config.
//!
//! It is the database alone. Pins and sites come from the present config, exemptions from the store. The file is
//! written beside and then renamed, so that a crash leaves the old or the new one, and it ends with a SHA-256 of all
//! before it. A file that is damaged, or of another version, is an error and never used.

#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use guard_common::jurisdiction::Jurisdiction;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::new_file;
use crate::digest::hexadecimal;
use crate::geo::{Address, Built, GeoDb, Info, Runs};

/// The file's name in the state directory.
pub const FILE: &str = "geo.last";

/// How every file begins.
const MAGIC: &[u8; 16] = b"border guard geo";
/// Version of the file's form.
const FORMAT: u32 = 1;
/// The largest file that is read, in bytes: four times what the kernel's tables hold.
const LARGEST: u64 = 64 << 20;
/// How the places are written that are no countries. No country code has digits.
const MARKS: [([u8; 2], Jurisdiction); 2] =
    [(*b"00", Jurisdiction::UNKNOWN), (*b"01", Jurisdiction::UNCERTAIN)];

/// What is known of a database beside its runs.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    source: String,
    licence: Option<String>,
    generated: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unheld: Option<String>,
    #[serde(default, skip_serializing_if = "Built::is_empty")]
    built: Built,
}

/// Why there is no last database, or it was not kept.
#[derive(Debug, thiserror::Error)]
pub enum LastDatabaseError {
    /// The disk refused.
    #[error("{path}: {step} failed: {source}{}", room(.source, *.needs), path = .path.display())]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        step: &'static str,
        /// What the system says.
        source: io::Error,
        /// Bytes that it takes beside what is there; 0 where none are written.
        needs: u64,
    },
    /// The file is not what was written.
    #[error("{path}: the last geo database is damaged and not used: {reason}; the next start or reload that can read the databases writes it anew", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: &'static str,
    },
    /// The file is whole, and has another database than the one that was kept.
    #[error("{path}: it is not the geo database that was kept: the file was replaced or removed", path = .path.display())]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// Another version of this program wrote the file.
    #[error("{path}: the last geo database is of another version and not used: its format is {format}, and this version reads {FORMAT}; the next start or reload that can read the databases writes it anew", path = .path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// The format that it says to have.
        format: u32,
    },
}

/// Writes the database in the place of the one that is there.
///
/// # Errors
/// Where the disk refuses; then the one that was there is left.
pub fn write(state_directory: &Path, database: &GeoDb) -> Result<(), LastDatabaseError> {
    let path = state_directory.join(FILE);
    let beside = state_directory.join(format!("{FILE}.new"));
    let failed = |step| {
        let path = path.clone();
        move |source: io::Error| {
            // How much is looked at only where that is asked.
            let needs = if is_full(&source) { length(database) } else { 0 };
            LastDatabaseError::Disk { path, step, source, needs }
        }
    };
    new_file::remove_left(&beside).map_err(failed("removing what was left of writing it"))?;
    let file = new_file::private().open(&beside).map_err(failed("making it"))?;
    if let Err(error) = write_to(file, database).and_then(|file| file.sync_all()) {
        // On a full disk the room that it takes is the store's.
        let _left_for_the_next_try = fs::remove_file(&beside);
        return Err(failed("writing it")(error));
    }
    fs::rename(&beside, &path).map_err(failed("naming it"))?;
    let synced = File::open(state_directory).and_then(|folder| folder.sync_all());
    synced.map_err(failed("syncing its folder"))
}

/// Whether there is no room for what was to be written.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What is to be said of the room, where there was not enough.
fn room(source: &io::Error, needs: u64) -> String {
    match is_full(source) && needs > 0 {
        true => format!("; it needs {needs} bytes, beside the file that is there until it is whole"),
        false => String::new(),
    }
}

/// Bytes of a database's file; 0 where it would have more runs than a file may have.
fn length(database: &GeoDb) -> u64 {
    /// Counts what is written, and keeps nothing.
    struct Length(u64);
    impl Write for Length {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    write_to(Length(0), database).map_or(0, |Length(bytes)| bytes)
}

/// The database that was good last; `None` where none was kept.
///
/// # Errors
/// Where the file can't be read, is damaged, or is of another version.
pub fn read(state_directory: &Path) -> Result<Option<GeoDb>, LastDatabaseError> {
    let path = state_directory.join(FILE);
    let disk = |step, source| LastDatabaseError::Disk { path: path.clone(), step, source, needs: 0 };
    let file =
        match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(disk("opening it", source)),
        };
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|source| disk("reading it", source))?;
    parse(&bytes).map(Some).map_err(|wrong| match wrong {
        Wrong::Damaged(reason) => LastDatabaseError::Damaged { path, reason },
        Wrong::Format(format) => LastDatabaseError::OtherVersion { path, format },
    })
}

/// By what a database is known as the one that was kept: the SHA-256 at the end of its file, 64 hexadecimal digits.
///
/// # Errors
/// Where it has more runs than a file may have.
pub fn digest(database: &GeoDb) -> io::Result<String> {
    let Hashing { hash, .. } = write_content(io::sink(), database)?;
    Ok(hexadecimal(hash.finalize()))
}

fn write_to<W: Write>(file: W, database: &GeoDb) -> io::Result<W> {
    let Hashing { inner: mut file, hash } = write_content(file, database)?;
    file.write_all(&hash.finalize())?;
    Ok(file)
}

/// All of the file but the sum at its end.
fn write_content<W: Write>(file: W, database: &GeoDb) -> io::Result<Hashing<W>> {
    let GeoDb { v4, v6, info: Info { source, licence, generated, unheld, built, .. } } = database;
    let mut out = BufWriter::with_capacity(1 << 18, Hashing { inner: file, hash: Sha256::new() });
    out.write_all(MAGIC)?;
    out.write_all(&FORMAT.to_le_bytes())?;
    let about = About {
        source: source.clone(),
        licence: licence.clone(),
        generated: *generated,
        unheld: unheld.clone(),
        built: built.clone(),
    };
    let about = serde_json::to_vec(&about)?;
    for length in [about.len(), v4.count(), v6.count()] {
        out.write_all(&u32::try_from(length).map_err(io::Error::other)?.to_le_bytes())?;
    }
    out.write_all(&about)?;
    for (start, place) in v4.iter() {
        out.write_all(&start.to_le_bytes())?;
        out.write_all(&code_of(place))?;
    }
    for (start, place) in v6.iter() {
        out.write_all(&start.to_le_bytes())?;
        out.write_all(&code_of(place))?;
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)
}

/// A place as its code, which means the same in every version of this program.
fn code_of(place: Jurisdiction) -> [u8; 2] {
    let mark = MARKS.iter().find(|(_, mark)| *mark == place).map(|(code, _)| *code);
    mark.or_else(|| place.as_str().as_bytes().try_into().ok()).unwrap_or(MARKS[0].0)
}

/// The place with this code. A country that this version does not know is unknown, as in any database.
fn place_of(code: [u8; 2]) -> Jurisdiction {
    let mark = MARKS.iter().find(|(mark, _)| *mark == code).map(|(_, place)| *place);
    mark.or_else(|| Jurisdiction::from_alpha2(code)).unwrap_or(Jurisdiction::UNKNOWN)
}

#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    Damaged(&'static str),
    Format(u32),
}

fn parse(bytes: &[u8]) -> Result<GeoDb, Wrong> {
    const CUT_SHORT: Wrong = Wrong::Damaged("it is cut short");
    if bytes.len() as u64 > LARGEST {
        return Err(Wrong::Damaged("it is larger than any database"));
    }
    let rest = bytes.strip_prefix(MAGIC).ok_or(Wrong::Damaged("it does not begin as such a file does"))?;
    let (format, rest) = rest.split_first_chunk().ok_or(CUT_SHORT)?;
    let format = u32::from_le_bytes(*format);
    if format != FORMAT {
        return Err(Wrong::Format(format));
    }
    // Nothing else is looked at before its checksum was.
    let (rest, written) = rest.split_last_chunk::<32>().ok_or(CUT_SHORT)?;
    let hashed = bytes.get(..bytes.len() - written.len()).ok_or(CUT_SHORT)?;
    if Sha256::digest(hashed).as_slice() != written {
        return Err(Wrong::Damaged("its checksum is not that of its content"));
    }
    let mut rest = rest;
    let mut lengths = [0_usize; 3];
    for length in &mut lengths {
        let (word, after) = rest.split_first_chunk().ok_or(CUT_SHORT)?;
        (*length, rest) = (usize::try_from(u32::from_le_bytes(*word)).unwrap_or(usize::MAX), after);
    }
    let [about, v4, v6] = lengths;
    let (about, rest) = rest.split_at_checked(about).ok_or(CUT_SHORT)?;
    let About { source, licence, generated, unheld, built } =
        serde_json::from_slice(about).map_err(|_| Wrong::Damaged("what it says of itself can't be read"))?;
    let (v4, rest) = runs(rest, v4, u32::from_le_bytes)?;
    let (v6, rest) = runs(rest, v6, u128::from_le_bytes)?;
    if !rest.is_empty() {
        return Err(Wrong::Damaged("something follows its runs"));
    }
    let (ranges_v4, ranges_v6) = (v4.count(), v6.count());
    let digest = Some(hexadecimal(written));
    let info =
        Info { source, licence, generated, ranges_v4, ranges_v6, unheld, digest, built, ..Info::default() };
    Ok(GeoDb { v4, v6, info })
}

/// This many runs from the beginning, and what follows them.
fn runs<K: Address, const N: usize>(
    bytes: &[u8],
    count: usize,
    start_of: impl Fn([u8; N]) -> K,
) -> Result<(Runs<K>, &[u8]), Wrong> {
    const NO_SPACE: Wrong = Wrong::Damaged("its runs are no whole address space in order");
    let run = N + size_of::<[u8; 2]>();
    let (bytes, rest) = count
        .checked_mul(run)
        .and_then(|length| bytes.split_at_checked(length))
        .ok_or(Wrong::Damaged("it has fewer runs than it says"))?;
    let mut runs = Runs::with_capacity(count);
    let mut last = None;
    for bytes in bytes.chunks_exact(run) {
        let (start, code) = bytes.split_first_chunk().ok_or(NO_SPACE)?;
        let (start, code) = (start_of(*start), code.first_chunk().ok_or(NO_SPACE)?);
        if last.map_or(start != K::ZERO, |last| start <= last) {
            return Err(NO_SPACE);
        }
        last = Some(start);
        runs.push(start, place_of(*code));
    }
    Ok((runs, rest))
}

/// Hashes all that is written.
struct Hashing<T> {
    inner: T,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or(bytes));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
