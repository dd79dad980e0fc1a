//! What hides a part of a text from those who read it in a viewer of plain text, who would sign more than they have seen:
//! escapes that stand for characters, text far to the right, and text far below.

use std::fmt;

/// Blanks in a row at most where text follows them on the line; a tab counts as [`TAB`].
const BLANKS: usize = 32;

/// Columns of a tab.
const TAB: usize = 8;

/// Empty lines in a row at most where text follows them.
const EMPTY_LINES: usize = 8;

/// A way in which a text hides a part of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hiding {
    /// An escape in the place of a character: other text is read than is meant.
    Escape {
        /// As it is written.
        escape: String,
    },
    /// A gap in a line: what follows it may be past the viewer's edge.
    Gap {
        /// How wide it is.
        columns: usize,
    },
    /// Empty lines: what follows them may be taken to be no part of the text.
    EmptyLines {
        /// How many there are.
        lines: usize,
    },
}

impl Hiding {
    /// What to do, in one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Escape { .. } => {
                "write the character itself: who signs the document reads it as it stands".into()
            }
            Self::Gap { .. } => format!(
                "write at most {BLANKS} blanks in a row, a tab counting as {TAB}: a viewer may cut off what is to the right of more"
            ),
            Self::EmptyLines { .. } => {
                format!("leave at most {EMPTY_LINES}: after more of them the document seems to be over")
            }
        }
    }
}

impl fmt::Display for Hiding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Escape { escape } => write!(f, "the text that begins here has the escape {escape}"),
            Self::Gap { columns } => write!(f, "a gap of {columns} columns stands before the text here"),
            Self::EmptyLines { lines } => write!(f, "{lines} empty lines stand before this one"),
        }
    }
}

/// All that hides a part of a text in TOML, each with the place by which it is named, in no order.
pub(super) fn find(text: &str) -> Vec<(usize, Hiding)> {
    let mut found = escapes(text);
    let (mut begin, mut empty) = (0, 0);
    for line in text.split_inclusive('\n') {
        let shown = line.trim_end();
        // A comment of no words is as good as empty.
        if matches!(shown.trim_start(), "" | "#") {
            empty += 1;
        } else {
            if empty > EMPTY_LINES {
                found.push((begin, Hiding::EmptyLines { lines: empty }));
            }
            empty = 0;
        }
        found.extend(gap(shown).map(|(at, columns)| (begin + at, Hiding::Gap { columns })));
        begin += line.len();
    }
    found
}

/// Where text begins after the first gap of a line that has no blanks at its end, and how wide the gap is.
fn gap(line: &str) -> Option<(usize, usize)> {
    let mut columns = 0;
    for (at, letter) in line.char_indices() {
        match letter {
            ' ' => columns += 1,
            '\t' => columns += TAB,
            _ if columns > BLANKS => return Some((at, columns)),
            _ => columns = 0,
        }
    }
    None
}

/// The texts with an escape for a character, each with its first one.
fn escapes(text: &str) -> Vec<(usize, Hiding)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = text.get(at..).and_then(|rest| rest.find(['#', '"', '\''])) {
        let begin = at + next;
        let rest = text.get(begin..).unwrap_or_default();
        let length = match rest.starts_with('#') {
            true => rest.find('\n').unwrap_or(rest.len()),
            false => {
                let (length, escape) = quoted(rest);
                found.extend(escape.map(|escape| (begin, Hiding::Escape { escape })));
                length
            }
        };
        at = begin + length;
    }
    found
}

