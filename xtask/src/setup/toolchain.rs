//! The compiler of the kernel program: one with the source of the standard library.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow, bail};

use super::packages;
use crate::run;

/// The name under which Debian's compiler is made known to rustup.
const DEBIAN_TOOLCHAIN: &str = "bpf";
/// Where Debian's compiler is installed.
const DEBIAN_PREFIX: &str = "/usr";
/// Debian's compiler with its library's source.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// A compiler that can build the kernel program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compiler {
    /// The name by which rustup knows it.
    pub(crate) toolchain: String,
    /// Its version line.
    pub(crate) rustc: String,
    /// Its LLVM's major version.
    pub(crate) llvm: u32,
    /// Whether it accepts `-Z` flags as it is.
    pub(crate) nightly: bool,
}

impl Compiler {
    /// The compiler of a rustup toolchain, if it is recent enough and has the library's source.
    pub(crate) fn probe(toolchain: &str) -> Option<Self> {
        let version = run::output(rustup_run(toolchain, "rustc").arg("-vV")).ok()?;
        let version = Version::parse(&version)?;
        let sysroot = run::output(rustup_run(toolchain, "rustc").args(["--print", "sysroot"])).ok()?;
        (version.recent_enough() && has_library_source(Path::new(sysroot.trim()))).then(|| Self {
            toolchain: toolchain.to_owned(),
            rustc: version.line,
            llvm: version.llvm,
            nightly: version.nightly,
        })
    }
}

/// A command of a rustup toolchain.
pub(crate) fn rustup_run(toolchain: &str, program: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", toolchain, program]);
    crate::workspace::without_package_env(&mut command);
    command
}

/// The usable compilers that are installed, the most predictable first.
pub(crate) fn installed() -> Vec<Compiler> {
    // A failure to link only means that Debian's compiler is not among those found.
    let _ = link_debian_compiler();
    let Ok(list) = run::output(Command::new("rustup").args(["toolchain", "list"])) else { return Vec::new() };
    let mut names: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    names.sort_by_key(|name| match *name {
        DEBIAN_TOOLCHAIN => 0,
        name if name.starts_with("nightly") => 1,
        _ => 2,
    });
    names.into_iter().filter_map(Compiler::probe).collect()
}

/// Installs a compiler: Debian's as root, for it comes with its LLVM, else rustup's nightly.
pub(crate) fn install() -> Result<Compiler> {
    let debian = if packages::can_install() { install_debian() } else { Err(not_root()) };
    debian.or_else(|debian| {
        install_nightly().map_err(|nightly| {
            anyhow!(
                "no compiler with the standard library's source. Either `sudo apt-get install \
                 --no-install-recommends {}` (Debian 12 or later) or `rustup toolchain install nightly \
                 --component rust-src`, then run `cargo xtask setup` again (tried: {}; {})",
                DEBIAN_PACKAGES.join(" "),
                first_line(&debian),
                first_line(&nightly)
            )
        })
    })
}

/// An error without the end of the log that it may carry.
fn first_line(error: &anyhow::Error) -> String {
    format!("{error:#}").lines().next().unwrap_or_default().to_owned()
}

fn not_root() -> anyhow::Error {
    anyhow!("apt-get is not to be used, for this is not root on Debian")
}

fn install_debian() -> Result<Compiler> {
    packages::install("a Rust compiler with its library's source", &DEBIAN_PACKAGES)?;
    link_debian_compiler()?;
    Compiler::probe(DEBIAN_TOOLCHAIN).with_context(|| {
        format!("{DEBIAN_PREFIX}/bin/rustc is older than {MINIMUM} or lacks the library's source")
    })
}

fn install_nightly() -> Result<Compiler> {
    run::step(
        "getting rustup's nightly with the library's source",
        "rustup",
        Command::new("rustup").args([
            "toolchain",
            "install",
            "nightly",
            "--profile",
            "minimal",
            "--component",
            "rust-src",
            "--no-self-update",
        ]),
    )?;
    Compiler::probe("nightly").with_context(|| format!("rustup's nightly is older than {MINIMUM}"))
}

/// Makes Debian's compiler a rustup toolchain, if it is installed and is not one yet.
fn link_debian_compiler() -> Result<()> {
    let home = run::output(Command::new("rustup").args(["show", "home"]))?;
    let link = PathBuf::from(home.trim()).join("toolchains").join(DEBIAN_TOOLCHAIN);
    if link.exists() {
        return Ok(());
    }
    let prefix = Path::new(DEBIAN_PREFIX);
    if !prefix.join("bin/cargo").exists() || !prefix.join("bin/rustc").exists() || !has_library_source(prefix)
    {
        bail!("no Rust compiler with its library's source in {DEBIAN_PREFIX}");
    }
    run::output(Command::new("rustup").args(["toolchain", "link", DEBIAN_TOOLCHAIN, DEBIAN_PREFIX]))?;
    Ok(())
}

fn has_library_source(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").exists()
}

/// The oldest compiler that builds this workspace.
const MINIMUM: &str = env!("CARGO_PKG_RUST_VERSION");

/// What `rustc -vV` says.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    line: String,
    minor: u32,
    llvm: u32,
    nightly: bool,
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let release = field("release:")?;
        Some(Self {
            line: text.lines().next()?.to_owned(),
            minor: minor(release)?,
            llvm: field("LLVM version:")?.split('.').next()?.parse().ok()?,
            nightly: release.ends_with("-nightly") || release.ends_with("-dev"),
        })
    }

    fn recent_enough(&self) -> bool {
        minor(MINIMUM).is_some_and(|minimum| self.minor >= minimum)
    }
}

/// The 95 of `1.95` or `1.95.0-nightly`.
fn minor(release: &str) -> Option<u32> {
    release.strip_prefix("1.")?.split(['.', '-']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NIGHTLY: &str = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nbinary: rustc\n\
        host: x86_64-unknown-linux-gnu\nrelease: 1.97.0-nightly\nLLVM version: 22.1.4\n";

    #[test]
    fn a_nightly_is_understood() {
        let version = Version::parse(NIGHTLY).unwrap();
        assert_eq!((version.minor, version.llvm, version.nightly), (97, 22, true));
        assert!(version.recent_enough());
    }

    #[test]
    fn a_distribution_build_is_no_nightly() {
        let text = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\n\
            release: 1.96.0\nLLVM version: 22.1.8\n";
        let version = Version::parse(text).unwrap();
        assert_eq!((version.minor, version.llvm, version.nightly), (96, 22, false));
    }

    #[test]
    fn an_old_compiler_is_not_recent_enough() {
        let text = "rustc 1.63.0\nrelease: 1.63.0\nLLVM version: 14.0.6\n";
        assert!(!Version::parse(text).unwrap().recent_enough());
    }

    #[test]
    fn a_compiler_without_llvm_is_refused() {
        assert_eq!(Version::parse("rustc 1.96.0\nrelease: 1.96.0\n"), None);
    }
}
