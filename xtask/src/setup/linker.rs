//! `bpf-linker`, linked to the very LLVM that the compiler itself uses: the two can't be of different versions,
//! and no development files of LLVM are needed.

use std::{
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{
    tool::Tool,
    toolchain::{Compiler, rustup_run},
};

/// The linker in its version.
pub(super) const LINKER: Tool = Tool { name: "bpf-linker", version: "0.13.0", asked_by: &["--version"] };
/// The major versions of LLVM for which that version has a cargo feature.
const SUPPORTED: RangeInclusive<u32> = 21..=23;

/// Builds the linker for this compiler. It starts only while the compiler's LLVM is where it is now.
pub(super) fn build(compiler: &Compiler) -> Result<()> {
    let llvm = compiler.llvm;
    if !SUPPORTED.contains(&llvm) {
        bail!(
            "toolchain {} uses LLVM {llvm}, and bpf-linker {} knows {} to {} only",
            compiler.toolchain,
            LINKER.version,
            SUPPORTED.start(),
            SUPPORTED.end()
        );
    }
    let flags = link_flags(&llvm_library(&compiler.sysroot, llvm)?)?;
    let why = format!("linked to LLVM {llvm} of the compiler");
    LINKER.build(&why, rustup_run(&compiler.toolchain, "cargo"), |cargo| {
        cargo
            .args(["--no-default-features", "--features", &format!("llvm-{llvm},no-llvm-linking")])
            .env("CARGO_ENCODED_RUSTFLAGS", flags)
            // The work is LLVM's, which is compiled already: spare the time of a full release build.
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
    })
}

/// The compiler's flags by which a program is linked to this library and finds it when it starts, in the form of
/// `CARGO_ENCODED_RUSTFLAGS`.
fn link_flags(library: &Path) -> Result<String> {
    let whole_path = library.to_str().context("the path of the compiler's LLVM is not UTF-8")?;
    let folder = whole_path.rsplit_once('/').map_or("", |(folder, _)| folder);
    // A comma would be taken for the next option, and a space is fine.
    if folder.contains(',') {
        bail!("the path {folder} has a comma, which a linker's option can't name");
    }
    Ok([format!("-Clink-arg={whole_path}"), format!("-Clink-arg=-Wl,-rpath,{folder}")].join("\x1f"))
}

/// The shared library of LLVM that a compiler uses: below its sysroot, or in Debian's folder for the processor.
fn llvm_library(sysroot: &Path, llvm: u32) -> Result<PathBuf> {
    let lib = sysroot.join("lib");
    let of_processor = lib.join(format!("{}-linux-gnu", std::env::consts::ARCH));
    for folder in [&lib, &of_processor] {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        let mut libraries: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok())
            .filter(|entry| entry.file_name().to_str().and_then(major_of_library) == Some(llvm))
            .map(|entry| entry.path())
            .filter(|path| is_elf(path))
            .collect();
        libraries.sort();
        if let Some(library) = libraries.pop() {
            return Ok(library);
        }
    }
    bail!("no shared library of LLVM {llvm} in {} or {}", lib.display(), of_processor.display())
}

/// LLVM's major version by its library's name: `libLLVM.so.22.1-rust-1.95.0-stable`, `libLLVM.so.22.1` or
/// `libLLVM-22.so.1`.
fn major_of_library(name: &str) -> Option<u32> {
    let rest = name.strip_prefix("libLLVM")?;
    if !rest.contains(".so") {
        return None;
    }
    let number = rest.strip_prefix(".so.").or_else(|| rest.strip_prefix('-'))?;
    number.split(['.', '-']).next()?.parse().ok()
}

/// Whether this is a library and no text that names one to the linker.
fn is_elf(file: &Path) -> bool {
    use std::io::Read as _;
    let mut start = [0; 4];
    fs::File::open(file).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *b"\x7fELF"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_says_its_version_by_its_name() {
        assert_eq!(major_of_library("libLLVM.so.22.1-rust-1.95.0-stable"), Some(22));
        assert_eq!(major_of_library("libLLVM-22-rust-1.95.0-stable.so"), Some(22));
        assert_eq!(major_of_library("libLLVM.so.23.1"), Some(23));
        assert_eq!(major_of_library("libLLVM-14.so.1"), Some(14));
        for other in ["libLLVM.so", "libLLVM-22.a", "libLLVMCore.so.22", "librustc_driver-22.so"] {
            assert_eq!(major_of_library(other), None, "{other}");
        }
    }

    #[test]
    fn the_library_is_found_beside_the_text_that_names_it() {
        let sysroot = std::env::temp_dir().join(format!("xtask-llvm-{}", std::process::id()));
        let lib = sysroot.join("lib");
        fs::create_dir_all(&lib).unwrap();
        fs::write(lib.join("libLLVM-22-rust-1.95.0-stable.so"), "INPUT(libLLVM.so.22.1-rust-1.95.0-stable)")
            .unwrap();
        assert!(llvm_library(&sysroot, 22).is_err());
        let library = lib.join("libLLVM.so.22.1-rust-1.95.0-stable");
        fs::write(&library, b"\x7fELF and more").unwrap();
        assert_eq!(llvm_library(&sysroot, 22).unwrap(), library);
        assert!(llvm_library(&sysroot, 21).is_err());
        fs::remove_dir_all(&sysroot).unwrap();
    }

    #[test]
    fn a_folder_with_a_space_can_be_linked_from() {
        assert_eq!(
            link_flags(Path::new("/home/a b/lib/libLLVM.so.22.1")).unwrap(),
            "-Clink-arg=/home/a b/lib/libLLVM.so.22.1\x1f-Clink-arg=-Wl,-rpath,/home/a b/lib"
        );
        assert!(link_flags(Path::new("/home/a,b/lib/libLLVM.so.22.1")).is_err());
    }
}
