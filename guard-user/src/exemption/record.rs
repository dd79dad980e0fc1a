//! What became of a document: the small file beside it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Version of this file's form.
const FORMAT: u32 = 1;

/// Bytes of the file; a reason can be a long text.
pub(super) const RECORD_BYTES: u64 = 64 << 10;

/// What became of one version of an exemption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// [`FORMAT`].
    pub(super) format: u32,
    /// The document's id.
    pub(super) id: String,
    /// The document's version.
    pub(super) version: u32,
    /// FNV-1a hash of the document's bytes, which shows that they are not the ones that were loaded.
    pub(super) fingerprint: u64,
    /// Whether it is open.
    pub(super) status: Status,
    /// Its place in the kernel's tables, until the use counted there is reset.
    pub(super) slot: Option<u16>,
    /// When it was loaded.
    pub(super) loaded_at: Timestamp,
    /// The Unix user that loaded it.
    pub(super) loaded_by: u32,
    /// What it let through, as the kernel has counted it since the kernel's counters began.
    pub(super) counted: Use,
    /// What it let through before: counts that the kernel no longer has.
    pub(super) before: Use,
}

/// Whether an exemption is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Status {
    /// It is, within its window and quota.
    Active {},
    /// It was closed for good.
    Revoked {
        at: Timestamp,
        /// The reason that was given.
        why: String,
        /// The Unix user that did it.
        by: u32,
    },
    /// Its window was seen to be over.
    Expired { at: Timestamp },
}

/// What an exemption has let through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Use {
    /// Bytes on the wire.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
}

impl Use {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            packets: self.packets.saturating_add(other.packets),
        }
    }

    /// The greater of each.
    pub(super) fn at_least(self, other: Self) -> Self {
        Self { bytes: self.bytes.max(other.bytes), packets: self.packets.max(other.packets) }
    }
}

impl Record {
    /// The record of a document that was loaded just now.
    pub(super) fn new(
        (id, version): (&str, u32),
        fingerprint: u64,
        slot: u16,
        (loaded_at, loaded_by): (Timestamp, u32),
    ) -> Self {
        Self {
            format: FORMAT,
            id: id.to_owned(),
            version,
            fingerprint,
            status: Status::Active {},
            slot: Some(slot),
            loaded_at,
            loaded_by,
            counted: Use::default(),
            before: Use::default(),
        }
    }

    /// Everything that it has let through.
    pub(super) fn used(&self) -> Use {
        self.before.plus(self.counted)
    }

    pub(super) fn is_active(&self) -> bool {
        self.status == Status::Active {}
    }

    /// The file's content.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The record in these bytes, of which there may be one more than [`RECORD_BYTES`].
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match record.format {
            FORMAT => Ok(record),
            other => Err(format!("its format is {other}, and this version reads {FORMAT}")),
        }
    }
}
