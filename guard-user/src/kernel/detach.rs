//! Taking everything off again.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::path::Path;

use super::entries::Name;
use super::folder::{self, Folder};
use super::programs::Programs;
use super::raw::{self, Map};
use super::{Interface, KernelError, LinuxKernel, filter, link, on_cgroups, sending};

/// What was taken off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Interfaces and hooks whose links were detached, as `eth0 egress`; an interface that was renamed has the
    /// name that it had at the attachment.
    pub links: Vec<String>,
    /// Interfaces whose TC filters were removed (kernels before 6.6).
    pub filters: Vec<String>,
    /// Maps, by name.
    pub maps: Vec<String>,
    /// Why something is left: a program that may still be attached, or entries. What is named above is off.
    pub left: Option<String>,
}

impl LinuxKernel {
    /// Detaches every program and removes every pin at the path, whichever version made them. From then on
    /// nothing is guarded, and counters, flow records and exemptions' use are gone.
    ///
    /// # Errors
    ///
    /// [`KernelError::NothingPinned`] where nothing of ours is; [`KernelError::Locked`] where a daemon works
    /// with the pins. Nothing was changed then. Where something stays, [`Removed::left`] says why.
    pub fn detach(pin_path: &Path) -> Result<Removed, KernelError> {
        let folder = Folder::existing(pin_path)?;
        let mut removed = Removed::default();
        removed.left = remove(pin_path, folder, &mut removed).err().map(|error| error.to_string());
        Ok(removed)
    }
}

/// Takes off and removes one after the other, and notes what is gone. What one fails of holds up no other; the first
/// failure is returned, and the entries are left for another try.
fn remove(pin_path: &Path, folder: Folder, removed: &mut Removed) -> Result<(), KernelError> {
    let mut done = Ok(());
    let links = folder::links(pin_path);
    for name in folder::names(&links)? {
        // A link to a function of the kernel can't be detached: it ends with its last entry.
        let unpinned = match sending::is_entry(&name) {
            true => folder::remove(&links.join(&name)),
            false => unpin(&links.join(&name)),
        };
        match unpinned {
            Ok(()) => removed.links.push(match Name::read(&name) {
                Some(Name { interface, hook, .. }) => format!("{interface} {}", hook.name()),
                None => match on_cgroups::hook_of_entry(&name) {
                    Some(hook) => format!("cgroup {}", hook.name()),
                    None => name.replacen('-', " ", 1),
                },
            }),
            Err(error) => done = done.and(Err(error)),
        }
    }
    // Filters are known by the CONTROL map that their programs use, so they go before it.
    let notes = filter::notes(pin_path)?;
    match Map::open(&folder::maps(pin_path).join("CONTROL")) {
        Ok(control) => {
            let mut programs = Programs::default();
            // A list can omit an interface on Linux 6.1: those that had a filter are asked for by their indexes.
            let noted = notes.into_iter().map(|note| (note.index, note.interface));
            let listed = Interface::all()?.into_iter().map(|interface| (interface.index, interface.name));
            for (index, name) in noted.chain(listed).collect::<BTreeMap<u32, String>>() {
                let taken_off = filter::ours(index, control.id(), &mut programs)
                    .and_then(|ours| filter::remove(pin_path, index, &ours).map(|()| !ours.is_empty()));
                match taken_off {
                    Ok(true) => removed.filters.push(name),
                    Ok(false) => {}
                    Err(error) => done = done.and(Err(error)),
                }
            }
        }
        // What filters there are can't be told from another program's.
        Err(error) if notes.iter().any(|note| filter::has_any(note.index)) => {
            let path = folder::maps(pin_path).join("CONTROL");
            done = done.and(Err(KernelError::folder(
                "tell our TC filters from others without the map",
                path,
                error,
            )));
        }
        Err(_) => {}
    }
    done?;
    let maps = folder::names(&folder::maps(pin_path))?;
    folder.remove()?;
    removed.maps = maps;
    Ok(())
}

/// Detaches a link at once, wherever its interface is by now, and removes the entry.
fn unpin(path: &Path) -> Result<(), KernelError> {
    let link = raw::get(path).map_err(|error| KernelError::folder("open the link", path, error))?;
    link::detach(link.as_fd()).map_err(|error| KernelError::folder("detach the link", path, error))?;
    folder::remove(path)
}
