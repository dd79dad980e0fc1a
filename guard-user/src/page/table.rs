//! Tables of the page.

use maud::{Markup, html};

/// A table that can be scrolled by keyboard where it is too wide.
pub(super) fn table(caption: &str, columns: &[&str], rows: Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { (caption) }
                thead { tr { @for column in columns { th scope="col" { (column) } } } }
                tbody { (rows) }
            }
        }
    }
}
