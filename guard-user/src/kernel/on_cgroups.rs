//! The hooks of cgroups: attached to one of them so that they stay, seen as the kernel shows them, and taken off.
//!
//! A link is known by its entry in bpffs, which has the cgroup's id in its name, and by the entry that this process
//! keeps beside it. Where it is by now, the kernel says: a link whose cgroup is gone, or that somebody has detached, is
//! on no cgroup any more.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use aya::programs::{Program, ProgramFd};

use super::api::{CgroupAttachment, CgroupTarget};
use super::cgroup_hook::CgroupHook;
use super::entries::Entry;
use super::hooks::LinkHook;
use super::link::{self, CgroupLink};
use super::spare::Spare;
use super::{KernelError, LinuxKernel, folder, info, missing_program, raw};

/// What begins the name of an entry; the cgroup's id and the hook's name follow. No entry of an interface's link begins
/// so, for those begin with a number.
const BEGIN: &str = "cgroup-";

/// The name of the entry of the link on this cgroup.
fn entry_name(cgroup: u64, hook: CgroupHook) -> String {
    format!("{BEGIN}{cgroup}-{}", hook.name())
}

/// The hook of an entry of a cgroup's link; `None` for another one's.
pub(super) fn hook_of_entry(name: &str) -> Option<CgroupHook> {
    let (id, end) = name.strip_prefix(BEGIN)?.split_once('-')?;
    id.parse::<u64>().ok()?;
    CgroupHook::ALL.into_iter().find(|hook| hook.name() == end)
}

fn is_asked(entry: &str, hooks: &[CgroupHook]) -> bool {
    hook_of_entry(entry).is_some_and(|hook| hooks.contains(&hook))
}

/// A link of ours.
struct Found {
    link: CgroupLink,
    /// The name of its entry, as it is or as it was.
    name: String,
    is_kept: bool,
}

impl LinuxKernel {
    /// Looks at every link of ours of these hooks.
    pub(super) fn look_at_cgroups(&self, hooks: &[CgroupHook]) -> Result<Vec<CgroupAttachment>, KernelError> {
        Ok(self.attachments_of(self.links_on_cgroups(hooks)?))
    }

    /// Likewise by what the look at all entries has found.
    pub(super) fn seen_on_cgroups(&self, hooks: &[CgroupHook]) -> Result<Vec<CgroupAttachment>, KernelError> {
        let found =
            |entry: &Entry| Some(Found { link: entry.cgroup?, name: entry.name.clone(), is_kept: true });
        let entries = self.memory.entries.links.iter().filter(|entry| is_asked(&entry.name, hooks));
        Ok(self.attachments_of(self.with_lost(entries.filter_map(found).collect(), hooks)?))
    }

    fn attachments_of(&self, links: Vec<Found>) -> Vec<CgroupAttachment> {
        let attachment = |found: Found| {
            let current =
                info(&self.ebpf, found.link.hook.program(self.calls)).ok().map(|program| program.id());
            CgroupAttachment {
                hook: found.link.hook,
                link: found.link.id,
                cgroup: found.link.cgroup,
                program: found.link.program,
                is_current: Some(found.link.program) == current,
                is_kept: found.is_kept,
            }
        };
        links.into_iter().map(attachment).collect()
    }

    /// Entries that links on cgroups should have and have not.
    pub(super) fn missing_of_cgroups(attachments: &[CgroupAttachment]) -> impl Iterator<Item = String> {
        let lost = attachments.iter().filter(|attachment| attachment.cgroup != 0 && !attachment.is_kept);
        lost.map(|attachment| format!("links/{}", entry_name(attachment.cgroup, attachment.hook)))
    }

