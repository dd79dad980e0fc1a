//! Atomic operations on map values. `core` offers none for this target, though the instruction set has
//! them since version 3 (kernel 5.12, Documentation/bpf/standardization/instruction-set.rst).

use core::arch::asm;

/// Adds `value` and returns what was there before.
///
/// # Safety
///
/// `at` must point to an 8-byte aligned `u64` in a map value.
#[inline(always)]
pub unsafe fn fetch_add(at: *mut u64, value: u64) -> u64 {
    let before;
    // SAFETY: the caller vouches for `at`; the instruction touches nothing else.
    unsafe {
        asm!(
            "{value} = atomic_fetch_add((u64 *)({at} + 0), {value})",
            at = in(reg) at,
            value = inout(reg) value => before,
            options(nostack)
        );
    }
    before
}

/// Sets the bits of `value`.
///
/// # Safety
///
/// As for [`fetch_add`].
#[inline(always)]
pub unsafe fn fetch_or(at: *mut u64, value: u64) -> u64 {
    let before;
    // SAFETY: the caller vouches for `at`; the instruction touches nothing else.
    unsafe {
        asm!(
            "{value} = atomic_fetch_or((u64 *)({at} + 0), {value})",
            at = in(reg) at,
            value = inout(reg) value => before,
            options(nostack)
        );
    }
    before
}

/// Takes `value` off.
///
/// # Safety
///
/// As for [`fetch_add`].
#[inline(always)]
pub unsafe fn sub(at: *mut u64, value: u64) {
    // SAFETY: the caller vouches for `at`. Adding the two's complement is subtracting.
    unsafe { fetch_add(at, value.wrapping_neg()) };
}

/// Writes `new` where `old` is still there, and tells whether it did.
///
/// # Safety
///
/// As for [`fetch_add`].
#[inline(always)]
pub unsafe fn replace(at: *mut u64, old: u64, new: u64) -> bool {
    let seen: u64;
    // SAFETY: the caller vouches for `at`; the instruction reads and writes r0 beside its operands.
    unsafe {
        asm!(
            "r0 = cmpxchg_64({at} + 0, r0, {new})",
            at = in(reg) at,
            new = in(reg) new,
            inout("r0") old => seen,
            options(nostack)
        );
    }
    seen == old
}
