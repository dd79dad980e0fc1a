//! What is known of the use of exemptions, and what is being read and freed.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::periods::QUOTAS;
use crate::exemption::record::Use;
use crate::store::Kept;

/// What is read, and for whom.
#[derive(Default)]
pub(super) struct Quotas {
    /// What the kernel had counted at the last look, by slot.
    pub(super) counts: Vec<(u16, Use)>,
    /// Why it could not be read.
    pub(super) unreadable: Option<String>,
    /// Whether a look is wanted, and whether one is on its way.
    pub(super) wanted: Wanted,
    pub(super) on_its_way: Option<Wanted>,
    /// When uses are to be held next against the counts of pins, nanoseconds of `CLOCK_BOOTTIME`.
    pub(super) compare_ns: u64,
    /// When it was last looked, nanoseconds of `CLOCK_BOOTTIME`.
    pub(super) looked_ns: u64,
    /// What was saved last.
    pub(super) saved: Vec<(u16, Use)>,
    pub(super) tending: bool,
    /// What the wall clock would show had it not been set back, until all that ended by then is closed for good.
    pub(super) ended_by: Option<Timestamp>,
    /// Slots whose window the kernel had seen the end of at the start, until all that is in them is closed for good: the wall
    /// clock may have been set back while no daemon ran.
    pub(super) ended_slots: BTreeSet<u16>,
    /// What the disk refused at the last look: said once.
    pub(super) refused: Vec<String>,
    pub(super) freeing: Freeing,
}

/// For what a look is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// To save uses and to close what is over.
    pub(super) tend: bool,
    /// For an answer.
    pub(super) answers: bool,
    /// To free slots.
    pub(super) free: bool,
    /// To see whether quotas need more.
    pub(super) quotas: bool,
    /// To hold them against the counts of pins, which were read before.
    pub(super) compare: bool,
}

impl Wanted {
    pub(super) fn anything(self) -> bool {
        self.tend || self.answers || self.free || self.quotas || self.compare
    }
}

/// Where the freeing of slots stands: their last counts are saved, then reset, then the slots are free.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Freeing {
    #[default]
    Idle,
    Reading,
    Saving(Vec<u16>),
    Resetting,
    Settling,
}

impl Quotas {
    /// It is looked at once before all else: what somebody has lowered while no daemon ran is set back before more passes by it.
    pub(super) fn begin(ended_slots: BTreeSet<u16>) -> Self {
        let wanted = Wanted { quotas: true, ..Wanted::default() };
        Self { ended_slots, wanted, ..Self::default() }
    }

    pub(super) fn look_now(&mut self) {
        self.wanted.tend = true;
    }

    /// Counts of pins were read that may be saved: uses that are on their way may be older, and are read once more.
    pub(super) fn pins_were_counted(&mut self) {
        let is_late = self.on_its_way.as_mut().is_some_and(|it| std::mem::take(&mut it.compare));
        self.wanted.compare |= is_late;
    }

    /// These counts are saved, or are on their way to the store.
    pub(super) fn compare_where_due(&mut self, now_ns: u64) {
        self.wanted.compare |= now_ns >= self.compare_ns;
    }

    pub(super) fn read_for_answers(&mut self) {
        self.wanted.answers = true;
    }

    /// When a quota in use is to be looked at next.
    pub(super) fn next_look(&self, kept: &Kept) -> Option<u64> {
        // While a look is on its way, time alone is no reason to wake.
        (self.on_its_way.is_none() && kept.has_more_to_grant()).then_some(self.looked_ns + QUOTAS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_that_may_be_older_than_counts_of_pins_are_not_held_against_those() {
        let mut quotas = Quotas { compare_ns: 5, ..Quotas::default() };
        quotas.compare_where_due(4);
        assert!(!quotas.wanted.anything());
        quotas.compare_where_due(5);
        quotas.on_its_way = Some(std::mem::take(&mut quotas.wanted));
        assert!(quotas.on_its_way.is_some_and(|it| it.compare));
        // Counts of pins were read meanwhile.
        quotas.pins_were_counted();
        assert_eq!(quotas.on_its_way, Some(Wanted::default()));
        assert!(quotas.wanted.compare);
    }
}
