//! What setup chose, as the file `.tools/ebpf-toolchain`: one `key = value` a line.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::toolchain::rustup_run;
use crate::run;

/// The compilers, and the linker of the kernel program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The release that the workspace pinned when this was chosen.
    pub(crate) pin: String,
    /// The name by which rustup knows the kernel program's toolchain.
    pub(crate) toolchain: String,
    /// That compiler's version line.
    pub(crate) rustc: String,
    /// LLVM's major version, the compiler's and the linker's.
    pub(crate) llvm: u32,
    /// The name of the toolchain that builds everything else: the same one, unless rustup has the pinned compiler
    /// but not its library's source.
    pub(crate) host: String,
    /// The version of `bpf-linker`.
    pub(crate) linker: String,
    /// The folder of `bpf-linker`, relative to the workspace.
    pub(crate) linker_dir: PathBuf,
}

impl Record {
    /// The cargo for everything but the kernel program.
    pub(crate) fn cargo(&self) -> Command {
        rustup_run(&self.host, "cargo")
    }

    /// Whether the kernel program's toolchain can lint.
    pub(crate) fn has_clippy(&self) -> bool {
        run::output(rustup_run(&self.toolchain, "cargo-clippy").arg("--version")).is_ok()
    }

    /// Reads the file; `None` where there is none, or none that this version understands.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(path).ok()?)
    }

    /// Writes the file whole or not at all. One that says the same already is left as it is: its time stamp makes
    /// the build run again.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        if Self::read(path).as_ref() == Some(self) {
            return Ok(());
        }
        let new = path.with_extension("new");
        fs::write(&new, self.render()).with_context(|| format!("cannot write {}", new.display()))?;
        fs::rename(&new, path).with_context(|| format!("cannot rename {}", new.display()))
    }

    fn render(&self) -> String {
        format!(
            "# Written by `cargo xtask setup`, read by guard-user/build.rs.\n\
             pin = {}\ntoolchain = {}\nrustc = {}\nllvm = {}\nhost = {}\nlinker = {}\nlinker-dir = {}\n",
            self.pin,
            self.toolchain,
            self.rustc,
            self.llvm,
            self.host,
            self.linker,
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
            pin: value("pin")?.to_owned(),
            toolchain: value("toolchain")?.to_owned(),
            rustc: value("rustc")?.to_owned(),
            llvm: value("llvm")?.parse().ok()?,
            host: value("host")?.to_owned(),
            linker: value("linker")?.to_owned(),
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
            pin: "1.95.0".to_owned(),
            toolchain: "1.95.0-x86_64-unknown-linux-gnu".to_owned(),
            rustc: "rustc 1.95.0 (59807616e 2026-04-14)".to_owned(),
            llvm: 22,
            host: "stable-x86_64-unknown-linux-gnu".to_owned(),
            linker: "0.13.0".to_owned(),
            linker_dir: PathBuf::from(".tools/linker/bin"),
        };
        assert_eq!(Record::parse(&record.render()), Some(record));
    }

    #[test]
    fn a_damaged_record_counts_as_none() {
        assert_eq!(Record::parse("toolchain = bpf\nllvm = many\n"), None);
        assert_eq!(Record::parse("toolchain = bpf\nrustc = rustc 1.96.0\nllvm = 22\n"), None);
        assert_eq!(Record::parse(""), None);
    }
}
