//! What was found in a document, and where.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::text::{is_unseen, visible};

/// What can be found in a document. Its `Display` is one sentence.
pub trait Explain: fmt::Display {
    /// What to do next, in one line.
    fn hint(&self) -> String;
    /// A short name that stays the same from release to release, for programs that read the output.
    fn code(&self) -> &'static str;
}

/// A place in a text file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// One thing that was found: what it is, in which field and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<K> {
    /// `None` where it is about the file as a whole.
    pub place: Option<Place>,
    /// The file of `policy.d` that has the place, with the folder's name; `None` for the document's own file.
    pub within: Option<String>,
    /// The dotted path of the key, such as `pin.select.sources`; empty where no key is concerned.
    pub field: String,
    /// What was found; its `Display` is one sentence, its `hint()` says what to do next.
    pub kind: K,
}

impl<K: fmt::Display> fmt::Display for Finding<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", visible(&self.field))?;
        }
        self.kind.fmt(f)
    }
}

/// Why a file can't be used: every error in it, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors<K> {
    /// The file.
    pub file: PathBuf,
    /// Never empty.
    pub errors: Vec<Finding<K>>,
}

impl<K: Explain> fmt::Display for Errors<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            let break_before = if index == 0 { "" } else { "\n" };
            write!(f, "{break_before}{}error: {error}", error.at(&self.file))?;
            write!(f, "\n  hint: {}", error.kind.hint())?;
        }
        Ok(())
    }
}

impl<K: Explain + fmt::Debug> std::error::Error for Errors<K> {}

impl<K> Errors<K> {
    /// One error that is about the file as a whole.
    pub(crate) fn whole_file(file: &Path, kind: K) -> Self {
        let error = Finding { place: None, within: None, field: String::new(), kind };
        Self { file: file.to_owned(), errors: vec![error] }
    }
}

impl<K> Finding<K> {
    /// `file:line:column: ` as compilers write it, where this is the document's own file.
    pub(crate) fn at(&self, file: &Path) -> String {
        let file = self.within.as_ref().map_or_else(|| file.to_owned(), |within| file.with_file_name(within));
        match self.place {
            Some(Place { line, column }) => format!("{}:{line}:{column}: ", file.display()),
            None => format!("{}: ", file.display()),
        }
    }
}

/// A line of a document, as sentences name it. Its `Display` is the number, with its file where there are several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineAt(Box<LineOf>);

/// What [`LineAt`] has, apart from it: errors are handed on by value, and are to be small.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LineOf {
    /// The file; `None` where the document has one alone.
    file: Option<String>,
    /// From 1.
    line: usize,
}

impl fmt::Display for LineAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LineOf { file, line } = &*self.0;
        write!(f, "{line}")?;
        file.as_ref().map_or(Ok(()), |file| write!(f, " of {file}"))
    }
}

/// Text from the file as a message may show it: in quotes, characters that nobody sees escaped (it may end up on
/// a terminal), and not longer than a line.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut shown = String::new();
    for letter in text.chars().take(SHOWN) {
        match is_unseen(letter) {
            true => shown.extend(letter.escape_default()),
            // Between double quotes it closes nothing.
            false if letter == '\'' => shown.push(letter),
            false => shown.extend(letter.escape_debug()),
        }
    }
    if text.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    format!("\"{shown}\"")
}

/// Turns byte offsets of a text into places.
#[derive(Debug)]
pub(crate) struct Lines<'t> {
    text: &'t str,
    /// The offset of each line's first byte.
    starts: Vec<usize>,
    /// The files in it, in their order: where each begins, and its name.
    files: Vec<(usize, &'t str)>,
}

impl<'t> Lines<'t> {
    /// Of a text that has these files in it: where each begins, which is the begin of a line, and its name.
    pub(crate) fn with_fragments(text: &'t str, files: &[(usize, &'t str)]) -> Self {
        let after_breaks = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(after_breaks).collect(), files: files.to_vec() }
    }

    /// Where the file of the text begins that has this offset, and its name; `None` for the document's own.
    fn file(&self, offset: usize) -> Option<(usize, &'t str)> {
        let after = self.files.partition_point(|&(start, _)| start <= offset);
        self.files.get(after.checked_sub(1)?).copied()
    }

    /// The name of the file in the text that has this offset; `None` for the document's own.
    pub(crate) fn within(&self, offset: usize) -> Option<String> {
        self.file(offset).map(|(_, name)| name.to_owned())
    }

    /// The line of this offset, as sentences name it.
    pub(crate) fn line_at(&self, offset: usize) -> LineAt {
        let own = || (!self.files.is_empty()).then(|| "the config file".to_owned());
        LineAt(Box::new(LineOf { file: self.within(offset).or_else(own), line: self.place(offset).line }))
    }

    /// The place of the character at or around this offset in its file; of the end where it is past the end.
    pub(crate) fn place(&self, offset: usize) -> Place {
        let line_of = |offset| self.starts.partition_point(|&start| start <= offset).max(1);
        let line = line_of(offset);
        let before = self.file(offset).map_or(0, |(start, _)| line_of(start) - 1);
        let start = self.starts.get(line - 1).copied().unwrap_or_default();
        let characters_before =
            |line: &str| line.char_indices().take_while(|(index, _)| start + index < offset).count();
        let column = self.text.get(start..).map_or(0, characters_before) + 1;
        Place { line: line - before, column }
    }
}

/// Words as a list for a sentence.
pub(crate) fn words(choices: &[&str]) -> String {
    choices.iter().map(|choice| format!("\"{choice}\"")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_from_one() {
        let lines = Lines::with_fragments("äb\nc\n", &[]);
        let place = |offset| {
            let Place { line, column } = lines.place(offset);
            (line, column)
        };
        assert_eq!(
            [0, 2, 3, 4, 5, 6, 99].map(place),
            [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 1), (3, 1)]
        );
    }

    #[test]
    fn text_of_the_file_cannot_reach_the_terminal_raw() {
        assert_eq!(quoted("a\u{1b}[31m\n"), r#""a\u{1b}[31m\n""#);
        assert_eq!(quoted(&"x".repeat(70)), format!("\"{}...\"", "x".repeat(60)));
    }
}