    /// Has the programs of these hooks on this cgroup and on no other: on none for `None`. One that the kernel refuses
    /// keeps no other from being attached.
    pub(super) fn set_on_cgroup(
        &mut self,
        hooks: &[CgroupHook],
        target: Option<&CgroupTarget>,
    ) -> Result<(), KernelError> {
        let (mut stay, mut outcome) = (Vec::new(), Ok(()));
        for hook in hooks {
            let attached = target.map(|target| self.attach_to_cgroup(*hook, target)).transpose();
            match attached {
                Ok(link) => stay.extend(link),
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        // What is elsewhere goes on where it could not be attached here.
        outcome?;
        for found in self.links_on_cgroups(hooks)? {
            if !stay.contains(&found.link.id) {
                self.take_off(&found)?;
            }
        }
        Ok(())
    }

    /// Makes the entry anew of a link that is attached and has none.
    pub(super) fn restore_entries_of_cgroups(&mut self) -> Result<(), KernelError> {
        for found in self.links_on_cgroups(&CgroupHook::ALL)? {
            if found.link.cgroup != 0 && !found.is_kept {
                let link = link::by_id(found.link.id).map_err(|error| self.unopened(error))?;
                self.keep_on_cgroup(found.link, link.as_fd())?;
            }
        }
        Ok(())
    }

    /// Keeps the links on cgroups in this process that were there when it started.
    pub(super) fn keep_adopted_on_cgroups(&mut self) -> Result<(), KernelError> {
        for found in self.links_on_cgroups(&CgroupHook::ALL)? {
            if let (true, Ok(link)) = (found.link.cgroup != 0, link::by_id(found.link.id)) {
                self.keep_spare_on_cgroup(found.link, link.as_fd());
            }
        }
        Ok(())
    }

    fn links_on_cgroups(&self, hooks: &[CgroupHook]) -> Result<Vec<Found>, KernelError> {
        let path = folder::links(&self.view.path);
        let mut all = Vec::<Found>::new();
        for name in folder::names(&path)?.into_iter().filter(|name| is_asked(name, hooks)) {
            // What has such a name and can't be opened is no link to go by. One that is attached all the same is
            // attached beside the new one, and does what it did.
            let opened = raw::get(&path.join(&name));
            let link = opened.and_then(|link| match raw::is_a(link.as_fd(), "link") {
                true => link::cgroup_link(link.as_fd()),
                false => Ok(None),
            });
            match link {
                Ok(link) => all.extend(link.map(|link| Found { link, name, is_kept: true })),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::debug!("{} can't be opened: {error}", path.join(&name).display()),
            }
        }
        self.with_lost(all, hooks)
    }

    /// These links of entries of such hooks, and those that have lost theirs.
    fn with_lost(&self, mut all: Vec<Found>, hooks: &[CgroupHook]) -> Result<Vec<Found>, KernelError> {
        let spare = self.spare.iter().flat_map(Spare::names).filter(|(_, name)| is_asked(name, hooks));
        for (id, name) in spare {
            if all.iter().all(|found| found.link.id != id) {
                let link = match link::by_id(id) {
                    Err(error) if error.raw_os_error() == Some(libc::ENOENT) => continue,
                    opened => opened.and_then(|link| link::cgroup_link(link.as_fd())),
                };
                let link = link.map_err(|error| self.unopened(error))?;
                all.extend(link.map(|link| Found { link, name: name.to_owned(), is_kept: false }));
            }
        }
        // An entry's name is what somebody gave it; the kernel says which hook the link is of.
        all.retain(|found| hooks.contains(&found.link.hook));
        Ok(all)
    }

    /// Sees to it that the program of this process is on the cgroup; the id of the link.
    fn attach_to_cgroup(&mut self, hook: CgroupHook, target: &CgroupTarget) -> Result<u32, KernelError> {
        let failed =
            |source| KernelError::Cgroup { cgroup: target.cgroup.clone(), hook: hook.name(), source };
        let there = self.links_on_cgroups(&[hook])?;
        for found in there.into_iter().filter(|found| found.link.cgroup == target.id) {
            let link = link::by_id(found.link.id).map_err(failed)?;
            match link::update(link.as_fd(), self.program_of_cgroups(hook)?.as_fd()) {
                Ok(()) => {
                    let kept = self.keep_on_cgroup(found.link, link.as_fd());
                    return self.unless_spare(found.link.id, kept).map(|()| found.link.id);
                }
                // It was detached, or the cgroup went away, after it was looked at.
                Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let cgroup = open_folder(&target.cgroup).map_err(failed)?;
        let program = self.program_of_cgroups(hook)?.as_fd();
        let link = link::create(program, raw::raw(cgroup.as_fd()), LinkHook::Cgroup(hook)).map_err(failed)?;
        let made = link::cgroup_link(link.as_fd()).map_err(failed)?;
        let made = made.ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))?;
        let kept = self.keep_on_cgroup(made, link.as_fd());
        self.unless_spare(made.id, kept).map(|()| made.id)
    }

    /// Gives a link its entry in bpffs, and keeps it in this process.
    fn keep_on_cgroup(&mut self, link: CgroupLink, fd: BorrowedFd<'_>) -> Result<(), KernelError> {
        self.keep_spare_on_cgroup(link, fd);
        let path = folder::links(&self.view.path).join(entry_name(link.cgroup, link.hook));
        let there = raw::get(&path).and_then(|there| link::cgroup_link(there.as_fd()));
        if matches!(there, Ok(Some(there)) if there.id == link.id) {
            return Ok(());
        }
        // What has the name is no link on this cgroup any more.
        folder::remove(&path)?;
        raw::pin(fd, &path).map_err(|error| KernelError::folder("pin a link at", path, error))
    }

    fn keep_spare_on_cgroup(&mut self, link: CgroupLink, fd: BorrowedFd<'_>) {
        if let Some(spare) = &mut self.spare
            && let Err(error) = spare.keep(link.id, fd, &entry_name(link.cgroup, link.hook))
        {
            tracing::warn!("where the entry of a link is removed, the link ends with it: {error}");
        }
    }

    fn take_off(&mut self, found: &Found) -> Result<(), KernelError> {
        match link::by_id(found.link.id) {
            Ok(link) => link::detach(link.as_fd()).map_err(|error| self.unopened(error))?,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(self.unopened(error)),
        }
        if let Some(spare) = &mut self.spare {
            spare.forget(found.link.id);
        }
        match found.is_kept {
            true => folder::remove(&folder::links(&self.view.path).join(&found.name)),
            false => Ok(()),
        }
    }

    fn unopened(&self, error: io::Error) -> KernelError {
        KernelError::folder("open or detach a cgroup's link of", &self.view.path, error)
    }

    fn program_of_cgroups(&self, hook: CgroupHook) -> Result<&ProgramFd, KernelError> {
        if let Some(why) = self.refused_on_cgroups.get(&hook) {
            return Err(KernelError::CgroupProgram { hook: hook.name(), why: why.clone() });
        }
        let name = hook.program(self.calls);
        let fd = match self.ebpf.program(name) {
            Some(Program::CgroupSockopt(program)) => program.fd(),
            Some(Program::CgroupSock(program)) => program.fd(),
            Some(Program::CgroupSockAddr(program)) => program.fd(),
            _ => return Err(missing_program(name)),
        };
        fd.map_err(|error| KernelError::of_program(name, error))
    }
}

fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::super::entries::Name;
    use super::*;

    #[test]
    fn an_entry_of_a_cgroup_is_none_of_an_interface() {
        for (id, hook) in [1, u64::MAX].into_iter().flat_map(|id| CgroupHook::ALL.map(|hook| (id, hook))) {
            let name = entry_name(id, hook);
            assert_eq!((hook_of_entry(&name), Name::read(&name).is_none()), (Some(hook), true), "{name}");
        }
        for other in
            ["2-eth0-egress", "cgroup-x-setsockopt", "7-cgroup-1-setsockopt", "cgroup-1", "cgroup-1-x"]
        {
            assert_eq!(hook_of_entry(other), None, "{other}");
        }
    }
}
