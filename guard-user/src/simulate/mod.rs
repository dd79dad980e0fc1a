//! What another policy, database or set of exemptions would make of flows that were seen.
//!
//! Each flow is judged twice by the function that the kernel runs: by the tables that are in force and by those of the
//! candidate. What is not known of a flow counts alike on both sides, and where the answer depends on it, the flow is told
//! apart and never taken for unchanged.
//!
//! - [`traffic`] has the flows: those of the flow history and those of the kernel's records, each once.
//! - [`possible`] has what may be true of a flow, beside what is known.
//! - [`compare`] judges a flow by both sides.
//! - `shadowed` has flows that the kernel judged twice, for a shadow.
//! - [`sums`] adds up what differs, by pin, peer and process.
//! - [`unguarded`] has the interfaces that only what is in force guards.
//! - [`unrecorded`] has what is known of permitted flows without a record.

pub mod compare;
pub mod possible;
mod shadowed;
pub mod sums;
#[cfg(test)]
mod tests;
pub mod traffic;
pub mod unguarded;
pub mod unrecorded;

pub use compare::{Found, Kind, Sides};
pub use possible::{Lack, Needs, interfaces};
pub use shadowed::kind_of;
pub use sums::{Group, Sums, UNGUARDED};
pub use traffic::{Amount, Seen, Traffic};
pub(crate) use traffic::{sender, sender_of};
pub use unguarded::Unguarded;
pub use unrecorded::{Permitted, Unrecorded};
