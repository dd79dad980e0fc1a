//! `cargo xtask build`: the `borderguard` program, ready to install.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::{setup, ship};

/// Build the borderguard program for release, with the kernel program inside
///
/// The program is stripped; what a debugger needs beside it is in borderguard.debug, which it finds by the build id.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn command(Arguments {}: &Arguments) -> Result<ExitCode> {
    shipped()?;
    Ok(ExitCode::SUCCESS)
}

/// Builds the program as it ships, and checks that it is.
pub(crate) fn shipped() -> Result<()> {
    release(&["guard-user"])?;
    ship::check(&ship::split("borderguard")?)
}

/// Sets up the build and builds all programs as the tests have them, which takes a third of the time that a release takes.
pub(crate) fn programs() -> Result<()> {
    // All packages that the tests are built with, so that their features are the same and nothing is built twice.
    let status = setup::cargo()?.args(["build", "--bins"]).status().context("cannot start cargo")?;
    if !status.success() {
        bail!("the programs do not build");
    }
    Ok(())
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
