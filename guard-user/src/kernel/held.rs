//! Marks in the kernel that exemptions are closed by an order which the disk has not taken.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::plain::{bytes_of, read};
use super::raw::Map;
use super::{KernelError, View, folder, maps, reading};

impl View {
    /// Slots whose exemption is closed by an order that the disk has not taken.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the map can't be read.
    pub fn held(&self) -> Result<BTreeSet<u16>, KernelError> {
        held_in(&self.maps.held)
    }

    /// Marks a slot as held in the kernel, or not any more. The mark stays where the daemon ends; the kernel's programs do not
    /// look at it.
    ///
    /// # Errors
    ///
    /// [`KernelError::Map`] where the map can't be written, or there is no such slot.
    pub fn hold(&self, slot: u16, held: bool) -> Result<(), KernelError> {
        self.maps
            .held
            .update(&u32::from(slot).to_ne_bytes(), bytes_of(&u64::from(held)))
            .map_err(|source| KernelError::Map { what: "write", map: "HELD", source })
    }
}

/// The marks of [`View::held`] by themselves: they mean the same whichever version made the other maps.
pub struct Marks(Map);

impl Marks {
    /// Opens those that are pinned; `None` where none are.
    ///
    /// # Errors
    /// [`KernelError::Folder`] where they can't be opened, [`KernelError::MapExchanged`] where another map has their entry.
    pub fn open(pin_path: &Path) -> Result<Option<Self>, KernelError> {
        let path = folder::maps(pin_path).join("HELD");
        match reading::open(&path) {
            Ok(map) => maps::hold_name_against(pin_path, "HELD", &map).map(|()| Some(Self(map))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(KernelError::folder("open the map", path, error)),
        }
    }

    /// The slots that are marked.
    ///
    /// # Errors
    /// [`KernelError::Map`] where they can't be read.
    pub fn held(&self) -> Result<BTreeSet<u16>, KernelError> {
        held_in(&self.0)
    }
}

fn held_in(map: &Map) -> Result<BTreeSet<u16>, KernelError> {
    let (mut held, mut unread) = (BTreeSet::new(), false);
    let read_all = map.for_each(|key, value| {
        let slot = read::<u32>(key).and_then(|slot| u16::try_from(slot).ok());
        let mark = read::<u64>(value).filter(|_| value.len() == size_of::<u64>());
        unread |= slot.is_none() || mark.is_none();
        held.extend(slot.filter(|_| mark.is_some_and(|mark| mark != 0)));
    });
    let read_all = read_all.and_then(|()| match unread {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, "its marks have another form")),
        false => Ok(()),
    });
    read_all.map_err(|source| KernelError::Map { what: "read", map: "HELD", source })?;
    Ok(held)
}
