//! Metrics for Prometheus: what `borderguard status` knows, as numbers.
//!
//! [`family`] is the one table of names, types and meanings, from which docs/metrics.md is held. [`values`] reads a
//! status, [`text`] writes it as Prometheus text (0.0.4) or OpenMetrics (1.0.0), [`server`] serves it on loopback or on
//! a Unix socket, from a thread of its own. No label has an address, a process, a user or an interface.

pub mod family;
pub mod server;
mod severity;
mod snapshot;
#[cfg(test)]
mod tests;
pub mod text;
pub mod values;
