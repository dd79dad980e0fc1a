//! Whether the maps that have the entries are those that the attached programs use. Another guard's maps, with another pin path,
//! have the same names and shapes: who moves them here for a time has a daemon in between count there, and keep its mark there.
//!
//! What is attached outlives its daemon, and the kernel has which maps a program uses. The programs of packets use those too that
//! none goes by and a start does (`borderguard_use_kept` of `guard-ebpf`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aya::programs::{ProgramInfo, loaded_programs};

use super::programs::{Programs, check_permission, has_our_name};
use super::tampered::{Mending, Tampered};
use super::{KernelError, entries, filter, folder, maps, reading};

/// An entry whose map is another one than what is attached uses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exchanged {
    /// Its name.
    entry: &'static str,
    /// The number of the map that has it.
    found: u32,
    /// The number of the map that is used.
    used: u32,
}

impl Exchanged {
    fn told(&self) -> Tampered {
        let Self { entry, found, used } = *self;
        let first = format!(
            "the map itself (at the start its entry in bpffs was the map {found}, and what was attached used the map {used}: \
             somebody has exchanged it for another instance's, and which of the two that is can't be known)"
        );
        Tampered { table: entry, entries: 1, first, mending: Mending::SetBack, right_ns: None }
    }
}

/// Holds the entries against what is attached by this pin path, before anything of it is exchanged.
///
/// # Errors
/// [`KernelError::MapOfAnother`] where an entry is certainly another guard's map, and where it can't be looked at.
pub(super) fn find(pin_path: &Path) -> Result<Vec<Tampered>, KernelError> {
    let mut pinned = BTreeMap::new();
    for name in maps::names() {
        let path = folder::maps(pin_path).join(name);
        let map = reading::open(&path).map_err(|error| KernelError::folder("open the map", path, error))?;
        pinned.insert(name, map.id());
    }
    let attached = attached(pin_path, pinned.get("CONTROL").copied().unwrap_or_default())?;
    if attached.is_empty() {
        return Ok(Vec::new());
    }
    let (mut used, mut others) = (BTreeSet::new(), Vec::new());
    for program in loaded_programs() {
        match program {
            Ok(program) if attached.contains(&program.id()) => used.extend(maps_of(&program)),
            Ok(program) if has_our_name(&program) => others.push(maps_of(&program)),
            Ok(_) => {}
            Err(error) => check_permission(error)?,
        }
    }
    let known: BTreeSet<u32> = pinned.values().copied().collect();
    let mut found = BTreeMap::new();
    // Most of these have no entry in any case.
    for id in used.difference(&known).copied() {
        let map = match reading::by_id(id) {
            Ok(map) => map,
            // It is gone, and so is what used it.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => continue,
            Err(source) => {
                return Err(KernelError::Map { what: "open", map: "that an attached program uses", source });
            }
        };
        if let Some((&entry, &pinned)) = pinned.iter().find(|(name, _)| map.was_made_as(name)) {
            found.insert(entry, Exchanged { entry, found: pinned, used: id });
        }
    }
    let found: Vec<Exchanged> = found.into_values().collect();
    let own: BTreeSet<u32> = used.intersection(&known).copied().collect();
    match anothers(&found, &own, &others) {
        Some(&Exchanged { entry, found, used }) => {
            Err(KernelError::MapOfAnother { path: pin_path.to_path_buf(), entry, found, used })
        }
        None => Ok(found.iter().map(Exchanged::told).collect()),
    }
}

/// The programs that are attached by this pin path: those of links with an entry, and of TC filters.
fn attached(pin_path: &Path, control: u32) -> Result<BTreeSet<u32>, KernelError> {
    let mut attached: BTreeSet<u32> =
        entries::read(pin_path)?.links.iter().map(|entry| entry.info.program).collect();
    let mut programs = Programs::default();
    for note in filter::notes(pin_path)? {
        // What can't be asked for is gone, or the look tells it.
        let ours = filter::ours(note.index, control, &mut programs).unwrap_or_default();
        attached.extend(ours.iter().filter_map(|filter| filter.program));
    }
    Ok(attached)
}

fn maps_of(program: &ProgramInfo) -> BTreeSet<u32> {
    program.map_ids().ok().flatten().unwrap_or_default().into_iter().collect()
}

/// The first of these whose entry is another guard's: a program that is not attached here uses that map, and none of those that
/// are certainly this guard's own.
fn anothers<'e>(
    found: &'e [Exchanged],
    own: &BTreeSet<u32>,
    others: &[BTreeSet<u32>],
) -> Option<&'e Exchanged> {
    let is_anothers = |id: u32| others.iter().any(|maps| maps.contains(&id) && maps.is_disjoint(own));
    found.iter().find(|it| is_anothers(it.found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_anothers_where_another_guard_s_program_uses_it() {
        let found = [
            Exchanged { entry: "HELD", found: 3, used: 103 },
            Exchanged { entry: "HIGH_WATER", found: 104, used: 4 },
        ];
        let own = BTreeSet::from([1, 2]);
        let first = |others: &[&[u32]]| {
            let others: Vec<BTreeSet<u32>> =
                others.iter().map(|maps| maps.iter().copied().collect()).collect();
            anothers(&found, &own, &others).map(|it| it.entry)
        };
        assert_eq!(first(&[]), None);
        // The other guard has the map that is used, and the entry may be the right one.
        assert_eq!(first(&[&[101, 102, 103]]), None);
        assert_eq!(first(&[&[101, 102, 103, 104]]), Some("HIGH_WATER"));
        // A program of this guard's that is attached in another network namespace.
        assert_eq!(first(&[&[1, 2, 3, 4]]), None);
    }

    #[test]
    fn what_is_told_names_both_maps() {
        let told = Exchanged { entry: "HIGH_WATER", found: 104, used: 4 }.told();
        assert_eq!((told.table, told.entries, told.mending), ("HIGH_WATER", 1, Mending::SetBack));
        assert!(told.first.contains("the map 104") && told.first.contains("the map 4:"), "{}", told.first);
    }
}
