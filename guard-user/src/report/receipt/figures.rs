//! Which figures of a receipt are held against each other: what can be held without the daemon and its store.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::super::model::{Change, DayUse, RecipientEntry};
use super::{Exemption, Order, Receipt};
use crate::audit::Kind;
use crate::exemption::State;
use crate::exemption::summary::FULL_PACKET;

/// Bytes on the wire of a packet, at least: an IPv4 header without a link layer's (RFC 791, section 3.1).
const LEAST: u64 = 20;

impl Receipt {
    /// The first of its figures that do not agree, in words; `None` where all do. Times of the host's clock are held against each
    /// other only where the daemon writes them in order, for that clock may have been set back.
    #[must_use]
    pub fn disagreement(&self) -> Option<String> {
        self.of_forms()
            .or_else(|| self.nobodys())
            .or_else(|| self.of_sums())
            .or_else(|| self.of_signers())
            .or_else(|| self.of_state())
            .or_else(|| self.of_times())
            .or_else(|| self.of_rows())
            .or_else(|| self.of_gaps())
    }

    /// What of it does not agree where the host's clock was set, or where what had passed was counted later, in sentences. They
    /// stand among its gaps: without that, these figures do not agree.
    #[must_use]
    pub fn to_be_told(&self) -> Vec<String> {
        let outside = self.outside();
        outside.iter().map(Outside::words).chain(self.later_orders().map(|it| self.of_later(it))).collect()
    }

