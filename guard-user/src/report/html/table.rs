//! Tables, numbers and moments of the page.

use jiff::Timestamp;
use maud::{Markup, html};

use super::super::words;
use crate::report::number::grouped;

/// Columns of numbers.
const NUMBERS: [&str; 6] = ["packets", "bytes", "permitted", "exempted", "forbidden, passed", "refused"];

/// Tables of no more rows stay on one sheet of paper.
const SHORT: usize = 12;

/// A table whose head is repeated on each sheet of paper; each row is its cells.
pub(super) fn table(
    id: Option<&str>,
    caption: &str,
    columns: &[&str],
    rows: impl Iterator<Item = Markup>,
) -> Markup {
    let rows: Vec<Markup> = rows.collect();
    html! {
        div.scroll.short[rows.len() <= SHORT] {
            table id=[id] {
                caption { (caption) }
                thead {
                    tr {
                        @for column in columns {
                            th.n[NUMBERS.contains(column)] scope="col" { (column) }
                        }
                    }
                }
                tbody { @for row in rows { tr { (row) } } }
            }
        }
    }
}

/// A number for people, with the plain one for programs.
pub(super) fn number(number: u64) -> Markup {
    html! { data value=(number) { (grouped(number)) } }
}

/// A moment for people, to the second, with the whole one for programs.
pub(super) fn moment(moment: Timestamp) -> Markup {
    html! { time datetime=(moment) { (words::moment(moment)) } }
}
