//! What is on the screen, and that nothing that comes in can break it.

mod any_input;
mod screen;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::draw::draw;
use super::state::{Input, Key, State};
use super::theme::Theme;
use crate::live::sample;

/// A terminal of this size after the sample's news and these keys.
fn state(keys: &[Key]) -> State {
    let mut state = State::default();
    state.update(Input::Time(sample::now()));
    sample::news().into_iter().for_each(|news| state.update(Input::News(news)));
    keys.iter().for_each(|key| state.update(Input::Key(*key)));
    state
}

/// A frame.
fn drawn(state: &mut State, theme: Theme, columns: u16, rows: u16) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(state, theme, frame)).unwrap();
    terminal.backend().clone()
}

/// Its lines, without the blanks at their ends.
fn lines(backend: &TestBackend) -> Vec<String> {
    let buffer = backend.buffer();
    let area = buffer.area;
    let line = |row| {
        let mut line = String::new();
        let mut skip = 0;
        for column in 0..area.width {
            let symbol = buffer[(column, row)].symbol();
            // What a wide character covers is not shown.
            if skip == 0 {
                line.push_str(symbol);
                skip = super::cell::width(symbol).max(1);
            }
            skip -= 1;
        }
        line.trim_end().to_owned()
    };
    (0..area.height).map(line).collect()
}

fn screen(keys: &[Key], columns: u16, rows: u16) -> Vec<String> {
    lines(&drawn(&mut state(keys), Theme::Colour, columns, rows))
}
