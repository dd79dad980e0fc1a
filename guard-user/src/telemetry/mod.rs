//! What the daemon shows of its work.

pub mod diagnostics;
