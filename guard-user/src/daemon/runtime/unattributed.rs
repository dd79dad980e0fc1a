//! What the kernel counted as let through by exemptions and no exemption's use has: after an older store was put back, its
//! exemptions have the amounts of before, and what was loaded since is not in it.

mod room;

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use self::room::{Amount, fits};
use crate::audit::{Kind, Stored, Who};
use crate::exemption::record::Use;
use crate::report::{Counts, Unattributed};
use crate::store::{DayCount, DayUse, Key, Run, Store, StoreError};

/// What is known of the store's past in the time of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// No older store was put back: nothing is missing of which nothing shows.
    Whole,
    /// One was: all that may be missing is told.
    PutBack,
}

impl Past {
    /// What the trail has of it. What an older store lacks is booked at the start that found it, or soon after.
    pub(super) fn of<'r>(
        mut records: impl Iterator<Item = &'r Stored>,
        (from, until): (Timestamp, Timestamp),
    ) -> Self {
        // Both ends are of days, and a start may be at midnight.
        let day = SignedDuration::from_hours(24);
        let from = from.checked_sub(day).unwrap_or(from);
        let until = until.checked_add(day).unwrap_or(until);
        let put_back =
            |it: &Stored| it.kind == Kind::OlderStore.name() && it.time >= from && it.time <= until;
        if records.any(put_back) { Self::PutBack } else { Self::Whole }
    }
}

/// By pin, over the days of a report. `pins_of` names the pins of an exemption; `None` where they are not known.
///
/// A packet that an exemption let through is counted for each pin that forbade it, and each of these is covered by one
/// exemption, which is charged once for all that it covers. So what is charged to an exemption for one pin is at least what
/// the counts of its other pins have no room for, and at most all of its use. Where these two differ it can't be told how
/// much is missing: the most is told, and the least with it. Two pins that select the same packets always differ so, and
/// where nothing is certain to be missing it is told only if an older store was put back.
///
/// The counters of pins and of exemptions are read one after the other, and about midnight one of them may be the next day's:
/// what is missing of these days is told only as far as it is missing of all days of their run together.
///
/// Each run of the kernel's counters is compared by itself: of one that a crash has ended more may be charged than was counted by
/// pin, and that is not to make up for what is missing of another.
pub(super) fn unattributed<'p>(
    runs: &[Run],
    pins_of: impl Fn(&Key) -> Option<&'p [String]>,
    within: impl Fn(Date) -> bool,
    past: Past,
) -> Vec<Unattributed> {
    let mut sums: BTreeMap<String, Missing> = BTreeMap::new();
    for run in runs {
        for (pin, missing) in missing_of_run(run, &pins_of, &within, past) {
            let sum = sums.entry(pin).or_default();
            sum.least = sum.least.plus(missing.least);
            sum.most = sum.most.plus(missing.most);
        }
    }
    let told = |(pin, Missing { least, most })| {
        let at_least = (least != most).then_some(Counts { packets: least.packets, bytes: least.bytes });
        Unattributed { pin, packets: most.packets, bytes: most.bytes, at_least }
    };
    sums.into_iter().map(told).collect()
}

/// What is missing of each pin in one run.
fn missing_of_run<'p>(
    Run { counts, used }: &Run,
    pins_of: impl Fn(&Key) -> Option<&'p [String]>,
    within: impl Fn(Date) -> bool,
    past: Past,
) -> Vec<(String, Missing)> {
    let is_within = |day: &str| day.parse().is_ok_and(&within);
    let all = Sums::new(counts, used, &pins_of, |_| true);
    let these = Sums::new(counts, used, &pins_of, is_within);
    let missing = |pin: &str| {
        let (of_all, of_these) = (all.missing(pin), these.missing(pin));
        let most = lesser(of_all.most, of_these.most);
        let least = lesser(lesser(of_all.least, of_these.least), most);
        let is_told = |it: Use| it.bytes > 0 || it.packets > 0;
        let is_any = is_told(least) || past == Past::PutBack && is_told(most);
        is_any.then(|| (pin.to_owned(), Missing { least, most }))
    };
    all.counted.keys().filter_map(|pin| missing(pin)).collect()
}

