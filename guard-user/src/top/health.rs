//! The problems, each with what to do.

use ratatui::text::Line;

use super::cell::text;
use super::theme::{Theme, Tone};
use crate::health::{Health, written_out};
use crate::live::known::Known;

/// The word for the state, and how it looks.
pub(super) const fn tone(health: Health) -> Tone {
    match health {
        Health::Guarding => Tone::Good,
        Health::Degraded | Health::Off => Tone::Bad,
        Health::Observing => Tone::Warning,
    }
}

/// One line that sums it up, then each problem with its message and what to do, in lines of this width.
pub(super) fn lines(known: &Known, columns: usize, theme: Theme) -> Vec<Line<'static>> {
    let Some(status) = &known.status else { return Vec::new() };
    let count = status.problems.len();
    let said = match count {
        0 => format!("health: {}, no problems", status.health),
        1 => format!("health: {}, 1 problem", status.health),
        _ => format!("health: {}, {count} problems", status.health),
    };
    let mut lines = vec![Line::styled(said, theme.style(Tone::Title))];
    for group in status.problems.chunk_by(|one, next| one.code == next.code) {
        let (first, more) = written_out(group);
        for problem in first {
            let subject = problem.subject.as_ref().map(|it| format!(": {}", text(it))).unwrap_or_default();
            let head = format!("  {}{subject}", problem.code);
            lines.push(Line::styled(head, theme.style(Tone::Bad)));
            for sentence in problem.message.lines() {
                wrapped(&text(sentence), columns, Tone::Plain, theme, &mut lines);
            }
        }
        if let Some(more) = more {
            wrapped(&more, columns, Tone::Plain, theme, &mut lines);
        }
        if let Some(problem) = group.first() {
            let remedy = format!("To do: {}", problem.code.remedy());
            wrapped(&remedy, columns, Tone::Warning, theme, &mut lines);
        }
    }
    lines
}

/// Appends a sentence in lines of this width.
fn wrapped(text: &str, columns: usize, tone: Tone, theme: Theme, lines: &mut Vec<Line<'static>>) {
    let options = textwrap::Options::new(columns.max(8))
        .initial_indent("    ")
        .subsequent_indent("    ")
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .wrap_algorithm(textwrap::WrapAlgorithm::FirstFit);
    let parts = textwrap::wrap(text, options);
    lines.extend(parts.into_iter().map(|part| Line::styled(part.into_owned(), theme.style(tone))));
}
