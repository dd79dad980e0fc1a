//! Bills of materials: which crates are in what ships, with their licences and checksums, in CycloneDX.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::place::epoch;
use crate::{run, setup, setup::tool::Tool, workspace};

/// Reads the lock file and the crates' own metadata: by the CycloneDX project itself, of OWASP.
pub(super) const CARGO_CYCLONEDX: Tool =
    Tool { name: "cargo-cyclonedx", version: "0.5.9", asked_by: &["cyclonedx", "--version"] };

/// The parts that ship, by their folder in the workspace, and the target that they are built for.
const PARTS: [(&str, &str, &str); 2] = [
    ("guard-user", "x86_64-unknown-linux-gnu", "borderguard.cdx.json"),
    // The kernel's programs are inside of the program.
    ("guard-ebpf", "all", "borderguard-ebpf.cdx.json"),
];

/// Makes one for the program and one for the kernel's programs that are in it.
pub(super) fn make(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut made = Vec::new();
    for (part, target, name) in PARTS {
        // It writes beside the part's `Cargo.toml`, under this name and no other.
        let stem = name.trim_end_matches(".json");
        let manifest = workspace::root().join(part).join("Cargo.toml");
        let mut cyclonedx = Command::new(CARGO_CYCLONEDX.program());
        cyclonedx
            .args(["cyclonedx", "--quiet", "--format", "json", "--spec-version", "1.5", "--target", target])
            .args(["--override-filename", stem, "--manifest-path"])
            .arg(&manifest)
            .env("SOURCE_DATE_EPOCH", epoch());
        run::step(&format!("listing the crates of {part}"), "cyclonedx", &mut cyclonedx)?;
        let file = folder.join(name);
        for other in PARTS.map(|(part, ..)| part).iter().chain(&["guard-common", "xtask", "tests"]) {
            let written = workspace::root().join(other).join(name);
            if *other == part {
                fs::copy(&written, &file).with_context(|| format!("cannot copy {}", written.display()))?;
            }
            // It may write one of each member of the workspace.
            let _none_there = fs::remove_file(&written);
        }
        hold_against_cargo(part, target, &file)?;
        made.push(file);
    }
    Ok(made)
}

/// Every crate that cargo builds into the part is in its bill.
fn hold_against_cargo(part: &str, target: &str, file: &Path) -> Result<()> {
    let mut tree = setup::cargo()?;
    tree.args([
        "tree",
        "--package",
        part,
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--target",
    ]);
    let built = run::output(tree.arg(target))?;
    let of_line = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.trim_start_matches('v').to_owned()))
    };
    let built: BTreeSet<(String, String)> = built.lines().filter_map(of_line).collect();
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let missing: Vec<String> = built
        .iter()
        .filter(|(name, version)| *name != part && !text.contains(&format!("pkg:cargo/{name}@{version}")))
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    if !missing.is_empty() {
        bail!("{} lacks {}", file.display(), missing.join(", "));
    }
    Ok(())
}
