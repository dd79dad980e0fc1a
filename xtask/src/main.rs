//! `cargo xtask`: one command a file.
fn main() {}
