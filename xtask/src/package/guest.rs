//! The package in a guest that boots Debian's systemd: installed, used, upgraded and downgraded under traffic, removed
//! and purged, each step as an administrator types it.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{
    deb,
    place::{folder, only_file},
};
use crate::{
    debian,
    files::{copy_file, create_dir, remove},
    run,
    setup::packages::{self, Purpose},
    vm, workspace,
};

/// Releases of Debian that are tried.
pub(super) const RELEASES: [&str; 2] = ["bookworm", "trixie"];
/// What the guest has beside Debian's smallest set: systemd, and what the test looks and sends by.
const PACKAGES: [&str; 6] = ["dbus", "iproute2", "jq", "kmod", "python3", "systemd-sysv"];
/// The kernel that it boots.
const KERNEL: &str = "6.12";
/// The versions of the package that are tried, of the same program: the one before, the one that is made, the one after.
const EARLIER: &str = "0.0.9-1";
const LATER: &str = "0.9.0-1";
const TEST: &str = include_str!("in_guest.sh");
const SENDER: &str = include_str!("sender.py");
/// Runs the test once the machine is up, and ends the machine.
const UNIT: &str = "\
[Unit]
Description=the test of the package
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/root/test/run
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
[Install]
WantedBy=graphical.target
";

/// Boots a guest of this release and says what came of it.
pub(super) fn check(release: &str) -> Result<()> {
    if !packages::can_install() {
        bail!("the guest's Debian is made by debootstrap, as root on Debian, and this is not that");
    }
    let folder = folder();
    let versions = [EARLIER, LATER].map(|version| deb::make(&folder.join(version), Some(version)));
    let [earlier, later] = versions;
    let (earlier, later, current) = (earlier?, later?, only_file(&folder, "deb")?);
    let yardstick = yardstick(&current)?;
    let disk = disk(release, &[&earlier, &current, &later, &yardstick])?;
    let tally = vm::boot_disk(KERNEL, &disk, &format!("package-{release}"));
    remove_file(&disk)?;
    let tally = tally?;
    for failure in &tally.failures {
        println!("failed: {failure}");
    }
    println!("Debian {release}: {tally}");
    if tally.failed > 0 {
        bail!("the package does not do in Debian {release} what it should");
    }
    Ok(())
}

/// A package of the same files that does nothing when it is installed: how long that takes says how fast a guest is.
fn yardstick(deb: &Path) -> Result<PathBuf> {
    let folder = workspace::target_dir().join("package-guest");
    create_dir(&folder)?;
    let root = folder.join("yardstick");
    remove(&root)?;
    run::output(Command::new("dpkg-deb").arg("--raw-extract").arg(deb).arg(&root))?;
    let about = root.join("DEBIAN");
    let control = about.join("control");
    let text = fs::read_to_string(&control).with_context(|| format!("cannot read {}", control.display()))?;
    fs::write(&control, text.replacen("Package: borderguard\n", "Package: yardstick\n", 1))
        .with_context(|| format!("cannot write {}", control.display()))?;
    for file in ["conffiles", "md5sums", "postinst", "postrm", "prerm"] {
        remove_file(&about.join(file))?;
    }
    let made = folder.join("yardstick.deb");
    let mut dpkg_deb = Command::new("dpkg-deb");
    dpkg_deb.args(["--root-owner-group", "--build"]).arg(&root).arg(&made);
    run::step("making the yardstick's package", "package-yardstick", &mut dpkg_deb)?;
    remove(&root)?;
    Ok(made)
}

/// The image of a disk with this release, the packages, and the test.
fn disk(release: &str, debs: &[&Path]) -> Result<PathBuf> {
    packages::ensure(Purpose::Fresh)?;
    let folder = workspace::target_dir().join("package-guest");
    create_dir(&folder)?;
    let root = folder.join(release);
    remove(&root)?;
    let packed = workspace::tools_dir().join(format!("package/{release}-{}.tar", PACKAGES.join("-")));
    if packed.exists() {
        create_dir(&root)?;
        let mut tar = Command::new("tar");
        tar.args(["--numeric-owner", "--extract", "--file"]).arg(&packed).arg("--directory").arg(&root);
        run::step("unpacking the guest's Debian", "package-unpack", &mut tar)?;
    } else {
        create_dir(&workspace::tools_dir().join("package"))?;
        debian::bootstrap_release(release, &root, &PACKAGES)?;
        let new = packed.with_extension("new");
        let mut tar = Command::new("tar");
        tar.args(["--numeric-owner", "--create", "--file"]).arg(&new).arg("--directory").arg(&root).arg(".");
        run::step("keeping it for the next time", "package-pack", &mut tar)?;
        fs::rename(&new, &packed).with_context(|| format!("cannot rename {}", new.display()))?;
    }
    let test = root.join("root/test");
    create_dir(&test)?;
    let names = ["earlier.deb", "borderguard.deb", "later.deb", "yardstick.deb"];
    for (name, deb) in names.iter().zip(debs) {
        copy_file(deb, &test.join(name))?;
    }
    for (name, text) in [("run", TEST), ("sender.py", SENDER)] {
        let file = test.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        run::output(Command::new("chmod").arg("755").arg(&file))?;
    }
    let units = root.join("etc/systemd/system");
    fs::write(units.join("package-test.service"), UNIT).context("cannot write the test's unit")?;
    create_dir(&units.join("graphical.target.wants"))?;
    symlink("../package-test.service", units.join("graphical.target.wants/package-test.service"))
        .context("cannot enable the test's unit")?;
    // Without udev nobody says that the console's device is there, and a login on it would wait for that.
    symlink("/dev/null", units.join("serial-getty@ttyS0.service"))
        .context("cannot mask the console's login")?;
    symlink("/lib/systemd/system/graphical.target", units.join("default.target"))
        .context("cannot set the guest's target")?;
    fs::write(root.join("etc/hostname"), "guest\n").context("cannot name the guest")?;
    fs::write(root.join("etc/fstab"), "").context("cannot write the guest's fstab")?;
    let image = folder.join(format!("{release}.ext4"));
    remove_file(&image)?;
    let mut mke2fs = Command::new("mke2fs");
    mke2fs.args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d"]).arg(&root);
    run::step("making the guest's disk", "package-image", mke2fs.arg(&image).arg("3G"))?;
    remove(&root)?;
    Ok(image)
}

fn remove_file(file: &Path) -> Result<()> {
    match file.exists() {
        true => fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display())),
        false => Ok(()),
    }
}
