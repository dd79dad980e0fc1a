//! `cargo xtask setup`: find or install what the build of the kernel program needs.
//!
//! Two things are needed: a compiler with the source of the standard library (`-Z build-std=core`), and a
//! `bpf-linker` that was built against the same major version of LLVM. What was found is written to
//! `.tools/ebpf-toolchain`, which `guard-user/build.rs` reads.

mod linker;
pub(crate) mod packages;
mod record;
mod toolchain;

use std::process::ExitCode;

use anyhow::{Result, bail};

use self::toolchain::Compiler;
pub(crate) use self::{record::Record, toolchain::rustup_run};
use crate::workspace;

/// Find or install what the build of the kernel program needs
///
/// The other commands do this themselves. On Debian as root the compiler and LLVM come from apt; elsewhere
/// rustup's nightly is used. Nothing is asked; what cannot be had is named with the command that gets it.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

/// Sets up the build and says what it will use.
pub(crate) fn command(Arguments {}: &Arguments) -> Result<ExitCode> {
    let record = ensure()?;
    println!(
        "ready: toolchain {} ({}), bpf-linker in {}, both on LLVM {}",
        record.toolchain,
        record.rustc,
        record.linker_dir.display(),
        record.llvm
    );
    Ok(ExitCode::SUCCESS)
}

/// Makes the build of the kernel program possible; quick and quiet when it already is.
pub(crate) fn ensure() -> Result<Record> {
    let path = workspace::tools_dir().join("ebpf-toolchain");
    if workspace::find_in_path("rustup").is_none() {
        bail!(
            "rustup is missing: the kernel program needs a toolchain beside the one that builds the rest, \
             and rustup keeps them apart; get it from https://rustup.rs and run this again"
        );
    }
    if let Some(record) = Record::read(&path)
        && still_valid(&record)
    {
        return Ok(record);
    }
    let found = toolchain::installed();
    let (compiler, linker_dir) = match with_linker(&found) {
        Some(pair) => pair,
        None => {
            let compiler = match found.into_iter().find(|compiler| linker::can_match(compiler.llvm)) {
                Some(compiler) => compiler,
                None => toolchain::install()?,
            };
            let linker_dir = linker::ensure(&compiler)?;
            (compiler, linker_dir)
        }
    };
    let record = Record::new(&compiler, linker_dir);
    record.write(&path)?;
    Ok(record)
}

/// The first compiler for which a linker of the same LLVM is there already.
fn with_linker(compilers: &[Compiler]) -> Option<(Compiler, std::path::PathBuf)> {
    if compilers.is_empty() {
        return None;
    }
    let linkers = linker::installed();
    compilers.iter().find_map(|compiler| {
        let (_, dir) = linkers.iter().find(|(llvm, _)| *llvm == compiler.llvm)?;
        Some((compiler.clone(), dir.clone()))
    })
}

/// Whether what was recorded is still there and still the same.
fn still_valid(record: &Record) -> bool {
    workspace::is_executable(&workspace::root().join(&record.linker_dir).join("bpf-linker"))
        && Compiler::probe(&record.toolchain)
            .is_some_and(|compiler| compiler.rustc == record.rustc && compiler.llvm == record.llvm)
}
