//! The program as it ships: stripped, with its debug info in a file of its own that fits by its build id.
//!
//! Cargo's own `strip` throws the debug info away, and its `split-debuginfo` leaves most of it in the program on
//! Linux, so this is done by binutils, which every C compiler comes with.

use std::{
    ffi::OsStr,
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{run, workspace};

/// The most that the program may have: 32 MB. A third of it is the embedded geo database; 1.5 are the kernel's programs.
/// Built for speed it had a tenth more, and took half as long again to build.
const MOST: u64 = 32_000_000;

/// A program and its debug info, with their sizes in bytes.
pub(crate) struct Shipped {
    program: PathBuf,
    size: u64,
    debug: PathBuf,
    debug_size: u64,
    build_id: String,
}

impl fmt::Display for Shipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, size, debug, debug_size, build_id } = self;
        write!(f, "{} ({}), debug info in ", program.display(), megabytes(*size))?;
        write!(f, "{} ({}), build id {build_id}", debug.display(), megabytes(*debug_size))
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

/// Splits a program that cargo has just built for release. Cargo puts it there whole at each build, as a hard link:
/// both files are made anew beside it, so that cargo's own copy stays as it is.
pub(crate) fn split(name: &str) -> Result<Shipped> {
    let program = workspace::target_dir().join("release").join(name);
    let debug = program.with_extension("debug");
    let stripped = program.with_extension("stripped");
    if has_section(&program, ".debug_line")? {
        let build_id = build_id(&program)?;
        objcopy(&["--only-keep-debug".as_ref(), program.as_ref(), debug.as_ref()])?;
        let mut link = std::ffi::OsString::from("--add-gnu-debuglink=");
        link.push(&debug);
        objcopy(&["--strip-all".as_ref(), &link, program.as_ref(), stripped.as_ref()])?;
        fs::rename(&stripped, &program).with_context(|| format!("cannot rename {}", stripped.display()))?;
        return Ok(Shipped { size: size(&program)?, debug_size: size(&debug)?, program, debug, build_id });
    }
    bail!("{} has no debug info to split off; remove it and build again", program.display())
}

/// Checks a program as it ships: its size, and that it and its debug info fit.
pub(crate) fn check(shipped: &Shipped) -> Result<()> {
    println!("built {shipped}");
    let Shipped { program, size, debug, build_id, .. } = shipped;
    if *size > MOST {
        bail!("{} has {size} bytes, and {MOST} are the most", program.display());
    }
    let ids = [self::build_id(program)?, self::build_id(debug)?];
    if ids.iter().any(|id| id != build_id) {
        bail!("the build ids differ: {build_id} as built, then {} and {}", ids[0], ids[1]);
    }
    for (file, section, wanted) in [
        (program, ".debug_line", false),
        (program, ".symtab", false),
        (program, ".gnu_debuglink", true),
        (debug, ".debug_line", true),
        (debug, ".symtab", true),
    ] {
        if has_section(file, section)? != wanted {
            bail!("{} {} the section {section}", file.display(), if wanted { "lacks" } else { "still has" });
        }
    }
    // What was cut off is not what it runs by.
    run::output(Command::new(program).arg("--version")).map(drop)
}

fn size(file: &Path) -> Result<u64> {
    Ok(fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len())
}

fn objcopy(arguments: &[&OsStr]) -> Result<()> {
    run::output(Command::new("objcopy").args(arguments)).map(drop).context("binutils can't split the program")
}

fn build_id(file: &Path) -> Result<String> {
    let notes = run::output(Command::new("readelf").arg("--notes").arg(file))?;
    build_id_in(&notes).with_context(|| format!("{} has no build id", file.display()))
}

/// The build id in what `readelf --notes` prints.
fn build_id_in(notes: &str) -> Option<String> {
    let id = notes.lines().find_map(|line| line.split_once("Build ID: "))?.1.trim();
    (!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}

fn has_section(file: &Path, name: &str) -> Result<bool> {
    let sections = run::output(Command::new("readelf").args(["--section-headers", "--wide"]).arg(file))?;
    Ok(has_section_in(&sections, name))
}

/// Whether what `readelf --section-headers` prints has a section with content of its own.
fn has_section_in(sections: &str, name: &str) -> bool {
    sections
        .lines()
        .filter_map(|line| line.split_once(']'))
        .map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>())
        .any(|words| matches!(words[..], [section, kind, ..] if section == name && kind != "NOBITS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_id_is_read_and_none_is_not() {
        let notes = "Displaying notes found in: .note.gnu.build-id\n  Owner  Data size  Description\n  \
            GNU   0x00000014  NT_GNU_BUILD_ID (unique build ID bitstring)\n    Build ID: 0a1b2c3d\n";
        assert_eq!(build_id_in(notes).as_deref(), Some("0a1b2c3d"));
        let wide = "  GNU  0x00000014\tNT_GNU_BUILD_ID (unique build ID bitstring)\t    Build ID: 0a1b2c3d\n";
        assert_eq!(build_id_in(wide).as_deref(), Some("0a1b2c3d"));
        assert_eq!(build_id_in("    Build ID: \n"), None);
        assert_eq!(build_id_in(""), None);
    }

    #[test]
    fn a_section_that_is_only_named_is_not_there() {
        let sections =
            "  [ 1] .text   NOBITS   0000 000 1 00 AX 0 0 16\n  [12] .debug_line PROGBITS 0 1 2 3\n";
        assert!(has_section_in(sections, ".debug_line"));
        assert!(!has_section_in(sections, ".text"));
        assert!(!has_section_in(sections, ".symtab"));
    }
}