/// Has the store take up what is certain to be in no exemption's use, by what the kernel has counted in slots and was read after
/// the counts of pins that the store has: a packet is booked before it is counted, so that no packet on its way is missing.
/// `who` is the daemon.
pub(super) fn take_up(
    store: &mut Store,
    counts: &[(u16, Use)],
    who: &Who,
    now: Timestamp,
) -> Result<(), StoreError> {
    store.checkpoint_use(counts, now)?;
    let (reader, kept) = (store.reader()?, store.kept());
    let pins_of = |key: &Key| kept.document_of(key).map(|document| document.pins.as_slice());
    let missing = unattributed(&reader.runs()?, pins_of, |_| true, Past::Whole);
    drop(reader);
    let certain = missing.into_iter().map(|it| (it.pin, it.at_least.map_or(it.bytes, |least| least.bytes)));
    let certain: BTreeMap<String, u64> = certain.filter(|(_, bytes)| *bytes > 0).collect();
    store.note_unattributed(&certain, who, now)
}

fn lesser(one: Use, other: Use) -> Use {
    Use { bytes: one.bytes.min(other.bytes), packets: one.packets.min(other.packets) }
}

/// What is missing of a pin, at least and at most.
#[derive(Clone, Copy, Debug, Default)]
struct Missing {
    least: Use,
    most: Use,
}

/// What was counted by pin, and what was charged to exemptions by the pins that they are for.
struct Sums<'s> {
    counted: BTreeMap<&'s str, Use>,
    charged: BTreeMap<BTreeSet<&'s str>, Use>,
}

impl<'s> Sums<'s> {
    fn new<'p: 's>(
        counts: &'s [DayCount],
        used: &[DayUse],
        pins_of: impl Fn(&Key) -> Option<&'p [String]>,
        is_within: impl Fn(&str) -> bool,
    ) -> Self {
        let mut counted: BTreeMap<&str, Use> = BTreeMap::new();
        for row in counts.iter().filter(|row| row.judged.is_exempted()) {
            let sum = counted.entry(&row.judged.pin).or_default();
            if is_within(&row.day) {
                *sum = sum.plus(Use { bytes: row.bytes, packets: row.packets });
            }
        }
        let mut charged: BTreeMap<BTreeSet<&str>, Use> = BTreeMap::new();
        for row in used.iter().filter(|row| is_within(&row.day)) {
            let pins = match pins_of(&row.key) {
                Some(pins) => pins.iter().map(String::as_str).filter(|it| counted.contains_key(it)).collect(),
                None => counted.keys().copied().collect(),
            };
            let sum = charged.entry(pins).or_default();
            *sum = sum.plus(row.used);
        }
        Self { counted, charged }
    }

    fn missing(&self, pin: &str) -> Missing {
        let [bytes, packets] =
            [|it: &Use| it.bytes, |it: &Use| it.packets].map(|part| self.missing_of(pin, part));
        let made = |at: usize| Use {
            bytes: bytes.get(at).copied().unwrap_or_default(),
            packets: packets.get(at).copied().unwrap_or_default(),
        };
        Missing { least: made(0), most: made(1) }
    }

