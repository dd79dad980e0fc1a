//! What comes from the distribution: which command needs which programs, and their installation.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{run, workspace};

/// What a command of xtask uses besides the compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The Dublin demo and the end-to-end tests: namespaces, real services and their clients.
    Scenario,
    /// Booting other kernels.
    Vm,
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
    (Purpose::Vm, "qemu-system-x86_64", "qemu-system-x86"),
    (Purpose::Vm, "busybox", "busybox-static"),
    (Purpose::Vm, "ip", "iproute2"),
    (Purpose::Vm, "tc", "iproute2"),
    (Purpose::Vm, "xz", "xz-utils"),
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
    let what = format!("installing {what} (Debian: {})", packages.join(" "));
    if let Err(first) = run::step(&what, "apt-get-install", &mut apt_get_install(packages)) {
        // On a new machine apt knows no packages yet, and an old list may name files that are gone.
        eprintln!("trying again with a new package list");
        if update().is_err() {
            return Err(first);
        }
        run::step(&what, "apt-get-install", &mut apt_get_install(packages))?;
    }
    Ok(())
}

/// Reads Debian's package list anew.
pub(crate) fn update() -> Result<()> {
    run::step("reading Debian's package list", "apt-get-update", apt_get().arg("update"))
}

fn apt_get_install(packages: &[&str]) -> Command {
    let mut command = apt_get();
    command.args(["install", "--yes", "--no-install-recommends", "--no-remove"]).args(packages);
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
