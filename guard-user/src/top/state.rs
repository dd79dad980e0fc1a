//! What is known, what is shown of it, and what each input changes.

use jiff::Timestamp;

use super::table::{Column, Sort};
use super::tables::Kind;
use crate::live::feed::News;
use crate::live::known::Known;

/// What comes in.
#[derive(Clone, Debug)]
pub enum Input {
    /// From the daemon.
    News(News),
    /// A key.
    Key(Key),
    /// The time, as often as it is to be shown.
    Time(Timestamp),
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// To end.
    Quit,
    /// The view of this number, from 1.
    View(usize),
    /// The next view.
    Next,
    /// The view before.
    Previous,
    /// To sort by the next column.
    Sort,
    /// To turn the order round.
    Reverse,
    /// To hold what is shown, or to go on.
    Pause,
    /// To show the keys, or not any more.
    Help,
    /// So many lines down, or up where it is negative.
    Scroll(i32),
    /// To the first line.
    First,
    /// To the last line.
    Last,
}

/// What is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Something of everything.
    #[default]
    Overview,
    /// One table.
    Table(Kind),
    /// The problems, and what to do.
    Health,
}

impl View {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Overview,
        Self::Table(Kind::Pins),
        Self::Table(Kind::Places),
        Self::Table(Kind::Violators),
        Self::Table(Kind::Processes),
        Self::Table(Kind::Exemptions),
        Self::Health,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Table(kind) => kind.name(),
            Self::Health => "health",
        }
    }
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct State {
    known: Known,
    held: Option<Box<Known>>,
    view: View,
    sorts: [Option<Sort>; Kind::ALL.len()],
    scroll: usize,
    help: bool,
    ended: bool,
}

impl State {
    /// Takes an input.
    pub fn update(&mut self, input: Input) {
        match input {
            Input::News(news) => self.known.update(news),
            Input::Time(now) => self.known.now = now,
            Input::Key(key) => self.press(key),
        }
    }

    fn press(&mut self, key: Key) {
        // What is below is not seen meanwhile.
        if self.help && key != Key::Quit {
            self.help = false;
            return;
        }
        match key {
            Key::Quit => self.ended = true,
            Key::Help => self.help = true,
            Key::Pause => {
                self.held = match self.held.take() {
                    Some(_) => None,
                    None => Some(Box::new(self.known.clone())),
                };
            }
            Key::View(number) => {
                if let Some(view) = number.checked_sub(1).and_then(|at| View::ALL.get(at)) {
                    self.show(*view);
                }
            }
            Key::Next => self.show_by(1),
            Key::Previous => self.show_by(View::ALL.len() - 1),
            Key::Sort => self.sort(Sort::by_next),
            Key::Reverse => self.sort(Sort::reversed),
            Key::Scroll(lines) => {
                let by = usize::try_from(lines.unsigned_abs()).unwrap_or(usize::MAX);
                self.scroll = match lines < 0 {
                    true => self.scroll.saturating_sub(by),
                    false => self.scroll.saturating_add(by),
                };
            }
            Key::First => self.scroll = 0,
            Key::Last => self.scroll = usize::MAX,
        }
    }

    fn show(&mut self, view: View) {
        self.view = view;
        self.scroll = 0;
    }

    fn show_by(&mut self, step: usize) {
        let at = View::ALL.iter().position(|view| *view == self.view).unwrap_or(0);
        if let Some(view) = View::ALL.get((at + step) % View::ALL.len()) {
            self.show(*view);
        }
    }

    fn sort(&mut self, change: fn(Sort, &[Column]) -> Sort) {
        let View::Table(kind) = self.view else { return };
        let changed = change(self.sort_of(kind), kind.columns());
        if let Some(sort) = self.sorts.get_mut(kind as usize) {
            *sort = Some(changed);
            self.scroll = 0;
        }
    }

    /// What is to be drawn: what is known, or what was when it was paused.
    #[must_use]
    pub fn shown(&self) -> &Known {
        self.held.as_deref().unwrap_or(&self.known)
    }

    /// Whether what is shown is held.
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        self.held.is_some()
    }

    /// The view.
    #[must_use]
    pub const fn view(&self) -> View {
        self.view
    }

    /// Lines of the view that are above what is shown, or more than there are.
    #[must_use]
    pub const fn scroll(&self) -> usize {
        self.scroll
    }

    /// Keeps the lines above within what there are, so that the next key moves what is seen.
    pub fn keep_scroll_within(&mut self, most: usize) {
        self.scroll = self.scroll.min(most);
    }

    /// Whether the keys are shown.
    #[must_use]
    pub const fn shows_help(&self) -> bool {
        self.help
    }

    /// Whether it is to end.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    /// How a table is sorted.
    #[must_use]
    pub fn sort_of(&self, kind: Kind) -> Sort {
        self.sorts.get(kind as usize).copied().flatten().unwrap_or_else(|| kind.usual())
    }
}
