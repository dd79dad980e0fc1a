//! What comes from the distribution: which command needs which programs, and their installation.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{run, workspace};

/// What a command of xtask uses besides the compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The Dublin demo and the end-to-end tests: namespaces, real services and their clients.
    Scenario,
    /// Booting other kernels; the emulator itself is only unpacked, see `vm/tools.rs`.
    Vm,
    /// A root filesystem with nothing of this machine.
    Fresh,
    /// Checking the systemd unit.
    Unit,
    /// Measuring beside what else could guard.
    Bench,
    /// Judging the page in a browser.
    Page,
    /// Tools of PyPI, which tests run.
    Python,
    /// Judging the Debian package.
    Package,
    /// Making the image for container runtimes.
    Image,
    /// Running that image as a container on a node that namespaces make.
    Node,
    /// Linting the kernel program with Debian's compiler.
    Lint,
}

/// A program, Debian's package for it, and what needs it.
const PROGRAMS: &[(Purpose, &str, &str)] = &[
    (Purpose::Scenario, "ip", "iproute2"),
    (Purpose::Scenario, "tc", "iproute2"),
    (Purpose::Scenario, "nginx", "nginx-light"),
    (Purpose::Scenario, "curl", "curl"),
    (Purpose::Scenario, "rsync", "rsync"),
    (Purpose::Scenario, "ssh-keygen", "openssh-client"),
    (Purpose::Scenario, "tcpdump", "tcpdump"),
    (Purpose::Scenario, "jq", "jq"),
    (Purpose::Scenario, "nft", "nftables"),
    (Purpose::Scenario, "tmux", "tmux"),
    (Purpose::Scenario, "logrotate", "logrotate"),
    (Purpose::Scenario, "/lib/systemd/systemd-journald", "systemd"),
    (Purpose::Scenario, "journalctl", "systemd"),
    (Purpose::Bench, "nft", "nftables"),
    (Purpose::Vm, "ip", "iproute2"),
    (Purpose::Vm, "tc", "iproute2"),
    (Purpose::Vm, "nft", "nftables"),
    (Purpose::Vm, "wg", "wireguard-tools"),
    (Purpose::Vm, "xz", "xz-utils"),
    (Purpose::Fresh, "debootstrap", "debootstrap"),
    (Purpose::Fresh, "git", "git"),
    (Purpose::Fresh, "mke2fs", "e2fsprogs"),
    (Purpose::Unit, "systemd-analyze", "systemd"),
    (Purpose::Page, "npm", "npm"),
    (Purpose::Python, "python3", "python3"),
    (Purpose::Python, "pip3", "python3-pip"),
    (Purpose::Package, "lintian", "lintian"),
    (Purpose::Image, "umoci", "umoci"),
    (Purpose::Node, "umoci", "umoci"),
    (Purpose::Node, "runc", "runc"),
    (Purpose::Node, "ip", "iproute2"),
    (Purpose::Node, "nft", "nftables"),
    (Purpose::Node, "unshare", "util-linux"),
    (Purpose::Lint, "/usr/bin/clippy-driver", "rust-web-clippy"),
];

