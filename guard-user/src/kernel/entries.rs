//! The entries of links in bpffs, without which a link would end with the process.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use guard_common::abi::Hook;
use rustix::process::{Resource, getrlimit};

use super::entry_file::EntryFile;
use super::link::{CgroupLink, LinkInfo, Told, link_info, told};
use super::{KernelError, folder, raw};

/// Of so many links descriptors are kept at most. The entries of others are opened at each look.
const MOST_OPEN: u64 = 256;

/// At most this part of the descriptors that the process may have is kept: a quarter. The rest is for what it does beside.
const PART_OPEN: u64 = 4;

/// The entry of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its name in the folder of links.
    pub(super) name: String,
    /// What the link runs and where.
    pub(super) info: LinkInfo,
    /// Likewise of one to a cgroup.
    pub(super) cgroup: Option<CgroupLink>,
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
    let names = folder::names(&folder)?;
    Ok(each(&folder, names, |path, _| told(only_link(raw::get(path)?)?.as_fd())))
}

fn each(folder: &Path, names: Vec<String>, mut ask: impl FnMut(&Path, &str) -> io::Result<Told>) -> Entries {
    let mut entries = Entries::default();
    for name in names {
        let path = folder.join(&name);
        match ask(&path, &name) {
            Ok((info, cgroup)) => entries.links.push(Entry { name, info, cgroup }),
            // It was removed after the folder was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => entries.blind.push(unopened(&path, error).to_string()),
        }
    }
    entries
}

/// The link of the entry at this path; `None` where there is no entry.
pub(super) fn at(path: &Path) -> Result<Option<LinkInfo>, KernelError> {
    match raw::get(path).and_then(only_link).and_then(|link| link_info(link.as_fd())) {
        Ok(info) => Ok(Some(info)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unopened(path, error)),
    }
}

fn only_link(object: OwnedFd) -> io::Result<OwnedFd> {
    if raw::is_a(object.as_fd(), "link") {
        return Ok(object);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "this is not a link"))
}

fn unopened(path: &Path, error: io::Error) -> KernelError {
    KernelError::folder("open the link", path, error)
}

/// The entries as one process sees them again and again.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// What was opened, by the entries' names, with the files that they were then.
    known: BTreeMap<String, (EntryFile, Known)>,
    /// What the last look has found.
    pub(super) links: Vec<Entry>,
}

/// What is known of a link whose entry is still the file that it was.
#[derive(Debug)]
enum Known {
    /// One to an interface or a cgroup. It can be detached, or be given another program, and its entry stays the same: so the
    /// kernel is asked of it at each look.
    Open(OwnedFd),
    /// Another one, to a function of the kernel, of which neither can be done. No descriptor of it is kept, for it ends with the
    /// last, and has to end when this process lets go of it.
    Fixed(LinkInfo),
}

impl Seen {
    /// As [`read`], but that an entry which is still the same file is not opened again.
    pub(super) fn look(&mut self, pin_path: &Path) -> Result<Entries, KernelError> {
        let folder = folder::links(pin_path);
        let names = folder::names(&folder)?;
        // First, so that no link is there by this alone where what is attached is looked at next.
        self.known.retain(|name, _| names.binary_search(name).is_ok());
        let entries = each(&folder, names, |path, name| self.ask(path, name));
        self.links.clone_from(&entries.links);
        Ok(entries)
    }

    fn ask(&mut self, path: &Path, name: &str) -> io::Result<Told> {
        if let Some((file, known)) = self.known.get(name) {
            if EntryFile::at(path).is_ok_and(|there| there == *file) {
                return match known {
                    Known::Open(link) => told(link.as_fd()),
                    Known::Fixed(info) => Ok((*info, None)),
                };
            }
            self.known.remove(name);
        }
        let (file, object) = EntryFile::open(path)?;
        let link = only_link(object)?;
        let found = told(link.as_fd())?;
        let is_open = |(_, known): &&(EntryFile, Known)| matches!(known, Known::Open(_));
        let known = match found {
            (info, None) if info.hook.is_none() => Known::Fixed(info),
            _ if self.known.values().filter(is_open).count() < most_open() => Known::Open(link),
            _ => return Ok(found),
        };
        self.known.insert(name.to_owned(), (file, known));
        Ok(found)
    }
}

fn most_open() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(MOST_OPEN.min(limit / PART_OPEN)).unwrap_or(usize::MAX)
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
