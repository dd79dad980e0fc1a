//! Output of `status`, `events`, commands on exemptions and errors as a terminal shows it best: lines that fit, and colours.
//!
//! It works on whole lines after every character that nobody sees was escaped, so that no name can bring a sequence of
//! its own. What is not written to a terminal stays one line, without colours.

use std::io::{self, IsTerminal as _, Write};

use super::table::WIDTH;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything else: as it is.
    Other,
    /// The status for people.
    Status,
    /// Events for people.
    Events,
    /// Sentences for people, each of which may be longer than a line.
    Sentences,
}

/// A writer of lines to standard output.
#[derive(Debug)]
pub struct OnTerminal<W> {
    out: W,
    kind: Kind,
    colours: bool,
    /// The begin of a line whose end is still to come.
    begun: Vec<u8>,
}

const RED: &str = "\u{1b}[1;31m";
const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const BOLD: &str = "\u{1b}[1m";
const DIM: &str = "\u{1b}[2m";
const NONE: &str = "\u{1b}[0m";

/// Whether the terminal that standard output is has colours, and the user wants them (<https://no-color.org>); none
/// where it is no terminal.
#[must_use]
pub fn colours() -> Option<bool> {
    let variable = |name| std::env::var_os(name).unwrap_or_default();
    let term = variable("TERM");
    let has = !term.is_empty() && term != "dumb" && variable("NO_COLOR").is_empty();
    io::stdout().is_terminal().then_some(has)
}

impl<W: Write> OnTerminal<W> {
    /// Lines of this kind go to a terminal that has colours or not, or to something else.
    pub const fn new(out: W, kind: Kind, terminal: Option<bool>) -> Self {
        let (kind, colours) = match terminal {
            Some(colours) => (kind, colours),
            None => (Kind::Other, false),
        };
        Self { out, kind, colours, begun: Vec::new() }
    }

    fn write_line(&mut self, line: &str) -> io::Result<()> {
        match self.kind {
            Kind::Other => writeln!(self.out, "{line}"),
            Kind::Status => self.write_in(of_status(line), line),
            Kind::Events => self.write_event(line),
            Kind::Sentences => self.write_sentence(line),
        }
    }

    /// An event's sentence in lines that fit, then its keys and values.
    fn write_event(&mut self, line: &str) -> io::Result<()> {
        let (sentence, keys) = match line.find(" [kind=") {
            Some(at) => line.split_at(at),
            None => (line, ""),
        };
        let style = of_event(sentence);
        for part in wrapped(sentence, "", "  ") {
            self.write_in(style, &part)?;
        }
        for part in wrapped(keys.trim_start(), "    ", "    ") {
            self.write_in(Some(DIM), &part)?;
        }
        Ok(())
    }

    /// A line in lines that fit, the later ones further to the right than the first.
    fn write_sentence(&mut self, line: &str) -> io::Result<()> {
        let text = line.trim_start_matches(' ');
        let first = " ".repeat(line.len() - text.len());
        let parts = wrapped(text, &first, &format!("{first}  "));
        match parts.is_empty() {
            true => writeln!(self.out),
            false => parts.iter().try_for_each(|part| writeln!(self.out, "{part}")),
        }
    }

    fn write_in(&mut self, style: Option<&str>, line: &str) -> io::Result<()> {
        match style.filter(|_| self.colours) {
            Some(style) => writeln!(self.out, "{style}{line}{NONE}"),
            None => writeln!(self.out, "{line}"),
        }
    }
}

impl<W: Write> Write for OnTerminal<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.kind == Kind::Other {
            return self.out.write(bytes);
        }
        self.begun.extend_from_slice(bytes);
        while let Some(at) = self.begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.begun.drain(..=at).take(at).collect();
            self.write_line(&String::from_utf8_lossy(&line))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.begun);
        self.out.write_all(&rest)?;
        self.out.flush()
    }
}

/// The text in lines of at most [`WIDTH`] columns; a longer word has a line of its own. None where it is empty.
fn wrapped(text: &str, first: &str, rest: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let options = textwrap::Options::new(WIDTH)
        .initial_indent(first)
        .subsequent_indent(rest)
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .wrap_algorithm(textwrap::WrapAlgorithm::FirstFit);
    textwrap::wrap(text, options).into_iter().map(|line| line.trim_end().to_owned()).collect()
}

