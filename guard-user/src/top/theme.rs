//! Colours, and what stands for them where there are none.

use ratatui::style::{Color, Modifier, Style};

/// What a text is to the eye. What it says never hangs on that alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// To be looked at.
    Warning,
    /// Wrong, or dropped.
    Bad,
    /// Beside the matter.
    Quiet,
    /// Titles.
    Title,
    /// What is chosen.
    Chosen,
}

/// Whether there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// The terminal's own 16 colours.
    Colour,
    /// Bold and reversed alone.
    Plain,
}

impl Theme {
    pub(super) const fn style(self, tone: Tone) -> Style {
        let style = Style::new();
        match (self, tone) {
            (_, Tone::Plain) | (Self::Plain, Tone::Good | Tone::Quiet) => style,
            (Self::Plain, Tone::Warning | Tone::Bad) => style.add_modifier(Modifier::BOLD),
            (_, Tone::Chosen) => style.add_modifier(Modifier::REVERSED),
            (Self::Plain, Tone::Title) => style.add_modifier(Modifier::BOLD.union(Modifier::UNDERLINED)),
            (Self::Colour, Tone::Title) => style.fg(Color::Cyan).add_modifier(Modifier::BOLD),
            (Self::Colour, Tone::Good) => style.fg(Color::Green),
            (Self::Colour, Tone::Warning) => style.fg(Color::Yellow),
            (Self::Colour, Tone::Bad) => style.fg(Color::Red).add_modifier(Modifier::BOLD),
            (Self::Colour, Tone::Quiet) => style.add_modifier(Modifier::DIM),
        }
    }
}
