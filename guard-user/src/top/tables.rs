//! What each table has: rows made of what is known.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::cell::{count, left, text};
use super::table::{Cell, Column, Sort, Table, Value, numbers, words};
use super::theme::Tone;
use crate::exemption::State;
use crate::live::known::Known;
use crate::live::rates::{Amount, Counter, Counts};
use crate::live::sums::Sum;
use crate::report::number::bytes;

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The pins.
    Pins,
    /// Jurisdictions.
    Places,
    /// Peers to which something forbidden was sent.
    Violators,
    /// Processes that sent it.
    Processes,
    /// Exemptions.
    Exemptions,
}

const PINS: &[Column] = &[
    words("pin", 0),
    words("home", 5),
    words("action", 1),
    numbers("pass/s", 2),
    numbers("forbidden/s", 1),
    numbers("bytes/s", 3),
    numbers("pass", 2),
    numbers("observe", 6),
    numbers("flag", 4),
    numbers("drop", 0),
];
const PLACES: &[Column] = &[
    words("place", 0),
    numbers("pass/s", 4),
    numbers("forbidden/s", 1),
    numbers("bytes/s", 2),
    numbers("passed bytes", 2),
    numbers("forbidden packets", 0),
    numbers("without a pin/s", 5),
    numbers("bytes without a pin", 3),
];
const VIOLATORS: &[Column] = &[
    words("peer", 0),
    words("place", 0),
    words("pin", 1),
    words("verdict", 1),
    words("reason", 3),
    numbers("packets", 0),
    numbers("bytes", 2),
    numbers("events", 5),
    numbers("last", 4),
];
const PROCESSES: &[Column] = &[
    words("process", 0),
    words("unit", 1),
    words("user", 2),
    words("verdict", 1),
    numbers("packets", 0),
    numbers("bytes", 3),
    numbers("events", 5),
    numbers("last", 4),
];
const EXEMPTIONS: &[Column] = &[
    words("exemption", 0),
    words("state", 0),
    words("pins", 3),
    numbers("bytes left", 0),
    numbers("used", 2),
    numbers("time left", 1),
    numbers("until", 4),
    words("recipients", 5),
];

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pins, Self::Places, Self::Violators, Self::Processes, Self::Exemptions];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pins => "pins",
            Self::Places => "places",
            Self::Violators => "violators",
            Self::Processes => "processes",
            Self::Exemptions => "exemptions",
        }
    }

    pub(super) const fn columns(self) -> &'static [Column] {
        match self {
            Self::Pins => PINS,
            Self::Places => PLACES,
            Self::Violators => VIOLATORS,
            Self::Processes => PROCESSES,
            Self::Exemptions => EXEMPTIONS,
        }
    }

    /// How it is sorted where nobody asked for another order.
    pub(super) fn usual(self) -> Sort {
        let (title, falls) = match self {
            Self::Pins => ("drop", true),
            Self::Places => ("forbidden packets", true),
            Self::Violators | Self::Processes => ("packets", true),
            Self::Exemptions => ("time left", false),
        };
        let column = self.columns().iter().position(|column| column.title == title).unwrap_or(0);
        Sort { column, falls }
    }

    /// The table of what is known.
    pub(super) fn table(self, known: &Known) -> Table {
        let (rows, none) = match self {
            Self::Pins => (pins(known), "no pin: nothing is enforced"),
            Self::Places => (places(known), "nothing was sent yet"),
            Self::Violators => (violators(known), "no violation among the events"),
            Self::Processes => (processes(known), "no process is known of a violation"),
            Self::Exemptions => (exemptions(known), "no exemption"),
        };
        Table { columns: self.columns(), rows, none }
    }
}

fn name(raw: &str) -> Cell {
    let shown = if raw.is_empty() { "-".to_owned() } else { text(raw) };
    Cell { text: shown, value: Value::Text(raw.to_owned()), tone: Tone::Plain }
}

fn number(amount: u64, shown: String, tone: Tone) -> Cell {
    let tone = if amount == 0 { Tone::Quiet } else { tone };
    Cell { text: shown, value: Value::Number(amount.into()), tone }
}