/// How long the text of TOML is that begins here, with its quotes, and its first escape for a character. In text between
/// apostrophes there are none.
fn quoted(rest: &str) -> (usize, Option<String>) {
    let quote = if rest.starts_with('"') { '"' } else { '\'' };
    let three = quote.to_string().repeat(3);
    let is_long = rest.starts_with(&three);
    let end = if is_long { three.as_str() } else { three.get(..1).unwrap_or_default() };
    let mut escape = None;
    let mut letters = rest.char_indices().skip(end.len());
    while let Some((at, letter)) = letters.next() {
        let tail = rest.get(at..).unwrap_or_default();
        if letter == '\\' && quote == '"' {
            let digits = match letters.next() {
                Some((_, 'x')) => 2,
                Some((_, 'u')) => 4,
                Some((_, 'U')) => 8,
                _ => continue,
            };
            let digits = tail.chars().skip(2).take(digits).take_while(char::is_ascii_hexdigit);
            escape.get_or_insert_with(|| tail.chars().take(2).chain(digits).collect());
        } else if let Some(after) = tail.strip_prefix(end) {
            // Up to two quotes before those that end a long text belong to it.
            let more = if is_long { after.chars().take(2).take_while(|it| *it == quote).count() } else { 0 };
            return (at + end.len() + more, escape);
        } else if letter == '\n' && !is_long {
            return (at, escape);
        }
    }
    (rest.len(), escape)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str) -> Vec<(usize, String)> {
        find(text).into_iter().map(|(at, what)| (at, what.to_string())).collect()
    }

    #[test]
    fn escapes_of_characters_are_found_where_toml_has_them() {
        for (text, at, escape) in [
            ("a = \"any\\u0077here\"", 4, "\\u0077"),
            ("\"quot\\u0061_bytes\" = 9", 0, "\\u0061"),
            ("a = [\"b\", \"\\U00000031\\u0030\"]", 10, "\\U00000031"),
            ("a = \"\\\\\\x41\"", 4, "\\x41"),
            ("a = '\"' # \"\nb = \"\\u00e9\"", 16, "\\u00e9"),
            ("a = \"\"\"x\n\"\"\\u0041\"\"\"\"\"", 4, "\\u0041"),
            ("a = \"\"\"x\"\"\"\"\" \nb = \"\\u0041\"", 19, "\\u0041"),
            ("a = '''\\u0041''''\nb = \"\\u0042\"", 22, "\\u0042"),
        ] {
            let told = format!("the text that begins here has the escape {escape}");
            assert_eq!(found(text), [(at, told)], "{text}");
        }
        for text in [
            "a = \"C:\\\\users\"",
            "a = 'C:\\users'",
            "# C:\\users",
            "a = \"b\" # \"\\u0041\"",
            "a = \"\\\"\" # \\u0041",
            "a = \"\\t\\n\"",
            "a = '''\\u0041'''",
            "a = \"\"\nb = ''",
        ] {
            assert!(found(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn gaps_and_empty_lines_are_found_where_text_follows() {
        let blanks = |count: usize| " ".repeat(count);
        let text = format!("a = [1,{}2]\n", blanks(33));
        assert_eq!(found(&text), [(40, "a gap of 33 columns stands before the text here".to_owned())]);
        let tabs = "a = 1\n\t\t\t\t\t# more";
        assert_eq!(found(tabs), [(11, "a gap of 40 columns stands before the text here".to_owned())]);
        for text in [format!("a = [1,{}2]", blanks(32)), format!("a = 1{}\r\n{}\n", blanks(99), blanks(99))] {
            assert!(found(&text).is_empty(), "{text}");
        }
        for lines in ["\n", "\r\n", "#\n", "  \n", " # \r\n"] {
            let (fine, many) =
                (format!("a = 1\n{}b", lines.repeat(8)), format!("a = 1\n{}b", lines.repeat(9)));
            assert!(found(&fine).is_empty(), "{lines:?}");
            let told = "9 empty lines stand before this one".to_owned();
            assert_eq!(found(&many), [(many.len() - 1, told)], "{lines:?}");
        }
        assert!(found(&format!("a = 1{}", "\n".repeat(99))).is_empty());
    }

    proptest! {
        /// Held against the parser: a text with an escape is not what stands there.
        #[test]
        fn no_text_is_another_than_stands_there(
            texts in prop::collection::vec("[ab#'\"\\\\u0-4\n]{0,12}", 1..4),
            quotes in prop::collection::vec(0..4_usize, 4),
        ) {
            let mut text = String::new();
            for (number, (value, quote)) in texts.iter().zip(&quotes).enumerate() {
                let quote = ["\"", "'", "\"\"\"", "'''"][*quote];
                text += &format!("k{number} = {quote}{value}{quote} # '\"\n");
            }
            let Ok(table) = text.parse::<toml::Table>() else { return Ok(()) };
            // With each escape spoilt the text is no TOML any more just where it has one.
            let spoilt = text.replace("\\u", "\\q");
            let has_escape = spoilt.parse::<toml::Table>().is_err();
            prop_assert_eq!(!escapes(&text).is_empty(), has_escape, "{:?} {:?}", text, table);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[ \t\n#'\"\\\\uUxé]{0,80}") {
            let _found = find(&text);
        }
    }
}
