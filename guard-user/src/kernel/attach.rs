//! Attaching programs to interfaces so that they stay: what the entries in bpffs keep judges on without a daemon.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use aya::programs::loaded_links;
use guard_common::abi::Hook;
use guard_common::packet::Link;

use super::entries::{self, Name};
use super::error::refused;
use super::hooks::{self, program_name};
use super::interface::{self, Listed};
use super::link::{self, LinkInfo, link_info};
use super::observe::name_for;
use super::spare::Spare;
use super::{Interface, KernelError, LinuxKernel, filter, folder, raw};

impl LinuxKernel {
    /// Guards the interface of this index, whatever it is called by now: egress always, ingress where asked. It is
    /// known by the name that is given here from then on.
    /// Where a program of ours is attached already, it is replaced in place, with no packet in between that meets
    /// none; ingress that is asked for no more is detached.
    ///
    /// Egress comes first in the chain of TCX programs, or as the first clsact filter on kernels
    /// before 6.6. XDP is native where the driver can, else generic.
    ///
    /// # Errors
    ///
    /// [`KernelError::NotPublished`] before the first generation, for without tables all is dropped;
    /// [`KernelError::LinkType`] for frames that the programs do not read; [`KernelError::Attach`] with the
    /// kernel's reason. Where ingress alone fails, egress stays guarded.
    pub(super) fn guard(&mut self, interface: &Interface, ingress: bool) -> Result<(), KernelError> {
        if !self.live.is_loaded() {
            return Err(KernelError::NotPublished);
        }
        let mut listed = self.listed(interface)?;
        listed.interface.name.clone_from(&interface.name);
        let interface = &listed.interface;
        let link = interface.link_type.link().ok_or_else(|| KernelError::LinkType {
            interface: interface.name.clone(),
            link_type: interface.link_type,
        })?;
        self.guard_egress(interface, link)?;
        if ingress { self.guard_ingress(&listed, link) } else { self.release_ingress(&listed) }
    }

    /// Takes everything of ours off the interface of this index.
    ///
    /// # Errors
    /// [`KernelError::Folder`] where a link can't be detached, [`KernelError::Netlink`] where a filter can't;
    /// [`KernelError::Renamed`] where it has another name by now, and nothing was done.
    pub(super) fn unguard(&mut self, interface: &Interface) -> Result<(), KernelError> {
        let Some(listed) = interface::by_index(interface.index).map_err(|error| looking(interface, error))?
        else {
            return Ok(());
        };
        // It was renamed since the look by which it was to be let go: the next one says whether it still is.
        if listed.interface.name != interface.name {
            let (was, is) = (interface.name.clone(), listed.interface.name);
            return Err(KernelError::Renamed { was, is });
        }
        for id in self.egress_links(&listed.interface)?.unwrap_or_default() {
            self.detach_link(&listed.interface, Hook::Egress, id)?;
        }
        self.release_ingress(&listed)?;
        let ours = self.filters_of(&listed.interface)?;
        filter::remove(&self.view.path, interface.index, &ours)
    }

    /// The interface of this index as it is now.
    fn listed(&self, interface: &Interface) -> Result<Listed, KernelError> {
        let found = interface::by_index(interface.index).map_err(|error| looking(interface, error))?;
        found.ok_or_else(|| KernelError::NoInterface { name: interface.name.clone() })
    }

    fn guard_egress(&mut self, interface: &Interface, link: Link) -> Result<(), KernelError> {
        let hook = Hook::Egress;
        let Some(links) = self.egress_links(interface)? else {
            let old = self.filters_of(interface)?;
            let program = self.program_fd(hook, link)?.as_fd();
            let program = (program, program_name(hook, link));
            filter::attach(&self.view.path, interface, program, old.first())?;
            if old.is_empty() {
                self.memory.begun(interface.index);
            }
            return Ok(());
        };
        let ran_ours = self.run_ours(&links);
        if !self.renewed(interface, (hook, link), &links)? {
            self.make(interface, hook, link)?;
            self.memory.begun(interface.index);
        } else if !ran_ours {
            // Somebody has given our link another program: what it let pass was not judged.
            self.memory.begun(interface.index);
        }
        Ok(())
    }

