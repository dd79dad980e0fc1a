//! `cargo xtask bench`: what a packet, a lookup and a new generation cost on this machine.

use std::process::ExitCode;

fn main() -> ExitCode {
    guard_tests::bench::main()
}
