//! Exemptions: approved uses of a legal instrument that let one transfer leave its region.
//!
//! A [`Document`] is what compliance approves: [`parse`](parse()) makes the checked one of TOML text, by way
//! of a raw one with the place of every value, and finds every error at once. A [`Record`](record::Record)
//! says what became of one that was loaded, and the [store](crate::store) keeps both. [`Clocks`] turns their
//! windows into the kernel's own time, so that they open and close with no daemon running.

pub mod approvers;
mod check;
mod cited;
pub mod clock;
pub mod division;
pub mod document;
mod doubts;
pub mod draft;
pub mod error;
pub mod ground;
pub mod instrument;
pub mod keys;
pub mod law;
mod layout;
pub mod lifecycle;
pub mod lift;
pub mod limits;
pub mod needless;
pub mod order;
mod parse;
pub mod particulars;
mod raw;
mod raw_particulars;
pub mod record;
pub mod renewal;
pub mod schema;
mod sections;
mod sink;
pub mod summary;
mod surroundings;
#[cfg(test)]
mod tests;
mod unseen;
mod values;

pub use clock::Clocks;
pub use document::{Document, REVIEW, Recipient};
pub use error::ErrorKind;
pub use ground::{Basis, Ground};
pub use instrument::InstrumentKind;
pub use law::LawPack;
pub use layout::Hiding;
pub use lifecycle::State;
pub use lift::{Lift, LiftError, Opens};
pub use order::{OrderKind, StandingOrder, Target};
pub use parse::{load, parse, read};
pub use particulars::{CHECK, DELETE};
pub use summary::Summary;
pub use surroundings::{Earlier, EarlierOf, Standing, Surroundings};
