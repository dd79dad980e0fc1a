//! A second entry for every link, in a BPF file system that only this process has: where the first one is removed,
//! the link stays, and is given its entry again. One descriptor keeps any number of links.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::raw;

/// The links that this process keeps.
#[derive(Debug)]
pub(super) struct Spare {
    /// Mounted nowhere; it ends with the process, and its entries with it.
    mount: OwnedFd,
    /// Names of the entries in bpffs, by the links' ids.
    names: BTreeMap<u32, String>,
    /// Whether every link could be kept that was to be.
    is_whole: bool,
}

impl Spare {
    pub(super) fn new() -> io::Result<Self> {
        let context = fsopen("bpf", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(context.as_fd())?;
        let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        Ok(Self { mount, names: BTreeMap::new(), is_whole: true })
    }

    /// The folder with the entries.
    pub(super) fn folder(&self) -> BorrowedFd<'_> {
        self.mount.as_fd()
    }

    fn path(&self, id: u32) -> PathBuf {
        format!("/proc/self/fd/{}/{id}", self.mount.as_raw_fd()).into()
    }

    /// Keeps a link, and the name that its entry has or should have, by which its interface is known at the next
    /// start.
    pub(super) fn keep(&mut self, id: u32, link: BorrowedFd<'_>, entry: &str) -> io::Result<()> {
        if !self.names.contains_key(&id) {
            raw::pin(link, &self.path(id)).inspect_err(|_| self.is_whole = false)?;
        }
        self.names.insert(id, entry.to_owned());
        Ok(())
    }

    /// Whether every link is kept that was to be.
    pub(super) const fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether the link is kept.
    pub(super) fn has(&self, id: u32) -> bool {
        self.names.contains_key(&id)
    }

    /// The name of the entry that a link has or should have.
    pub(super) fn name(&self, id: u32) -> Option<&str> {
        self.names.get(&id).map(String::as_str)
    }

    /// The links that are kept, and the names of their entries.
    pub(super) fn names(&self) -> impl Iterator<Item = (u32, &str)> {
        self.names.iter().map(|(id, name)| (*id, name.as_str()))
    }

    /// Keeps a link no more: it is detached, or its interface is gone.
    pub(super) fn forget(&mut self, id: u32) {
        if self.names.remove(&id).is_some() {
            // What is left behind keeps a link that does nothing, until the process ends.
            let _left = fs::remove_file(self.path(id));
        }
    }
}
