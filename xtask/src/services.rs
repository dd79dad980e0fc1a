//! `cargo xtask services`: real services under the policies of their pages in docs/recipes.
//!
//! They are Debian's, in a root file system of their own below `.tools`: nothing of them is installed on this machine,
//! and none of its services is touched.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::{
    bpf, debian,
    files::{create_dir, remove},
    lanes,
    setup::{
        self,
        packages::{self, Purpose},
    },
    suites, workspace,
};

/// The services and their clients.
const PACKAGES: [&str; 7] = [
    "etcd-client",
    "etcd-server",
    "openssh-client",
    "openssh-server",
    "postgresql-15",
    "redis-server",
    "rsync",
];
/// What is of no use in a test.
const NEEDLESS: [&str; 5] =
    ["usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists"];
/// The tests that need them, in tests/tests/services.
pub(crate) const SUITE: &str = "services";

/// Run real services under the policies of docs/recipes
///
/// They are installed from Debian's packages into a root file system below .tools, once. Needs root, BPF and Debian.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only tests whose name contains one of these
    names: Vec<String>,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    setup::ensure()?;
    if let Err(why) = bpf::usable() {
        bail!("services are guarded by real kernel programs: {why}");
    }
    packages::ensure(Purpose::Scenario)?;
    ensure()?;
    let suites: Vec<_> = suites::build()?.into_iter().filter(|suite| suite.name == SUITE).collect();
    let tally = lanes::run(&suites, &arguments.names)?;
    if tally.run() == 0 {
        bail!("no name of a service's test contains {}", arguments.names.join(" or "));
    }
    println!();
    for failure in &tally.failures {
        println!("failed: {failure}");
    }
    println!("{tally}");
    Ok(if tally.failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Makes the root file system with the services where it is not there, or has not all of them.
pub(crate) fn ensure() -> Result<()> {
    let (root, list) = (folder().join("root"), folder().join("packages"));
    if fs::read_to_string(&list).is_ok_and(|made| made == PACKAGES.join("\n")) && root.is_dir() {
        return Ok(());
    }
    if !packages::can_install() {
        bail!("real services come from Debian's packages, by debootstrap as root, and this is not that");
    }
    packages::ensure(Purpose::Fresh)?;
    create_dir(&folder())?;
    // What an interrupted run left must not be taken for the whole.
    let new = folder().join("new");
    for old in [&new, &root] {
        remove(old)?;
    }
    debian::bootstrap(&new, &["python3-minimal"])?;
    debian::install(&new, "the real services", &PACKAGES)?;
    for folder in NEEDLESS {
        remove(&new.join(folder))?;
    }
    fs::rename(&new, &root).with_context(|| format!("cannot rename {}", new.display()))?;
    fs::write(&list, PACKAGES.join("\n")).with_context(|| format!("cannot write {}", list.display()))
}

fn folder() -> PathBuf {
    workspace::tools_dir().join("services")
}
