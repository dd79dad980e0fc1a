//! Border Guard, the daemon and the command line as a library.

pub mod cli;
pub mod compile;
pub mod config;
pub mod exemption;
pub mod geo;
pub mod groups;
pub mod kernel;
