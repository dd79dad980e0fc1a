//! What setup chose, as the file `.tools/ebpf-toolchain`: one `key = value` a line.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::toolchain::{Compiler, rustup_run};
use crate::run;

/// The compiler and the linker of the kernel program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The name by which rustup knows the toolchain.
    pub(crate) toolchain: String,
    /// The compiler's version line.
    pub(crate) rustc: String,
    /// LLVM's major version, the compiler's and the linker's.
    pub(crate) llvm: u32,
    /// Whether `-Z` flags need `RUSTC_BOOTSTRAP=1`, as on every compiler that is not a nightly.
    pub(crate) bootstrap: bool,
    /// The folder of `bpf-linker`, relative to the workspace where it lies in there.
    pub(crate) linker_dir: PathBuf,
}

impl Record {
    pub(crate) fn new(compiler: &Compiler, linker_dir: PathBuf) -> Self {
        Self {
            toolchain: compiler.toolchain.clone(),
            rustc: compiler.rustc.clone(),
            llvm: compiler.llvm,
            bootstrap: !compiler.nightly,
            linker_dir,
        }
    }

    /// Whether the toolchain can lint.
    pub(crate) fn has_clippy(&self) -> bool {
        run::output(rustup_run(&self.toolchain, "cargo-clippy").arg("--version")).is_ok()
    }

    /// Reads the file; `None` where there is none, or none that this version understands.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(path).ok()?)
    }

    /// Writes the file, unless it says the same already: its time stamp makes the build run again.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        if Self::read(path).as_ref() == Some(self) {
            return Ok(());
        }
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        fs::write(path, self.render()).with_context(|| format!("cannot write {}", path.display()))
    }

    fn render(&self) -> String {
        format!(
            "# Written by `cargo xtask setup`, read by guard-user/build.rs.\n\
             toolchain = {}\nrustc = {}\nllvm = {}\nbootstrap = {}\nlinker-dir = {}\n",
            self.toolchain,
            self.rustc,
            self.llvm,
            self.bootstrap,
            self.linker_dir.display()
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| {
            text.lines()
                .filter_map(|line| line.split_once('='))
                .find(|(name, _)| name.trim() == key)
                .map(|(_, value)| value.trim())
        };
        Some(Self {
            toolchain: value("toolchain")?.to_owned(),
            rustc: value("rustc")?.to_owned(),
            llvm: value("llvm")?.parse().ok()?,
            bootstrap: value("bootstrap")?.parse().ok()?,
            linker_dir: PathBuf::from(value("linker-dir")?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let record = Record {
            toolchain: "nightly-2026-05-20".to_owned(),
            rustc: "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)".to_owned(),
            llvm: 22,
            bootstrap: false,
            linker_dir: PathBuf::from(".tools/bin"),
        };
        assert_eq!(Record::parse(&record.render()), Some(record));
    }

    #[test]
    fn a_damaged_record_counts_as_none() {
        assert_eq!(Record::parse("toolchain = bpf\nllvm = many\n"), None);
        assert_eq!(Record::parse(""), None);
    }
}
