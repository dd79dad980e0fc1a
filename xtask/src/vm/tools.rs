//! The emulator and the guest's shell: this system's where they are installed, else unpacked from Debian's
//! packages into the checkout's tool folder, where they cannot clash with anything installed.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::image;
use crate::{setup::packages, workspace};

const QEMU: &str = "qemu-system-x86_64";

/// Where the two are.
pub(super) struct Tools {
    qemu: PathBuf,
    /// A busybox that needs no library.
    pub(super) busybox: PathBuf,
    /// Where packages were unpacked, if they were.
    unpacked: Option<PathBuf>,
}

impl Tools {
    pub(super) fn get() -> Result<Self> {
        let qemu = workspace::find_in_path(QEMU);
        let busybox = workspace::find_in_path("busybox").filter(|file| image::is_static(file));
        let missing: Vec<&str> = [(&qemu, "qemu-system-x86"), (&busybox, "busybox-static")]
            .into_iter()
            .filter_map(|(installed, package)| installed.is_none().then_some(package))
            .collect();
        let dir = workspace::tools_dir().join("vm");
        let unpacked =
            |candidates: &[&str]| candidates.iter().map(|file| dir.join(file)).find(|file| file.exists());
        let find = || {
            Some(Self {
                qemu: qemu.clone().or_else(|| unpacked(&["usr/bin/qemu-system-x86_64"]))?,
                busybox: busybox.clone().or_else(|| unpacked(&["bin/busybox", "usr/bin/busybox"]))?,
                unpacked: (!missing.is_empty()).then(|| dir.clone()),
            })
        };
        if let Some(tools) = find() {
            return Ok(tools);
        }
        fs::create_dir_all(workspace::tools_dir()).context("cannot create the tool folder")?;
        packages::unpack("what boots a guest", &missing, &dir)?;
        find().with_context(|| format!("{} lacks qemu or busybox", dir.display()))
    }

    /// A command that starts qemu, without arguments of ours yet. It ends when this program does, however that ends.
    pub(super) fn qemu(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "env"]);
        if let Some(dir) = &self.unpacked {
            let mut libraries = OsString::from("LD_LIBRARY_PATH=");
            libraries.push(library_path(dir));
            command.arg(libraries);
        }
        command.arg(&self.qemu);
        for firmware in ["usr/share/qemu", "usr/share/seabios"] {
            command
                .args(self.unpacked.iter().flat_map(|dir| [OsString::from("-L"), dir.join(firmware).into()]));
        }
        command
    }
}

/// The unpacked libraries' folders, before those that are searched already.
fn library_path(dir: &Path) -> OsString {
    let own = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|lib| dir.join(lib));
    let before = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let all = own.into_iter().chain(env::split_paths(&before).collect::<Vec<_>>());
    // A folder with a colon in its name cannot be searched in any way.
    env::join_paths(all).unwrap_or_default()
}