    /// Orders of a time that comes after it was made: the host's clock was set back in between.
    fn later_orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.iter().filter(|it| it.at > self.made_at)
    }

    fn of_later(&self, order: &Order) -> String {
        let Self { made_at, .. } = self;
        format!(
            "one of its orders is of {}, and it was made at {made_at}: the host's clock was set",
            order.at
        )
    }

    /// Its rows of days on which by its history it was not open; `None` where there are none.
    fn outside(&self) -> Option<Outside> {
        let loaded = self.history.iter().find(|it| it.what == Kind::Load.name()).map(|it| day(it.at))?;
        // What closes it first ends it, whatever is kept with it later.
        let closing = self.history.iter().find(|it| closed_by(&it.what).is_some());
        let ended = day(closing.map_or(self.made_at, |it| it.at));
        let (first, last) = (loaded.min(ended), loaded.max(ended));
        let mut days: Vec<Date> = self.use_by_day.iter().map(|row| row.day).collect();
        days.retain(|day| !(first..=last).contains(day));
        days.dedup();
        let days: Vec<String> = days.iter().map(ToString::to_string).collect();
        (!days.is_empty()).then_some(Outside { days, first, last })
    }

    /// Whether a gap names each day on which it was not open and has use, and each order that is of a later time than it is. Words
    /// may change; and earlier versions did not write such gaps: their receipts have no `presumed_bytes`, and no law.
    fn of_gaps(&self) -> Option<String> {
        let is_told = |all: &[String]| self.gaps.iter().any(|gap| all.iter().all(|it| gap.contains(it)));
        let unsaid = |words: String| format!("{words}; and its gaps do not say so");
        let outside = self.presumed_bytes.and_then(|_| self.outside());
        if let Some(outside) = outside.filter(|it| !is_told(&it.days)) {
            return Some(unsaid(outside.words()));
        }
        self.exemption.law.as_ref()?;
        let later = self.later_orders().find(|it| !is_told(&[it.at.to_string()]))?;
        Some(unsaid(self.of_later(later)))
    }

    /// What no daemon gives a receipt of, and rows of nobody who might receive.
    fn nobodys(&self) -> Option<String> {
        let state = self.exemption.state.as_str();
        if !State::LIFE.iter().any(|closed| closed.is_closed() && closed.name() == state) {
            let state = state.escape_debug();
            return Some(format!("its exemption is \"{state}\", and only of what is closed there is one"));
        }
        let row = self.use_by_day.iter().find(|row| !self.has_recipient_of(row))?;
        let count = self.recipients.len();
        Some(format!("a row of {} is of none of its recipients, of which it has {count}", row.day))
    }

    fn of_sums(&self) -> Option<String> {
        let Self { use_by_day, packets, bytes, presumed_bytes, .. } = self;
        let sum = |of: fn(&DayUse) -> u64| use_by_day.iter().map(of).fold(0_u64, u64::saturating_add);
        let sums = [("packets", *packets, sum(|row| row.packets)), ("bytes", *bytes, sum(|row| row.bytes))];
        if let Some((what, all, rows)) = sums.into_iter().find(|(_, all, rows)| all != rows) {
            return Some(format!("it has {all} {what} in all, and the sum of its rows is {rows}"));
        }
        if let Some(quota) = self.exemption.quota_bytes.filter(|quota| self.used() > *quota) {
            let presumed = match presumed_bytes {
                None | Some(0) => String::new(),
                Some(more) => format!(" and {more} that count as used"),
            };
            return Some(format!("it has {bytes} bytes in all{presumed}, and the quota is {quota}"));
        }
        let is_less = |packets: u64, bytes: u64| packets.saturating_mul(LEAST) > bytes;
        if is_less(*packets, *bytes) {
            return Some(format!("it has {packets} packets, and {bytes} bytes"));
        }
        // Rows are of what passed.
        let is_none = |row: &&DayUse| row.packets == 0 || is_less(row.packets, row.bytes);
        let DayUse { day, packets, bytes, .. } = use_by_day.iter().find(is_none)?;
        Some(format!("a row of {day} has {packets} packets and {bytes} bytes"))
    }

    /// Its state against its history and its quota.
    fn of_state(&self) -> Option<String> {
        let Exemption { state, valid_until, review_by, .. } = &self.exemption;
        let of_quota = self.of_quota().or_else(|| self.of_load());
        if of_quota.is_some() {
            return of_quota;
        }
        // What is over may be revoked all the same, and nothing else makes another state of it.
        let closed = self.history.iter().fold(None, |closed, change| match closed_by(&change.what) {
            Some(by) if closed.is_none() || change.what == Kind::Revoke.name() => Some(by),
            _ => closed,
        });
        if let Some(closed) = closed {
            return (closed.name() != state)
                .then(|| format!("it is \"{state}\", and by its history \"{}\"", closed.name()));
        }
        // The end of a window or of a quota is there before its record is.
        let end = review_by.map_or(*valid_until, |by| by.min(*valid_until));
        let is_over = state == State::Expired.name() && self.made_at >= end;
        let is_right = is_over || state == State::Exhausted.name();
        (!is_right).then(|| format!("it is \"{state}\", and its history does not say how it came to that"))
    }

    /// That its quota was spent, by its state or its history, against what is left of it: use never gets less.
    fn of_quota(&self) -> Option<String> {
        let exhausted = State::Exhausted.name();
        let is_it = self.exemption.state == exhausted;
        if !is_it && !self.history.iter().any(|change| change.what == Kind::Exhaust.name()) {
            return None;
        }
        let told = if is_it {
            format!("it is \"{exhausted}\"")
        } else {
            format!("by its history it was \"{exhausted}\"")
        };
        let Some(quota) = self.exemption.quota_bytes else {
            return Some(format!("{told}, and has no quota"));
        };
        let left = quota.saturating_sub(self.used());
        // Earlier versions did not write what counts as used beside what was counted.
        let is_wrong = self.presumed_bytes.is_some() && left >= FULL_PACKET;
        is_wrong.then(|| format!("{told}, and {left} bytes of its quota of {quota} are left"))
    }

    /// A version is loaded once, and nothing becomes of it before but for a duty that is noted for other versions too, and that
    /// its instrument was restored.
    fn of_load(&self) -> Option<String> {
        let is = |change: &Change, kind: Kind| change.what == kind.name();
        match self.history.iter().filter(|change| is(change, Kind::Load)).count() {
            0 => return Some("its history does not say that it was loaded".to_owned()),
            1 => {}
            more => return Some(format!("by its history it was loaded {more} times")),
        }
        let is_restoration =
            |change: &Change| is(change, Kind::Resume) && change.covers.as_deref() == Some("instrument");
        let first = self.history.iter().find(|it| !is(it, Kind::DutyDone) && !is_restoration(it))?;
        let what = first.what.escape_debug();
        (!is(first, Kind::Load)).then(|| format!("its history has \"{what}\" before it was loaded"))
    }

    /// Nobody approves twice in one role.
    fn of_signers(&self) -> Option<String> {
        let each = self.signers.iter().flat_map(|it| it.roles.iter().map(|role| (&it.identity, role)));
        let mut all: Vec<(&String, &String)> = each.collect();
        all.sort();
        let ((who, role), _) = neighbours(&all).find(|(one, next)| one == next)?;
        Some(format!("\"{}\" is among its signers twice as \"{}\"", who.escape_debug(), role.escape_debug()))
    }

    fn of_times(&self) -> Option<String> {
        let Self { made_at, orders, audit, .. } = self;
        let Exemption { valid_from, valid_until, .. } = &self.exemption;
        if valid_from >= valid_until {
            return Some(format!("the window is from {valid_from}, and until {valid_until}"));
        }
        if let Some((one, next)) = neighbours(orders).find(|(one, next)| next.at < one.at) {
            return Some(format!("its list of orders has one of {} behind one of {}", next.at, one.at));
        }
        (audit.time > *made_at).then(|| {
            format!("it was made at {made_at}, and knows a record of the audit trail of {}", audit.time)
        })
    }

    /// The order of the days.
    fn of_rows(&self) -> Option<String> {
        // What is attributed to none is a day's last row; receipts of earlier versions may have two of these.
        let place = |row: &DayUse| (row.day, row.number.unwrap_or(u32::MAX));
        let is_misplaced = |one: &DayUse, next: &DayUse| match next.number {
            Some(_) => place(next) <= place(one),
            None => place(next) < place(one),
        };
        let (one, next) = neighbours(&self.use_by_day).find(|(one, next)| is_misplaced(one, next))?;
        let words = |row: &DayUse| match row.number {
            Some(number) => format!("{}, recipient {number}", row.day),
            None => row.day.to_string(),
        };
        Some(format!("its use has a row of {} behind one of {}", words(next), words(one)))
    }

    /// Bytes that count as used, known to have left or not.
    const fn used(&self) -> u64 {
        match self.presumed_bytes {
            Some(presumed) => self.bytes.saturating_add(presumed),
            None => self.bytes,
        }
    }

    /// Whether the recipient of a row, where it has one, is among those who might receive.
    fn has_recipient_of(&self, row: &DayUse) -> bool {
        let is_it = |it: &RecipientEntry| {
            row.recipient.as_ref().is_none_or(|name| *name == it.name)
                && row.jurisdiction.as_ref().is_none_or(|place| *place == it.jurisdiction)
        };
        match row.number {
            Some(number) => {
                let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
                at.and_then(|at| self.recipients.get(at)).is_some_and(is_it)
            }
            // Earlier versions named the only one without its number.
            None => row.recipient.is_none() || self.recipients.iter().any(is_it),
        }
    }
}

