//! The terminal: colours where they are wanted, and tables that line up.
use std::io::{IsTerminal, Write};

/// No line is longer, in columns.
pub(super) const WIDTH: usize = 100;
/// Nor longer than this where the terminal is narrower than that.
pub(super) const NARROW: usize = 80;

/// How a piece of text stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Title,
    Faint,
    Good,
    Bad,
    Special,
}

impl Style {
    /// The SGR parameters (ECMA-48 section 8.3.117).
    fn code(self) -> &'static str {
        match self {
            Style::Plain => "",
            Style::Title => "1",
            Style::Faint => "2",
            Style::Good => "32",
            Style::Bad => "1;31",
            Style::Special => "36",
        }
    }
}

/// One cell of a table.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) style: Style,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>, style: Style) -> Self {
        Cell { text: text.into(), style }
    }

    pub(super) fn plain(text: impl Into<String>) -> Self {
        Cell::new(text, Style::Plain)
    }
}

/// A column: its title, its width and where its text leans.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) width: usize,
    pub(super) to_the_right: bool,
}

/// Where the demo is shown.
#[derive(Debug)]
pub(super) struct Screen {
    colours: bool,
    /// Whether a line can be drawn over.
    redraws: bool,
    /// Whether the terminal has less than [`WIDTH`] columns.
    narrow: bool,
}

impl Screen {
    /// Standard output. Colours only on a terminal that has them and where `NO_COLOR` is not set
    /// (<https://no-color.org>).
    pub(super) fn stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let able = std::env::var_os("TERM").is_some_and(|value| value != "dumb");
        let narrow = rustix::termios::tcgetwinsize(std::io::stdout())
            .is_ok_and(|size| (1..WIDTH).contains(&usize::from(size.ws_col)));
        Screen { colours: terminal && wanted && able, redraws: terminal && able, narrow }
    }

    /// Whether no line may be longer than [`NARROW`].
    pub(super) fn is_narrow(&self) -> bool {
        self.narrow
    }

    fn width(&self) -> usize {
        if self.narrow { NARROW } else { WIDTH }
    }

    pub(super) fn paint(&self, text: &str, style: Style) -> String {
        if self.colours && style != Style::Plain {
            format!("\x1b[{}m{text}\x1b[0m", style.code())
        } else {
            text.to_owned()
        }
    }

    /// Writes a line. A reader that has gone away (`| head`) ends nothing: the demo still cleans up.
    pub(super) fn line(&self, text: &str) {
        self.write(&format!("{text}\n"));
    }

    fn write(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        let _reader_gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// A step's heading.
    pub(super) fn heading(&self, number: usize, text: &str) {
        self.line("");
        let heading = format!("{number}  {text} ");
        let rule = "─".repeat(self.width().saturating_sub(heading.chars().count()));
        self.line(&format!("{}{}", self.paint(&heading, Style::Title), self.paint(&rule, Style::Faint)));
    }

    /// Explanation, broken into lines.
    pub(super) fn prose(&self, text: &str) {
        for line in wrap(text, self.width() - 3) {
            self.line(&format!("   {}", self.paint(&line, Style::Faint)));
        }
    }

    /// A quotation, broken into lines.
    pub(super) fn indented(&self, text: &str, style: Style) {
        for line in wrap(text, self.width() - 6) {
            self.line(&format!("      {}", self.paint(&line, style)));
        }
    }

    /// One entry of a list, broken into lines.
    pub(super) fn item(&self, text: &str) {
        for (number, line) in wrap(text, self.width() - 5).iter().enumerate() {
            self.line(&format!("   {} {line}", if number == 0 { "-" } else { " " }));
        }
    }

    pub(super) fn table_top(&self, columns: &[Column]) {
        self.rule(columns, "┌", "┬", "┐");
        let titles: Vec<Cell> = columns.iter().map(|column| Cell::new(column.title, Style::Title)).collect();
        self.table_row(columns, &titles);
        self.rule(columns, "├", "┼", "┤");
    }

    pub(super) fn table_row(&self, columns: &[Column], cells: &[Cell]) {
        let clear = if self.redraws { "\r\x1b[K" } else { "" };
        self.line(&format!("{clear}{}", self.row(columns, cells)));
    }

    /// Shows a row that is not known yet; the next row takes its place.
    pub(super) fn table_row_pending(&self, columns: &[Column], cells: &[Cell]) {
        if self.redraws {
            self.write(&self.row(columns, cells));
        }
    }

    fn row(&self, columns: &[Column], cells: &[Cell]) -> String {
        let bar = self.paint("│", Style::Faint);
        let shown = columns.iter().zip(cells).map(|(column, cell)| {
            let text = fit(&cell.text, column.width);
            let space = " ".repeat(column.width - text.chars().count());
            let text = self.paint(&text, cell.style);
            let pad = self.padding();
            if column.to_the_right {
                format!("{pad}{space}{text}{pad}")
            } else {
                format!("{pad}{text}{space}{pad}")
            }
        });
        format!("{bar}{}{bar}", shown.collect::<Vec<_>>().join(&bar))
    }

    /// What is beside the text of a cell.
    fn padding(&self) -> &'static str {
        if self.narrow { "" } else { " " }
    }

    pub(super) fn table_bottom(&self, columns: &[Column]) {
        self.rule(columns, "└", "┴", "┘");
    }

    fn rule(&self, columns: &[Column], left: &str, middle: &str, right: &str) {
        let beside = 2 * self.padding().len();
        let parts: Vec<String> = columns.iter().map(|column| "─".repeat(column.width + beside)).collect();
        self.line(&self.paint(&format!("{left}{}{right}", parts.join(middle)), Style::Faint));
    }
}

/// Cut to `width` characters, with a mark if something is missing.
fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Breaks text between words into lines of at most `width` characters.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrap("a-word-too-long b", 4), ["a-word-too-long", "b"]);
        assert!(wrap(" ", 4).is_empty());
    }

    #[test]
    fn cells_are_cut_with_a_mark() {
        assert_eq!(fit("forbidden", 9), "forbidden");
        assert_eq!(fit("exemption-expired", 9), "exemptio…");
    }

    #[test]
    fn every_line_of_a_table_is_as_wide() {
        let screen = Screen { colours: false, redraws: false, narrow: false };
        let column = |width| Column { title: "t", width, to_the_right: width % 2 == 0 };
        let columns = [column(3), column(8)];
        let rows = [["", ""], ["✔ a", "much too long"], ["abcd", "b"]];
        for cells in rows {
            let row = screen.row(&columns, &cells.map(Cell::plain));
            assert_eq!(row.chars().count(), 3 + 8 + 2 * 2 + 3, "{row}");
        }
    }

    #[test]
    fn colour_only_where_wanted() {
        let shown = |colours| Screen { colours, redraws: false, narrow: false }.paint("drop", Style::Bad);
        assert_eq!(shown(false), "drop");
        assert_eq!(shown(true), "\x1b[1;31mdrop\x1b[0m");
    }
}
