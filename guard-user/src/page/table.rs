//! Tables of the page.

use maud::{Markup, html};

/// A column's title.
pub(super) struct Column {
    title: &'static str,
    is_number: bool,
}

pub(super) const fn word(title: &'static str) -> Column {
    Column { title, is_number: false }
}

pub(super) const fn number(title: &'static str) -> Column {
    Column { title, is_number: true }
}

/// A table that can be scrolled by keyboard where it is too wide.
pub(super) fn table(caption: &str, columns: &[Column], rows: Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { (caption) }
                thead { tr { @for column in columns { th.n[column.is_number] scope="col" { (column.title) } } } }
                tbody { (rows) }
            }
        }
    }
}
