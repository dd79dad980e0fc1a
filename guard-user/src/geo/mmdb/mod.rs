//! Databases in the MaxMind DB format, as most providers deliver them.
//!
//! The whole search tree is walked once, every distinct record is decoded once, and neighbouring networks
//! of one jurisdiction become one run. The file is read, not mapped: one that is replaced or cut while
//! it is in use does no harm.

mod error;
mod record;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod writer;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, File};
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

use guard_common::jurisdiction::Jurisdiction;
use ipnetwork::IpNetwork;
use jiff::Timestamp;
use maxminddb::{LookupResult, MaxMindDbError, Reader, WithinOptions};

use super::{GeoDb, Info, Runs};
use crate::digest::sha256;
pub use error::Error;
use record::{Placed, Record};

/// The largest file that is read, in bytes: several times the largest city database.
pub const MAX_BYTES: u64 = 1 << 30;

/// Networks that a file may have beyond what its tree's size explains. A tree whose branches share their
/// ends would otherwise unfold without limit.
const SPARE_NETWORKS: u64 = 1 << 20;

/// The first IPv6 address past those that the format keeps for IPv4, `::/96`.
const PAST_IPV4: u128 = 1 << 32;

/// IPv6 networks whose addresses carry the IPv4 address by which they are placed. Writers let them point
/// at the IPv4 part of the tree, so they would only repeat it.
const BY_IPV4: [(u128, u128); 4] = [
    // IPv4-mapped, ::ffff:0:0/96 (RFC 4291, section 2.5.5.2).
    (0xffff_0000_0000, 0xffff_ffff_ffff),
    // NAT64, 64:ff9b::/96 (RFC 6052, section 2.1).
    (0x0064_ff9b << 96, (0x0064_ff9b << 96) + 0xffff_ffff),
    // Teredo, 2001::/32 (RFC 4380, section 2.6).
    (0x2001_0000 << 96, (0x2001_0001 << 96) - 1),
    // 6to4, 2002::/16 (RFC 3056, section 2).
    (0x2002 << 112, (0x2003 << 112) - 1),
];

/// Reads a database file.
///
/// # Errors
/// [`Error`] says what is wrong with the file; nothing of it is used then.
pub fn read(path: &Path) -> Result<GeoDb, Error> {
    let unreadable = |source| Error::Read { path: path.to_owned(), source };
    // Asked before it is opened: opening a pipe would wait for its writer.
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Error::NotAFile { path: path.to_owned() });
    }
    let too_large = |bytes| Error::TooLarge { path: path.to_owned(), bytes };
    if metadata.len() > MAX_BYTES {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // It may have grown since.
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(too_large(bytes.len() as u64));
    }
    parse(&bytes, path)
}

/// What the metadata begins with (MaxMind DB File Format Specification 2.0, "Database Metadata").
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

/// Returns whether these bytes are of such a database, perhaps one that can't be used.
#[must_use]
pub fn is_meant(bytes: &[u8]) -> bool {
    bytes.windows(MARKER.len()).any(|window| window == MARKER)
}

/// Reads a database that is in memory; the path is where it comes from.
///
/// # Errors
/// As for [`read`].
pub fn parse(bytes: &[u8], path: &Path) -> Result<GeoDb, Error> {
    let damaged = |error: MaxMindDbError| Error::Damaged { path: path.to_owned(), reason: error.to_string() };
    let reader = match Reader::from_source(bytes) {
        Ok(reader) => reader,
        Err(error) => return Err(unusable(bytes, path).unwrap_or_else(|| damaged(error))),
    };
    let metadata = reader.metadata();
    let mut walk = Walk::new(&reader);
    walk.run().map_err(damaged)?;
    if !walk.v4.says_anything() && !walk.v6.says_anything() {
        return Err(Error::NoCountries {
            path: path.to_owned(),
            database_type: shown(&metadata.database_type),
            networks: walk.networks,
        });
    }
    let mut info = walk.info;
    info.source = format!("{} from {}", shown(&metadata.database_type), path.display());
    info.database_type = Some(shown(&metadata.database_type));
    info.path = Some(path.to_owned());
    info.records = walk.networks;
    info.bytes = Some(bytes.len() as u64);
    info.sha256 = Some(sha256(bytes));
    info.generated = i64::try_from(metadata.build_epoch)
        .ok()
        // Writers that know no date leave zero.
        .filter(|epoch| *epoch > 0)
        .and_then(|epoch| Timestamp::from_second(epoch).ok());
    Ok(GeoDb::assemble(walk.v4.shrink(), walk.v6.shrink(), info))
}

