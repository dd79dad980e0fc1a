//! The tables of the database.

use redb::TableDefinition;

/// Documents, byte for byte, by id and version.
pub(super) const DOCUMENTS: TableDefinition<'_, (&str, u32), &[u8]> = TableDefinition::new("documents");
/// Detached signatures over them, byte for byte, by id, version and number.
pub(super) const SIGNATURES: TableDefinition<'_, (&str, u32, u32), &[u8]> =
    TableDefinition::new("signatures");
/// What became of each: a [`Record`](crate::exemption::record::Record) as JSON.
pub(super) const RECORDS: TableDefinition<'_, (&str, u32), &[u8]> = TableDefinition::new("records");
/// Orders that stand: a [`StandingOrder`](super::StandingOrder) as JSON, by what it covers and its reference.
pub(super) const ORDERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("orders");
/// Documents by which orders were lifted, byte for byte, by their SHA-256 as records of the trail have it.
pub(super) const LIFTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("lifts");
/// Detached signatures over them, byte for byte, by that and number.
pub(super) const LIFT_SIGNATURES: TableDefinition<'_, (&str, u32), &[u8]> =
    TableDefinition::new("lift-signatures");
/// Whose keys lifted an order last: a [`LiftedOrder`](super::lifted_order::LiftedOrder) as JSON, by the key of the order's row.
pub(super) const LIFTED_ORDERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("lifted-orders");
/// The highest version of an id that was loaded once and is not here, because an older database was put back.
pub(super) const LOST: TableDefinition<'_, &str, u32> = TableDefinition::new("lost");
/// The audit trail, line by line.
pub(super) const AUDIT: TableDefinition<'_, u64, &str> = TableDefinition::new("audit");
/// The texts of configs that were in force, byte for byte, by their SHA-256 as records of the trail have it.
pub(super) const CONFIGS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("configs");
/// The texts of configs that were applied and may never have been confirmed, likewise: their signatures still count.
pub(super) const APPLIED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("applied-configs");
/// Who signed configs and geo databases, the last time: a [`SignedBy`](super::signed_files::SignedBy) as JSON, by the SHA-256 of
/// the file's bytes.
pub(super) const SIGNED_FILES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("signed-files");
/// Configs that were in force and replaced by what an older store lacks, by their SHA-256; the value says nothing.
pub(super) const LOST_CONFIGS: TableDefinition<'_, &str, u64> = TableDefinition::new("lost-configs");
/// Bytes and packets that an exemption let through, by day, id and version.
pub(super) const USE_BY_DAY: TableDefinition<'_, (&str, &str, u32), (u64, u64)> =
    TableDefinition::new("use-by-day");
/// The part of these that each recipient received, where that is counted apart, by day, id, version, and the recipient's
/// number in the document from 0 on.
pub(super) const USE_BY_RECIPIENT: TableDefinition<'_, (&str, &str, u32, u32), (u64, u64)> =
    TableDefinition::new("use-by-recipient");
/// Bytes that count as used since the host went down and are not known to have left, by day, id and version.
pub(super) const PRESUMED_BY_DAY: TableDefinition<'_, (&str, &str, u32), u64> =
    TableDefinition::new("presumed-by-day");
/// The part of [`USE_BY_DAY`] that is of each run of the kernel's counters, by its number, day, id and version. What is in none
/// is of before runs were told apart.
pub(super) const USE_BY_RUN: TableDefinition<'_, (u64, &str, &str, u32), (u64, u64)> =
    TableDefinition::new("use-by-run");
/// Likewise of [`COUNTS_BY_DAY`], what exemptions let out, by the run's number, day and a [`Judged`](super::Judged) as JSON.
pub(super) const COUNTS_BY_RUN: TableDefinition<'_, (u64, &str, &str), (u64, u64)> =
    TableDefinition::new("counts-by-run");
/// Packets and bytes by day and a [`Judged`](super::Judged) as JSON.
pub(super) const COUNTS_BY_DAY: TableDefinition<'_, (&str, &str), (u64, u64)> =
    TableDefinition::new("counts-by-day");
/// The kernel's counts that are in [`COUNTS_BY_DAY`] already, by a [`Judged`](super::Judged) as JSON.
pub(super) const SAVED_COUNTS: TableDefinition<'_, &str, (u64, u64)> = TableDefinition::new("booked");
/// Which pins the kernel's counts are of: a [`PinCounts`](super::PinCounts) as JSON.
pub(super) const PIN_COUNTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("pin-counts");
/// Up to where something was read, by its name: the boot and nanoseconds of `CLOCK_BOOTTIME`.
pub(super) const CURSORS: TableDefinition<'_, &str, (&str, u64)> = TableDefinition::new("cursors");
/// What the database is: its form.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// The row of [`PIN_COUNTS`].
pub(super) const NOW: &str = "now";
/// The row of [`CURSORS`] that says up to when flows were reported.
pub(super) const FLOWS: &str = "flows";

/// The form of the tables. A table that is added does not change it: a database without the table is read as if
/// that were empty, and an earlier version of this program does not look at it.
pub(super) const FORMAT: u64 = 1;
pub(super) const FORMAT_KEY: &str = "format";
