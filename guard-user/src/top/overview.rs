//! Something of everything, on one screen.

use ratatui::text::{Line, Span};

use super::cell::{count, padded};
use super::health;
use super::layout::{Want, share};
use super::state::State;
use super::tables::Kind;
use super::theme::{Theme, Tone};
use crate::live::known::Known;
use crate::live::rates::{Amount, Counts};
use crate::report::number::bytes;

/// Columns from which on there are two halves beside each other.
const WIDE: usize = 160;
/// Between both halves.
const GAP: usize = 3;
/// The verdicts, as columns.
const VERDICTS: [(&str, Tone); 4] =
    [("pass", Tone::Plain), ("observe", Tone::Warning), ("flag", Tone::Warning), ("drop", Tone::Bad)];

/// A part of the screen: how many lines it wants, and its lines in so many.
struct Part<'a> {
    wants: Want,
    draw: Box<dyn Fn(usize) -> Vec<Line<'static>> + 'a>,
}

/// The lines of both halves, or of one alone where there is no room for two; each with its first column.
pub(super) fn lines(
    state: &State,
    columns: usize,
    height: usize,
    theme: Theme,
) -> Vec<(usize, Vec<Line<'static>>)> {
    if columns < WIDE {
        let mut parts =
            vec![throughput(state.shown(), columns, theme, 4), problems(state.shown(), columns, theme)];
        parts.extend(Kind::ALL.map(|kind| table(state, kind, columns, theme)));
        // Without room for an empty line between two parts.
        return vec![(0, stacked(&parts, height, 0))];
    }
    let half = (columns - GAP) / 2;
    let [pins, places, violators, processes, exemptions] =
        Kind::ALL.map(|kind| table(state, kind, half, theme));
    let left = [throughput(state.shown(), half, theme, 5), course(state.shown(), half, theme), pins, places];
    let right = [problems(state.shown(), half, theme), violators, processes, exemptions];
    vec![(0, stacked(&left, height, 1)), (half + GAP, stacked(&right, height, 1))]
}

/// The parts below each other, with so many empty lines between them.
fn stacked(parts: &[Part<'_>], height: usize, between: usize) -> Vec<Line<'static>> {
    let with_empty = |Want { rows, least }| Want { rows: rows + between, least: least + between };
    let wanted: Vec<Want> = parts.iter().map(|part| with_empty(part.wants)).collect();
    let mut lines = Vec::new();
    for (part, share) in parts.iter().zip(share(height, &wanted)) {
        let room = share.saturating_sub(between);
        if room == 0 {
            continue;
        }
        let mut of_part = (part.draw)(room);
        of_part.truncate(room);
        lines.extend(of_part);
        lines.extend(std::iter::repeat_n(Line::default(), between));
    }
    lines.truncate(height);
    lines
}

fn table(state: &State, kind: Kind, columns: usize, theme: Theme) -> Part<'_> {
    let sort = state.sort_of(kind);
    let table = kind.table(state.shown()).sorted(sort);
    let wants = Want { rows: 1 + table.rows.len().max(1), least: 2 };
    Part { wants, draw: Box::new(move |height| table.lines(columns, height, 0, (sort, theme))) }
}

fn problems(known: &Known, columns: usize, theme: Theme) -> Part<'_> {
    let lines = health::lines(known, columns, theme);
    // The view of its own has the rest.
    Part { wants: Want { rows: lines.len().min(8), least: 2 }, draw: Box::new(move |_| lines.clone()) }
}

/// What was judged, by verdict: a second, then altogether.
fn throughput(known: &Known, columns: usize, theme: Theme, rows: usize) -> Part<'_> {
    let row = |title: &str, counts: Option<&Counts>, shown: fn(Amount) -> String| {
        let cells = VERDICTS.map(|(verdict, tone)| match counts.map(|it| it.of_verdict(verdict)) {
            Some(amount) if amount == Amount::default() => (shown(amount), Tone::Quiet),
            Some(amount) => (shown(amount), tone),
            None => ("-".to_owned(), Tone::Quiet),
        });
        by_verdict((title, Tone::Plain), cells, columns, theme)
    };
    let titles = VERDICTS.map(|(verdict, _)| (verdict.to_owned(), Tone::Title));
    let (rates, all) = (known.rates.as_ref(), known.counts.as_ref());
    let lines = vec![
        by_verdict(("judged", Tone::Title), titles, columns, theme),
        row("packets/s", rates, |it| count(it.packets)),
        row("bytes/s", rates, |it| bytes(it.bytes)),
        row("packets", all, |it| count(it.packets)),
        row("bytes", all, |it| bytes(it.bytes)),
    ];
    Part { wants: Want { rows, least: 4 }, draw: Box::new(move |_| lines.clone()) }
}

fn by_verdict(
    (title, tone): (&str, Tone),
    cells: [(String, Tone); 4],
    columns: usize,
    theme: Theme,
) -> Line<'static> {
    const FIRST: usize = 11;
    let wide = (columns.saturating_sub(FIRST) / VERDICTS.len()).clamp(9, 16);
    let mut spans = vec![Span::styled(padded(title, FIRST, false), theme.style(tone))];
    spans.extend(cells.map(|(text, tone)| Span::styled(padded(&text, wide, true), theme.style(tone))));
    Line::from(spans)
}

/// How both rates went, the newest to the right.
fn course(known: &Known, columns: usize, theme: Theme) -> Part<'_> {
    const TITLE: usize = 24;
    let room = columns.saturating_sub(TITLE);
    let looks: Vec<&(Amount, Amount)> =
        known.course.iter().skip(known.course.len().saturating_sub(room)).collect();
    let line = |title: &str, shown: fn(u64) -> String, value: fn(&(Amount, Amount)) -> u64, tone| {
        let values: Vec<u64> = looks.iter().map(|look| value(look)).collect();
        let most = values.iter().copied().max().unwrap_or(0);
        let title = format!("{title}, most {}", shown(most));
        Line::from(vec![
            Span::raw(padded(&title, TITLE, false)),
            Span::styled(bars(&values, most), theme.style(tone)),
        ])
    };
    let lines = vec![
        Line::styled(format!("course of {} looks", looks.len()), theme.style(Tone::Title)),
        line("pass", |it| format!("{}/s", bytes(it)), |(pass, _)| pass.bytes, Tone::Good),
        line("forbidden", |it| format!("{}/s", count(it)), |(_, forbidden)| forbidden.packets, Tone::Bad),
    ];
    Part { wants: Want { rows: lines.len(), least: 3 }, draw: Box::new(move |_| lines.clone()) }
}

/// A bar for each value, of an eighth of a line to a whole one; an empty one for none.
fn bars(values: &[u64], most: u64) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let bar = |value: &u64| match value {
        0 => ' ',
        value => {
            let eighth = u128::from(*value) * 8 / u128::from(most.max(1));
            let at = usize::try_from(eighth).unwrap_or(8).clamp(1, 8) - 1;
            BARS.get(at).copied().unwrap_or(' ')
        }
    };
    values.iter().map(bar).collect()
}
