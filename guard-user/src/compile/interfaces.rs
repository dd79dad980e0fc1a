//! What a packet's interfaces let match.

use std::collections::{BTreeMap, BTreeSet};

use guard_common::abi::{EVERY_LOOP, PolicyTable};

use super::classes::{Name, bits_where};
use super::{CompileError, HostFacts, InterfaceFact};
use crate::config::policy::Pin;

const INTERFACES: Name = Name {
    table: "the interfaces that pins select",
    hint: "name them more narrowly in pin.select.interfaces",
};

pub(super) fn fill(table: &mut PolicyTable, pins: &[Pin], host: &HostFacts) -> Result<(), CompileError> {
    table.any_interface = bits_where(pins, |pin| pin.select.interfaces.is_empty());
    let mut known = BTreeMap::<u32, u64>::new();
    for fact in host.interfaces.iter().filter(|fact| fact.index != 0) {
        let is_selected =
            |pin: &Pin| pin.select.interfaces.iter().any(|it| fact.names.iter().any(|name| it.matches(name)));
        *known.entry(fact.index).or_default() |= bits_where(pins, is_selected);
    }
    if known.len() > table.interfaces.len() {
        // The kernel numbers interfaces upwards, `dev_new_index` (net/core/dev.c): a higher one came later.
        table.interfaces_until = known.keys().next_back().copied().unwrap_or(0);
        known.retain(|_, pins| *pins != 0);
    }
    if known.len() > table.interfaces.len() {
        return Err(INTERFACES.full(known.len(), table.interfaces.len()));
    }
    table.interface_len = known.len() as u32;
    for ((place, set), (index, pins)) in table.interfaces.iter_mut().zip(&mut table.interface_pins).zip(known)
    {
        (*place, *set) = (index, pins);
    }
    fill_above(table, host);
    fill_loops(table, host);
    Ok(())
}

/// The loopback interface is known without it, `guard_common::decide`. Where there are more than fit, what comes in by any
/// interface counts as the host's: a table that can't be made would leave the one before live.
fn fill_loops(table: &mut PolicyTable, host: &HostFacts) {
    let loops = indexes_where(host, |fact| table.from_host != 0 && fact.loops_back);
    table.loop_len = if loops.len() > table.loops.len() { EVERY_LOOP } else { loops.len() as u32 };
    table.loops.iter_mut().zip(loops).for_each(|(place, index)| *place = index);
}

/// Those for which there is no room are charged by each interface that a packet leaves by: more than once, and never less.
fn fill_above(table: &mut PolicyTable, host: &HostFacts) {
    let above = indexes_where(host, |fact| fact.is_counted_below);
    table.above_len = above.len().min(table.above.len()) as u32;
    table.above.iter_mut().zip(above).for_each(|(place, index)| *place = index);
}

fn indexes_where(host: &HostFacts, holds: impl Fn(&InterfaceFact) -> bool) -> BTreeSet<u32> {
    host.interfaces.iter().filter(|fact| fact.index != 0 && holds(fact)).map(|fact| fact.index).collect()
}
