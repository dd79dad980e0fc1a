//! The `borderguard` program.
fn main() {}
