//! Text from documents and the command line, made safe to read in a page or a spreadsheet.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with every character made visible that a reader would not see or that turns text around:
/// controls, and the bidirectional controls of Unicode (UAX 9), as Rust escapes them.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match is_hidden(letter) {
            // Writing to a string does not fail.
            true => drop(write!(shown, "{}", letter.escape_default())),
            false => shown.push(letter),
        }
    }
    Cow::Owned(shown)
}

fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        // Noncharacters, which HTML counts as errors.
        || matches!(letter, '\u{fdd0}'..='\u{fdef}')
        || u32::from(letter) & 0xfffe == 0xfffe
}

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
    fn hidden_characters_are_shown() {
        assert_eq!(visible("Dublin, Éire"), "Dublin, Éire");
        assert_eq!(visible("a\0\n\u{202e}b\u{feff}"), "a\\u{0}\\n\\u{202e}b\\u{feff}");
    }

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
