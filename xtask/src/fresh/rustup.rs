//! The fresh machine's rustup: this machine's compiler as its only toolchain, under the name `stable`, and without
//! the library's source.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::files::{copy_file, create_dir};
use crate::{run, setup::rustup_run, workspace};

/// The programs that rustup is called by.
const PROXIES: [&str; 7] =
    ["cargo", "rustc", "rustdoc", "cargo-clippy", "clippy-driver", "cargo-fmt", "rustfmt"];
/// The component that a fresh machine lacks.
const LIBRARY_SOURCE: &str = "rust-src";

/// Puts rustup and the active toolchain into this home folder.
pub(super) fn copy(home: &Path) -> Result<()> {
    let program = workspace::find_in_path("rustup").context("rustup is missing")?;
    let bin = home.join(".cargo/bin");
    copy_file(&program, &bin.join("rustup"))?;
    for proxy in PROXIES {
        symlink("rustup", bin.join(proxy)).with_context(|| format!("cannot link {proxy}"))?;
    }

    let active = active()?;
    let sysroot = run::output(rustup_run(&active, "rustc").args(["--print", "sysroot"]))?;
    let sysroot = PathBuf::from(sysroot.trim());
    if !sysroot.join("lib/rustlib/multirust-channel-manifest.toml").exists() {
        bail!(
            "the active toolchain {active} is none that rustup installed, so a fresh one can't be made of it"
        );
    }
    let version = run::output(rustup_run(&active, "rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let name = format!("stable-{host}");
    let rustup_home = home.join(".rustup");
    let toolchain = rustup_home.join("toolchains").join(&name);
    create_dir(&toolchain)?;
    run::step(
        &format!("copying the toolchain {active}"),
        "fresh-rustup",
        Command::new("sh")
            .args(["-c", "tar -C \"$1\" --exclude=./share/doc -cf - . | tar -C \"$2\" -xf -", "sh"])
            .arg(&sysroot)
            .arg(&toolchain),
    )?;
    let rustup = |arguments: &[&str]| {
        run::output(Command::new(&program).args(arguments).env("RUSTUP_HOME", &rustup_home))
    };
    rustup(&["default", &name])?;
    if rustup(&["component", "list", "--installed"])?.lines().any(|component| component == LIBRARY_SOURCE) {
        rustup(&["component", "remove", LIBRARY_SOURCE])?;
    }
    if toolchain.join("lib/rustlib/src/rust/library").exists() {
        bail!("the library's source is still in {}", toolchain.display());
    }
    fs::metadata(toolchain.join("bin/rustc")).map(drop).context("the copied toolchain has no rustc")
}

/// The toolchain that runs this program.
fn active() -> Result<String> {
    if let Some(toolchain) = env::var_os("RUSTUP_TOOLCHAIN").and_then(|name| name.into_string().ok()) {
        return Ok(toolchain);
    }
    let shown = run::output(Command::new("rustup").args(["show", "active-toolchain"]))?;
    Ok(shown.split_whitespace().next().context("rustup has no active toolchain")?.to_owned())
}
