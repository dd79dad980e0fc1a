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

/// Writes a table: two spaces before each line and between columns, which are as wide as their widest
/// value. Characters that nobody sees are escaped, since names come from the host.
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
    write_row(out, &columns, &widths, columns.map(|column| column.title))?;
    for row in &rows {
        write_row(out, &columns, &widths, row.each_ref().map(String::as_str))?;
    }
    Ok(())
}

fn write_row<const N: usize>(
    out: &mut impl Write,
    columns: &[Column; N],
    widths: &[usize; N],
    values: [&str; N],
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
}
