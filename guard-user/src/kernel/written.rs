//! What this process has written into the kernel's tables.

use std::collections::BTreeSet;
use std::mem::offset_of;
use std::sync::Arc;
use std::time::Instant;

use guard_common::abi::{ExemptionUse, Live, PolicyTable, dimension};
use guard_common::interval::build::GeoImage;

use super::api::VolumeTarget;
use super::clock::boot_ns;
use super::plain;
use super::tampered::Tampered;

/// How many geo tables there are.
pub(super) const GEO_TABLES: usize = 5;

/// What this process has written into the kernel and nothing but it may change.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// The live table of the policy; `None` where an earlier process made it live.
    pub(super) policy: Option<Vec<u8>>,
    /// When it is held next.
    pub(super) policy_due: Option<Instant>,
    /// What the kernel had of it the last time: half a megabyte, whose memory the next time has again.
    pub(super) policy_found: Vec<u8>,
    /// The live geo tables; `None` where they are not kept.
    pub(super) geo: Option<Arc<GeoImage>>,
    /// Which of the geo tables is held next, and when.
    pub(super) next_geo: usize,
    pub(super) geo_due: Option<Instant>,
    /// When each was last known to be right, nanoseconds of `CLOCK_BOOTTIME`.
    pub(super) geo_right_ns: [u64; GEO_TABLES],
    /// Whether it was found that the policy's table, or one of the geo tables, is other than it was written.
    pub(super) policy_is_told: bool,
    pub(super) geo_is_told: [bool; GEO_TABLES],
    /// What the last publication has left, until it is looked at.
    pub(super) left: Option<Left>,
    /// Slots that are marked as held.
    pub(super) held: BTreeSet<u16>,
    /// Cgroups to which ways past the hooks are not refused; `None` where that was not said yet.
    pub(super) allowed: Option<BTreeSet<u64>>,
    /// What the hooks of carriers are to know; `None` where they are to know nothing.
    pub(super) volumes: Option<VolumeTarget>,
    /// Whether a look has seen that sockets were named.
    pub(super) are_named: bool,
    /// What exemptions have let through, at the last look.
    pub(super) uses: Vec<ExemptionUse>,
    /// What failsafe rules have let pass in their minutes, by element, at the last look.
    pub(super) spent: Vec<u64>,
    /// Maps that somebody has frozen, which lasts as long as the map, and when the others are looked at next.
    pub(super) frozen: BTreeSet<&'static str>,
    pub(super) frozen_due: Option<Instant>,
    /// What was found between looks.
    pub(super) found: Vec<Tampered>,
}

/// Tables that another generation has taken the place of: as they were written, and whether it was told that they are not so.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) live: Live,
    pub(super) policy: Option<Vec<u8>>,
    pub(super) geo: Option<Arc<GeoImage>>,
    pub(super) geo_is_told: [bool; GEO_TABLES],
    pub(super) geo_right_ns: [u64; GEO_TABLES],
}

impl Written {
    /// With the slots that an earlier process has marked as held, and what was found before the first look.
    pub(super) fn begin(held: BTreeSet<u16>, found: Vec<Tampered>) -> Self {
        Self { held, found, ..Self::default() }
    }

    /// A table of a policy went live in the place of what this live word names, and maybe new geo tables with it which nobody
    /// keeps.
    pub(super) fn went_live(&mut self, policy: Vec<u8>, has_new_geo: bool, before: Live) {
        self.left = Some(Left {
            live: before,
            policy: self.policy.replace(policy).filter(|_| !self.policy_is_told),
            geo: if has_new_geo { self.geo.take() } else { None },
            geo_is_told: self.geo_is_told,
            geo_right_ns: self.geo_right_ns,
        });
        self.policy_is_told = false;
        if has_new_geo {
            self.geo_is_told = [false; GEO_TABLES];
        }
    }

    /// Whether the live policy goes by the addresses of the host. To read all of their map takes a part of a millisecond.
    pub(super) fn asks_for_addresses(&self) -> bool {
        let word = |at: usize| self.policy.as_ref().and_then(|policy| policy.get(at..));
        let dimensions =
            word(offset_of!(PolicyTable, dimensions)).and_then(plain::read::<u32>).unwrap_or(u32::MAX);
        let refuse_in =
            word(offset_of!(PolicyTable, refuse_in)).and_then(plain::read::<u64>).unwrap_or(u64::MAX);
        dimensions & dimension::HOST != 0 || refuse_in != 0
    }

    /// The geo tables that went live last are these.
    pub(super) fn keep_geo(&mut self, geo: Arc<GeoImage>) {
        self.geo = Some(geo);
        self.geo_right_ns = [boot_ns(); GEO_TABLES];
    }
}
