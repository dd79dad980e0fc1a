//! Wakes the daemon when a cgroup comes or goes beside one that the policy names: inotify(7) on the folder above.
//!
//! What changed is not read from the messages: the daemon looks at all of them again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

use crate::kernel::cgroup;

/// The folders that are watched.
pub(super) struct Cgroups {
    watch: AsyncFd<OwnedFd>,
    /// By the number of the watch.
    watched: BTreeMap<i32, PathBuf>,
}

impl Cgroups {
    /// Begins, with nothing watched. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn new() -> io::Result<Self> {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        // SAFETY: the descriptor is the watch's own: open, and always the same one, until it is dropped, which is
        // after it is deregistered.
        let watch = unsafe { AsyncFd::register(watch) }.map_err(io::Error::from)?;
        Ok(Self { watch, watched: BTreeMap::new() })
    }

    /// Watches the folders above these cgroups, as deep as they are there: what is made there later is a change,
    /// and they are watched anew then.
    pub(super) fn watch(&mut self, paths: &[String]) {
        let root = cgroup::root();
        let mut wanted = BTreeSet::new();
        for path in paths {
            let mut folder = root.clone();
            wanted.insert(folder.clone());
            for part in Path::new(path).parent().into_iter().flat_map(Path::components) {
                folder.push(part);
                wanted.insert(folder.clone());
            }
        }
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::ONLYDIR;
        // To add a folder that is watched already changes nothing; one that was made anew is another one.
        let mut watched = BTreeMap::new();
        for folder in wanted {
            if let Ok(number) = inotify::add_watch(&self.watch, &folder, flags) {
                watched.insert(number, folder);
            }
        }
        for number in self.watched.keys().filter(|number| !watched.contains_key(number)) {
            // The kernel has removed the watch of a folder that is gone by itself.
            let _may_be_gone = inotify::remove_watch(&self.watch, *number);
        }
        self.watched = watched;
    }

    /// Waits until something changed. May be dropped at any point.
    pub(super) async fn changed(&self) {
        loop {
            let Ok(mut ready) = self.watch.readable().await else {
                // It can't be waited for; the regular look goes on.
                return std::future::pending().await;
            };
            let mut buffer = [0; 4096];
            match ready.try_io(|watch| Ok(rustix::io::read(watch.get_ref(), &mut buffer)?)) {
                Ok(_) => return,
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_watched_follows_what_is_asked_for() {
        let mut cgroups = Cgroups::new().unwrap();
        cgroups.watch(&[]);
        assert!(cgroups.watched.is_empty());
        let root = cgroup::root();
        cgroups.watch(&["absent.slice/x.service".to_owned(), "other.slice".to_owned()]);
        assert_eq!(cgroups.watched.values().collect::<Vec<_>>(), [&root]);
        cgroups.watch(&[]);
        assert!(cgroups.watched.is_empty());
        // What the kernel says of a watch that was removed wakes once, and then no more.
        let wait = std::time::Duration::from_millis(20);
        while tokio::time::timeout(wait, cgroups.changed()).await.is_ok() {}
    }
}
