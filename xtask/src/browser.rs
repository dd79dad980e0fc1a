//! A real browser without a screen, and axe-core, for the end-to-end tests of the page.
//!
//! Debian's packages are only unpacked, below `.tools/chromium`, and run from there. axe-core, under the Mozilla Public
//! License 2.0, is in no package of Debian's: npm gets it, by its version and its SHA-256; it judges the page in tests alone
//! and is shipped with nothing.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{
    run,
    setup::packages::{self, Purpose},
    workspace,
};

/// The suite that needs them.
pub(crate) const SUITE: &str = "e2e_page";

/// The browser, below its folder.
const PROGRAM: &str = "usr/lib/chromium/chromium-headless-shell";
const AXE: &str = "axe-core@4.14.1";
const AXE_FILE: &str = "axe-core-4.14.1.tgz";
const AXE_SHA256: &str = "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745";

/// Gets them where they are not there.
pub(crate) fn ensure() -> Result<()> {
    let tools = workspace::tools_dir();
    let chromium = tools.join("chromium");
    if !chromium.join(PROGRAM).exists() {
        packages::unpack("a browser", &["chromium-headless-shell"], &chromium)?;
    }
    let axe = tools.join("axe-core");
    match axe.join("package/axe.min.js").is_file() {
        true => Ok(()),
        false => fetch_axe(&axe),
    }
}

fn fetch_axe(folder: &Path) -> Result<()> {
    packages::ensure(Purpose::Page)?;
    let new = folder.with_extension("new");
    if new.exists() {
        fs::remove_dir_all(&new).with_context(|| format!("cannot remove {}", new.display()))?;
    }
    fs::create_dir_all(&new).with_context(|| format!("cannot create {}", new.display()))?;
    run::step(
        &format!("getting {AXE}"),
        "axe-core",
        Command::new("npm").args(["pack", "--silent", AXE]).current_dir(&new),
    )?;
    let archive = new.join(AXE_FILE);
    let digest = run::output(Command::new("sha256sum").arg(&archive))?;
    if digest.split_whitespace().next() != Some(AXE_SHA256) {
        bail!("{} is not the package that it should be: its SHA-256 is {digest}", archive.display());
    }
    run::output(Command::new("tar").arg("-xzf").arg(AXE_FILE).current_dir(&new))?;
    fs::rename(&new, folder).with_context(|| format!("cannot rename {}", new.display()))
}