    /// The least and the most that is missing, of bytes or of packets.
    fn missing_of(&self, pin: &str, part: fn(&Use) -> u64) -> [u64; 2] {
        let counted = self.counted.get(pin).map(part).unwrap_or_default();
        let for_it = self.charged.iter().filter(|(pins, _)| pins.contains(pin));
        let charged = for_it.map(|(_, used)| part(used)).fold(0, u64::saturating_add);
        let number = |pin: &&str| self.counted.keys().position(|it| it == pin);
        let amount = |(pins, used): (&BTreeSet<&str>, &Use)| Amount {
            places: pins.iter().filter_map(number).collect(),
            size: part(used),
        };
        let amounts: Vec<Amount> = self.charged.iter().map(amount).collect();
        let mut room: Vec<u64> = self.counted.values().map(part).collect();
        let with = fits(&amounts, &room);
        if let Some(own) = number(&pin).and_then(|at| room.get_mut(at)) {
            *own = 0;
        }
        // What the other pins have no room for was charged for this one.
        let at_least_charged = with - fits(&amounts, &room);
        [counted.saturating_sub(charged), counted.saturating_sub(at_least_charged)]
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

    fn missing(
        counts: &[DayCount],
        used: &[DayUse],
        days: std::ops::Range<i8>,
        past: Past,
    ) -> Vec<Unattributed> {
        missing_in(&[run(counts, used)], days, past)
    }

    fn run(counts: &[DayCount], used: &[DayUse]) -> Run {
        Run { counts: counts.to_vec(), used: used.to_vec() }
    }

    fn missing_in(runs: &[Run], days: std::ops::Range<i8>, past: Past) -> Vec<Unattributed> {
        let sets: Vec<Vec<String>> = (0..8).map(pins_of).collect();
        let of = |key: &Key| sets.get(key.0.parse::<usize>().ok()?).map(Vec::as_slice);
        unattributed(runs, of, |day| days.contains(&day.day()), past)
    }

    proptest! {
        /// Packets as the kernel has them: each is of a set of pins, of which one exemption covers some and another one the
        /// rest. Of some the store has lost the charge.
        #[test]
        fn what_is_lost_of_a_charge_is_never_told_as_less_nor_as_certain_where_it_is_not(
            packets in prop::collection::vec((1..28_i8, 1..8_usize, 1..8_usize, 1..8_usize, 1..2000_u64, any::<bool>()), 0..12),
            days in 1..28_i8,
        ) {
            let (mut counts, mut used, mut lost) = (Vec::new(), Vec::new(), BTreeMap::new());
            for (day, of, one, other, bytes, is_lost) in packets {
                let size = Use { bytes, packets: 1 };
                let of = of & (one | other);
                for pin in pins_of(of) {
                    counts.push(count(day, &pin, "exempt", "egress", size));
                    if is_lost && day < days {
                        let sum: &mut Use = lost.entry(pin).or_default();
                        *sum = sum.plus(size);
                    }
                }
                // What is none of an exemption's.
                counts.push(count(day, "mail", "permitted", "egress", size));
                counts.push(count(day, "mail", "exempt", "ingress", size));
                let accounts = [(of & one, one), (of & !one, other)].into_iter().filter(|(covers, _)| *covers != 0);
                used.extend(accounts.filter(|_| !is_lost).map(|(_, id)| charged(day, id, size)));
            }
            let told = missing(&counts, &used, 1..days, Past::PutBack);
            for pin in PINS {
                let lost = lost.get(pin).copied().unwrap_or_default();
                let found = told.iter().find(|it| it.pin == pin);
                let most = found.map_or((0, 0), |it| (it.bytes, it.packets));
                let least = found.and_then(|it| it.at_least).map_or(most, |it| (it.bytes, it.packets));
                prop_assert!(least.0 <= lost.bytes && lost.bytes <= most.0, "{pin}: {lost:?} {told:?}");
                prop_assert!(least.1 <= lost.packets && lost.packets <= most.1, "{pin}: {lost:?} {told:?}");
            }
            // Without a store that was put back, what is certain is told in the same way.
            let certain = |it: &&Unattributed| it.at_least.is_none_or(|it| it.bytes > 0 || it.packets > 0);
            let of_whole = missing(&counts, &used, 1..days, Past::Whole);
            prop_assert_eq!(of_whole, told.iter().filter(certain).cloned().collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_exemption_of_two_pins_hides_nothing_that_is_lost_of_either() {
        let some = |bytes| Use { bytes, packets: bytes / 100 };
        let counts = [
            count(3, "mail", "exempt", "egress", some(900)),
            count(3, "files", "exempt", "egress", some(300)),
        ];
        let told = |counts: &[DayCount], used: &[DayUse], past| {
            let told = missing(counts, used, 1..9, past).into_iter();
            told.map(|it| (it.pin, it.at_least.map(|it| it.bytes), it.bytes)).collect::<Vec<_>>()
        };
        let of = |pin: &str, least: Option<u64>, most| (pin.to_owned(), least, most);
        // All that the exemption of both (3) let through may have been of one of them.
        let both = [charged(3, 3, some(300))];
        let expected = [of("files", Some(0), 300), of("mail", Some(600), 900)];
        assert_eq!(told(&counts, &both, Past::PutBack), expected);
        // Without a store that was put back, what may be missing is what two pins of the same packets look like.
        assert_eq!(told(&counts, &both, Past::Whole), expected[1..]);
        // The rest of it was the one pin's, for the other was not counted so often.
        let more = [charged(3, 3, some(1200))];
        assert_eq!(told(&counts, &more, Past::PutBack), []);
        let less = [charged(3, 3, some(1100))];
        assert_eq!(
            told(&counts, &less, Past::PutBack),
            [of("files", Some(0), 100), of("mail", Some(0), 100)]
        );
        assert_eq!(told(&counts, &less, Past::Whole), []);
        // Exemptions of one pin each leave nothing open.
        let apart = [charged(3, 1, some(500)), charged(3, 2, some(300))];
        assert_eq!(told(&counts, &apart, Past::PutBack), [of("mail", None, 400)]);
    }

    /// A crash: what was charged in the last second, and not counted by pin any more.
    #[test]
    fn what_one_run_was_charged_too_much_makes_up_for_nothing_of_another() {
        let some = |bytes| Use { bytes, packets: bytes / 100 };
        let exempt = |bytes| [count(3, "mail", "exempt", "egress", some(bytes))];
        let crashed = run(&exempt(200), &[charged(3, 1, some(900))]);
        let lowered = run(&exempt(600), &[charged(3, 1, some(100))]);
        let told = |runs: &[Run], days| {
            let told = missing_in(runs, days, Past::Whole).into_iter();
            told.map(|it| (it.pin, it.bytes, it.packets, it.at_least)).collect::<Vec<_>>()
        };
        let of = |bytes: u64| [("mail".to_owned(), bytes, bytes / 100, None::<Counts>)];
        assert_eq!(told(std::slice::from_ref(&crashed), 1..9), []);
        for runs in [[crashed.clone(), lowered.clone()], [lowered.clone(), crashed]] {
            assert_eq!((told(&runs, 1..9), told(&runs, 3..4)), (of(500).to_vec(), of(500).to_vec()));
            assert_eq!(told(&runs, 4..9), []);
        }
        assert_eq!(told(&[lowered.clone(), lowered], 1..9), of(1000));
    }

    #[test]
    fn what_an_older_store_does_not_have_is_nobodys_and_midnight_is_no_loss() {
        let some = |bytes| Use { bytes, packets: bytes / 100 };
        let counts = [
            count(3, "mail", "exempt", "egress", some(900)),
            count(4, "mail", "exempt", "egress", some(100)),
        ];
        let used = [charged(3, 1, some(200)), charged(4, 1, some(150)), charged(4, 2, some(9000))];
        let told = |days| {
            missing(&counts, &used, days, Past::Whole).into_iter().map(|it| it.bytes).collect::<Vec<_>>()
        };
        assert_eq!((told(1..9), told(3..4), told(4..9)), (vec![650], vec![650], vec![]));
        // Charged on the day after the packet was counted.
        let counts = [count(3, "mail", "exempt", "egress", some(900))];
        let used = [charged(4, 1, some(900))];
        assert_eq!(missing(&counts, &used, 3..4, Past::Whole), []);
        // Whose pins nobody knows may have been for this one.
        let unknown = [charged(3, 99, some(900))];
        assert_eq!(missing(&counts, &unknown, 1..9, Past::Whole), []);
    }
}
