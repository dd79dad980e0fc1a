//! The hook of cgroups: attached to one of them so that it stays, seen as the kernel shows it, and taken off.
//!
//! Its link is known by its entry in bpffs, which has the cgroup's id in its name, and by the entry that this process
//! keeps beside it. Where it is by now, the kernel says: a link whose cgroup is gone, or that somebody has detached, is
//! on no cgroup any more.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use aya::programs::{Program, ProgramFd};

use super::hooks::{BYPASS_PROGRAM, BYPASS_WAY};
use super::link::{self, CgroupLink};
use super::plain::read;
use super::spare::Spare;
use super::{
    BypassTarget, CgroupAttachment, KernelError, LinuxKernel, ObservedBypass, folder, info, missing_program,
    raw,
};

/// What begins and ends the name of an entry; between them is the cgroup's id. No entry of an interface's link begins
/// so, for those begin with a number.
const BEGIN: &str = "cgroup-";
const END: &str = "-setsockopt";

/// The name of the entry of the link on this cgroup.
fn entry_name(cgroup: u64) -> String {
    format!("{BEGIN}{cgroup}{END}")
}

/// Whether an entry of this name is one of a cgroup's link.
pub(super) fn is_entry(name: &str) -> bool {
    name.strip_prefix(BEGIN)
        .and_then(|rest| rest.strip_suffix(END))
        .is_some_and(|id| id.parse::<u64>().is_ok())
}

/// A link of ours.
struct Found {
    link: CgroupLink,
    /// The name of its entry, as it is or as it was.
    name: String,
    is_kept: bool,
}

impl LinuxKernel {
    /// Looks at every link of ours on cgroups, and at whom the program does not refuse.
    pub(super) fn look_at_bypass(&self) -> Result<ObservedBypass, KernelError> {
        let current = info(&self.ebpf, BYPASS_PROGRAM).ok().map(|program| program.id());
        let attachment = |found: Found| CgroupAttachment {
            link: found.link.id,
            cgroup: found.link.cgroup,
            program: found.link.program,
            is_current: Some(found.link.program) == current,
            is_kept: found.is_kept,
        };
        let attachments = self.links_on_cgroups()?.into_iter().map(attachment).collect();
        Ok(ObservedBypass { attachments, allowed: self.allowed()? })
    }

    /// Entries that links on cgroups should have and have not.
    pub(super) fn missing_of_cgroups(bypass: &ObservedBypass) -> impl Iterator<Item = String> {
        let lost =
            bypass.attachments.iter().filter(|attachment| attachment.cgroup != 0 && !attachment.is_kept);
        lost.map(|attachment| format!("links/{}", entry_name(attachment.cgroup)))
    }

    /// Refuses ways past the hooks as it is wanted: nowhere for `None`. Who is refused is set first; then a link is on
    /// the cgroup before any other one is taken off.
    pub(super) fn set_bypass(&mut self, target: Option<&BypassTarget>) -> Result<(), KernelError> {
        let mut stays = None;
        if let Some(target) = target {
            self.allow(&target.allowed)?;
            stays = Some(self.attach_to_cgroup(target)?);
        }
        for found in self.links_on_cgroups()? {
            if Some(found.link.id) != stays {
                self.take_off(&found)?;
            }
        }
        Ok(())
    }

    /// Makes the entry anew of a link that is attached and has none.
    pub(super) fn restore_entries_of_cgroups(&mut self) -> Result<(), KernelError> {
        for found in self.links_on_cgroups()? {
            if found.link.cgroup != 0 && !found.is_kept {
                let link = link::by_id(found.link.id).map_err(|error| self.unopened(error))?;
                self.keep_on_cgroup(found.link, link.as_fd())?;
            }
        }
        Ok(())
    }

    /// Keeps the links on cgroups in this process that were there when it started.
    pub(super) fn keep_adopted_on_cgroups(&mut self) -> Result<(), KernelError> {
        for found in self.links_on_cgroups()? {
            if let (true, Ok(link)) = (found.link.cgroup != 0, link::by_id(found.link.id)) {
                self.keep_spare_on_cgroup(found.link, link.as_fd());
            }
        }
        Ok(())
    }

