//! Wakes the daemon when anything is mounted or unmounted (proc_pid_mounts(5): poll(2) tells it).

use std::fs::File;
use std::io;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The mounts of this process.
pub(super) struct MountTable(AsyncFd<File>);

impl MountTable {
    /// Begins. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn open() -> io::Result<Self> {
        let file = File::open("/proc/self/mountinfo")?;
        // SAFETY: the descriptor is the watch's own: open, and always the same one, until it is dropped, which is
        // after it is deregistered.
        let watch = unsafe { AsyncFd::register_with_interest(file, Interest::PRIORITY | Interest::ERROR) };
        watch.map(Self).map_err(io::Error::from)
    }

    /// Waits until something changed. May be dropped at any point.
    pub(super) async fn changed(&self) {
        match self.0.ready(Interest::PRIORITY | Interest::ERROR).await {
            Ok(mut ready) => ready.clear_ready(),
            // It can't be waited for; the regular look goes on.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
    use rustix::thread::{UnshareFlags, unshare_unsafe};

    use super::*;

    #[test]
    fn a_mount_wakes_once() {
        // SAFETY: a mount namespace of its own takes no file descriptor and no memory from anyone.
        if unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.is_err() {
            return println!("only root may mount");
        }
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let file = File::open("/proc/thread-self/mountinfo").unwrap();
            // SAFETY: as above.
            let watch =
                unsafe { AsyncFd::register_with_interest(file, Interest::PRIORITY | Interest::ERROR) }
                    .unwrap();
            let table = MountTable(watch);
            let wakes = || tokio::time::timeout(Duration::from_millis(200), table.changed());
            while wakes().await.is_ok() {}
            mount("none", folder.path(), "tmpfs", MountFlags::empty(), None).unwrap();
            assert!(wakes().await.is_ok());
            assert!(wakes().await.is_err(), "nothing more has changed");
            unmount(folder.path(), UnmountFlags::empty()).unwrap();
            assert!(wakes().await.is_ok());
        });
    }
}
