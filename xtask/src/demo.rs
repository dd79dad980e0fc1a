//! `cargo xtask demo`: the Dublin demo.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    bpf, build,
    setup::packages::{self, Purpose},
    workspace,
};

/// Show a Dublin storage host whose mailbox may not leave the EU, judged by this machine's kernel
///
/// Makes a few network namespaces of its own with no way out, runs real services and clients in them,
/// prints who asked for what and what the kernel decided, and removes all of it. Needs root.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Passed on to the demo; `cargo xtask demo -- --help` lists what it knows
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    if let Err(why) = bpf::usable() {
        bail!("the demo runs real kernel programs: {why}");
    }
    packages::ensure(Purpose::Scenario)?;
    // Not for release: what a newcomer waits for first is this, and the kernel's programs are optimized all the same.
    build::programs()?;
    launch("debug/guard-demo", &arguments.arguments)
}

/// Becomes a program that was built, by its path below the target folder.
pub(crate) fn launch(program: &str, arguments: &[OsString]) -> Result<ExitCode> {
    let program = workspace::target_dir().join(program);
    let failure = Command::new(&program).args(arguments).exec();
    Err(failure).with_context(|| format!("cannot start {}", program.display()))
}
