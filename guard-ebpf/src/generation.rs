//! The tables of a generation as views into the maps.

use guard_common::abi::failsafe::{begun, bytes_of, minute_at, minute_of};
use guard_common::abi::{ExemptionUse, FailsafeUse, Live, PolicyTable};
use guard_common::decide::account_of;
use guard_common::interval::{Detail, GeoTables, V4Entries, V4Nodes, V6Entries, V6Nodes};
use guard_common::tables::Accounts;

use crate::atomic;
use crate::clock::boot_ns;
use crate::maps::{
    CONTROL, EXEMPTION_USE, FAILSAFE_USE, POLICY, V4_ENTRIES, V4_NODES, V6_DETAIL, V6_ENTRIES, V6_NODES,
};

/// The element of this map, or of the candidate's map of the same name where the slots are a candidate's: those are in the
/// programs of a shadow alone.
macro_rules! element {
    ($live:expr, $map:ident . $get:ident($at:expr)) => {{
        #[cfg(feature = "shadow")]
        if $live.is_shadow() {
            return crate::shadow::maps::$map.$get($at);
        }
        $map.$get($at)
    }};
}

/// The slots of the generation that was live when the packet came, or of the candidate that judges it once more.
#[derive(Clone, Copy)]
pub struct Generation {
    pub(crate) live: Live,
}

impl Generation {
    /// Reads the live word, once for this packet. `None` where nothing is loaded.
    #[inline(always)]
    #[must_use]
    pub fn live() -> Option<Self> {
        let control = CONTROL.get_ptr(0)?;
        // SAFETY: the pointer is to element 0 of an array map, which is never freed; the word is read in
        // one aligned load, once, so that the whole packet is judged by one generation.
        let live = Live(unsafe { core::ptr::read_volatile(&raw const (*control).live) });
        if live.is_loaded() { Some(Self { live }) } else { None }
    }

    /// The generation of a live word, as subprograms are given it.
    #[inline(always)]
    #[must_use]
    pub fn of(live: u32) -> Self {
        Self { live: Live(live) }
    }

    /// The policy table.
    #[inline(always)]
    #[must_use]
    pub fn policy(&self) -> Option<&PolicyTable> {
        element!(self.live, POLICY.get(self.live.policy_slot()))
    }

    /// What an exemption has let through.
    #[inline(always)]
    fn exemption_use(&self, slot: u16) -> Option<*mut ExemptionUse> {
        element!(self.live, EXEMPTION_USE.get_ptr_mut(u32::from(slot)))
    }

    /// What a failsafe rule with a budget has let pass.
    #[inline(always)]
    fn failsafe_use(&self, element: u32) -> Option<*mut FailsafeUse> {
        element!(self.live, FAILSAFE_USE.get_ptr_mut(element))
    }
}

impl GeoTables for Generation {
    #[inline(always)]
    fn v4_nodes(&self) -> Option<&V4Nodes> {
        element!(self.live, V4_NODES.get(self.live.geo_slot()))
    }
    #[inline(always)]
    fn v4_entries(&self) -> Option<&V4Entries> {
        element!(self.live, V4_ENTRIES.get(self.live.geo_slot()))
    }
    #[inline(always)]
    fn v6_nodes(&self) -> Option<&V6Nodes> {
        element!(self.live, V6_NODES.get(self.live.geo_slot()))
    }
    #[inline(always)]
    fn v6_entries(&self) -> Option<&V6Entries> {
        element!(self.live, V6_ENTRIES.get(self.live.geo_slot()))
    }
    #[inline(always)]
    fn detail(&self) -> Option<&Detail> {
        element!(self.live, V6_DETAIL.get(self.live.geo_slot()))
    }
}

impl Accounts for Generation {
    #[inline(always)]
    fn charge(&self, slot: u16, bytes: u64, quota: u64) -> bool {
        let Some(used) = self.exemption_use(slot) else { return false };
        // SAFETY: the pointer is to an element of an array map, which is never freed; programs change
        // it by atomic operations alone.
        unsafe {
            // Added first and taken back when it was too much: two CPUs can't both see the last bytes free.
            let before = atomic::fetch_add(&raw mut (*used).charged, bytes);
            let after = before.wrapping_add(bytes);
            if after < before || after > quota {
                atomic::sub(&raw mut (*used).charged, bytes);
                return false;
            }
        }
        true
    }

    #[inline(always)]
    fn refund(&self, slot: u16, bytes: u64) {
        let Some(policy) = self.policy() else { return };
        let account = account_of(policy, u32::from(slot));
        if let Some(used) = self.exemption_use(account) {
            // SAFETY: as in `charge`.
            unsafe { atomic::sub(&raw mut (*used).charged, bytes) };
        }
    }

    #[inline(always)]
    fn book(&self, slot: u16, bytes: u64) {
        if let Some(used) = self.exemption_use(slot) {
            // SAFETY: as in `charge`.
            unsafe {
                atomic::fetch_add(&raw mut (*used).bytes, bytes);
                atomic::fetch_add(&raw mut (*used).packets, 1);
            }
        }
    }

    #[inline(always)]
    fn spend_failsafe(&self, element: u32, bytes: u64, budget: u64) -> bool {
        let Some(used) = self.failsafe_use(element) else { return false };
        let now = boot_ns();
        let minute = minute_at(now);
        // SAFETY: as in `charge`; the time of a refusal is a word of its own, of which any writer's is as good.
        unsafe {
            let spent = &raw mut (*used).spent;
            let before = core::ptr::read_volatile(spent);
            if minute_of(before) < minute {
                // Whoever is first begins the minute. Where another packet of the minute before comes in between, this
                // one counts for that, and the next one begins it.
                atomic::replace(spent, before, begun(minute));
            }
            let before = atomic::fetch_add(spent, bytes);
            if bytes_of(before) + bytes <= budget {
                return true;
            }
            atomic::sub(spent, bytes);
            core::ptr::write_volatile(&raw mut (*used).refused_ns, now);
        }
        false
    }
}
