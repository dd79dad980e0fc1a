//! Text from documents and the command line, made safe to read in a spreadsheet.

use crate::text::visible;

/// The text as a cell of CSV that no spreadsheet takes for a formula: an apostrophe is put before each
/// character that would begin one at the start of the cell, or after what a spreadsheet may take for the
/// end of a cell (OWASP, "CSV Injection").
pub(super) fn cell(text: &str) -> String {
    let mut cell = String::with_capacity(text.len() + 1);
    let mut begins = true;
    for letter in visible(text).chars() {
        if begins && matches!(letter, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠') {
            cell.push('\'');
        }
        begins = match letter {
            ';' | ',' | '|' | '"' | '\'' => true,
            letter => begins && letter.is_whitespace(),
        };
        cell.push(letter);
    }
    cell
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cell_begins_no_formula() {
        for (text, expected) in [
            ("=1+1", "'=1+1"),
            (" -1", " '-1"),
            ("x;=1+1", "x;'=1+1"),
            ("a, @SUM(1)", "a, '@SUM(1)"),
            ("\t=1", "\\t=1"),
            ("a-b", "a-b"),
            ("2026-11-23", "2026-11-23"),
            ("＝1", "'＝1"),
        ] {
            assert_eq!(cell(text), expected);
        }
    }

    proptest! {
        #[test]
        fn no_text_begins_a_formula(text in "[=+@; ,'\"\\-\t\ra＝]{0,12}") {
            let cell = cell(&text);
            for part in cell.split([';', ',', '"', '|']) {
                prop_assert!(!part.trim_start().starts_with(['=', '+', '-', '@', '＝']), "{cell:?}");
            }
            prop_assert!(!cell.contains(char::is_control));
        }
    }
}
