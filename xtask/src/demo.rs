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
    ship, workspace,
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
    launch("guard-demo", &arguments.arguments)
}

/// Builds everything for release and becomes one of the programs of the crate `tests`.
pub(crate) fn launch(program: &str, arguments: &[OsString]) -> Result<ExitCode> {
    // Both at once, so that their features are the same; what is shown is what ships.
    build::release(&["guard-user", "guard-tests"])?;
    ship::check(&ship::split("borderguard")?)?;
    let program = workspace::target_dir().join("release").join(program);
    let failure = Command::new(&program).args(arguments).exec();
    Err(failure).with_context(|| format!("cannot start {}", program.display()))
}
