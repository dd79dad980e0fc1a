//! One thing that takes inputs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// What takes inputs: it panics where one shows a fault.
pub struct Target {
    /// Its name on the command line, and of its folder in the corpus.
    pub name: &'static str,
    /// What it reads.
    pub what: &'static str,
    /// Whether it needs root and BPF.
    pub needs_bpf: bool,
    /// Takes one input.
    pub take: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Result<Vec<Vec<u8>>>,
    /// The most bytes of an input that say anything.
    pub longest: usize,
}

impl Target {
    /// What was kept of earlier runs, by the names of the files.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn kept(&self) -> Result<Vec<(PathBuf, Vec<u8>)>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name);
        let mut kept = Vec::new();
        if !folder.is_dir() {
            return Ok(kept);
        }
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let file = entry?.path();
            let bytes = fs::read(&file).with_context(|| file.display().to_string())?;
            kept.push((file, bytes));
        }
        kept.sort();
        Ok(kept)
    }
}
