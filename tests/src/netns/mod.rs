//! Network namespaces that a test makes, uses and leaves no trace of.
//!
//! A [`Netns`] is a new, empty network: no link of the machine is in it and none can be added, because
//! links are only made between two guards ([`Netns::link`]). So nothing sent inside can leave.
//! [`Lan`] makes the network that most tests want: hosts, each in a subnet of its own, and a router.
//!
//! The namespaces have names (`ip netns list` shows them), but programs are not started by
//! `ip netns exec`: that mounts a fresh `/sys`, which hides cgroups and pins. Only the network changes
//! here.
mod documentation;
mod ip;
mod lan;
mod namespace;

pub use lan::{HOST_INTERFACE, Host, Lan};
pub use namespace::Netns;
