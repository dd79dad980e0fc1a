//! One frame.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::cell::{cut, text, width};
use super::state::{State, View};
use super::theme::{Theme, Tone};
use super::{health, overview};

/// The keys, as the help has them.
const KEYS: [(&str, &str); 10] = [
    ("1 to 7", "a view: overview, pins, places, violators, processes, exemptions, health"),
    ("Tab, Shift-Tab", "the next view, the one before"),
    ("s", "sort the table by its next column"),
    ("r", "turn the order round"),
    ("p, Space", "hold what is shown, and go on"),
    ("Up, Down, j, k", "a line up or down"),
    ("PgUp, PgDn", "ten lines up or down"),
    ("Home, End, g, G", "the first line, the last one"),
    ("h, ?", "these keys; any key closes them"),
    ("q, Esc, Ctrl-C", "quit; the guard goes on"),
];

/// Draws what is to be shown. Where the view has more lines than there is room for, the lines above are kept within what
/// there are.
pub fn draw(state: &mut State, theme: Theme, frame: &mut Frame<'_>) {
    let area = frame.area();
    let (columns, rows) = (usize::from(area.width), usize::from(area.height));
    let buffer = frame.buffer_mut();
    put(buffer, area, 0, 0, &head(state, columns, theme));
    if rows < 2 {
        return;
    }
    put(buffer, area, 0, 1, &views(state, columns, theme));
    put(buffer, area, 0, rows - 1, &foot(state, columns, theme));
    let room = rows.saturating_sub(3);
    let mut top = 2;
    let notices = notices(state, columns, theme);
    let notices: Vec<Line<'_>> = notices.into_iter().take(room).collect();
    for line in &notices {
        put(buffer, area, 0, top, line);
        top += 1;
    }
    let room = room - notices.len();
    for (left, lines) in body(state, columns, room, theme) {
        for (at, line) in lines.iter().take(room).enumerate() {
            put(buffer, area, left, top + at, line);
        }
    }
}

/// What is below titles and notices, each part with its first column.
fn body(state: &mut State, columns: usize, room: usize, theme: Theme) -> Vec<(usize, Vec<Line<'static>>)> {
    if state.shows_help() {
        return vec![(0, help(theme))];
    }
    match state.view() {
        View::Overview => overview::lines(state, columns, room, theme),
        View::Table(kind) => {
            let sort = state.sort_of(kind);
            let table = kind.table(state.shown()).sorted(sort);
            state.keep_scroll_within(table.rows.len().saturating_sub(room.saturating_sub(1)));
            vec![(0, table.lines(columns, room, state.scroll(), (sort, theme)))]
        }
        View::Health => {
            let lines = health::lines(state.shown(), columns, theme);
            state.keep_scroll_within(lines.len().saturating_sub(room));
            vec![(0, lines.into_iter().skip(state.scroll()).collect())]
        }
    }
}

/// Who answers, how well it guards, and when that was.
fn head(state: &State, columns: usize, theme: Theme) -> Line<'static> {
    let known = state.shown();
    let mut spans = vec![Span::styled("borderguard top", theme.style(Tone::Title))];
    let mut add = |text: String, tone| spans.push(Span::styled(format!("  {text}"), theme.style(tone)));
    if let Some(status) = &known.status {
        let state = status.health.name().to_uppercase();
        add(state, health::tone(status.health));
        match status.problems.len() {
            0 => {}
            1 => add("1 problem".to_owned(), Tone::Bad),
            count => add(format!("{count} problems"), Tone::Bad),
        }
        add(format!("generation {}", status.generation), Tone::Plain);
    }
    add(format!("{:.0}", known.now), Tone::Plain);
    if state.is_paused() {
        add("PAUSED".to_owned(), Tone::Warning);
    }
    if let Some(status) = known.status.as_ref().filter(|_| columns >= 120) {
        add(
            format!(
                "version {}, process {}, Linux {}",
                text(&status.version),
                status.pid,
                text(&status.kernel)
            ),
            Tone::Quiet,
        );
        add(text(&status.config), Tone::Quiet);
    }
    Line::from(spans)
}

