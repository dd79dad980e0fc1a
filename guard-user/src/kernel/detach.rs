//! Taking everything off again.

use std::path::Path;

use super::folder::{self, Folder};
use super::raw::Map;
use super::{Interface, KernelError, LinuxKernel, filter};

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
}

impl LinuxKernel {
    /// Detaches every program and removes every pin at the path, whichever version made them. From then on
    /// nothing is guarded, and counters, flow records and exemptions' use are gone.
    ///
    /// # Errors
    ///
    /// [`KernelError::NothingPinned`] where nothing of ours is; [`KernelError::Locked`] where a daemon works
    /// with the pins; [`KernelError::Folder`] and [`KernelError::Netlink`] where something stays.
    pub fn detach(pin_path: &Path) -> Result<Removed, KernelError> {
        let folder = Folder::existing(pin_path)?;
        let links = folder::links(pin_path);
        let mut removed = Removed::default();
        // Filters are known by the CONTROL map that their programs use, so they go before it.
        if let Ok(control) = Map::open(&folder::maps(pin_path).join("CONTROL")) {
            let ours = filter::programs_of(control.id());
            for interface in Interface::all()? {
                if filter::remove(pin_path, &interface.name, &ours)? {
                    removed.filters.push(interface.name);
                }
            }
        }
        for name in folder::names(&links)? {
            super::attach::unpin(&links.join(&name))?;
            removed.links.push(match folder::read_pin_name(&name) {
                Some((_, interface, hook)) => format!("{interface} {hook}"),
                None => name,
            });
        }
        removed.maps = folder::names(&folder::maps(pin_path))?;
        folder.remove()?;
        Ok(removed)
    }
}
