//! The entries of links in bpffs, without which a link would end with the process.

use std::os::fd::AsFd as _;
use std::path::Path;

use guard_common::abi::Hook;

use super::link::{LinkInfo, link_info};
use super::{KernelError, folder, raw};

/// The entry of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its name in the folder of links.
    pub(super) name: String,
    /// What the link runs and where.
    pub(super) info: LinkInfo,
}

/// What the folder of links has.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) links: Vec<Entry>,
    /// What could not be read, a sentence each.
    pub(super) blind: Vec<String>,
}

/// What the name of a link's entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// The index that its interface had at the attachment.
    pub(super) index: u32,
    /// The name that its interface had.
    pub(super) interface: String,
    /// The hook.
    pub(super) hook: Hook,
}

impl Name {
    /// The parts of an entry's name; `None` where it is no link's.
    pub(super) fn read(name: &str) -> Option<Self> {
        let (index, interface, hook) = folder::read_entry_name(name)?;
        // After a plus is the id of a link whose name another link had.
        let (hook, _) = hook.split_once('+').unwrap_or((hook, ""));
        let hook = Hook::OF_PACKETS.into_iter().find(|known| known.name() == hook)?;
        Some(Self { index, interface, hook })
    }

    /// The name in bpffs.
    pub(super) fn entry(&self) -> String {
        folder::entry_name(self.index, &self.interface, self.hook.name())
    }

    /// The name in bpffs where another living link has that name: one whose interface is in another network
    /// namespace now, and whose index was given anew.
    pub(super) fn second_entry(&self, id: u32) -> String {
        format!("{}+{id}", self.entry())
    }
}

/// Opens every entry, one after the other.
pub(super) fn read(pin_path: &Path) -> Result<Entries, KernelError> {
    let folder = folder::links(pin_path);
    let mut entries = Entries::default();
    for name in folder::names(&folder)? {
        match at(&folder.join(&name)) {
            Ok(Some(info)) => entries.links.push(Entry { name, info }),
            // It was removed after the folder was read.
            Ok(None) => {}
            Err(error) => entries.blind.push(error.to_string()),
        }
    }
    Ok(entries)
}

/// The link of the entry at this path; `None` where there is no entry.
pub(super) fn at(path: &Path) -> Result<Option<LinkInfo>, KernelError> {
    let failed = |error| KernelError::folder("open the link", path, error);
    match raw::get(path) {
        Ok(link) if raw::is_a(link.as_fd(), "link") => link_info(link.as_fd()).map(Some).map_err(failed),
        Ok(_) => Err(failed(std::io::Error::new(std::io::ErrorKind::InvalidData, "this is not a link"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for interface in ["eth0", "eth0.100", "a-b-c", "n\\xff", "50%"] {
            let name = Name { index: 7, interface: interface.to_owned(), hook: Hook::Ingress };
            assert_eq!(Name::read(&name.entry()), Some(name.clone()));
            assert_eq!(Name::read(&name.second_entry(99)), Some(name.clone()));
            assert!(!name.second_entry(99).contains('.'), "bpffs takes no dots");
        }
        assert_eq!(Name::read("7-eth0-sideways"), None);
    }
}
