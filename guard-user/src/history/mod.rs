//! The flow history: events on the disk, in a folder of their own, bounded by size and by age.
//!
//! Segments of JSON Lines ([`segment`]) are appended to by a thread of its own ([`worker`]) and read by whoever asks
//! ([`reader`]). Nothing waits for the disk: what it does not take in time is counted. A segment is removed whole, and who
//! sent is in a file beside it that is removed before it ([`writer`]): that takes no room on a disk that is full.
//!
//! Not the store's database: its pages are copied on each change, it gives no room back while it is open, and one bad
//! page can cost all of it. An append needs no sync to survive the end of the process.

pub mod filter;
pub mod hold;
pub mod moment;
mod problems;
pub mod reader;
pub mod record;
pub mod segment;
#[cfg(test)]
mod tests;
pub mod untagged;
pub mod worker;
pub mod writer;

pub use filter::Filter;
pub use hold::Held;
pub use record::Past;
pub use worker::{Settings, Worker};