fn packets(amount: u64, tone: Tone) -> Cell {
    number(amount, count(amount), tone)
}

fn volume(amount: u64) -> Cell {
    number(amount, bytes(amount), Tone::Plain)
}

/// Where there is nothing to say, with what it is sorted by.
fn nothing(value: Value) -> Cell {
    Cell { text: "-".to_owned(), value, tone: Tone::Quiet }
}

/// A rate; `-` where it is not known.
fn rate(amount: Option<u64>, cell: impl Fn(u64) -> Cell) -> Cell {
    amount.map_or_else(|| nothing(Value::None), cell)
}

fn verdict(word: &str) -> Cell {
    let tone = match word {
        "drop" => Tone::Bad,
        "flag" | "observe" => Tone::Warning,
        _ => Tone::Plain,
    };
    Cell { tone, ..name(word) }
}

fn moment(time: Timestamp) -> Cell {
    let shown = format!("{time:.0}");
    Cell { text: shown, value: Value::Number(time.as_nanosecond()), tone: Tone::Plain }
}

/// Of one pin or place: what passed and what was forbidden.
#[derive(Default)]
struct Split {
    pass: Amount,
    forbidden: Amount,
}

impl Split {
    fn of(counts: &Counts, wanted: impl Fn(&str, &str) -> bool) -> Self {
        let mut split = Self::default();
        for (counter, amount) in counts.iter() {
            if let Counter::Pinned { pin, jurisdiction, verdict } = counter
                && wanted(pin, jurisdiction)
            {
                let side = if verdict == "pass" { &mut split.pass } else { &mut split.forbidden };
                *side = side.and(amount);
            }
        }
        split
    }
}

fn pins(known: &Known) -> Vec<Vec<Cell>> {
    let Some(status) = &known.status else { return Vec::new() };
    let rows = status.pins.iter().map(|pin| {
        let rates = known.rates.as_ref().map(|rates| Split::of(rates, |it, _| it == pin.name));
        let of = |wanted: &str| {
            let found = pin.verdicts.iter().find(|it| it.verdict == wanted);
            found.map_or(0, |it| it.packets)
        };
        let total = rates.as_ref().map(|rates| rates.pass.and(rates.forbidden).bytes);
        vec![
            name(&pin.name),
            name(&pin.home),
            name(&pin.action),
            rate(rates.as_ref().map(|it| it.pass.packets), |it| packets(it, Tone::Plain)),
            rate(rates.as_ref().map(|it| it.forbidden.packets), |it| packets(it, Tone::Bad)),
            rate(total, volume),
            packets(of("pass"), Tone::Plain),
            packets(of("observe"), Tone::Warning),
            packets(of("flag"), Tone::Warning),
            packets(of("drop"), Tone::Bad),
        ]
    });
    rows.collect()
}

fn places(known: &Known) -> Vec<Vec<Cell>> {
    let Some(counts) = &known.counts else { return Vec::new() };
    let mut untagged: BTreeMap<&str, Amount> = BTreeMap::new();
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for (counter, amount) in counts.iter() {
        match counter {
            Counter::Pinned { jurisdiction, .. } => _ = names.insert(jurisdiction),
            Counter::Untagged { jurisdiction } => {
                names.insert(jurisdiction);
                untagged.insert(jurisdiction, amount);
            }
            Counter::Total { .. } => {}
        }
    }
    let rows = names.into_iter().map(|place| {
        let all = Split::of(counts, |_, it| it == place);
        let rates = known.rates.as_ref().map(|rates| Split::of(rates, |_, it| it == place));
        let without = known.rates.as_ref().map(|rates| {
            rates.sum(|it| matches!(it, Counter::Untagged { jurisdiction } if jurisdiction == place))
        });
        let total = rates.as_ref().map(|rates| rates.pass.and(rates.forbidden).bytes);
        vec![
            match place {
                "" => Cell { text: "(not placed)".to_owned(), ..name("") },
                place => name(place),
            },
            rate(rates.as_ref().map(|it| it.pass.packets), |it| packets(it, Tone::Plain)),
            rate(rates.as_ref().map(|it| it.forbidden.packets), |it| packets(it, Tone::Bad)),
            rate(total, volume),
            volume(all.pass.bytes),
            packets(all.forbidden.packets, Tone::Bad),
            rate(without.map(|it| it.bytes), volume),
            volume(untagged.get(place).map_or(0, |it| it.bytes)),
        ]
    });
    rows.collect()
}

