//! The compiler: one for the host and for the kernel program, with the source of the standard library.
//!
//! `[workspace.metadata.toolchain]` of the workspace's `Cargo.toml` pins its version. Where rustup can't give
//! that one, Debian's compiler takes its place, if it is recent enough.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow, bail};
use serde::Deserialize;

use super::packages;
use crate::{run, workspace};

/// The name under which Debian's compiler is made known to rustup.
const DEBIAN_TOOLCHAIN: &str = "bpf";
/// Where Debian's compiler is installed.
const DEBIAN_PREFIX: &str = "/usr";
/// Debian's compiler with its library's source; the first one's version is that of all three.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
/// The oldest compiler that builds this workspace.
const MINIMUM: &str = env!("CARGO_PKG_RUST_VERSION");
/// The component without which the kernel program can't be built.
const LIBRARY_SOURCE: &str = "rust-src";

/// The version that is pinned, and what has to come with it.
#[derive(Debug, Deserialize)]
pub(super) struct Pin {
    /// A release, such as `1.95.0`.
    pub(super) channel: String,
    /// The names of rustup's components.
    components: Vec<String>,
}

impl Pin {
    /// Reads the pin of this workspace.
    pub(super) fn read() -> Result<Self> {
        let manifest = workspace::root().join("Cargo.toml");
        let text =
            fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
        Self::parse(&text).with_context(|| format!("{} pins no toolchain", manifest.display()))
    }

    fn parse(manifest: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Manifest {
            workspace: Workspace,
        }
        #[derive(Deserialize)]
        struct Workspace {
            metadata: Metadata,
        }
        #[derive(Deserialize)]
        struct Metadata {
            toolchain: Pin,
        }
        let Manifest { workspace } = toml::from_str(manifest)?;
        Ok(workspace.metadata.toolchain)
    }
}

/// A compiler that can build the kernel program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compiler {
    /// The name by which rustup knows it.
    pub(crate) toolchain: String,
    /// Its version line.
    pub(crate) rustc: String,
    /// Its LLVM's major version.
    pub(crate) llvm: u32,
    /// The folder that its libraries are below.
    pub(super) sysroot: PathBuf,
}

impl Compiler {
    /// The compiler of a rustup toolchain, if it is of a version that may be used and has the library's source.
    pub(crate) fn probe(toolchain: &str) -> Option<Self> {
        let Installed { version, sysroot } = Installed::probe(toolchain)?;
        (version.recent_enough() && has_library_source(&sysroot)).then(|| Self {
            toolchain: toolchain.to_owned(),
            rustc: version.line,
            llvm: version.llvm,
            sysroot,
        })
    }
}

/// A command of a rustup toolchain.
pub(crate) fn rustup_run(toolchain: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", toolchain]).arg(program);
    workspace::without_package_env(&mut command);
    command
}

/// What builds what.
#[derive(Debug)]
pub(super) struct Toolchains {
    /// The kernel program's compiler.
    pub(super) kernel: Compiler,
    /// The name of the toolchain for everything else.
    pub(super) host: String,
}

/// Finds the pinned compiler, or installs what is missing of it; else Debian's for the kernel program, and for the
/// rest too where the pinned one is not installed at all.
pub(super) fn get(pin: &Pin) -> Result<Toolchains> {
    match pinned(pin) {
        Ok(kernel) => Ok(Toolchains { host: kernel.toolchain.clone(), kernel }),
        Err(rustup) => {
            let kernel = debian_instead(pin, &rustup)?;
            let host = names(&pin.channel).into_iter().next();
            Ok(Toolchains { host: host.unwrap_or_else(|| kernel.toolchain.clone()), kernel })
        }
    }
}

fn debian_instead(pin: &Pin, rustup: &anyhow::Error) -> Result<Compiler> {
    eprintln!("rustup gives no Rust {} with its library's source; trying Debian's compiler", pin.channel);
    debian().map_err(|debian| {
        anyhow!(
            "missing: Rust {0} with the component {LIBRARY_SOURCE}; where rustup reaches its server, `rustup \
                 toolchain install {0} --component {LIBRARY_SOURCE}` gets it (rustup: {1}; Debian: {2})",
            pin.channel,
            in_a_line(rustup),
            in_a_line(&debian)
        )
    })
}

