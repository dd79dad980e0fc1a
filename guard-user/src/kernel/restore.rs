//! Entries in bpffs that should be there: which are missing, and making them anew.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;

use super::entries::{self, Entry, Name};
use super::folder::{self, Folder};
use super::observe::name_for;
use super::spare::Spare;
use super::{
    Attachment, How, Interface, KernelError, LinuxKernel, Observed, ObservedInterface, filter, link,
    on_cgroups, raw,
};

/// What [`Observed::missing_entries`] has where the folder itself is gone or another one, so that this process no
/// longer has the lock of it.
const FOLDER: &str = ".";

/// The name of a link's entry where another one has its own.
fn moved(name: &str, id: u32) -> String {
    format!("{name}+{id}")
}

impl LinuxKernel {
    /// Entries of the folder and of maps that are gone or another object's.
    pub(super) fn missing_of_maps(&mut self) -> Vec<String> {
        let mut missing = Vec::new();
        if !self.folder.is_there() {
            missing.push(FOLDER.to_owned());
        }
        let folder = folder::maps(&self.view.path);
        for kept in self.kept_maps.each() {
            if !kept.has_entry(&folder) {
                missing.push(format!("maps/{}", kept.name));
            }
        }
        missing
    }

    /// Those of these links whose entry has another name than this process knows it by: its id, the name that it should have, and
    /// the one that it has.
    fn misnamed(&self, links: &[Entry]) -> Vec<(u32, String, String)> {
        let misnamed = |(id, name): (u32, &str)| {
            let mut entries =
                links.iter().filter(|entry| entry.info.id == id).map(|entry| entry.name.as_str());
            let first = entries.clone().next()?;
            // Where another living link had the name, its own follows with its id.
            let is_right = |entry: &str| entry == name || entry == moved(name, id);
            (!entries.any(is_right)).then(|| (id, name.to_owned(), first.to_owned()))
        };
        self.spare.iter().flat_map(Spare::names).filter_map(misnamed).collect()
    }

    /// The entries that links should have and that other links, or none, have: somebody has given them other names. By what the
    /// look at the entries has found.
    pub(super) fn missing_of_misnamed(&self) -> impl Iterator<Item = String> {
        let misnamed = self.misnamed(&self.memory.entries.links);
        misnamed.into_iter().map(|(_, name, _)| format!("links/{name}"))
    }

    /// Gives entries the names back that they had. No link is without an entry meanwhile.
    fn restore_names(&self) -> Result<(), KernelError> {
        let folder = folder::links(&self.view.path);
        let rename = |from: &str, to: &str| {
            let to = folder.join(to);
            std::fs::rename(folder.join(from), &to)
                .map_err(|error| KernelError::folder("give a link its name back at", to, error))
        };
        let misnamed = self.misnamed(&entries::read(&self.view.path)?.links);
        for (id, name, is) in &misnamed {
            rename(is, &moved(name, *id))?;
        }
        for (id, name, _) in &misnamed {
            if entries::at(&folder.join(name)).is_ok_and(|there| there.is_none()) {
                rename(&moved(name, *id), name)?;
            }
        }
        Ok(())
    }

    /// Makes all of them anew, as far as each can be.
    pub(super) fn restore(&mut self) -> Result<(), KernelError> {
        let path = self.view.path.clone();
        if !self.folder.is_there() {
            self.folder = Folder::make(&path)?;
        }
        self.folder.make_parts()?;
        let mut outcome = self.restore_maps().and(self.restore_names());
        let observed = self.look()?;
        for it in &observed.interfaces {
            for attachment in &it.attachments {
                outcome = outcome.and(self.restore_entry_of(it, attachment));
            }
        }
        outcome = outcome.and(self.restore_entries_of_others(&observed));
        outcome.and(self.restore_entries_of_cgroups())
    }

    fn restore_maps(&mut self) -> Result<(), KernelError> {
        let folder = folder::maps(&self.view.path);
        for kept in self.kept_maps.each() {
            if !kept.has_entry(&folder) {
                let path = folder.join(&kept.name);
                folder::remove(&path)?;
                raw::pin(kept.map.as_fd(), &path)
                    .map_err(|error| KernelError::folder("pin a map at", path, error))?;
            }
        }
        Ok(())
    }

    fn restore_entry_of(
        &mut self,
        it: &ObservedInterface,
        attachment: &Attachment,
    ) -> Result<(), KernelError> {
        if attachment.how == How::Clsact {
            let known_as = Interface { name: attachment.attached_as.clone(), ..it.interface.clone() };
            return filter::note(&self.view.path, &known_as);
        }
        if attachment.is_kept {
            return Ok(());
        }
        let look = |source| KernelError::Look { interface: it.interface.name.clone(), source };
        let id = match attachment.link {
            0 => self.unknown_ingress_link(&it.interface)?,
            id => Some(id),
        };
        let Some(id) = id else { return Ok(()) };
        let link = link::by_id(id).map_err(look)?;
        let name = self.spare.as_ref().and_then(|spare| spare.name(id)).and_then(Name::read);
        let name = name.unwrap_or_else(|| name_for(&it.interface, attachment.hook));
        self.keep_unkept(&name, id, link.as_fd())
    }

    /// Links of interfaces that are in other network namespaces; those of interfaces that are gone are dropped.
    fn restore_entries_of_others(&mut self, observed: &Observed) -> Result<(), KernelError> {
        let Some(spare) = &self.spare else { return Ok(()) };
        let attached = observed.interfaces.iter().flat_map(|it| &it.attachments);
        let here: BTreeSet<u32> = attached.map(|attachment| attachment.link).collect();
        let kept: BTreeSet<u32> =
            entries::read(&self.view.path)?.links.iter().map(|entry| entry.info.id).collect();
        let others = spare.names().filter(|(_, name)| on_cgroups::hook_of_entry(name).is_none());
        let lost = others.filter(|(id, _)| !here.contains(id) && !kept.contains(id));
        let lost: Vec<(u32, String)> = lost.map(|(id, name)| (id, name.to_owned())).collect();
        for (id, name) in lost {
            let failed = |error| KernelError::folder("open the link kept for", &name, error);
            let link = link::by_id(id).map_err(failed)?;
            if link::link_info(link.as_fd()).map_err(failed)?.ifindex == 0 {
                self.spare.iter_mut().for_each(|spare| spare.forget(id));
            } else if let Some(name) = Name::read(&name) {
                self.keep_unkept(&name, id, link.as_fd())?;
            }
        }
        Ok(())
    }
}
