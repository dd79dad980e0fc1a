//! What the cgroups of a packet's socket let match.

use std::collections::BTreeMap;

use guard_common::abi::{CgroupParent, MAX_CGROUP_LEVELS, MAX_CGROUP_PARENTS, MAX_CGROUPS, PolicyTable};

use super::classes::{Beyond, bits_where};
use super::{CompileError, HostFacts};
use crate::config::policy::Pin;

/// Pins by cgroup, and by what new ones are made below.
#[derive(Default)]
struct Selected {
    cgroups: BTreeMap<u64, u64>,
    parents: BTreeMap<(u64, u64, u32, u32), u64>,
    /// Levels of the cgroups that selectors name, and those that a packet is asked for.
    levels: u32,
    read_levels: u32,
}

impl Selected {
    fn of(pins: &[Pin], host: &HostFacts) -> Result<Self, CompileError> {
        let mut selected = Self::default();
        for (at, pin) in pins.iter().enumerate() {
            for path in &pin.select.cgroups {
                let Some(fact) = host.cgroups.iter().find(|fact| fact.path == *path) else {
                    return Err(CompileError::NoCgroup { pin: pin.name.clone(), path: path.clone() });
                };
                if fact.level == 0 || fact.level > MAX_CGROUP_LEVELS as u32 {
                    return Err(CompileError::CgroupLevel {
                        pin: pin.name.clone(),
                        path: path.clone(),
                        level: fact.level,
                        max: MAX_CGROUP_LEVELS as u32,
                    });
                }
                for parent in host.parents.iter().filter(|parent| parent.is_above(path)) {
                    selected.read_levels |=
                        1 << (parent.level() + 1) | 1 << parent.level() & !1 | 1 << fact.level;
                    let key = (parent.id, parent.known, parent.level(), fact.level);
                    *selected.parents.entry(key).or_insert(0) |= 1 << at;
                }
                if let Some(id) = fact.id {
                    selected.levels |= 1 << fact.level;
                    selected.read_levels |= 1 << fact.level;
                    *selected.cgroups.entry(id).or_insert(0) |= 1 << at;
                }
            }
        }
        Ok(selected)
    }

    fn beyond(&self) -> Option<Beyond> {
        let all = [
            ("cgroups", self.cgroups.len(), MAX_CGROUPS),
            ("cgroups above those that pins select", self.parents.len(), MAX_CGROUP_PARENTS),
        ];
        all.into_iter().find(|(_, count, room)| count > room).map(|(what, count, room)| Beyond {
            what,
            count,
            room,
        })
    }
}

/// What the tables have no room for, if anything.
pub(super) fn beyond(pins: &[Pin], host: &HostFacts) -> Option<Beyond> {
    Selected::of(pins, host).ok()?.beyond()
}

pub(super) fn fill(table: &mut PolicyTable, pins: &[Pin], host: &HostFacts) -> Result<(), CompileError> {
    table.any_cgroup = bits_where(pins, |pin| pin.select.cgroups.is_empty());
    let mut selected = Selected::of(pins, host)?;
    if selected.beyond().is_some() {
        // A table that can't be made would leave the one before live, and take no order any more.
        table.any_cgroup = bits_where(pins, |_| true);
        return Ok(());
    }
    table.cgroup_levels = selected.levels;
    table.read_levels = selected.read_levels;
    // The latest first; a table that is full of present ones has no room for more.
    let room = table.cgroups.len().saturating_sub(selected.cgroups.len());
    for fact in host.former.iter().rev().take(room) {
        let of_path = |pin: &Pin| pin.select.cgroups.contains(&fact.path);
        if let Some(id) = fact.id {
            *selected.cgroups.entry(id).or_insert(0) |= bits_where(pins, of_path);
        }
    }
    table.parent_len = selected.parents.len() as u32;
    for (place, ((id, known, level, depth), pins)) in table.parents.iter_mut().zip(selected.parents) {
        *place = CgroupParent { id, known, pins, level, depth };
    }
    table.cgroup_len = selected.cgroups.len() as u32;
    let cgroups = table.cgroups.iter_mut().zip(&mut table.cgroup_pins);
    for ((place, set), (id, pins)) in cgroups.zip(selected.cgroups) {
        (*place, *set) = (id, pins);
    }
    Ok(())
}