/// What every ranking has at its end.
fn sums(sum: &Sum) -> [Cell; 4] {
    [
        packets(sum.amount.packets, Tone::Plain),
        volume(sum.amount.bytes),
        packets(sum.events, Tone::Plain),
        moment(sum.last),
    ]
}

fn violators(known: &Known) -> Vec<Vec<Cell>> {
    let rows = known.sums.violators.iter().map(|(of, sum)| {
        let mut row = vec![
            name(&of.peer),
            name(&of.jurisdiction),
            name(&of.pins),
            verdict(&of.verdict),
            name(&of.reason),
        ];
        row.extend(sums(sum));
        row
    });
    rows.collect()
}

fn processes(known: &Known) -> Vec<Vec<Cell>> {
    let rows = known.sums.senders.iter().map(|(of, sum)| {
        let mut row = vec![name(&of.command), name(&of.unit), name(&of.user), verdict(&of.verdict)];
        row.extend(sums(sum));
        row
    });
    rows.collect()
}

fn exemptions(known: &Known) -> Vec<Vec<Cell>> {
    let Some(status) = &known.status else { return Vec::new() };
    let rows = status.exemptions.iter().map(|it| {
        let tone = match it.state {
            State::Active => Tone::Good,
            State::Stayed | State::Exhausted | State::NotYetValid => Tone::Warning,
            State::Revoked | State::Expired | State::Draft | State::Approved => Tone::Quiet,
        };
        let quota = it.quota_bytes.map(|quota| quota.saturating_sub(it.used_bytes));
        let seconds = it.valid_until.as_second().saturating_sub(known.now.as_second());
        let recipients: Vec<String> =
            it.recipients.iter().map(|to| format!("{} ({})", to.name, to.jurisdiction)).collect();
        vec![
            name(&format!("{} v{}", it.id, it.version)),
            Cell { tone, ..name(it.state.name()) },
            name(&it.pins.join(", ")),
            match quota {
                // Nothing passes by it any more, whatever its document had left.
                _ if it.state.is_closed() => nothing(Value::None),
                Some(left) => Cell { tone: Tone::Plain, ..volume(left) },
                None => {
                    Cell { text: "no bound".to_owned(), value: Value::Number(i128::MAX), tone: Tone::Plain }
                }
            },
            volume(it.used_bytes),
            // What is over is last where what ends first is first.
            match it.state.is_closed() {
                true => nothing(Value::Number(i128::MAX)),
                false => Cell {
                    text: left(known.now, it.valid_until),
                    value: Value::Number(if seconds > 0 { seconds.into() } else { i128::MAX }),
                    tone: Tone::Plain,
                },
            },
            moment(it.valid_until),
            name(&recipients.join(", ")),
        ]
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::live::feed::News;
    use crate::live::sample;

    /// Its document may have bytes and days left: nothing passes by it all the same.
    #[test]
    fn of_an_exemption_that_is_closed_nothing_is_left() {
        let left = |state: State| {
            let mut status = sample::status(1);
            status.exemptions.truncate(1);
            status.exemptions[0].state = state;
            let mut known = Known { now: sample::now(), ..Known::default() };
            known.update(News::Status(Box::new(status), Instant::now()));
            let rows = exemptions(&known);
            ["bytes left", "time left"].map(|title| {
                let at = EXEMPTIONS.iter().position(|column| column.title == title).unwrap();
                rows[0][at].text.clone()
            })
        };
        for state in [State::Active, State::NotYetValid, State::Stayed] {
            assert_eq!(left(state), ["no bound", "37d 11h"], "{state}");
        }
        for state in [State::Revoked, State::Expired, State::Exhausted] {
            assert_eq!(left(state), ["-", "-"], "{state}");
        }
    }
}
