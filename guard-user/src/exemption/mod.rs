//! Exemptions: approved uses of a legal instrument that let one transfer leave its region.
//!
//! A [`Document`] is what compliance approves: TOML text, then the raw document with the place of every
//! value, then the checked one, with every error at once. A [`Record`](record::Record) says what became of one
//! that was loaded, and the [store](crate::store) keeps both. [`Clocks`] turns their windows into the kernel's own time, so that they open and close with no daemon
//! running.

mod check;
pub mod clock;
pub mod document;
pub mod draft;
pub mod error;
pub mod ground;
pub mod instrument;
pub mod keys;
pub mod law;
pub mod lifecycle;
mod raw;
pub mod record;
pub mod renewal;
pub mod schema;
pub mod summary;
#[cfg(test)]
mod tests;
mod values;

pub use clock::Clocks;
pub use document::{Document, Earlier, Recipient, Surroundings};
pub use error::ErrorKind;
pub use ground::{Basis, Ground};
pub use instrument::InstrumentKind;
pub use lifecycle::State;
pub use summary::Summary;
