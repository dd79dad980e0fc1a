//! What this host keeps for good: every exemption that was ever loaded with what became of it, what crossed
//! on which day, which pins the kernel's counts are of, and the audit trail.
//!
//! All of it is one embedded database, `store.redb` in the state directory, so that a change and its audit
//! record are one transaction: at no moment, and after no crash, is one there without the other. An operation
//! returns once its change is on the disk, so that after a crash an exemption is never more open than before:
//! one that was stayed or revoked is closed, one whose load was not finished was never loaded, and bytes that
//! the kernel may have let through since they were last saved count as used (`quota.rs`). What can't be read is
//! closed and named as a [`Problem`]; the rest goes on.
//!
//! A [`Store`] may block on a slow disk: one thread owns it. The others work on a [`Kept`], the exemptions as
//! they were on the disk after the last operation, which is handed out by [`Store::kept`]. No operation waits or
//! tries again: what the disk refuses is an error at once, and what closes is closed in memory all the same.
//!
//! The order that the daemon keeps: [`Store::load_admitted`], then the kernel opens; the kernel closes, and
//! [`Store::change`] keeps it. After each new generation it saves the use of the slots in
//! [`Kept::slots_to_reset`] by [`Store::checkpoint_use`], resets them in the kernel, and reports that by
//! [`Store::slots_were_reset`].

mod accounts;
mod admission;
mod again;
mod change;
mod changed_tables;
mod changes;
mod configs;
mod cursor;
mod days;
mod disk;
mod doubt;
mod duties;
mod entry;
mod error;
mod error_words;
mod handle;
mod high_water;
mod holders;
mod instruments;
mod kept;
mod key;
pub mod last_database;
pub mod last_policy;
mod lifted;
mod lifted_order;
mod live_configs;
mod lost_records;
mod marked_use;
mod marks;
mod new_file;
mod offline;
mod orders;
pub mod pin_counts;
mod pin_info;
mod place;
mod progress;
mod quota;
mod raised_uses;
mod read;
mod restore;
mod rollup;
mod runs;
mod signed_files;
mod signed_with;
mod slots;
mod spent;
mod standing;
mod tables;
mod tampered;
#[cfg(test)]
pub(crate) mod tests;
mod too_early;
mod trail;
mod unrecorded;

pub use crate::digest::sha256;
pub use crate::exemption::record::{ApprovedBy, Record, Status, Use};
pub use crate::exemption::{StandingOrder, Target};
pub use admission::{Admission, Asked, Submission};
pub use again::in_force_again;
pub use change::Change;
pub use cursor::Cursor;
pub use days::{DayCount, DayPresumed, DayUse, Judged};
pub use disk::FILE;
pub use duties::Done;
pub use entry::{end_by, kernel_entries};
pub use error::{ApprovalError, LoadError, Problem, StoreError, without_remedy};
pub use handle::Store;
pub use high_water::Older;
pub use instruments::{Near, is_nearly};
pub use kept::Kept;
pub use key::Key;
pub use lifted::{Lifted, Signed};
pub use lost_records::{Lost, LostRecords};
pub use marks::{KernelMark, Lacks, MarkFault, MarkKeeper, Marks, keep_time};
pub use pin_counts::{CountsByNumber, Judgement, PinCounts, Rows};
pub use pin_info::PinInfo;
pub use place::Misplaced;
pub use progress::Progress;
pub use read::{LeftUnconfirmed, LetGo, NamedEntry, OpenDocument, Reader, Stored};
pub use runs::Run;
pub use spent::{Known as KnownSpent, Spent};
pub use tampered::{LACKING, UNATTRIBUTED};
pub use unrecorded::{GoesLive, JUDGED, LIVE, Noted, Untold, what_judged, what_was_live};
