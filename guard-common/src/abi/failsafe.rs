//! What failsafe rules with a budget have let pass, by the minute.

/// Bits of [`FailsafeUse::spent`] that count bytes; those above have the minute.
const BYTE_BITS: u32 = 40;

/// The largest budget. Far below what the bits for bytes hold, so that packets that are counted and taken back on many
/// processors at once never reach the minute.
pub const MAX_BUDGET: u64 = 1 << 39;

/// What a failsafe rule with a budget has let pass. Whose an element is says the live generation
/// ([`PolicyTable::failsafe_elements`](super::PolicyTable::failsafe_elements)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FailsafeUse {
    /// A minute and the bytes on the wire that have passed in it, in one word: [`minute_of`] and [`bytes_of`].
    pub spent: u64,
    /// When a packet found too little left, nanoseconds of `CLOCK_BOOTTIME`; 0: never.
    pub refused_ns: u64,
}

/// The minute of a time in nanoseconds of `CLOCK_BOOTTIME`, from 0.
#[inline(always)]
#[must_use]
pub const fn minute_at(now_ns: u64) -> u64 {
    now_ns / 60_000_000_000
}

/// The first word of a minute: nothing is spent.
#[inline(always)]
#[must_use]
pub const fn begun(minute: u64) -> u64 {
    minute << BYTE_BITS
}

/// The minute of a [`FailsafeUse::spent`].
#[inline(always)]
#[must_use]
pub const fn minute_of(spent: u64) -> u64 {
    spent >> BYTE_BITS
}

/// The bytes of a [`FailsafeUse::spent`].
#[inline(always)]
#[must_use]
pub const fn bytes_of(spent: u64) -> u64 {
    spent & ((1 << BYTE_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_and_its_bytes_share_a_word() {
        let now = 125 * 1_000_000_000;
        let word = begun(minute_at(now));
        assert_eq!((minute_of(word), bytes_of(word)), (2, 0));
        let spent = word + MAX_BUDGET;
        assert_eq!((minute_of(spent), bytes_of(spent)), (2, MAX_BUDGET));
        // Taken back behind the begin of the next minute, it is a word of the one before, which is begun anew.
        assert_eq!(minute_of(begun(3) - 100), 2);
        assert_eq!((minute_at(59_999_999_999), minute_at(60_000_000_000)), (0, 1));
    }
}
