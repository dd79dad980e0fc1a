//! `cargo xtask services`: real services under the policies of their pages in docs/recipes.
//!
//! They are Debian's, in a root file system of their own below `.tools`: nothing of them is installed on this machine,
//! and none of its services is touched.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    bpf, debian,
    files::{create_dir, remove},
    lanes, run,
    setup::{
        self,
        packages::{self, Purpose},
    },
    suites, workspace,
};

/// The services of every run, and their clients.
const PACKAGES: [&str; 7] = [
    "etcd-client",
    "etcd-server",
    "openssh-client",
    "openssh-server",
    "postgresql-15",
    "redis-server",
    "rsync",
];
/// Those of the long run.
const MORE: [&str; 20] = [
    "curl",
    "dovecot-imapd",
    "libiscsi-bin",
    "libnfs-utils",
    "memcached",
    "netcat-openbsd",
    "nfs-ganesha",
    "nfs-ganesha-vfs",
    "nginx-light",
    "rclone",
    "restic",
    "rsyslog",
    "samba",
    "smbclient",
    "swift-account",
    "swift-container",
    "swift-object",
    "swift-proxy",
    "tgt",
    "vsftpd",
];
/// What is of no use in a test.
const NEEDLESS: [&str; 5] =
    ["usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists"];

/// Which services are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Those of every run.
    Usual,
    /// Those of the long run too.
    All,
}

impl Extent {
    fn packages(self) -> Vec<&'static str> {
        let more: &[&str] = if self == Self::All { &MORE } else { &[] };
        [&PACKAGES, more].concat()
    }
}

/// Run real services under the policies of docs/recipes
///
/// They are installed from Debian's packages into a root file system below .tools, once. Needs root, BPF and Debian.
/// By volume they run in the guest of `cargo xtask vm`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// All services, not only those of every run
    #[arg(long)]
    all: bool,
    /// Only tests whose name contains one of these
    names: Vec<String>,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    setup::ensure()?;
    if let Err(why) = bpf::usable() {
        bail!("services are guarded by real kernel programs: {why}");
    }
    packages::ensure(Purpose::Scenario)?;
    let extent = if arguments.all { Extent::All } else { Extent::Usual };
    ensure(extent)?;
    let mut suites: Vec<_> =
        suites::build()?.into_iter().filter(|suite| suite.name == suites::SERVICES).collect();
    for suite in suites.iter_mut().filter(|_| extent == Extent::All) {
        suite.skipped = vec![suites::BY_VOLUME];
    }
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
pub(crate) fn ensure(extent: Extent) -> Result<()> {
    let (root, list, wanted) = (root(), folder().join("packages"), extent.packages());
    let has = fs::read_to_string(&list).unwrap_or_default();
    if root.is_dir() && wanted.iter().all(|package| has.lines().any(|line| line == *package)) {
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
    debian::install(&new, "the real services", &wanted)?;
    for folder in NEEDLESS {
        remove(&new.join(folder))?;
    }
    fs::rename(&new, &root).with_context(|| format!("cannot rename {}", new.display()))?;
    fs::write(&list, wanted.join("\n")).with_context(|| format!("cannot write {}", list.display()))
}

/// The root file system with the services as the image of a disk, for a guest; none where this is not root on Debian.
pub(crate) fn image(extent: Extent) -> Result<Option<PathBuf>> {
    if !packages::can_install() {
        return Ok(None);
    }
    ensure(extent)?;
    let (root, image, made_of) = (root(), folder().join("root.ext4"), folder().join("root.ext4.packages"));
    let read = |file: &Path| fs::read(file).with_context(|| format!("cannot read {}", file.display()));
    let packages = read(&folder().join("packages"))?;
    if image.is_file() && read(&made_of).is_ok_and(|made| made == packages) {
        return Ok(Some(image));
    }
    packages::ensure(Purpose::Fresh)?;
    let _none_there = fs::remove_file(&image);
    let kibibytes = run::output(Command::new("du").args(["--summarize", "--block-size=1K"]).arg(&root))?;
    let kibibytes: u64 = kibibytes.split_whitespace().next().context("du has no number")?.parse()?;
    // A third more, for what the file system itself takes; what is not used takes no room on this disk.
    let size = format!("{}k", kibibytes + kibibytes / 3);
    let mut mke2fs = Command::new("mke2fs");
    mke2fs.args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d"]).arg(&root);
    run::step("making a disk with the real services", "services-image", mke2fs.arg(&image).arg(size))?;
    fs::write(&made_of, packages).with_context(|| format!("cannot write {}", made_of.display()))?;
    Ok(Some(image))
}

fn root() -> PathBuf {
    folder().join("root")
}

fn folder() -> PathBuf {
    workspace::tools_dir().join("services")
}
