//! The audit trail: what happened to exemptions and to the guard itself, who did it, when and why.
//!
//! Each record is one line of JSON that holds the SHA-256 of the whole line before it, so that an altered,
//! removed or re-ordered record is found by anybody who has `sha256sum`; the end, which nothing follows,
//! is held by a [`Checkpoint`] that is kept elsewhere. This module does no I/O: the [store](crate::store) writes each
//! line in the same transaction as the change that it records. docs/audit.md is the format's reference.

pub mod chain;
pub mod checkpoint;
pub mod kind;
pub mod record;
#[cfg(test)]
mod tests;

pub use chain::{Broken, Fault, Head, next_line, verify};
pub use checkpoint::{Checkpoint, CheckpointError};
pub use kind::{Kind, NOT_FOUND, TAKEN_OFF, THE_DAEMON};
pub use record::{Record, Stored, Who};
