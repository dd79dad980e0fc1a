//! Functions that the verifier judges once, whoever calls them: global functions (kernel 5.6, BTF linkage
//! `global`). Their arguments and results are plain numbers, so that every call looks the same to it.

use guard_common::abi::Live;
use guard_common::decide;
use guard_common::packet::Addr;

use crate::maps::KernelTables;

/// What a function answers that could not read the tables: no place, no slot.
pub const NOTHING: u32 = u32::MAX;

/// [`decide::place`] of the address with these halves, over the slots of this live word: a place, or
/// [`NOTHING`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn borderguard_place(hi: u64, lo: u64, live: u32) -> u32 {
    let tables = KernelTables { live: Live(live) };
    decide::place(&tables, Addr { hi, lo }).map_or(NOTHING, |place| u32::from(place.0))
}
