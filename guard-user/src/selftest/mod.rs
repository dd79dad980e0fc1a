//! A self-test: real packets of each kind go through the kernel's programs, loaded anew with the host's own policy and attached
//! to a pair of virtual interfaces in a network namespace of its own, and what comes out at the other end and what is counted
//! is held against what the host's decision says. The guard that runs, its maps, links and interfaces are not touched.
//!
//! `policy` makes the trial's policy of the host's, `frames` makes packets, `plan` says which are sent and what is expected
//! of each, `run` sends them and looks.

mod frames;
mod plan;
mod policy;
mod run;
#[cfg(test)]
mod tests;

pub use run::{Fault, Outcome, Tried, run};
