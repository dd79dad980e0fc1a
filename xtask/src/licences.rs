//! Whether everything that the program is built from may be shipped with it: cargo-deny says so, by `deny.toml`.

use anyhow::{Context as _, Result, bail};

use crate::setup::{self, tool::Tool};

/// Built without optimisation it takes as long as the linker does, and its check two seconds.
const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", asked_by: &["--version"] };

/// Checks the licence and the source of every package in the lock file that Linux builds use.
pub(crate) fn check() -> Result<()> {
    let record = setup::ensure()?;
    if !CARGO_DENY.works() {
        CARGO_DENY.build("for the check of licences", record.cargo(), |cargo| cargo.arg("--debug"))?;
    }
    let mut deny = setup::rustup_run(&record.host, CARGO_DENY.program());
    // It asks cargo for the packages: that toolchain's and not the one of this program.
    deny.env_remove("CARGO");
    let status = deny.args(["--locked", "check", "licenses", "bans", "sources"]).status();
    if !status.context("cannot start cargo-deny")?.success() {
        bail!("a package is not as deny.toml says");
    }
    Ok(())
}
