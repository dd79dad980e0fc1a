//! The files of the tree that the rules are about.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};

use crate::{run, workspace};

/// A text file, by its path from the workspace's top folder.
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
}

/// All text files that git knows, in the order of their paths.
pub(super) struct Tree {
    pub(super) files: Vec<File>,
}

impl Tree {
    /// Reads the files as they are in the work tree, those that git is yet to be told of as well.
    pub(super) fn read() -> Result<Self> {
        let list = run::output(Command::new("git").args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "--deduplicate",
        ]))
        .context("git can't list the files of this checkout")?;
        let mut files = Vec::new();
        for path in list.split('\0').filter(|path| !path.is_empty()) {
            let file = workspace::root().join(path);
            // A file that was removed is still listed until that is committed.
            if !file.is_file() {
                continue;
            }
            let bytes = fs::read(&file).with_context(|| format!("cannot read {path}"))?;
            if let Ok(text) = String::from_utf8(bytes) {
                files.push(File { path: path.to_owned(), text });
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { files })
    }

    /// The Rust files among them.
    pub(super) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    /// A tree made up by a test.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), text: (*text).to_owned() };
        Self { files: files.iter().map(file).collect() }
    }
}
