//! A copy of the kernel's programs with the same tables, that guards nothing: the kernel's own word on a
//! frame, on a host whose guard goes on undisturbed.
//!
//! The copy's maps are pinned in a BPF file system that only this thread's mount namespace has, so that
//! nothing is left of them when the process ends in whatever way.

use std::io;
use std::path::Path;

use guard_common::abi::Hook;
use guard_common::host::HostOrigin;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::capture::Frame;
use super::explainer::Explainer;
use super::frames::KernelAnswer;
use crate::kernel::{Calls, CpuUse, FrameSource, KernelError, LinuxKernel};

/// Where the private BPF file system is, in the mount namespace of this thread alone.
const BPFFS: &str = "/sys/fs/bpf";
/// Where the copy is pinned in it.
const PIN_PATH: &str = "/sys/fs/bpf/borderguard-explain";

/// The longest packet that the kernel takes a length on the wire for in a test run (`GSO_LEGACY_MAX_SIZE`
/// of linux/netdevice.h).
const MAX_WIRE_LEN: u64 = 65_536;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// What the kernel tells of itself is not there.
    #[error("{path} is not there, which a copy of the kernel's programs needs: mount it (`{mount}`)")]
    NotMounted {
        /// The folder that is looked for.
        path: &'static str,
        /// The command that makes it be there.
        mount: &'static str,
    },
    /// No file system of its own for the pins.
    #[error("can't {what}: a copy of the kernel's programs needs root")]
    Private {
        /// What failed.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The programs can't be loaded, or the tables not filled.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// What has to be there, and how it comes there: the begin of proc(5), which says what a pinned map is and where cgroups are,
/// and the folder that the kernel has for BPF file systems.
const NEEDED: [(&str, &str); 2] =
    [("/proc/self", "mount -t proc proc /proc"), (BPFFS, "mount -t sysfs sysfs /sys")];

/// Looks whether this process sees what a copy needs.
///
/// # Errors
/// [`CopyError::NotMounted`] where it does not.
pub fn look_for_mounts() -> Result<(), CopyError> {
    has_all(Path::new("/"))
}

fn has_all(root: &Path) -> Result<(), CopyError> {
    for (path, mount) in NEEDED {
        // What can't be looked at may be there.
        if let Ok(false) = root.join(path.trim_start_matches('/')).try_exists() {
            return Err(CopyError::NotMounted { path, mount });
        }
    }
    Ok(())
}

/// The programs, loaded beside those that guard.
pub struct KernelCopy(LinuxKernel);

impl KernelCopy {
    /// Loads the programs and publishes the explainer's tables to them. From here on this thread sees a BPF
    /// file system of its own.
    ///
    /// # Errors
    /// Without root, or where the kernel refuses the programs.
    pub fn load(explainer: &Explainer) -> Result<Self, CopyError> {
        load_for(explainer, FrameSource::TestRuns).map(Self)
    }

    /// What the kernel's program says of a frame.
    ///
    /// # Errors
    /// Where the kernel fails for another reason than the frame.
    pub fn judge(
        &self,
        hook: Hook,
        frame: Frame<'_>,
        origin: &HostOrigin,
    ) -> Result<KernelAnswer, KernelError> {
        let known = (frame.bytes.len() as u64..=MAX_WIRE_LEN).contains(&origin.wire_len);
        // 0 is the frame's own length.
        let wire_len = if known { origin.wire_len } else { 0 };
        let origin = HostOrigin { wire_len, ..origin.clone() };
        match self.0.judge_frame(hook, frame.link, frame.bytes, &origin) {
            Ok(judged) => Ok(KernelAnswer::Judged(judged.verdict, judged.reason)),
            Err(refused @ KernelError::TestRun { .. }) => Ok(KernelAnswer::Refused(refused.to_string())),
            Err(error) => Err(error),
        }
    }
}

/// Loads the programs for these frames and publishes the explainer's tables to them. From here on this thread sees a BPF
/// file system of its own.
///
/// # Errors
/// Without root, where something is not mounted that it needs, or where the kernel refuses the programs.
pub fn load_for(explainer: &Explainer, frames: FrameSource) -> Result<LinuxKernel, CopyError> {
    look_for_mounts()?;
    let failed = |what| move |error: rustix::io::Errno| CopyError::Private { what, source: error.into() };
    // SAFETY: a mount namespace of its own takes no file descriptor and no memory from anyone.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.map_err(failed("make a mount namespace"))?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(failed("make the mount namespace private"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("bpf", BPFFS, "bpf", flags, c"mode=0700").map_err(failed("mount a BPF file system of its own"))?;
    let cpus = CpuUse::of_this_kernel();
    let mut kernel = LinuxKernel::open_with(Path::new(PIN_PATH), cpus, frames, Calls::Noted)?;
    let tables = explainer.tables();
    kernel.know_addresses(&tables.addresses)?;
    kernel.publish(&tables.policy, Some(&tables.geo))?;
    Ok(kernel)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_not_mounted_is_named_with_the_command_that_mounts_it() {
        let folder = tempfile::tempdir().unwrap();
        let missing = || has_all(folder.path()).unwrap_err().to_string();
        assert!(missing().starts_with("/proc/self is not there"), "{}", missing());
        assert!(missing().contains("`mount -t proc proc /proc`"), "{}", missing());
        fs::create_dir_all(folder.path().join("proc/self")).unwrap();
        assert!(missing().starts_with("/sys/fs/bpf is not there"), "{}", missing());
        assert!(missing().contains("`mount -t sysfs sysfs /sys`"), "{}", missing());
        fs::create_dir_all(folder.path().join("sys/fs/bpf")).unwrap();
        has_all(folder.path()).unwrap();
    }
}