/// Installs what is missing for this purpose; nothing is asked and nothing printed if all is there.
pub(crate) fn ensure(purpose: Purpose) -> Result<()> {
    let missing: Vec<_> = PROGRAMS
        .iter()
        .filter(|(of, program, _)| *of == purpose && workspace::find_in_path(program).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs: Vec<&str> = missing.iter().map(|(_, program, _)| *program).collect();
    let mut packages: Vec<&str> = missing.iter().map(|(_, _, package)| *package).collect();
    packages.dedup();
    if !can_install() {
        bail!(
            "missing: {}; on Debian: sudo apt-get install --no-install-recommends {}",
            programs.join(", "),
            packages.join(" ")
        );
    }
    install(&programs.join(", "), &packages)
}

/// Whether this is root on a system with apt-get.
pub(crate) fn can_install() -> bool {
    workspace::is_root() && workspace::find_in_path("apt-get").is_some()
}

/// Installs Debian packages; never removes one and starts no service.
pub(crate) fn install(what: &str, packages: &[&str]) -> Result<()> {
    const OPTIONS: [&str; 2] = ["--yes", "--no-remove"];
    let what = format!("installing {what} (Debian: {})", packages.join(" "));
    plan(packages, &OPTIONS)?;
    with_a_new_list(|| run::step(&what, "apt-get-install", apt_get_install().args(OPTIONS).args(packages)))
}

/// Does something with Debian's packages, and once more after the list of packages was read anew: an old one names
/// files that are no longer there. A list that cannot be had, perhaps one of several, is not by itself the end.
fn with_a_new_list<T>(attempt: impl Fn() -> Result<T>) -> Result<T> {
    match attempt() {
        Err(_) if can_install() => {
            let _ = update();
            attempt()
        }
        done => done,
    }
}

/// What an installation would do, as apt-get tells it. A new machine has no list of packages yet; as root
/// it is fetched.
fn plan(packages: &[&str], options: &[&str]) -> Result<String> {
    with_a_new_list(|| run::output(apt_get_install().arg("--simulate").args(options).args(packages)))
        .with_context(|| {
            format!("apt-get cannot install {}; `sudo apt-get update` may help", packages.join(" "))
        })
}

/// Unpacks Debian packages, with those that they depend on and that are not installed, below `dir`. Needs no
/// root and changes nothing on the system, so it cannot clash with what is installed.
pub(crate) fn unpack(what: &str, packages: &[&str], dir: &Path) -> Result<()> {
    if workspace::find_in_path("apt-get").is_none() {
        bail!("{what} is missing; get it from your distribution and run this again");
    }
    let what = format!("downloading {what} (Debian: {})", packages.join(" "));
    with_a_new_list(|| fetch(&what, &[], &to_install(&plan(packages, &[])?), dir))
}

/// Unpacks one Debian package alone, without what it depends on, below `dir`.
pub(crate) fn unpack_one(package: &str, dir: &Path) -> Result<()> {
    with_a_new_list(|| fetch(&format!("downloading {package}"), &[], &[package.to_owned()], dir))
}

/// As [`unpack_one`], of the source that these options of apt's name.
pub(crate) fn unpack_from(options: &[String], package: &str, dir: &Path) -> Result<()> {
    fetch(&format!("downloading {package}"), options, &[package.to_owned()], dir)
}

fn fetch(what: &str, options: &[String], packages: &[String], dir: &Path) -> Result<()> {
    // What an interrupted run left must not be taken for the whole.
    let mut new = dir.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    for old in [new, dir] {
        if old.exists() {
            fs::remove_dir_all(old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
    }
    fs::create_dir_all(new).with_context(|| format!("cannot create {}", new.display()))?;
    run::step(
        what,
        "apt-get-download",
        apt_get().args(options).arg("download").args(packages).current_dir(new),
    )?;
    let archives: Vec<_> = fs::read_dir(new)?.collect::<Result<_, _>>()?;
    for archive in archives.iter().map(fs::DirEntry::path) {
        run::output(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(new))?;
        fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))?;
    }
    fs::rename(new, dir).with_context(|| format!("cannot rename {}", new.display()))
}

/// The packages that a simulated installation would install, each as `NAME=VERSION`.
fn to_install(plan: &str) -> Vec<String> {
    let installed = plan.lines().filter_map(|line| line.strip_prefix("Inst "));
    let of_line = |line: &str| {
        // `Inst NAME [OLD-VERSION] (VERSION ORIGIN [ARCH])`
        let name = line.split_whitespace().next()?;
        let version = line.split_once('(')?.1.split_whitespace().next()?;
        Some(format!("{name}={version}"))
    };
    installed.filter_map(of_line).collect()
}

/// The version of a package that would be installed, by the list of packages as it is.
pub(crate) fn candidate(package: &str) -> Option<String> {
    candidate_in(&run::output(Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C")).ok()?)
}

/// The candidate in what `apt-cache policy` prints.
fn candidate_in(policy: &str) -> Option<String> {
    let candidate = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate:"))?.trim();
    (candidate != "(none)").then(|| candidate.to_owned())
}

/// Reads Debian's package list anew.
pub(crate) fn update() -> Result<()> {
    run::step("reading Debian's package list", "apt-get-update", apt_get().arg("update"))
}

fn apt_get_install() -> Command {
    let mut command = apt_get();
    command.args(["install", "--no-install-recommends"]);
    command
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .args(["-o", "DPkg::Lock::Timeout=300"])
        .env("DEBIAN_FRONTEND", "noninteractive")
        // A package such as nginx would start its service on the host; only the tests' own copies are wanted.
        .env("SYSTEMD_OFFLINE", "1");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_candidate_is_not_what_is_installed() {
        let policy = "rustc-web:\n  Installed: 1.85.0+dfsg3-1~deb12u3\n  Candidate: 1.96.0+dfsg1-1~deb12u2\n  \
            Version table:\n     1.96.0+dfsg1-1~deb12u2 500\n";
        assert_eq!(candidate_in(policy).as_deref(), Some("1.96.0+dfsg1-1~deb12u2"));
        assert_eq!(candidate_in("x:\n  Installed: 1.0\n  Candidate: (none)\n"), None);
        assert_eq!(candidate_in(""), None);
    }

    #[test]
    fn a_plan_lists_what_would_be_installed() {
        let plan = "Reading package lists...\nRemv other [1.0]\n\
            Inst libfdt1 (1.6.1-4+b1 Debian:12.15/oldstable [amd64])\n\
            Inst seabios [1.16.1-1] (1.16.2-1 Debian:12.15/oldstable [all])\nConf libfdt1 (1.6.1-4+b1 Debian)\n";
        assert_eq!(to_install(plan), ["libfdt1=1.6.1-4+b1", "seabios=1.16.2-1"]);
    }
}
