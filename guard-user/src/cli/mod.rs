//! The command line: one subcommand a file.

pub mod check;
pub mod exit;
