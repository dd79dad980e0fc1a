//! A table that fits the columns that there are: what matters least goes first.

use std::cmp::Ordering;

use ratatui::text::{Line, Span};

use super::cell::{padded, width};
use super::theme::{Theme, Tone};

/// One column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) is_number: bool,
    /// The higher, the sooner it is left out; 0 stays.
    pub(super) leave_out: u8,
}

pub(super) const fn words(title: &'static str, leave_out: u8) -> Column {
    Column { title, is_number: false, leave_out }
}

pub(super) const fn numbers(title: &'static str, leave_out: u8) -> Column {
    Column { title, is_number: true, leave_out }
}

/// What a cell is sorted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    /// Nothing is known.
    None,
    Number(i128),
    Text(String),
}

/// One cell: its text, which may be shown as it is.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) value: Value,
    pub(super) tone: Tone,
}

/// A table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) columns: &'static [Column],
    pub(super) rows: Vec<Vec<Cell>>,
    /// What stands there where no row does.
    pub(super) none: &'static str,
}

/// By which column a table is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    pub(super) column: usize,
    /// Whether the largest is first.
    pub(super) falls: bool,
}

impl Sort {
    /// By the next column: words rise, numbers fall.
    pub(super) fn by_next(self, columns: &[Column]) -> Self {
        let column = (self.column + 1) % columns.len().max(1);
        Self { column, falls: columns.get(column).is_some_and(|it| it.is_number) }
    }

    /// By the same column the other way round.
    pub(super) const fn reversed(self, _: &[Column]) -> Self {
        Self { falls: !self.falls, ..self }
    }

    fn order(self, one: &[Cell], other: &[Cell]) -> Ordering {
        let value = |row: &[Cell]| row.get(self.column).map(|cell| cell.value.clone());
        let order = value(one).cmp(&value(other));
        if self.falls { order.reverse() } else { order }
    }
}

impl Table {
    /// The rows in this order; rows that are alike stay in the order of their names.
    pub(super) fn sorted(mut self, sort: Sort) -> Self {
        self.rows.sort_by(|one, other| sort.order(one, other));
        self
    }

    /// The table as lines of this width: its titles, then the rows below the first so many, as far as there is room.
    pub(super) fn lines(
        &self,
        columns: usize,
        height: usize,
        above: usize,
        (sort, theme): (Sort, Theme),
    ) -> Vec<Line<'static>> {
        let shown = self.fit(columns, sort);
        let titles = self.columns;
        let title = |(at, wide): &(usize, usize)| {
            let column = titles.get(*at)?;
            let text = titled(column, sort.column == *at, sort.falls);
            Some(Span::styled(padded(&text, *wide, column.is_number), theme.style(Tone::Title)))
        };
        let mut lines = vec![line(shown.iter().filter_map(title))];
        for row in self.rows.iter().skip(above).take(height.saturating_sub(1)) {
            let cell = |(at, wide): &(usize, usize)| {
                let (cell, column) = (row.get(*at)?, titles.get(*at)?);
                Some(Span::styled(padded(&cell.text, *wide, column.is_number), theme.style(cell.tone)))
            };
            lines.push(line(shown.iter().filter_map(cell)));
        }
        if self.rows.is_empty() {
            lines.push(Line::styled(format!("  {}", self.none), theme.style(Tone::Quiet)));
        }
        lines.truncate(height);
        lines
    }

    /// Which columns are shown, and how wide: as wide as their widest cell where there is room.
    fn fit(&self, columns: usize, sort: Sort) -> Vec<(usize, usize)> {
        let titles = self.columns;
        let wide = |at: usize, column: &Column| {
            let title = width(&titled(column, sort.column == at, sort.falls));
            self.rows
                .iter()
                .filter_map(|row| row.get(at))
                .map(|cell| width(&cell.text))
                .fold(title, usize::max)
        };
        let mut shown: Vec<(usize, usize)> =
            titles.iter().enumerate().map(|(at, column)| (at, wide(at, column))).collect();
        let sum = |shown: &[(usize, usize)]| shown.iter().map(|(_, wide)| wide + 2).sum::<usize>();
        let is_word = |at: usize| titles.get(at).is_some_and(|column| !column.is_number);
        let rank = |at: usize| titles.get(at).map_or(0, |column| column.leave_out);
        // What a row is of stays readable.
        let narrowest = |at: usize| if rank(at) == 0 { 20 } else { 14 };
        let steps = [
            Step::Cut { to: 40 },
            Step::LeaveOut { from: 4 },
            Step::Cut { to: 0 },
            Step::LeaveOut { from: 1 },
        ];
        for step in steps {
            loop {
                let over = sum(&shown).saturating_sub(columns + 2);
                if over == 0 {
                    return shown;
                }
                match step {
                    Step::Cut { to } => {
                        let least = |at: usize| narrowest(at).max(to);
                        let can_be_cut =
                            |(at, wide): &&mut (usize, usize)| is_word(*at) && *wide > least(*at);
                        let widest = shown.iter_mut().filter(can_be_cut).max_by_key(|(_, wide)| *wide);
                        let Some((at, wide)) = widest else { break };
                        *wide = wide.saturating_sub(over).max(least(*at));
                    }
                    Step::LeaveOut { from } => {
                        let ranks = shown.iter().map(|(at, _)| rank(*at)).enumerate();
                        let Some((place, _)) =
                            ranks.filter(|(_, rank)| *rank >= from).max_by_key(|(_, rank)| *rank)
                        else {
                            break;
                        };
                        shown.remove(place);
                    }
                }
            }
        }
        // What is left is cut at the edge.
        shown
    }
}

/// A way to make a table narrower.
#[derive(Clone, Copy)]
enum Step {
    /// The widest words get less, but no less than this.
    Cut { to: usize },
    /// Columns of this rank and above go, the highest first.
    LeaveOut { from: u8 },
}

fn titled(column: &Column, is_sorted: bool, falls: bool) -> String {
    let mark = match (is_sorted, falls) {
        (false, _) => "",
        (true, true) => "▼",
        (true, false) => "▲",
    };
    format!("{}{mark}", column.title)
}

fn line(cells: impl Iterator<Item = Span<'static>>) -> Line<'static> {
    let mut spans = Vec::new();
    for cell in cells {
        if !spans.is_empty() {
            spans.push(Span::raw("  "));
        }
        spans.push(cell);
    }
    Line::from(spans)
}