    fn links_on_cgroups(&self) -> Result<Vec<Found>, KernelError> {
        let path = folder::links(&self.view.path);
        let mut all = Vec::<Found>::new();
        for name in folder::names(&path)?.into_iter().filter(|name| is_entry(name)) {
            let opened = match raw::get(&path.join(&name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened,
            };
            let link = opened.and_then(|link| match raw::is_a(link.as_fd(), "link") {
                true => link::cgroup_link(link.as_fd()),
                false => Ok(None),
            });
            let link = link.map_err(|error| KernelError::folder("open the link", path.join(&name), error))?;
            all.extend(link.map(|link| Found { link, name, is_kept: true }));
        }
        let spare = self.spare.iter().flat_map(Spare::names).filter(|(_, name)| is_entry(name));
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
        Ok(all)
    }

    /// Sees to it that the program of this process is on the cgroup; the id of the link.
    fn attach_to_cgroup(&mut self, target: &BypassTarget) -> Result<u32, KernelError> {
        let failed = |source| KernelError::Cgroup { cgroup: target.cgroup.clone(), source };
        for found in self.links_on_cgroups()?.into_iter().filter(|found| found.link.cgroup == target.id) {
            let link = link::by_id(found.link.id).map_err(failed)?;
            match link::update(link.as_fd(), self.bypass_program()?.as_fd()) {
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
        let link = link::create(self.bypass_program()?.as_fd(), raw::raw(cgroup.as_fd()), BYPASS_WAY);
        let link = link.map_err(failed)?;
        let made = link::cgroup_link(link.as_fd()).map_err(failed)?;
        let made = made.ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))?;
        let kept = self.keep_on_cgroup(made, link.as_fd());
        self.unless_spare(made.id, kept).map(|()| made.id)
    }

    /// Gives a link its entry in bpffs, and keeps it in this process.
    fn keep_on_cgroup(&mut self, link: CgroupLink, fd: BorrowedFd<'_>) -> Result<(), KernelError> {
        self.keep_spare_on_cgroup(link, fd);
        let path = folder::links(&self.view.path).join(entry_name(link.cgroup));
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
            && let Err(error) = spare.keep(link.id, fd, &entry_name(link.cgroup))
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

    fn bypass_program(&self) -> Result<&ProgramFd, KernelError> {
        if let Some(why) = &self.bypass_refused {
            return Err(KernelError::BypassProgram { why: why.clone() });
        }
        match self.ebpf.program(BYPASS_PROGRAM) {
            Some(Program::CgroupSockopt(program)) => {
                program.fd().map_err(|error| KernelError::of_program(BYPASS_PROGRAM, error))
            }
            _ => Err(missing_program(BYPASS_PROGRAM)),
        }
    }

    fn allowed(&self) -> Result<BTreeSet<u64>, KernelError> {
        let mut ids = BTreeSet::new();
        let each = self.view.maps.bypass_allowed.for_each(|key, _| ids.extend(read::<u64>(key)));
        each.map_err(|source| KernelError::Map { what: "read", map: "BYPASS_ALLOWED", source })?;
        Ok(ids)
    }

    fn allow(&mut self, wanted: &BTreeSet<u64>) -> Result<(), KernelError> {
        let map = &self.view.maps.bypass_allowed;
        let failed = |source| KernelError::Map { what: "write", map: "BYPASS_ALLOWED", source };
        let allowed = self.allowed()?;
        for id in allowed.difference(wanted) {
            map.remove(&id.to_ne_bytes()).map_err(failed)?;
        }
        for id in wanted.difference(&allowed) {
            map.update(&id.to_ne_bytes(), &[1]).map_err(failed)?;
        }
        Ok(())
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
        for id in [1, u64::MAX] {
            let name = entry_name(id);
            assert!(is_entry(&name) && Name::read(&name).is_none(), "{name}");
        }
        for other in ["2-eth0-egress", "cgroup-x-setsockopt", "7-cgroup-1-setsockopt", "cgroup-1"] {
            assert!(!is_entry(other), "{other}");
        }
    }
}
