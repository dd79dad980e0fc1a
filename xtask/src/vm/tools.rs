//! The emulator and the guest's shell: this system's where they are installed, else unpacked from Debian's
//! packages into the checkout's tool folder, where they cannot clash with anything installed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::image;
use crate::{setup::packages, workspace};

/// Debian's packages of the two.
const PACKAGES: [&str; 2] = ["qemu-system-x86", "busybox-static"];
const QEMU: &str = "qemu-system-x86_64";

/// Where the two are.
pub(super) struct Tools {
    qemu: PathBuf,
    /// A busybox that needs no library.
    pub(super) busybox: PathBuf,
    /// Where the packages were unpacked, if they were.
    unpacked: Option<PathBuf>,
}

impl Tools {
    pub(super) fn get() -> Result<Self> {
        let busybox = workspace::find_in_path("busybox").filter(|file| image::is_static(file));
        if let (Some(qemu), Some(busybox)) = (workspace::find_in_path(QEMU), busybox) {
            return Ok(Self { qemu, busybox, unpacked: None });
        }
        let dir = workspace::tools_dir().join("vm");
        if !dir.exists() {
            fs::create_dir_all(workspace::tools_dir()).context("cannot create the tool folder")?;
            packages::unpack("qemu and a static busybox", &PACKAGES, &dir)?;
        }
        Ok(Self {
            qemu: dir.join("usr/bin").join(QEMU),
            busybox: ["bin/busybox", "usr/bin/busybox"]
                .map(|file| dir.join(file))
                .into_iter()
                .find(|file| file.exists())
                .with_context(|| {
                    format!("no busybox in {}; remove that folder and try again", dir.display())
                })?,
            unpacked: Some(dir),
        })
    }

    /// A command that starts qemu, without arguments of ours yet.
    pub(super) fn qemu(&self) -> Command {
        let mut command = Command::new(&self.qemu);
        if let Some(dir) = &self.unpacked {
            for firmware in ["usr/share/qemu", "usr/share/seabios"] {
                command.arg("-L").arg(dir.join(firmware));
            }
            command.env("LD_LIBRARY_PATH", library_path(dir));
        }
        command
    }
}

/// The unpacked libraries' folders, before those that are searched already.
fn library_path(dir: &Path) -> std::ffi::OsString {
    let own = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|lib| dir.join(lib));
    let before = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let all = own.into_iter().chain(env::split_paths(&before).collect::<Vec<_>>());
    // A folder with a colon in its name cannot be searched in any way.
    env::join_paths(all).unwrap_or_default()
}
