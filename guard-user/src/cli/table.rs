//! Text tables: aligned columns for people.

use std::io::{self, Write};

use crate::text::visible;

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its title.
    pub title: &'static str,
    /// Whether its values stand to the right, as numbers do.
    pub to_the_right: bool,
}

/// A column of words.
#[must_use]
pub const fn words(title: &'static str) -> Column {
    Column { title, to_the_right: false }
}

/// A column of numbers.
#[must_use]
pub const fn numbers(title: &'static str) -> Column {
    Column { title, to_the_right: true }
}

/// Columns of a terminal that no line is to pass where it can be wrapped: a terminal wraps in the middle of words.
pub const WIDTH: usize = 80;
/// Columns that the last column needs to be wrapped in itself.
const NARROWEST: usize = 24;
/// Before what does not fit beside the first columns.
const BELOW: &str = "      ";

/// Writes a sentence as lines of at most [`WIDTH`] columns, the first after `first` and the others after `rest`; a
/// longer word has a line of its own.
///
/// # Errors
/// Where `out` can't be written.
pub fn write_wrapped(first: &str, rest: &str, text: &str, out: &mut impl Write) -> io::Result<()> {
    let lines = wrapped(text, textwrap::Options::new(WIDTH).initial_indent(first).subsequent_indent(rest));
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))
}

fn wrapped(text: &str, options: textwrap::Options<'_>) -> Vec<String> {
    let options = options.break_words(false).word_splitter(textwrap::WordSplitter::NoHyphenation);
    let options = options.word_separator(textwrap::WordSeparator::AsciiSpace);
    let options = options.wrap_algorithm(textwrap::WrapAlgorithm::FirstFit);
    textwrap::wrap(text, options).into_iter().map(|line| line.trim_end().to_owned()).collect()
}

/// Writes a table: two spaces before each line and between columns, which are as wide as their widest
/// value. Characters that nobody sees are escaped, since names come from the host.
///
/// Where it is wider than [`WIDTH`], a last column of words is wrapped in itself; where that does not do, the columns that
/// do not fit follow below their row, each with its title.
///
/// # Errors
/// Where `out` can't be written.
pub fn write<const N: usize>(
    out: &mut impl Write,
    columns: [Column; N],
    rows: &[[String; N]],
) -> io::Result<()> {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|value| plain(value))).collect();
    let widths: [usize; N] = std::array::from_fn(|at| {
        let title = columns.get(at).map_or(0, |column| column.title.len());
        rows.iter().filter_map(|row| row.get(at)).map(|value| value.chars().count()).fold(title, usize::max)
    });
    let words_of_last = rows.iter().filter_map(|row| row.last()).flat_map(|value| value.split(' '));
    let longest_word = words_of_last.map(|word| word.chars().count()).max().unwrap_or(0);
    let layout = Layout::of(&columns, &widths, longest_word);
    let titles = columns.map(|column| column.title.to_owned());
    write_row(out, &columns, &widths, &titles[..layout.beside])?;
    for row in &rows {
        let (beside, below) = row.split_at(layout.beside);
        match (layout.wraps_last, beside.split_last()) {
            (true, Some((last, before))) => {
                let room = WIDTH - layout.before_last;
                let mut lines = wrapped(last, textwrap::Options::new(room)).into_iter();
                let first = lines.next().unwrap_or_default();
                let mut shown = before.to_vec();
                shown.push(first);
                write_row(out, &columns, &widths, &shown)?;
                for line in lines {
                    writeln!(out, "{}{line}", " ".repeat(layout.before_last))?;
                }
            }
            _ => write_row(out, &columns, &widths, beside)?,
        }
        let titled = columns.iter().skip(layout.beside).zip(below);
        let titled: Vec<String> =
            titled.map(|(column, value)| format!("{}: {value}", column.title)).collect();
        if !titled.is_empty() {
            write_wrapped(BELOW, BELOW, &titled.join("; "), out)?;
        }
    }
    Ok(())
}

/// Where the columns of a table go.
struct Layout {
    /// So many columns stand beside each other.
    beside: usize,
    /// Whether the last of them is wrapped in itself.
    wraps_last: bool,
    /// The width of those before that one.
    before_last: usize,
}

impl Layout {
    /// `longest_word` is the last column's.
    fn of(columns: &[Column], widths: &[usize], longest_word: usize) -> Self {
        let up_to = |count: usize| widths.iter().take(count).map(|width| width + 2).sum::<usize>();
        let all = columns.len();
        let before_last = up_to(all.saturating_sub(1)) + 2;
        let is_narrow = up_to(all) <= WIDTH;
        let room = longest_word.max(NARROWEST);
        let wraps_last =
            !is_narrow && columns.last().is_some_and(|it| !it.to_the_right) && before_last + room <= WIDTH;
        let fits = (1..=all).rev().find(|count| up_to(*count) <= WIDTH).unwrap_or(all.min(1));
        Self { beside: if wraps_last { all } else { fits }, wraps_last, before_last }
    }
}

fn write_row(
    out: &mut impl Write,
    columns: &[Column],
    widths: &[usize],
    values: &[String],
) -> io::Result<()> {
    let mut line = String::new();
    for ((column, width), value) in columns.iter().zip(widths).zip(values) {
        line.push_str("  ");
        let padding = " ".repeat(width.saturating_sub(value.chars().count()));
        match column.to_the_right {
            true => line.extend([padding.as_str(), value]),
            false => line.extend([value, padding.as_str()]),
        }
    }
    writeln!(out, "{}", line.trim_end())
}

/// Text as a terminal may show it.
#[must_use]
pub fn plain(text: &str) -> String {
    visible(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_value() {
        let mut out = Vec::new();
        let rows = [["a".to_owned(), "1,000".to_owned()], ["ä\u{1b}b".to_owned(), "7".to_owned()]];
        write(&mut out, [words("name"), numbers("n")], &rows).unwrap();
        let expected = "  name          n\n  a         1,000\n  ä\\u{1b}b      7\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_table_that_is_too_wide_has_its_last_columns_below_or_wrapped() {
        let told = |columns: [Column; 3], rows: &[[String; 3]]| {
            let mut out = Vec::new();
            write(&mut out, columns, rows).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
            text
        };
        let row = |third: &str| ["a".to_owned(), "b".repeat(40), third.to_owned()];
        let columns = [words("one"), words("two"), words("three")];
        let sentence = "it goes on and on over the end of the line, and then on";
        let b = "b".repeat(40);
        assert_eq!(
            told(columns, &[row(sentence)]),
            format!(
                "  one  two{:37}  three\n  a    {b}  it goes on and on over the end\n{:49}of the line, and then on\n",
                "", ""
            )
        );
        let wide = ["a".to_owned(), "b".repeat(60), sentence.repeat(2)];
        let text = told(columns, std::slice::from_ref(&wide));
        assert_eq!(
            text.lines().nth(2),
            Some("      three: it goes on and on over the end of the line, and then onit goes on")
        );
        // Numbers are not wrapped in themselves.
        let text = told(
            [words("one"), words("two"), numbers("three")],
            &[row("1,234,567 of 5,678,901 or of 9,012,345")],
        );
        assert_eq!(text.lines().nth(2), Some("      three: 1,234,567 of 5,678,901 or of 9,012,345"));
    }
}