/// Whether rustup knows a toolchain of this name that can be used.
pub(super) fn is_installed(toolchain: &str) -> bool {
    Installed::probe(toolchain).is_some()
}

fn pinned(pin: &Pin) -> Result<Compiler> {
    let names = names(&pin.channel);
    if let Some(compiler) = names.iter().find_map(|name| Compiler::probe(name)) {
        return Ok(compiler);
    }
    for name in &names {
        // A toolchain that somebody linked takes no component.
        if name.starts_with(&pin.channel) || is_channel(name) {
            add_components(name, pin)?;
            return Compiler::probe(name).with_context(|| format!("{name} still lacks the library's source"));
        }
    }
    run::step(
        &format!("getting Rust {} by rustup", pin.channel),
        "rustup",
        rustup(&["toolchain", "install", &pin.channel, "--profile", "minimal", "--no-self-update"])
            .args(pin.components.iter().flat_map(|component| ["--component", component])),
    )?;
    Compiler::probe(&pin.channel)
        .with_context(|| format!("rustup's {} lacks the library's source", pin.channel))
}

/// Asks rustup for all components at once, and where that fails for the one that the build can't do without.
fn add_components(toolchain: &str, pin: &Pin) -> Result<()> {
    let add = |components: &[&str]| {
        run::step(
            &format!("adding {} to the toolchain {toolchain}", components.join(", ")),
            "rustup",
            rustup(&["component", "add", "--toolchain", toolchain]).args(components),
        )
    };
    let all: Vec<&str> = pin.components.iter().map(String::as_str).collect();
    add(&all).or_else(|error| add(&[LIBRARY_SOURCE]).map_err(|_| error))
}

/// The installed toolchains of this release, the active one first, then the one that bears its name.
fn names(release: &str) -> Vec<String> {
    let Ok(list) = run::output(&mut rustup(&["toolchain", "list"])) else { return Vec::new() };
    let mut names = in_order(&list, release);
    names.retain(|name| Installed::probe(name).is_some_and(|found| found.version.release == release));
    names
}

/// The names in what `rustup toolchain list` prints, the likeliest to be of this release first.
fn in_order(list: &str, release: &str) -> Vec<String> {
    let mut lines: Vec<&str> = list.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.sort_by_key(|line| {
        if line.contains("(active") {
            0
        } else if line.starts_with(release) {
            1
        } else {
            2
        }
    });
    lines.iter().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Whether rustup made this toolchain itself from one of its channels, by its name.
fn is_channel(name: &str) -> bool {
    ["stable", "beta", "nightly"].iter().any(|channel| {
        name.strip_prefix(channel).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    })
}

fn rustup(arguments: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command.args(arguments);
    command
}

/// An error in one line: where it carries the end of a log, what the program itself called its error.
fn in_a_line(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let its_own = text.lines().find_map(|line| line.split_once("| error: ")).map(|(_, error)| error);
    its_own.or(text.lines().next()).unwrap_or_default().trim().to_owned()
}

/// Debian's compiler, which is installed where this is root and the version on offer is recent enough.
fn debian() -> Result<Compiler> {
    if let Some(compiler) = installed_debian() {
        return Ok(compiler);
    }
    let [compiler, ..] = DEBIAN_PACKAGES;
    if !packages::can_install() {
        bail!("not root on Debian, so {compiler} can't be installed");
    }
    // What an old list offers is not what there is. A list that can't be had is judged by what it says below.
    let _ = packages::update();
    match packages::candidate(compiler) {
        None => bail!("it offers no {compiler}"),
        Some(version) if minor(&version) < minor(MINIMUM) => {
            bail!("it offers {compiler} {version}, and {MINIMUM} is the oldest that does")
        }
        Some(_) => packages::install("a Rust compiler with its library's source", &DEBIAN_PACKAGES)?,
    }
    installed_debian().with_context(|| {
        format!("{DEBIAN_PREFIX}/bin/rustc is older than {MINIMUM} or lacks its library's source")
    })
}

/// Debian's compiler, if it is installed and can be used. Makes it a rustup toolchain, if it is not one yet.
fn installed_debian() -> Option<Compiler> {
    let prefix = Path::new(DEBIAN_PREFIX);
    if !["bin/cargo", "bin/rustc"].iter().all(|file| prefix.join(file).exists())
        || !has_library_source(prefix)
    {
        return None;
    }
    Compiler::probe(DEBIAN_TOOLCHAIN).or_else(|| {
        run::output(&mut rustup(&["toolchain", "link", DEBIAN_TOOLCHAIN, DEBIAN_PREFIX])).ok()?;
        Compiler::probe(DEBIAN_TOOLCHAIN)
    })
}

fn has_library_source(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").exists()
}

/// A toolchain that is installed, whatever it can be used for.
struct Installed {
    version: Version,
    sysroot: PathBuf,
}

impl Installed {
    fn probe(toolchain: &str) -> Option<Self> {
        let version = run::output(rustup_run(toolchain, "rustc").arg("-vV")).ok()?;
        let sysroot = run::output(rustup_run(toolchain, "rustc").args(["--print", "sysroot"])).ok()?;
        Some(Self { version: Version::parse(&version)?, sysroot: PathBuf::from(sysroot.trim()) })
    }
}

/// What `rustc -vV` says.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    line: String,
    release: String,
    llvm: u32,
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        Some(Self {
            line: text.lines().next()?.to_owned(),
            release: field("release:")?.to_owned(),
            llvm: field("LLVM version:")?.split('.').next()?.parse().ok()?,
        })
    }

    fn recent_enough(&self) -> bool {
        minor(&self.release) >= minor(MINIMUM)
    }
}