/// A text from the file, fit for a terminal and a log.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

/// The error for bytes that are no MMDB at all, if that is what is wrong with them.
fn unusable(bytes: &[u8], path: &Path) -> Option<Error> {
    let path = || path.to_owned();
    let packed = |format| Some(Error::Packed { path: path(), format });
    match bytes {
        [] => Some(Error::Empty { path: path() }),
        [0x1f, 0x8b, ..] => packed("gzip"),
        [b'P', b'K', 3, 4, ..] => packed("zip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => packed("zstd"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => packed("xz"),
        _ if !is_meant(bytes) => Some(Error::NotMmdb { path: path() }),
        _ => None,
    }
}

/// One walk over all networks of a file.
struct Walk<'a> {
    reader: &'a Reader<&'a [u8]>,
    /// The records decoded so far, by their offset in the file's data.
    decoded: HashMap<usize, Placed>,
    networks: usize,
    v4: Runs<u32>,
    v6: Runs<u128>,
    info: Info,
}

type Found<'a> = LookupResult<'a, &'a [u8]>;

impl<'a> Walk<'a> {
    fn new(reader: &'a Reader<&'a [u8]>) -> Self {
        Self {
            reader,
            decoded: HashMap::new(),
            networks: 0,
            v4: Runs::unknown(),
            v6: Runs::unknown(),
            info: Info::default(),
        }
    }

    fn run(&mut self) -> Result<(), MaxMindDbError> {
        // With every network in it, also the empty and the aliased ones, the walk covers the space
        // without gaps, and none goes uncounted.
        let options = WithinOptions::default().include_networks_without_data().include_aliased_networks();
        let limit = u64::from(self.reader.metadata().node_count) * 8 + SPARE_NETWORKS;
        let mut walked = 0;
        for found in self.reader.networks(options)? {
            walked += 1;
            if walked > limit {
                return Err(MaxMindDbError::invalid_database(format!(
                    "the search tree unfolds to more than {limit} networks"
                )));
            }
            self.take(&found?)?;
        }
        Ok(())
    }

    fn take(&mut self, found: &Found<'a>) -> Result<(), MaxMindDbError> {
        let network = found.network()?;
        match (network, network.network()) {
            (IpNetwork::V4(_), IpAddr::V4(start)) => {
                let place = self.place(found)?;
                self.v4.push(start.into(), place);
            }
            (IpNetwork::V6(network), IpAddr::V6(start)) => {
                let start = u128::from(start);
                if BY_IPV4.iter().any(|(first, last)| (*first..=*last).contains(&start)) {
                    self.v6.push(start, Jurisdiction::UNKNOWN);
                    return Ok(());
                }
                let place = self.place(found)?;
                // A record above the IPv4 part of the tree is that of all IPv4 addresses.
                if start == 0 && network.prefix() <= 96 {
                    self.v4.push(0, place);
                }
                if network.prefix() < 96 || start >= PAST_IPV4 {
                    self.v6.push(start.max(PAST_IPV4), place);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The network's place, counted if its record is of no use.
    fn place(&mut self, found: &Found<'a>) -> Result<Jurisdiction, MaxMindDbError> {
        let Some(offset) = found.offset() else { return Ok(Jurisdiction::UNKNOWN) };
        self.networks += 1;
        let placed = match self.decoded.entry(offset) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let record: Record<'_> = found.decode()?.unwrap_or_default();
                *entry.insert(record.place())
            }
        };
        if let Some(skipped) = &placed.skipped {
            self.info.count_skipped(skipped.key());
        }
        Ok(placed.place)
    }
}
