//! `cargo xtask bench`: what a packet, a lookup and a new generation cost.

use std::{ffi::OsString, process::ExitCode};

use anyhow::{Result, bail};

use crate::{
    bpf, build, demo,
    setup::packages::{self, Purpose},
};

/// Measure what a packet costs in the kernel program, and what a new generation of tables costs
///
/// Runs the kernel program through BPF_PROG_TEST_RUN; no packet leaves the machine. Needs root.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Passed on to the bench; `cargo xtask bench -- --help` lists what it knows
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    if let Err(why) = bpf::usable() {
        bail!("the bench runs real kernel programs: {why}");
    }
    packages::ensure(Purpose::Bench)?;
    let json = arguments.json.then(|| OsString::from("--json"));
    let all: Vec<OsString> = json.into_iter().chain(arguments.arguments.iter().cloned()).collect();
    // Both at once, so that their features are the same.
    build::release(&["guard-user", "guard-tests"])?;
    demo::launch("release/guard-bench", &all)
}
