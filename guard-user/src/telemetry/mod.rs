//! From the kernel's ring buffer to the history and the log, on a thread of its own.
//!
//! Nothing that guards waits for it: a flood of events costs this thread's share of a CPU and no more, what it
//! can't take is counted by the kernel and reported, and it never waits for the disk or for a reader.

mod cgroups;
pub mod diagnostics;
mod losses;
mod reporter;
mod shared;
mod source;
mod still;
#[cfg(test)]
mod tests;
mod tunnels;
mod users;
mod worker;

pub use losses::Losses;
pub use source::{Events, Records, TakeFlow, counters_of, totals_of};
pub use users::Ask as AskForUser;
pub use worker::{Parts, Worker};