/// The views with their numbers.
fn views(state: &State, columns: usize, theme: Theme) -> Line<'static> {
    let mut spans = Vec::new();
    for (at, view) in View::ALL.into_iter().enumerate() {
        let name = match columns < 80 && view != state.view() {
            // Their numbers alone, where there is no room for all names.
            true => String::new(),
            false => format!(" {}", view.name()),
        };
        let tone = if view == state.view() { Tone::Chosen } else { Tone::Plain };
        spans.push(Span::styled(format!("{}{name}", at + 1), theme.style(tone)));
        spans.push(Span::raw("  "));
    }
    Line::from(spans)
}

fn foot(state: &State, columns: usize, theme: Theme) -> Line<'static> {
    let said = match (state.view(), columns < 64) {
        (_, true) => "q quit  h help",
        (View::Table(_), _) => "q quit  h help  p pause  Tab next view  s sort  r reverse  Up Down scroll",
        (View::Health, _) => "q quit  h help  p pause  Tab next view  Up Down scroll",
        (View::Overview, _) => {
            "q quit  h help  p pause  Tab next view  1-7 a view, with sorting and scrolling"
        }
    };
    Line::styled(said, theme.style(Tone::Quiet))
}

/// What has to be known before the figures are believed.
fn notices(state: &State, columns: usize, theme: Theme) -> Vec<Line<'static>> {
    let known = state.shown();
    let mut notices = Vec::new();
    let mut add = |text: String| {
        notices.push(Line::styled(cut(&text, columns), theme.style(Tone::Bad)));
    };
    match (&known.lost, &known.no_events) {
        (Some((why, since)), _) => add(format!(
            "NO ANSWER since {since:.0}, tried again each second; what is in the kernel is enforced: {}",
            text(why)
        )),
        (None, Some(why)) => add(format!("NO EVENTS, tried again each second: {}", text(why))),
        (None, None) => {}
    }
    let lost = known.sums.missed;
    if lost > 0 {
        let given_up = "not taken in time, and missing below; the counters have every packet";
        notices.push(Line::styled(
            cut(&format!("{} events were {given_up}", super::cell::count(lost)), columns),
            theme.style(Tone::Warning),
        ));
    }
    let summed = known.sums.summed;
    if summed > 0 {
        let told = "of a storm are in sums alone (`borderguard events`), and not below";
        notices.push(Line::raw(cut(&format!("{} events {told}", super::cell::count(summed)), columns)));
    }
    notices
}

fn help(theme: Theme) -> Vec<Line<'static>> {
    let wide = KEYS.iter().map(|(keys, _)| width(keys)).max().unwrap_or(0);
    let line = |(keys, what): &(&'static str, &'static str)| {
        let keys = super::cell::padded(keys, wide, false);
        Line::from(vec![Span::styled(format!("  {keys}  "), theme.style(Tone::Title)), Span::raw(*what)])
    };
    let mut lines = vec![Line::styled("keys", theme.style(Tone::Title))];
    lines.extend(KEYS.iter().map(line));
    for sentence in [
        "",
        "Rates are differences of the kernel's counters over the time that passed. forbidden: what a",
        "pin drops, flags or observes. Each pin judges a packet for itself. Violators and",
        "processes are of the events since this began, and of the last ones before.",
    ] {
        lines.push(Line::raw(sentence));
    }
    lines
}

/// Writes a line, cut at the edge.
fn put(buffer: &mut Buffer, area: Rect, left: usize, top: usize, line: &Line<'_>) {
    let (Ok(left), Ok(top)) = (u16::try_from(left), u16::try_from(top)) else { return };
    if left >= area.width || top >= area.height {
        return;
    }
    buffer.set_line(area.x + left, area.y + top, line, area.width - left);
}
