//! Border Guard, the daemon and the command line as a library.

pub mod approval;
pub mod audit;
pub mod cli;
pub mod compile;
pub mod config;
pub mod control;
pub mod daemon;
pub mod digest;
pub mod events;
pub mod exemption;
pub mod exit;
pub mod explain;
pub mod geo;
pub mod groups;
pub mod health;
pub mod hostname;
pub mod inputs;
pub mod kernel;
pub mod metrics;
pub mod openings;
pub mod report;
pub mod store;
pub mod telemetry;
pub mod text;
pub mod unpinned;
pub mod worker;
