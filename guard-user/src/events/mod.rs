//! Events: what the kernel program says of flows, and of carriers that write elsewhere, as people and machines read it.
//!
//! The kernel sends an event for the first packet of a flow's verdict and then at most one a second
//! ([`guard_common::abi::Event`]). Here it gets names, places and wall-clock time ([`enrich`]), a number
//! without gaps, and a place in the [`history`] and in the [`log`]. [`flows`] sees to it that the packets of a
//! flow add up: also those after its last event, and those whose event was lost.

pub mod brief;
pub mod budget;
pub mod canary;
pub mod condition;
pub mod difference;
pub mod ecs;
pub mod enrich;
pub mod entry;
pub mod envelope;
pub mod event;
pub mod fields;
pub mod flow_records;
pub mod flows;
pub mod history;
pub mod id;
mod journal;
mod kept;
mod line;
pub mod log;
pub mod log_past;
pub mod lost;
pub mod names;
pub mod ocsf;
pub mod peers;
pub mod pinned_copy;
pub mod record;
pub mod run;
pub mod severity;
mod sink;
mod stored;
pub mod summary;
#[cfg(test)]
pub(crate) mod tests;
mod text;
pub mod told;
pub mod told_flows;
pub mod untagged;
mod without_nulls;

pub use entry::Entry;
pub use event::Event;
pub use told::has_events;
