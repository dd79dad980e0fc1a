//! `cargo xtask build`: the `borderguard` program, ready to install.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::{setup, workspace};

/// Build the borderguard program for release, with the kernel program inside
#[derive(clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn command(Arguments {}: &Arguments) -> Result<ExitCode> {
    release(&["guard-user"])?;
    println!("built {}", workspace::target_dir().join("release/borderguard").display());
    Ok(ExitCode::SUCCESS)
}

/// Sets up the build and builds the programs of these packages for release.
pub(crate) fn release(packages: &[&str]) -> Result<()> {
    let mut cargo = setup::cargo()?;
    cargo.args(["build", "--release", "--bins"]);
    for package in packages {
        cargo.args(["--package", package]);
    }
    let status = cargo.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("the release build of {} failed", packages.join(" and "));
    }
    Ok(())
}