/// Use of days on which by its history an exemption was not open.
struct Outside {
    /// Each of these days once, as `2026-11-23`.
    days: Vec<String>,
    /// The first day on which it was open.
    first: Date,
    /// The last one.
    last: Date,
}

impl Outside {
    /// The sentence that tells it.
    fn words(&self) -> String {
        let Self { days, first, last } = self;
        format!(
            "its use has rows of {}, and by its history it was open from {first} until {last}: the host's clock was set, or what \
             had passed was counted later",
            days.join(", ")
        )
    }
}

/// The state that a change of this kind closes an exemption to; `None` where it does not close it.
fn closed_by(what: &str) -> Option<State> {
    let is_any = |kinds: &[Kind]| kinds.iter().any(|kind| kind.name() == what);
    if is_any(&[Kind::Revoke, Kind::Invalidate, Kind::RevokeKey, Kind::Supersede]) {
        return Some(State::Revoked);
    }
    if is_any(&[Kind::Expire]) {
        return Some(State::Expired);
    }
    is_any(&[Kind::Exhaust]).then_some(State::Exhausted)
}

/// The day of a moment, in UTC.
fn day(moment: Timestamp) -> Date {
    moment.to_zoned(TimeZone::UTC).date()
}

/// Each item with the one behind it.
fn neighbours<T>(items: &[T]) -> impl Iterator<Item = (&T, &T)> {
    items.iter().zip(items.iter().skip(1))
}

#[cfg(test)]
mod tests;
