//! The tables that were live last, in a file beside the store: what a start guards with that can't read its geo
//! database or its config, and finds nothing in the kernel.
//!
//! The file has no place for an exemption: with it alone every exemption is closed. It is written beside and then
//! renamed, so that a crash leaves the old or the new one, and it ends with a SHA-256 of all before it. A file that is
//! damaged, or of another version, is an error and never used.

mod words;

#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use guard_common::abi::{ABI_VERSION, PolicyTable, dimension};
use guard_common::interval::build::GeoImage;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{PinInfo, new_file};
use crate::config::policy::{Ingress, Policy};
use words::Field;

/// The file's name in the state directory.
pub const FILE: &str = "tables.last";

/// How every file begins.
const MAGIC: &[u8; 16] = b"border guard tbl";
/// Version of the file's form.
const FORMAT: u32 = 1;
/// Bytes that the words about the tables take at most: 64 pins and as many interfaces are far below.
const ABOUT_BYTES: u32 = 1 << 20;

/// The tables that were live last, without any exemption.
pub struct LastTables {
    /// What is known of them.
    pub about: About,
    /// The policy table. Exemptions in it are not written, and none are in one that was read. Its interfaces and
    /// cgroups are those of [`About::boot`]: see [`for_boot`](Self::for_boot).
    pub policy: Box<PolicyTable>,
    /// The geo tables, with the sites of the config.
    pub geo: Arc<GeoImage>,
}

/// What is known of the tables, for status, events and attaching.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The config file.
    pub config: PathBuf,
    /// The fingerprint of its bytes.
    pub fingerprint: u64,
    /// The boot in which they were compiled, as [`boot_id`](super::boot_id) names it.
    pub boot: String,
    /// The patterns of the interfaces to guard.
    pub interfaces: Vec<String>,
    /// Whether ingress is guarded too.
    pub ingress: bool,
    /// Whether every action counts as `observe`.
    pub observe: bool,
    /// The pins, by number.
    pub pins: Vec<PinInfo>,
    /// Where the geo tables come from.
    pub database: DatabaseInfo,
}

/// Where geo tables come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseInfo {
    /// What it is, in a few words.
    pub source: String,
    /// The data's licence and its owner, where the source says so.
    pub licence: Option<String>,
    /// When the data was made.
    pub generated: Option<Timestamp>,
    /// How many IPv4 runs there are.
    pub ranges_v4: usize,
    /// How many IPv6 runs there are.
    pub ranges_v6: usize,
}

/// Why there are no last tables, or they were not kept.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// The disk refused.
    #[error("{path}: {step} failed: {source}", path = .path.display())]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        step: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("{path}: the last tables are damaged and not used: {reason}; the next reload writes them anew", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// Another version of this program wrote the file.
    #[error("{path}: the last tables are of another version and not used: {reason}; the next reload writes them anew", path = .path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
}

impl LastTables {
    /// The tables of a policy that is live, compiled in this boot.
    #[must_use]
    pub fn new(policy: &Policy, table: Box<PolicyTable>, geo: Arc<GeoImage>, about: Compiled) -> Self {
        let Compiled { config, boot, database } = about;
        let about = About {
            config,
            fingerprint: policy.fingerprint,
            boot,
            interfaces: policy.host.interfaces.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            ingress: policy.pins.iter().any(|pin| pin.ingress != Ingress::Off),
            observe: policy.host.observe,
            pins: policy.pins.iter().map(PinInfo::of).collect(),
            database,
        };
        Self { about, policy: table, geo }
    }

    /// Makes them fit for this boot. Indexes of interfaces and ids of cgroups mean nothing in another boot than
    /// their own: there every pin that selects by them is taken to match, for what can't be known counts as pinned.
    pub fn for_boot(&mut self, boot: &str) {
        if self.about.boot == boot {
            return;
        }
        let table = &mut self.policy;
        (table.any_interface, table.any_cgroup) = (table.pins, table.pins);
        table.dimensions &= !(dimension::INTERFACE | dimension::CGROUP);
        (table.interface_len, table.cgroup_len, table.cgroup_levels) = (0, 0, 0);
        (table.parent_len, table.read_levels) = (0, 0);
    }
}

/// What a policy does not say of its tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The config file.
    pub config: PathBuf,
    /// This boot.
    pub boot: String,
    /// Where the geo tables come from.
    pub database: DatabaseInfo,
}

