//! `bpf-linker`, built against the compiler's own major version of LLVM.

use std::{
    env, fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{
    packages,
    toolchain::{Compiler, rustup_run},
};
use crate::{run, workspace};

/// The version that is built where none is found.
const VERSION: &str = "0.13.0";
/// The major versions of LLVM for which that version has a cargo feature.
const SUPPORTED: RangeInclusive<u32> = 21..=23;

/// Whether a linker for this LLVM exists or could be built.
pub(super) fn can_match(llvm: u32) -> bool {
    SUPPORTED.contains(&llvm)
}

/// The linkers in the checkout's tool folder and in `PATH`: LLVM's major version and the folder.
pub(super) fn installed() -> Vec<(u32, PathBuf)> {
    let path = env::var_os("PATH").unwrap_or_default();
    let own = PathBuf::from(".tools/bin");
    std::iter::once(own)
        .chain(env::split_paths(&path))
        .filter(|dir| workspace::is_executable(&dir.join("bpf-linker")))
        .filter_map(|dir| Some((llvm_of(&dir.join("bpf-linker"))?, dir)))
        .collect()
}

/// Builds the linker for this compiler into the checkout's tool folder.
pub(super) fn ensure(compiler: &Compiler) -> Result<PathBuf> {
    let llvm = compiler.llvm;
    if !can_match(llvm) {
        bail!(
            "toolchain {} uses LLVM {llvm}, and bpf-linker {VERSION} knows {} to {} only; put a bpf-linker \
             built with LLVM {llvm} on PATH and run this again",
            compiler.toolchain,
            SUPPORTED.start(),
            SUPPORTED.end()
        );
    }
    let prefix = llvm_prefix(llvm)?;
    let mut path = prefix.join("bin").into_os_string();
    path.push(":");
    path.push(env::var_os("PATH").unwrap_or_default());
    run::step(
        &format!("building bpf-linker {VERSION} for LLVM {llvm} (some minutes)"),
        "bpf-linker",
        rustup_run(&compiler.toolchain, "cargo")
            .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force"])
            .args(["--no-default-features", "--features", &format!("llvm-{llvm}")])
            .arg("--root")
            .arg(workspace::tools_dir())
            .env("LLVM_PREFIX", &prefix)
            .env("PATH", path)
            // The work is LLVM's, which is compiled already: spare the time of a full release build.
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_BUILD_TARGET"),
    )?;
    let dir = PathBuf::from(".tools/bin");
    match llvm_of(&dir.join("bpf-linker")) {
        Some(built) if built == llvm => Ok(dir),
        built => bail!("the new bpf-linker reports LLVM {built:?} where {llvm} was asked for"),
    }
}

/// Where LLVM's development files of this major version are; on Debian as root they are installed.
fn llvm_prefix(llvm: u32) -> Result<PathBuf> {
    if let Some(prefix) = installed_llvm(llvm) {
        return Ok(prefix);
    }
    let packages = [
        format!("llvm-{llvm}-dev"),
        format!("libpolly-{llvm}-dev"),
        "libzstd-dev".to_owned(),
        "zlib1g-dev".to_owned(),
    ];
    let packages = packages.each_ref().map(String::as_str);
    let advice = format!(
        "a bpf-linker for LLVM {llvm} is missing, and LLVM {llvm}'s development files to build it: either \
         `sudo apt-get install --no-install-recommends {}`, or put a released bpf-linker of LLVM {llvm} on \
         PATH (https://github.com/aya-rs/bpf-linker/releases); then run `cargo xtask setup` again",
        packages.join(" ")
    );
    if !packages::can_install() {
        bail!(advice);
    }
    packages::install(&format!("LLVM {llvm}'s development files"), &packages)
        .with_context(|| advice.clone())?;
    installed_llvm(llvm).context(advice)
}

fn installed_llvm(llvm: u32) -> Option<PathBuf> {
    let asked_for = env::var_os("LLVM_PREFIX").map(PathBuf::from);
    let debian = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
    asked_for.into_iter().chain([debian, PathBuf::from("/usr")]).find(|prefix| {
        let config = prefix.join("bin/llvm-config");
        workspace::is_executable(&config)
            && prefix.join("include/llvm-c/Core.h").exists()
            && run::output(Command::new(&config).arg("--version"))
                .is_ok_and(|version| version.split('.').next() == Some(llvm.to_string().as_str()))
    })
}

/// The LLVM that a bpf-linker carries or links: its own version says nothing of it.
fn llvm_of(binary: &Path) -> Option<u32> {
    llvm_in(&fs::read(binary).ok()?)
}

/// Finds LLVM's major version in a binary: the shared library's name (`libLLVM.so.22.1`,
/// `libLLVM-22.so`), or, when it is linked in, the producer mark that LLVM writes into bitcode
/// (`LLVM22.1.8`).
fn llvm_in(binary: &[u8]) -> Option<u32> {
    let mut linked_in = None;
    for (at, _) in binary.windows(4).enumerate().filter(|(_, window)| *window == b"LLVM") {
        let rest = binary.get(at + 4..)?;
        let shared = rest.strip_prefix(b".so.").or_else(|| rest.strip_prefix(b"-"));
        let is_library = at >= 3 && binary.get(at - 3..at) == Some(b"lib");
        match shared {
            Some(rest) if is_library => {
                if let Some((major, _)) = leading_number(rest) {
                    return Some(major);
                }
            }
            _ => {
                if linked_in.is_none()
                    && let Some((major, [b'.', digit, ..])) = leading_number(rest)
                    && digit.is_ascii_digit()
                {
                    linked_in = Some(major);
                }
            }
        }
    }
    linked_in
}

fn leading_number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let end = bytes.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = bytes.split_at_checked(end)?;
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_llvm_is_found_by_its_name() {
        assert_eq!(llvm_in(b"\0libc.so.6\0libLLVM.so.22.1\0"), Some(22));
        assert_eq!(llvm_in(b"\0libLLVM-21.so.1\0"), Some(21));
    }

    #[test]
    fn the_shared_library_wins_over_a_mark() {
        assert_eq!(llvm_in(b"LLVM21.1.0\0libLLVM.so.22.1\0"), Some(22));
    }

    #[test]
    fn a_linked_in_llvm_is_found_by_its_mark() {
        assert_eq!(llvm_in(b"features LLVM 22 builds\0LLVM23.1.0-rust\0"), Some(23));
    }

    #[test]
    fn other_text_is_no_version() {
        assert_eq!(llvm_in(b"LLVM_PREFIX LLVM2 LLVM libLLVM.so LLVM"), None);
    }
}