    /// Makes a link in the first way of its hook that the kernel takes.
    fn make(&mut self, interface: &Interface, hook: Hook, link: Link) -> Result<(), KernelError> {
        let program = self.program_fd(hook, link)?;
        let (mut tried, mut last) = (Vec::new(), None);
        for way in hooks::row(hook).map_or(&[][..], |row| row.ways) {
            let name = way.name();
            match link::create(program.as_fd(), interface.index, *way) {
                Ok(new) => return self.keep_new(interface, hook, new.as_fd()),
                // Another program is there, in whatever way, or nobody may.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EPERM)) => {
                    return Err(refused(&interface.name, hook, name, error));
                }
                // A bond whose members have programs takes none in the driver, and one behind it.
                Err(error) => {
                    tried.push(name);
                    last = Some(error);
                }
            }
        }
        let error = last.unwrap_or_else(|| io::ErrorKind::Unsupported.into());
        Err(refused(&interface.name, hook, &tried.join(" and "), error))
    }

    fn guard_ingress(&mut self, listed: &Listed, link: Link) -> Result<(), KernelError> {
        let (interface, hook) = (&listed.interface, Hook::Ingress);
        if self.renewed_by_entry(listed, link)? {
            return Ok(());
        }
        let links = self.ingress_links(listed)?;
        if self.renewed(interface, (hook, link), &links)? {
            return Ok(());
        }
        self.make(interface, hook, link)
    }

    /// As [`renewed`](Self::renewed) for the XDP link whose entry has the interface's index and name, which nearly
    /// always is the one: so that no look through all entries is needed.
    fn renewed_by_entry(&mut self, listed: &Listed, link: Link) -> Result<bool, KernelError> {
        let (interface, hook) = (&listed.interface, Hook::Ingress);
        let entry = entries::at(&self.link_path(&name_for(interface, hook).entry()));
        let (Some(program), Some(info)) = (listed.xdp(), entry.ok().flatten()) else { return Ok(false) };
        if (info.hook, info.ifindex, info.program) != (Some(hook), interface.index, program)
            || !self.renewed(interface, (hook, link), &[info.id])?
        {
            return Ok(false);
        }
        // Was it that one?
        let runs = self.listed(interface)?.xdp();
        Ok(runs == Some(self.program_id(hook, link)?))
    }

    fn release_ingress(&mut self, listed: &Listed) -> Result<(), KernelError> {
        match self.ingress_links(listed)?[..] {
            [] => Ok(()),
            [id] => self.detach_link(&listed.interface, Hook::Ingress, id),
            // One of them is on an interface of another network namespace, and must stay there.
            _ => Err(KernelError::Ambiguity { interface: listed.interface.name.clone() }),
        }
    }

    /// Has these links run the program of this process, and sees to it that the first one that is attached has
    /// its entry. A link that is on another interface by now only runs a newer program. False where none of them
    /// is attached.
    fn renewed(
        &mut self,
        interface: &Interface,
        (hook, link): (Hook, Link),
        ids: &[u32],
    ) -> Result<bool, KernelError> {
        let mut is_guarded = false;
        for id in ids {
            let Some(old) = opened(*id, interface)? else { continue };
            let program = self.program_fd(hook, link)?;
            match link::update(old.as_fd(), program.as_fd()) {
                Ok(()) if is_guarded => {}
                Ok(()) => {
                    let kept = self.keep(&name_for(interface, hook), *id, old.as_fd());
                    self.unless_spare(*id, kept)?;
                    is_guarded = true;
                }
                // The interface went away after the link was looked at.
                Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {}
                Err(source) => return Err(refused(&interface.name, hook, "an update of its link", source)),
            }
        }
        Ok(is_guarded)
    }

    /// Ids of our TCX links on an interface: those that run a program of ours, and those that we made and that
    /// somebody has given another program. `None` where the kernel has no TCX.
    fn egress_links(&mut self, interface: &Interface) -> Result<Option<Vec<u32>>, KernelError> {
        let Some(chain) = link::tcx_egress(interface.index).map_err(|error| looking(interface, error))?
        else {
            return Ok(None);
        };
        let met = chain.iter().map(|tcx| tcx.program).collect();
        self.memory.programs.meet(self.view.maps.control.id(), &met)?;
        let own_entry = entries::at(&self.link_path(&name_for(interface, Hook::Egress).entry()));
        let own_entry = own_entry.ok().flatten().map(|info| info.id);
        let is_ours = |link: u32, program| {
            self.memory.programs.is_ours(program)
                || own_entry == Some(link)
                || self.spare.as_ref().is_some_and(|spare| spare.has(link))
        };
        let links = chain.iter().filter(|tcx| tcx.link != 0 && is_ours(tcx.link, tcx.program));
        Ok(Some(links.map(|tcx| tcx.link).collect()))
    }

    /// Whether any of these links runs a program of ours, which was looked at before.
    fn run_ours(&self, links: &[u32]) -> bool {
        let program = |id: &u32| link::info_by_id(*id).ok().flatten().map(|info| info.program);
        links.iter().filter_map(program).any(|program| self.memory.programs.is_ours(program))
    }

    /// Ids of our XDP links that may be the one on this interface, the likeliest first. Others are on an interface
    /// of this index in another network namespace.
    fn ingress_links(&mut self, listed: &Listed) -> Result<Vec<u32>, KernelError> {
        let Some(program) = listed.xdp() else { return Ok(Vec::new()) };
        self.memory.programs.meet(self.view.maps.control.id(), &[program].into())?;
        let mut infos = self.known_links(Hook::Ingress)?;
        if infos.iter().all(|(info, _)| info.program != program) && self.memory.programs.is_ours(program) {
            // Something holds a link of ours that has no entry any more.
            let links = loaded_links().flatten().filter(|link| link.program_id() == program);
            let found = links.filter_map(|link| link::info_by_id(link.id()).ok().flatten());
            infos.extend(found.map(|info| (info, String::new())));
        }
        let mut links = Vec::new();
        while let Some(best) =
            super::observe::best(listed, program, infos.iter().map(|(info, name)| (*info, name.as_str())))
        {
            links.push(best);
            infos.retain(|(info, _)| info.id != best);
        }
        Ok(links)
    }

    /// What links of a hook run and where, with the names of their entries: those that this process keeps, which
    /// are all where it could keep all.
    fn known_links(&self, hook: Hook) -> Result<Vec<(LinkInfo, String)>, KernelError> {
        let failed = |source| KernelError::folder("read the links of", &self.view.path, source);
        let mut known = Vec::new();
        let spare = self.spare.as_ref();
        for (id, name) in spare.into_iter().flat_map(Spare::names) {
            if Name::read(name).is_some_and(|name| name.hook == hook) {
                known.extend(link::info_by_id(id).map_err(failed)?.map(|info| (info, name.to_owned())));
            }
        }
        if !spare.is_some_and(Spare::is_whole) {
            let entries = entries::read(&self.view.path)?.links.into_iter();
            let entries = entries.filter(|entry| known.iter().all(|(info, _)| info.id != entry.info.id));
            known.extend(entries.map(|entry| (entry.info, entry.name)).collect::<Vec<_>>());
        }
        Ok(known)
    }

    /// The XDP link of an interface that is known by its program alone.
    pub(super) fn unknown_ingress_link(&mut self, interface: &Interface) -> Result<Option<u32>, KernelError> {
        let listed = self.listed(interface)?;
        Ok(self.ingress_links(&listed)?.first().copied())
    }

    /// Keeps the links in this process that were there when it started.
    pub(super) fn keep_adopted(&mut self) -> Result<(), KernelError> {
        for entry in entries::read(&self.view.path)?.links {
            if let (Some(name), Ok(link)) = (Name::read(&entry.name), link::by_id(entry.info.id)) {
                self.keep_spare(&name, entry.info.id, link.as_fd());
            }
        }
        Ok(())
    }

    /// Filters of ours on an interface.
    fn filters_of(&mut self, interface: &Interface) -> Result<Vec<filter::Filter>, KernelError> {
        filter::ours(interface.index, self.view.maps.control.id(), &mut self.memory.programs)
    }

    /// Detaches a link at once, and removes its entries.
    fn detach_link(&mut self, interface: &Interface, hook: Hook, id: u32) -> Result<(), KernelError> {
        let Some(link) = opened(id, interface)? else { return Ok(()) };
        link::detach(link.as_fd())
            .map_err(|error| refused(&interface.name, hook, "the end of its link", error))?;
        if let Some(spare) = &mut self.spare {
            spare.forget(id);
        }
        if let Some(entry) = self.entry_of(&name_for(interface, hook), id)? {
            folder::remove(&self.link_path(&entry))?;
        }
        Ok(())
    }

    /// The entry of a link: under this name as a rule, else under any other.
    fn entry_of(&self, name: &Name, id: u32) -> Result<Option<String>, KernelError> {
        let likely = name.entry();
        if matches!(entries::at(&self.link_path(&likely)), Ok(Some(info)) if info.id == id) {
            return Ok(Some(likely));
        }
        let mut all = entries::read(&self.view.path)?.links.into_iter();
        Ok(all.find(|entry| entry.info.id == id).map(|entry| entry.name))
    }

    /// Gives a link its entry in bpffs where it has none or one under another name, and keeps it in this process.
    ///
    /// # Errors
    /// [`KernelError::Folder`].
    fn keep(&mut self, name: &Name, id: u32, link: BorrowedFd<'_>) -> Result<(), KernelError> {
        self.keep_spare(name, id, link);
        let Some(entry) = self.entry_of(name, id)? else { return self.add_entry(name, id, link) };
        if [name.entry(), name.second_entry(id)].contains(&entry) {
            return Ok(());
        }
        // Never without an entry: what is in the way keeps its name, and this one too.
        match entries::at(&self.link_path(&name.entry())) {
            Ok(None) => folder::rename(&self.link_path(&entry), &self.link_path(&name.entry())),
            _ => Ok(()),
        }
    }

    /// As [`keep`](Self::keep), for a link that was just made. Where it can be kept by no entry and not by this
    /// process, it ends with its descriptor.
    fn keep_new(
        &mut self,
        interface: &Interface,
        hook: Hook,
        link: BorrowedFd<'_>,
    ) -> Result<(), KernelError> {
        let id = link_info(link).map_err(|error| looking(interface, error))?.id;
        let kept = self.keep_unkept(&name_for(interface, hook), id, link);
        self.unless_spare(id, kept)
    }

    /// As [`keep`](Self::keep), for a link that has no entry.
    pub(super) fn keep_unkept(
        &mut self,
        name: &Name,
        id: u32,
        link: BorrowedFd<'_>,
    ) -> Result<(), KernelError> {
        self.keep_spare(name, id, link);
        self.add_entry(name, id, link)
    }

    /// What attaching says where the link that it made or renewed can't have its entry: nothing while this process
    /// keeps it. It guards, and the entry is among those that are missing.
    pub(super) fn unless_spare(&self, id: u32, kept: Result<(), KernelError>) -> Result<(), KernelError> {
        match kept {
            Err(error) if self.spare.as_ref().is_some_and(|spare| spare.has(id)) => {
                tracing::warn!("a link has no entry in bpffs: {error}");
                Ok(())
            }
            kept => kept,
        }
    }

    fn keep_spare(&mut self, name: &Name, id: u32, link: BorrowedFd<'_>) {
        if let Some(spare) = &mut self.spare
            && let Err(error) = spare.keep(id, link, &name.entry())
        {
            tracing::warn!("where the entry of a link is removed, the link ends with it: {error}");
        }
    }

    fn add_entry(&self, name: &Name, id: u32, link: BorrowedFd<'_>) -> Result<(), KernelError> {
        let mut path = self.link_path(&name.entry());
        match entries::at(&path) {
            Ok(None) => {}
            // Another living link has the name.
            Ok(Some(other)) if other.hook.is_some() && other.ifindex != 0 => {
                path = self.link_path(&name.second_entry(id));
                folder::remove(&path)?;
            }
            // A link of an interface that is gone.
            Ok(Some(_)) => folder::remove(&path)?,
            Err(KernelError::Folder { source, .. }) if source.kind() == std::io::ErrorKind::InvalidData => {
                folder::remove(&path)?;
            }
            // What can't be read now may be the entry of a link that lives by it.
            Err(error) => return Err(error),
        }
        raw::pin(link, &path).map_err(|error| KernelError::folder("pin a link at", path, error))
    }

    fn link_path(&self, entry: &str) -> std::path::PathBuf {
        folder::links(&self.view.path).join(entry)
    }
}

/// Opens a link; `None` where it is gone.
fn opened(id: u32, interface: &Interface) -> Result<Option<std::os::fd::OwnedFd>, KernelError> {
    match link::by_id(id) {
        Ok(link) => Ok(Some(link)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(looking(interface, error)),
    }
}

fn looking(interface: &Interface, source: io::Error) -> KernelError {
    KernelError::Look { interface: interface.name.clone(), source }
}
