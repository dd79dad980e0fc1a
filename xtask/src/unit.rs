//! Whether systemd can start the unit beside what Debian's machines bring their networks up with.
//!
//! systemd breaks a circle of orderings by leaving one of its units out, perhaps this one, and says so in the log
//! alone. So the unit is put into a root of its own with those of systemd, cloud-init, ifupdown and
//! systemd-networkd, all enabled, and `systemd-analyze verify` is asked.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    setup::packages::{self, Purpose},
    workspace,
};

const UNIT: &str = "borderguard.service";
/// What goes with it.
const OTHERS: [&str; 2] = ["borderguard-checkpoint.service", "borderguard-checkpoint.timer"];
/// Debian's packages with the other units.
const PACKAGES: [&str; 4] = ["systemd", "udev", "cloud-init", "ifupdown"];
/// What is enabled beside: the target that wants it, and the unit.
const ENABLED: [(&str, &str); 7] = [
    ("multi-user.target", "networking.service"),
    ("multi-user.target", "systemd-networkd.service"),
    ("multi-user.target", "cloud-init.target"),
    ("cloud-init.target", "cloud-init-local.service"),
    ("cloud-init.target", "cloud-init.service"),
    ("cloud-init.target", "cloud-config.service"),
    ("cloud-init.target", "cloud-final.service"),
];
/// The line without which the unit is known to be in a circle.
const NEEDED: &str = "DefaultDependencies=no\n";

/// Checks the unit of `packaging/`, and that this check finds a circle where there is one.
pub(crate) fn check() -> Result<()> {
    packages::ensure(Purpose::Unit)?;
    let file = workspace::root().join("packaging").join(UNIT);
    let unit = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let root = make_root()?;
    for other in OTHERS {
        let from = workspace::root().join("packaging").join(other);
        fs::copy(&from, root.join("usr/lib/systemd/system").join(other))
            .with_context(|| format!("cannot copy {}", from.display()))?;
    }
    enable(&root, "timers.target", OTHERS[1])?;
    let complaints = verify(&root, &unit)?;
    if !complaints.is_empty() {
        bail!("systemd complains of {}:\n  {}", file.display(), complaints.join("\n  "));
    }
    let worse = verify(&root, &unit.replace(NEEDED, ""))?;
    if !worse.iter().any(|line| line.contains("cycle")) {
        bail!("without {NEEDED:?} the unit is in a circle, and this check did not find it");
    }
    println!("no ordering cycle with {}", PACKAGES.join(", "));
    Ok(())
}

/// A root with the other units, enabled, and without ours.
fn make_root() -> Result<PathBuf> {
    let root = workspace::target_dir().join("unit");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    let units = root.join("usr/lib/systemd/system");
    create_dir(&units)?;
    create_dir(&root.join("usr/bin"))?;
    for folder in ["bin", "lib", "sbin"] {
        symlink(format!("usr/{folder}"), root.join(folder))
            .with_context(|| format!("cannot link {folder}"))?;
    }
    for package in PACKAGES {
        let unpacked = workspace::tools_dir().join("units").join(package);
        if !unpacked.exists() {
            create_dir(&workspace::tools_dir().join("units"))?;
            packages::unpack_one(package, &unpacked)?;
        }
        let mut found = false;
        for folder in ["lib/systemd/system", "usr/lib/systemd/system"] {
            let folder = unpacked.join(folder);
            if folder.is_dir() {
                found = true;
                copy_units(&folder, &units)?;
            }
        }
        if !found {
            bail!("the package {package} has no unit");
        }
    }
    for (target, unit) in ENABLED {
        enable(&root, target, unit)?;
    }
    enable(&root, "multi-user.target", UNIT)?;
    // What the unit starts has only to be there.
    let program = root.join("usr/bin/borderguard");
    fs::copy("/bin/true", &program).with_context(|| format!("cannot write {}", program.display()))?;
    Ok(root)
}

fn create_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))
}

fn copy_units(from: &Path, to: &Path) -> Result<()> {
    let status =
        Command::new("cp").args(["-a", "-T"]).arg(from).arg(to).status().context("cannot start cp")?;
    if !status.success() {
        bail!("cannot copy the units in {}", from.display());
    }
    Ok(())
}

/// Enables a unit as `systemctl enable` does.
fn enable(root: &Path, target: &str, unit: &str) -> Result<()> {
    let wants = root.join("etc/systemd/system").join(format!("{target}.wants"));
    create_dir(&wants)?;
    symlink(format!("/usr/lib/systemd/system/{unit}"), wants.join(unit))
        .with_context(|| format!("cannot enable {unit}"))
}

/// What systemd says against our unit, or of a circle of any.
fn verify(root: &Path, unit: &str) -> Result<Vec<String>> {
    let file = root.join("usr/lib/systemd/system").join(UNIT);
    fs::write(&file, unit).with_context(|| format!("cannot write {}", file.display()))?;
    let mut root_option = std::ffi::OsString::from("--root=");
    root_option.push(root);
    // It looks below a root that is not systemd's own, so it has many complaints of other units.
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(root_option)
        .arg("multi-user.target")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .context("cannot start systemd-analyze")?;
    Ok(complaints(&String::from_utf8_lossy(&output.stderr)))
}

/// The lines that are about our unit or about a circle.
fn complaints(text: &str) -> Vec<String> {
    let ours = |line: &&str| ["cycle", "deleted to break", UNIT].iter().any(|part| line.contains(part));
    text.lines().filter(ours).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_other_units_is_not_ours() {
        let text = "getty@tty1.service: Command /sbin/agetty is not executable\n\
            networking.service: Found ordering cycle on network-pre.target/start\n\
            /usr/lib/systemd/system/borderguard.service:12: Unknown key name 'X' in section 'Unit', ignoring.\n";
        assert_eq!(complaints(text).len(), 2);
        assert_eq!(complaints("x.service: Command y is not executable\n"), [""; 0]);
    }

    #[test]
    fn the_unit_has_the_line_that_the_check_takes_out() {
        assert!(include_str!("../../packaging/borderguard.service").contains(NEEDED));
        // `ProtectSystem=strict` leaves nothing to write to but what the unit names.
        let unit = include_str!("../../packaging/borderguard.service");
        let example = include_str!("../../docs/example.toml");
        let log = example.lines().find_map(|line| line.strip_prefix("to = \"")).unwrap_or_default();
        let folder = unit.lines().find_map(|line| line.strip_prefix("LogsDirectory=")).unwrap_or_default();
        assert!(!folder.is_empty() && log.starts_with(&format!("/var/log/{folder}/")), "{log} {folder}");
    }
}
