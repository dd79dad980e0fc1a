//! What the kernel counted as let through by exemptions and no exemption's use has: after an older store was put back, its
//! exemptions have the amounts of before, and what was loaded since is not in it.

use std::collections::BTreeMap;

use guard_common::abi::Hook;
use guard_common::verdict::Reason;
use jiff::civil::Date;

use crate::exemption::record::Use;
use crate::report::Unattributed;
use crate::store::{DayCount, DayUse, Key};

/// By pin, over the days of a report. `pins_of` names the pins of an exemption; `None` where they are not known.
///
/// A packet that an exemption let through is counted for each pin that forbade it, and charged to an exemption for each. So
/// the exemptions for a pin have used no less than the pin's packets, and what is missing is nobody's. The counters of pins
/// and of exemptions are read one after the other, and about midnight one of them may be the next day's: what is missing of
/// these days is told only as far as it is missing of all days together.
pub(super) fn unattributed<'p>(
    counts: &[DayCount],
    used: &[DayUse],
    pins_of: impl Fn(&Key) -> Option<&'p [String]>,
    within: impl Fn(Date) -> bool,
) -> Vec<Unattributed> {
    let is_within = |day: &str| day.parse().is_ok_and(&within);
    // Of all days, and of these.
    let mut counted: BTreeMap<&str, [Use; 2]> = BTreeMap::new();
    let is_exempted = |row: &&DayCount| {
        row.judged.reason == Reason::Exempt.name() && row.judged.hook == Hook::Egress.name()
    };
    for row in counts.iter().filter(is_exempted) {
        let sums = counted.entry(&row.judged.pin).or_default();
        add(sums, Use { bytes: row.bytes, packets: row.packets }, is_within(&row.day));
    }
    let missing = |(pin, counted): (&str, [Use; 2])| {
        let mut charged = [Use::default(); 2];
        let has_pin = |row: &&DayUse| pins_of(&row.key).is_none_or(|pins| pins.iter().any(|it| it == pin));
        used.iter().filter(has_pin).for_each(|row| add(&mut charged, row.used, is_within(&row.day)));
        let [all, these] = [counted[0].minus(charged[0]), counted[1].minus(charged[1])];
        let (packets, bytes) = (all.packets.min(these.packets), all.bytes.min(these.bytes));
        (packets > 0 || bytes > 0).then(|| Unattributed { pin: pin.to_owned(), packets, bytes })
    };
    counted.into_iter().filter_map(missing).collect()
}

fn add([all, these]: &mut [Use; 2], used: Use, is_of_these: bool) {
    *all = all.plus(used);
    if is_of_these {
        *these = these.plus(used);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::Judged;

    const PINS: [&str; 3] = ["mail", "files", "backup"];

    fn count(day: i8, pin: &str, reason: &str, hook: &str, used: Use) -> DayCount {
        let judged = Judged {
            pin: pin.to_owned(),
            hook: hook.to_owned(),
            jurisdiction: "US".to_owned(),
            verdict: "pass".to_owned(),
            reason: reason.to_owned(),
        };
        DayCount { day: format!("2026-12-{day:02}"), judged, packets: used.packets, bytes: used.bytes }
    }

    fn charged(day: i8, id: usize, used: Use) -> DayUse {
        DayUse { day: format!("2026-12-{day:02}"), key: (id.to_string(), 1), recipient: None, used }
    }

    /// An exemption's id is the set of its pins, as bits.
    fn pins_of(id: usize) -> Vec<String> {
        let has = |(bit, pin): (usize, &&str)| (id >> bit & 1 == 1).then(|| (*pin).to_owned());
        PINS.iter().enumerate().filter_map(has).collect()
    }

    fn missing(counts: &[DayCount], used: &[DayUse], days: std::ops::Range<i8>) -> Vec<Unattributed> {
        let sets: Vec<Vec<String>> = (0..8).map(pins_of).collect();
        let of = |key: &Key| sets.get(key.0.parse::<usize>().ok()?).map(Vec::as_slice);
        unattributed(counts, used, of, |day| days.contains(&day.day()))
    }

    proptest! {
        /// Packets as the kernel has them: each is of a set of pins, which one exemption covers or two do, and all of them
        /// are counted. Of some the store has lost the charge.
        #[test]
        fn what_is_lost_of_a_charge_is_told_by_pin_and_nothing_else(
            packets in prop::collection::vec((1..28_i8, 1..8_usize, 1..8_usize, 1..2000_u64, any::<bool>()), 0..12),
            days in 1..28_i8,
        ) {
            let (mut counts, mut used, mut lost) = (Vec::new(), Vec::new(), BTreeMap::new());
            for (day, one, other, bytes, is_lost) in packets {
                let size = Use { bytes, packets: 1 };
                for pin in pins_of(one | other) {
                    counts.push(count(day, &pin, "exempt", "egress", size));
                    if is_lost && day < days {
                        let sum: &mut Use = lost.entry(pin).or_default();
                        *sum = sum.plus(size);
                    }
                }
                // What is none of an exemption's.
                counts.push(count(day, "mail", "permitted", "egress", size));
                counts.push(count(day, "mail", "exempt", "ingress", size));
                let accounts = if one == other { vec![one] } else { vec![one, other] };
                used.extend(accounts.into_iter().filter(|_| !is_lost).map(|id| charged(day, id, size)));
            }
            let told = missing(&counts, &used, 1..days);
            // Two that share a packet may both be for one pin: what that counts twice hides as much of a loss.
            for it in &told {
                let lost = lost.get(&it.pin).copied().unwrap_or_default();
                prop_assert!(it.bytes <= lost.bytes && it.packets <= lost.packets, "{told:?}");
            }
            let is_apart = used.is_empty();
            for (pin, lost) in lost.iter().filter(|_| is_apart) {
                let found = told.iter().find(|it| it.pin == *pin).unwrap();
                prop_assert_eq!((found.bytes, found.packets), (lost.bytes, lost.packets));
            }
        }
    }

    #[test]
    fn what_an_older_store_does_not_have_is_nobodys_and_midnight_is_no_loss() {
        let some = |bytes| Use { bytes, packets: bytes / 100 };
        let counts = [
            count(3, "mail", "exempt", "egress", some(900)),
            count(4, "mail", "exempt", "egress", some(100)),
        ];
        let used = [charged(3, 1, some(200)), charged(4, 1, some(150)), charged(4, 2, some(9000))];
        let told = |days| missing(&counts, &used, days).into_iter().map(|it| it.bytes).collect::<Vec<_>>();
        assert_eq!((told(1..9), told(3..4), told(4..9)), (vec![650], vec![650], vec![]));
        // Charged on the day after the packet was counted.
        let counts = [count(3, "mail", "exempt", "egress", some(900))];
        let used = [charged(4, 1, some(900))];
        assert_eq!(missing(&counts, &used, 3..4), []);
        // Whose pins nobody knows may have been for this one.
        let unknown = [charged(3, 99, some(900))];
        assert_eq!(missing(&counts, &unknown, 1..9), []);
    }
}
