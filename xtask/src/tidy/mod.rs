//! `cargo xtask tidy`: the tree's own rules, those that no compiler and no linter knows.

mod circles;
mod imports;
mod known;
mod layers;
mod tree;
mod words;

use std::process::ExitCode;

use anyhow::{Result, bail};

use self::tree::Tree;

/// The most lines of a Rust file: one that is longer is about more than one thing.
const LINES: usize = 500;
/// The crates whose modules may not be in circles.
const CRATES: [&str; 5] = ["guard-common/src", "guard-ebpf/src", "guard-user/src", "tests/src", "xtask/src"];
/// The crate with layers.
const LAYERED: &str = "guard-user/src";

/// Check the tree's own rules: length of files, layers, circles of imports, words
///
/// What is not yet as the rules say is listed in xtask/src/tidy/known.rs, and that list only shrinks: an entry that
/// is no longer needed is an error too.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn command(Arguments {}: &Arguments) -> Result<ExitCode> {
    let tree = Tree::read()?;
    let findings = findings(&tree)?;
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} of the tree's own rules are broken", findings.len());
    }
    println!("{} files are as the tree's own rules say", tree.files.len());
    Ok(ExitCode::SUCCESS)
}

fn findings(tree: &Tree) -> Result<Vec<String>> {
    let mut findings = too_long(tree);
    for folder in CRATES {
        let edges = imports::edges(tree, folder)?;
        findings.extend(circles::findings(folder, &edges, known::CIRCLES));
        if folder == LAYERED {
            findings.extend(layers::findings(folder, &edges, known::LAYERS, known::AGAINST_LAYERS));
        }
    }
    findings.extend(words::findings(tree, known::WORDS));
    Ok(findings)
}

fn too_long(tree: &Tree) -> Vec<String> {
    tree.rust()
        .map(|file| (&file.path, file.text.lines().count()))
        .filter(|(_, lines)| *lines > LINES)
        .map(|(path, lines)| format!("{path}: {lines} lines, and {LINES} are the most"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_found() {
        let (long, right) = ("\n".repeat(LINES + 1), "\n".repeat(LINES));
        let tree = Tree::of(&[("a/src/long.rs", &long), ("a/src/right.rs", &right), ("docs/long.md", &long)]);
        assert_eq!(too_long(&tree), ["a/src/long.rs: 501 lines, and 500 are the most"]);
    }
}
