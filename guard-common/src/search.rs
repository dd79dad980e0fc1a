//! Searches without branches on what is compared.
//!
//! A binary search whose steps branch on table contents costs a mispredicted branch at every other step,
//! and the kernel's verifier would follow both ways of each. Here a step turns its comparison into a
//! number and goes on with arithmetic, and indexes are masked: one straight path for both.

/// Hides from the compiler how a number came about, so that it can't turn the arithmetic on it back
/// into branches.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) fn opaque(mut number: u64) -> u64 {
    // An instruction that does nothing, because line info may not point at none.
    // SAFETY: it copies a register to itself.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) number, options(nomem, nostack, preserves_flags)) };
    number
}

/// On the host nothing needs hiding.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub(crate) fn opaque(number: u64) -> u64 {
    number
}

/// The element at `index`, which is masked into the table: an index past the end reads another element,
/// never other memory. Tables have a power of two of elements.
#[inline(always)]
#[must_use]
pub fn at<T: Copy, const N: usize>(table: &[T; N], index: impl Into<u64>) -> T {
    const { assert!(N.is_power_of_two()) };
    table[opaque(index.into()) as usize & (N - 1)]
}

/// The element at `index`, masked as in [`at`], for an index that comes of a search: the compiler knows
/// nothing of it by which it could take the mask away.
#[inline(always)]
#[must_use]
pub fn probe<T: Copy, const N: usize>(table: &[T; N], index: u64) -> T {
    const { assert!(N.is_power_of_two()) };
    table[index as usize & (N - 1)]
}

/// A reference to the element at `index`, masked as in [`at`].
#[inline(always)]
#[must_use]
pub fn at_ref<T, const N: usize>(table: &[T; N], index: impl Into<u64>) -> &T {
    const { assert!(N.is_power_of_two()) };
    &table[opaque(index.into()) as usize & (N - 1)]
}

/// 1 where `a <= b`, else 0, for numbers less than 2^63 apart.
#[inline(always)]
#[must_use]
pub fn less_or_equal(a: u64, b: u64) -> u64 {
    // The difference is negative exactly where a <= b.
    opaque(a.wrapping_sub(b).wrapping_sub(1)) >> 63
}

/// 1 where `a < b`, else 0, for any numbers.
#[inline(always)]
#[must_use]
pub fn less64(a: u64, b: u64) -> u64 {
    // The borrow out of a - b (H. S. Warren, Hacker's Delight, 2nd ed., section 2-13).
    opaque((!a & b) | ((!a | b) & a.wrapping_sub(b))) >> 63
}

/// All bits set where `a == b`, else none.
#[inline(always)]
#[must_use]
pub fn mask_if_equal(a: u64, b: u64) -> u64 {
    let difference = a ^ b;
    (opaque(difference | difference.wrapping_neg()) >> 63).wrapping_sub(1)
}

/// 1 where the pair `a` is at or before the pair `b`, by high halves first; else 0.
#[inline(always)]
#[must_use]
pub fn pair_less_or_equal(a: (u64, u64), b: (u64, u64)) -> u64 {
    // One subtraction over both halves, b - a: no borrow out of it where a <= b.
    let borrow = less64(b.1, a.1);
    let hi = b.0.wrapping_sub(a.0);
    let difference = hi.wrapping_sub(borrow);
    (opaque((!b.0 & a.0) | ((!b.0 | a.0) & difference)) >> 63) ^ 1
}

/// The number of the first element in `lo..hi` for which `before` is 0, where it is 1 for a first part
/// of them and 0 for the rest. Takes at most `steps` steps, enough for 2^`steps` elements.
#[inline(always)]
pub fn partition_point(steps: u32, lo: u64, hi: u64, before: impl Fn(u64) -> u64) -> u64 {
    // The answer is in base..=base + len. How `len` shrinks does not depend on the elements, so that a
    // processor can look ahead.
    let mut base = lo;
    let mut len = hi.saturating_sub(lo);
    for _ in 0..steps {
        if len <= 1 {
            break;
        }
        let half = len >> 1;
        let take = before(base.wrapping_add(half).wrapping_sub(1)).wrapping_neg();
        base = base.wrapping_add(half & take);
        len = len.wrapping_sub(half);
    }
    if len != 0 { base.wrapping_add(before(base)) } else { base }
}

/// Steps that a search in a whole table of `N` elements takes at most.
#[inline(always)]
#[must_use]
pub const fn steps<const N: usize>() -> u32 {
    N.ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn comparisons_agree_with_the_language(a in any::<(u64, u64)>(), b in any::<(u64, u64)>(), same in 0..3_u8) {
            let b = (if same > 0 { a.0 } else { b.0 }, if same > 1 { a.1 } else { b.1 });
            prop_assert_eq!(less64(a.0, b.0) == 1, a.0 < b.0);
            prop_assert_eq!(less_or_equal(a.0 >> 1, b.0 >> 1) == 1, a.0 >> 1 <= b.0 >> 1);
            prop_assert_eq!(pair_less_or_equal(a, b) == 1, a <= b);
            prop_assert_eq!(mask_if_equal(a.0, b.0), if a.0 == b.0 { u64::MAX } else { 0 });
        }

        #[test]
        fn the_search_agrees_with_the_standard_library(
            mut numbers in proptest::collection::vec(0..500_u64, 0..200), key in 0..500_u64, from in 0..50_usize
        ) {
            numbers.sort_unstable();
            let from = from.min(numbers.len());
            let point = partition_point(20, from as u64, numbers.len() as u64, |at| {
                less_or_equal(numbers[at as usize], key)
            });
            prop_assert_eq!(point as usize, from + numbers[from..].partition_point(|&number| number <= key));
        }
    }

    #[test]
    fn a_million_elements_are_searched_to_the_end() {
        let len = 1 << 20;
        for key in [0, 1, len - 2, len - 1, len, 1 << 40] {
            let expected = (key + 1).min(len);
            assert_eq!(partition_point(20, 0, len, |at| less_or_equal(at, key)), expected);
        }
        assert_eq!(partition_point(20, 9, 3, |_| 1), 9);
    }
}
