//! What a packet's interfaces let match.

use std::collections::{BTreeMap, BTreeSet};

use guard_common::abi::{EVERY_LOOP, MAX_INTERFACES, PolicyTable};

use super::classes::{Beyond, bits_where};
use super::{HostFacts, InterfaceFact};
use crate::config::policy::Pin;

/// What the tables have no room for, if anything.
pub(super) fn beyond(pins: &[Pin], host: &HostFacts) -> Option<Beyond> {
    let count = selected(pins, host).len();
    (count > MAX_INTERFACES).then_some(Beyond { what: "interfaces", count, room: MAX_INTERFACES })
}

/// Pins by interface.
fn selected(pins: &[Pin], host: &HostFacts) -> BTreeMap<u32, u64> {
    let mut selected = BTreeMap::new();
    for fact in host.interfaces.iter().filter(|fact| fact.index != 0) {
        let of_it = bits_where(pins, |pin| selects(pin, fact));
        if of_it != 0 {
            *selected.entry(fact.index).or_insert(0) |= of_it;
        }
    }
    selected
}

fn selects(pin: &Pin, fact: &InterfaceFact) -> bool {
    pin.select.interfaces.iter().any(|it| fact.names.iter().any(|name| it.matches(name)))
}

pub(super) fn fill(table: &mut PolicyTable, pins: &[Pin], host: &HostFacts) {
    table.any_interface = bits_where(pins, |pin| pin.select.interfaces.is_empty());
    // The kernel numbers interfaces upwards, `dev_new_index` (net/core/dev.c): a higher one came later. A lower one that is not
    // known may be another network namespace's, where the packet came in.
    table.interfaces_until = host.interfaces.iter().map(|fact| fact.index).max().unwrap_or(0);
    let mut known = selected(pins, host);
    if known.len() > table.interfaces.len() {
        // A table that can't be made would leave the one before live, and take no order any more.
        table.any_interface = bits_where(pins, |_| true);
        known.clear();
    }
    table.interface_len = known.len() as u32;
    for ((place, set), (index, pins)) in table.interfaces.iter_mut().zip(&mut table.interface_pins).zip(known)
    {
        (*place, *set) = (index, pins);
    }
    fill_above(table, host);
    fill_loops(table, host);
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
