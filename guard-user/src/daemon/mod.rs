//! The daemon.
pub mod clock;
