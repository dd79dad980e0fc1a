//! The clock that windows, records and events go by.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;

/// `CLOCK_BOOTTIME` in nanoseconds: it goes on in suspend, and nobody can set it.
#[inline(always)]
pub fn boot_ns() -> u64 {
    // SAFETY: the helper takes nothing and only reads the clock.
    unsafe { bpf_ktime_get_boot_ns() }
}