/// The 95 of `1.95`, `1.95.0-nightly` or Debian's `1.95.0+dfsg1-1`; none for what is no version 1.
fn minor(release: &str) -> Option<u32> {
    release.strip_prefix("1.")?.split(['.', '-', '+', '~']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_pins_a_release_that_its_packages_allow() {
        let pin = Pin::parse(include_str!("../../../Cargo.toml")).unwrap();
        assert!(minor(&pin.channel) >= minor(MINIMUM), "{pin:?} is older than {MINIMUM}");
        assert_eq!(pin.channel.split('.').count(), 3, "{pin:?} floats");
        assert!(pin.components.iter().any(|component| component == LIBRARY_SOURCE), "{pin:?}");
    }

    #[test]
    fn a_manifest_without_a_pin_is_an_error() {
        assert!(Pin::parse("[workspace]\nmembers = []\n").is_err());
    }

    #[test]
    fn the_active_toolchain_comes_first() {
        let list = "nightly-x86_64-unknown-linux-gnu\n1.95.0-x86_64-unknown-linux-gnu\n\
            stable-x86_64-unknown-linux-gnu (active, default)\nbpf\n";
        assert_eq!(
            in_order(list, "1.95.0"),
            [
                "stable-x86_64-unknown-linux-gnu",
                "1.95.0-x86_64-unknown-linux-gnu",
                "nightly-x86_64-unknown-linux-gnu",
                "bpf"
            ]
        );
    }

    #[test]
    fn an_error_is_told_in_one_line() {
        let log =
            anyhow!("adding rust-src: exit status: 1; the end of x.log:\n  | info: a\n  | error: no route\n");
        assert_eq!(in_a_line(&log), "no route");
        assert_eq!(in_a_line(&anyhow!("not root").context("Debian")), "Debian: not root");
    }

    #[test]
    fn a_linked_toolchain_is_none_of_rustups_own() {
        assert!(is_channel("stable-x86_64-unknown-linux-gnu"));
        assert!(is_channel("nightly"));
        assert!(!is_channel("bpf"));
        assert!(!is_channel("stable2"));
    }

    #[test]
    fn a_distribution_build_is_understood() {
        let text = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\n\
            release: 1.96.0\nLLVM version: 22.1.8\n";
        let version = Version::parse(text).unwrap();
        assert_eq!((version.release.as_str(), version.llvm), ("1.96.0", 22));
        assert!(version.recent_enough());
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

    #[test]
    fn versions_of_packages_are_compared_too() {
        assert_eq!(minor("1.85.0+dfsg3-1~deb12u3"), Some(85));
        assert_eq!(minor("1.95"), Some(95));
        assert!(minor("2:1.95") < minor("1.0"));
    }
}