/// By what happened, the word after the time.
fn of_event(sentence: &str) -> Option<&'static str> {
    match sentence.split(' ').nth(1)? {
        "dropped" | "refused" => Some(RED),
        "flagged" | "would" => Some(YELLOW),
        _ => None,
    }
}

fn of_status(line: &str) -> Option<&'static str> {
    let begins = |words: &[&str]| words.iter().any(|word| line.starts_with(word));
    if begins(&["guarding: "]) {
        Some(GREEN)
    } else if begins(&["degraded: ", "off: ", "  PROBLEM "]) {
        Some(RED)
    } else if begins(&["observing: ", "OBSERVING: ", "EXEMPTIONS: ", "    To do: ", "  STALE: "]) {
        Some(YELLOW)
    } else if !line.is_empty()
        && !line.starts_with(' ')
        && !line.contains(':')
        && !line.contains("borderguard ")
    {
        Some(BOLD)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(kind: Kind, terminal: Option<bool>, text: &str) -> String {
        let mut out = OnTerminal::new(Vec::new(), kind, terminal);
        // In parts, as a buffer gives it.
        text.as_bytes().chunks(7).for_each(|part| out.write_all(part).unwrap());
        out.flush().unwrap();
        String::from_utf8(out.out).unwrap()
    }

    fn documented() -> String {
        let docs = include_str!("../../../docs/logs.md");
        let line =
            docs.lines().find(|line| line.contains(" dropped tcp ") && line.contains("[kind=event")).unwrap();
        format!("{line}\n")
    }

    #[test]
    fn an_event_fits_a_terminal_and_stays_one_line_elsewhere() {
        let line = documented();
        assert_eq!(written(Kind::Events, None, &line), line);
        let shown = written(Kind::Events, Some(false), &line);
        assert!(shown.lines().all(|line| line.chars().count() <= WIDTH), "{shown}");
        assert!(shown.lines().count() > 3 && !shown.contains('\u{1b}'), "{shown}");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&shown), words(&line));
        let coloured = written(Kind::Events, Some(true), &line);
        assert!(coloured.starts_with("\u{1b}[1;31m2026-11-23T12:00:01.500Z dropped tcp"), "{coloured}");
    }

    #[test]
    fn a_sentence_fits_a_terminal_and_stays_one_line_elsewhere() {
        let line =
            format!("m.toml: error: {}\n\n  hint: {}\n", "a word and ".repeat(20), "another ".repeat(20));
        assert_eq!(written(Kind::Sentences, None, &line), line);
        let shown = written(Kind::Sentences, Some(true), &line);
        assert!(shown.lines().all(|line| line.chars().count() <= WIDTH), "{shown}");
        assert!(
            shown.contains("\n  a word") || shown.contains("\n  and") || shown.contains("\n  word"),
            "{shown}"
        );
        assert!(shown.contains("\n\n  hint: another") && shown.contains("\n    another"), "{shown}");
    }

    #[test]
    fn a_status_has_the_colour_of_its_state_and_of_its_problems() {
        let text = "degraded: 1 problem\n  PROBLEM x\n    To do: y\nborderguard 0.1.0, process 1\n\npins, packets\n  name\n";
        assert_eq!(
            written(Kind::Status, Some(true), text),
            format!(
                "{RED}degraded: 1 problem{NONE}\n{RED}  PROBLEM x{NONE}\n{YELLOW}    To do: y{NONE}\n\
                 borderguard 0.1.0, process 1\n\n{BOLD}pins, packets{NONE}\n  name\n"
            )
        );
        assert_eq!(written(Kind::Status, Some(false), text), text);
        assert_eq!(written(Kind::Status, None, text), text);
    }

    proptest! {
        #[test]
        fn without_colours_no_word_is_changed_or_lost(text in "[^\n\r\t\u{b}\u{c}\u{85}\u{a0}\u{1680}\u{2000}-\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}]{0,400}") {
            let line = format!("{text}\n");
            for kind in [Kind::Events, Kind::Status, Kind::Sentences] {
                let shown = written(kind, Some(false), &line);
                let words = |text: &str| text.split([' ', '\n']).filter(|it| !it.is_empty()).map(str::to_owned).collect::<Vec<_>>();
                prop_assert_eq!(words(&shown), words(&line));
            }
        }
    }
}