/// Writes the tables in the place of those that are there.
///
/// # Errors
/// Where the disk refuses; then those that were there are left.
pub fn write(state_directory: &Path, tables: &LastTables) -> Result<(), TablesError> {
    let path = state_directory.join(FILE);
    let beside = state_directory.join(format!("{FILE}.new"));
    let failed = |step| {
        let path = path.clone();
        move |source| TablesError::Disk { path, step, source }
    };
    new_file::remove_left(&beside).map_err(failed("removing what was left of writing it"))?;
    let file = new_file::private().open(&beside).map_err(failed("making it"))?;
    let written = write_to(file, tables).and_then(|file| file.sync_all());
    written.map_err(failed("writing it"))?;
    fs::rename(&beside, &path).map_err(failed("naming it"))?;
    let synced = File::open(state_directory).and_then(|folder| folder.sync_all());
    synced.map_err(failed("syncing its folder"))
}

/// The tables that were live last; `None` where none were kept.
///
/// # Errors
/// Where the file can't be read, is damaged, or is of another version.
pub fn read(state_directory: &Path) -> Result<Option<LastTables>, TablesError> {
    let path = state_directory.join(FILE);
    match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(&path) {
        Ok(file) => read_from(&path, BufReader::with_capacity(1 << 18, file)).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TablesError::Disk { path, step: "opening it", source }),
    }
}

fn write_to<W: Write>(file: W, tables: &LastTables) -> io::Result<W> {
    let LastTables { about, policy, geo } = tables;
    let mut out = BufWriter::with_capacity(1 << 18, Hashing { inner: file, hash: Sha256::new() });
    out.write_all(MAGIC)?;
    FORMAT.write(&mut out)?;
    ABI_VERSION.write(&mut out)?;
    let about = serde_json::to_vec(about)?;
    u32::try_from(about.len()).map_err(io::Error::other)?.write(&mut out)?;
    out.write_all(&about)?;
    (policy.dimensions & !dimension::EXEMPTION).write(&mut out)?;
    policy.write(&mut out)?;
    words::write_geo(geo, &mut out)?;
    let Hashing { inner: mut file, hash } = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.write_all(&hash.finalize())?;
    Ok(file)
}

fn read_from(path: &Path, file: impl Read) -> Result<LastTables, TablesError> {
    let mut from = Hashing { inner: file, hash: Sha256::new() };
    let read = read_verified(&mut from);
    read.map_err(|error| match error {
        Wrong::Disk(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
            TablesError::Damaged { path: path.to_owned(), reason: "it is cut short".to_owned() }
        }
        Wrong::Disk(source) => TablesError::Disk { path: path.to_owned(), step: "reading it", source },
        Wrong::Damaged(reason) => TablesError::Damaged { path: path.to_owned(), reason },
        Wrong::OtherVersion(reason) => TablesError::OtherVersion { path: path.to_owned(), reason },
    })
}

enum Wrong {
    Disk(io::Error),
    Damaged(String),
    OtherVersion(String),
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

fn read_verified(from: &mut Hashing<impl Read>) -> Result<LastTables, Wrong> {
    let damaged = |reason: &str| Wrong::Damaged(reason.to_owned());
    let mut magic = [0; MAGIC.len()];
    from.read_exact(&mut magic)?;
    if magic != *MAGIC {
        return Err(damaged("it does not begin as such a file does"));
    }
    let mut number = || -> io::Result<u32> {
        let mut number = 0_u32;
        number.read(from)?;
        Ok(number)
    };
    let (format, abi) = (number()?, number()?);
    if (format, abi) != (FORMAT, ABI_VERSION) {
        return Err(Wrong::OtherVersion(format!(
            "its format is {format} and its ABI version {abi}, and this version reads {FORMAT} and {ABI_VERSION}"
        )));
    }
    let length = number()?;
    if length > ABOUT_BYTES {
        return Err(damaged("it says too much about its tables"));
    }
    let mut about = vec![0; usize::try_from(length).unwrap_or(0)];
    from.read_exact(&mut about)?;
    let mut policy = PolicyTable::zeroed();
    let mut dimensions = 0_u32;
    dimensions.read(from)?;
    policy.read(from)?;
    policy.dimensions = dimensions;
    let geo = words::read_geo(from)?.ok_or_else(|| damaged("it has more intervals than its tables hold"))?;
    let computed = std::mem::take(&mut from.hash).finalize();
    let mut written = [0_u8; 32];
    from.inner.read_exact(&mut written)?;
    // Nothing that was read is looked at before this.
    if computed.as_slice() != written {
        return Err(damaged("its checksum is not that of its content"));
    }
    if from.inner.read(&mut [0])? != 0 {
        return Err(damaged("something follows its checksum"));
    }
    if dimensions & dimension::EXEMPTION != 0 {
        return Err(damaged("its policy has exemptions"));
    }
    let about = serde_json::from_slice(&about).map_err(|error| Wrong::Damaged(error.to_string()))?;
    Ok(LastTables { about, policy, geo: Arc::new(geo) })
}

/// Hashes all that is written or read.
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

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.hash.update(bytes.get(..read).unwrap_or_default());
        Ok(read)
    }
}
