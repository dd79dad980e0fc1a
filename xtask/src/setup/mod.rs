//! `cargo xtask setup`: find or install what the build needs.
//!
//! Two things are needed: the pinned compiler with the source of the standard library (`-Z build-std=core`), and a
//! `bpf-linker` that is linked to that compiler's LLVM. What was found is written to `.tools/ebpf-toolchain`,
//! which `guard-user/build.rs` reads. It is written last, so a setup that was interrupted starts again.

mod linker;
pub(crate) mod packages;
mod record;
pub(crate) mod tool;
mod toolchain;

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};

use self::linker::LINKER;
use self::toolchain::{Compiler, Pin, Toolchains};
pub(crate) use self::{record::Record, toolchain::rustup_run};
use crate::workspace;

/// Find or install what the build needs
///
/// The other commands do this themselves. The compiler is the pinned one, by rustup; where rustup can't have it,
/// Debian's, as root. Nothing is asked; what cannot be had is named with the command that gets it.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

/// Sets up the build and says what it will use.
pub(crate) fn command(Arguments {}: &Arguments) -> Result<ExitCode> {
    let record = ensure()?;
    println!(
        "ready: toolchain {} ({}), bpf-linker {} in {}, both on LLVM {}",
        record.toolchain,
        record.rustc,
        record.linker,
        record.linker_dir.display(),
        record.llvm
    );
    Ok(ExitCode::SUCCESS)
}

/// The cargo that builds everything but the kernel program, after the setup that it needs.
pub(crate) fn cargo() -> Result<Command> {
    Ok(ensure()?.cargo())
}

/// Makes the build possible; quick and quiet when it already is.
pub(crate) fn ensure() -> Result<Record> {
    if workspace::find_in_path("rustup").is_none() {
        bail!("rustup is missing: the build's compiler is a toolchain of its; get it from https://rustup.rs");
    }
    let tools = workspace::tools_dir();
    fs::create_dir_all(&tools).with_context(|| format!("cannot create {}", tools.display()))?;
    // Two at once would build the linker at the same place.
    let lock = tools.join("setup.lock");
    let file = File::create(&lock).with_context(|| format!("cannot create {}", lock.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", lock.display()))?;
    let record = tools.join("ebpf-toolchain");
    let pin = Pin::read()?;
    match Record::read(&record) {
        Some(record) if still_valid(&record, &pin) => Ok(record),
        _ => set_up(&pin, &record),
    }
}

fn set_up(pin: &Pin, path: &Path) -> Result<Record> {
    // Nothing may build by it while its linker is replaced, and nothing after this failed half-way.
    if path.exists() {
        fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    let Toolchains { kernel, host } = toolchain::get(pin)?;
    linker::build(&kernel)?;
    let record = Record {
        pin: pin.channel.clone(),
        toolchain: kernel.toolchain,
        rustc: kernel.rustc,
        llvm: kernel.llvm,
        host,
        linker: LINKER.version.to_owned(),
        linker_dir: LINKER.dir(),
    };
    record.write(path)?;
    Ok(record)
}

/// Whether what was recorded is still there and still the same.
fn still_valid(record: &Record, pin: &Pin) -> bool {
    record.pin == pin.channel
        && record.linker == LINKER.version
        && record.linker_dir == LINKER.dir()
        && LINKER.works()
        && Compiler::probe(&record.toolchain)
            .is_some_and(|compiler| compiler.rustc == record.rustc && compiler.llvm == record.llvm)
        && (record.host == record.toolchain || toolchain::is_installed(&record.host))
}
