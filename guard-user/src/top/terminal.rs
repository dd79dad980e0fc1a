//! The loop: keys, signals and the daemon's news in, frames out, and the terminal as it was at the end.

use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::signal::unix::{SignalKind, signal};

use super::draw::draw;
use super::state::{Input, Key, State};
use super::theme::Theme;
use crate::live::feed::News;

/// How long a key or news are waited for, at most: so long a signal may take.
const TURN: Duration = Duration::from_millis(100);
/// How often it is looked whether the terminal is still there, and how long its end may take.
const LOOK: Duration = Duration::from_secs(1);
/// News that are taken before it is drawn again.
const BATCH: usize = 512;

/// Whether standard input and output are a terminal that can be drawn on, and with which colours.
///
/// # Errors
/// Why not, and what to use instead.
pub fn theme() -> Result<Theme, String> {
    let variable = |name| std::env::var_os(name).unwrap_or_default();
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err("`top` needs a terminal on standard input and output; `borderguard status` prints the same figures \
                    once, and `borderguard status --json` prints them for programs"
            .to_owned());
    }
    let term = variable("TERM");
    if term.is_empty() || term == "dumb" {
        return Err("`top` can't draw here: TERM is unset or `dumb`, which is a terminal that can't move its cursor; \
                    `borderguard status` prints the same figures"
            .to_owned());
    }
    // https://no-color.org: set, and not empty.
    Ok(if variable("NO_COLOR").is_empty() { Theme::Colour } else { Theme::Plain })
}

/// Draws what comes until it is to end: by a key, or by SIGTERM, SIGINT or SIGHUP. The terminal is as it was afterwards,
/// on a panic too.
///
/// # Errors
/// Where the terminal is gone.
pub fn run(news: &Receiver<News>, theme: Theme) -> Result<()> {
    let stop = signals()?;
    let mut terminal = ratatui::try_init().context("cannot draw on the terminal")?;
    let done = drawn(&mut terminal, news, theme, &stop);
    // Where the terminal is gone there is nothing to restore.
    let restored = ratatui::try_restore();
    done?;
    if stop.load(Ordering::Relaxed) {
        return Ok(());
    }
    restored.context("cannot restore the terminal")
}

fn drawn(
    terminal: &mut ratatui::DefaultTerminal,
    news: &Receiver<News>,
    theme: Theme,
    stop: &AtomicBool,
) -> Result<()> {
    let mut state = State::default();
    let mut shown = None;
    while !stop.load(Ordering::Relaxed) && !state.has_ended() {
        let now = Timestamp::now().as_second();
        let mut is_new = shown.replace(now) != Some(now);
        if let (true, Ok(time)) = (is_new, Timestamp::from_second(now)) {
            state.update(Input::Time(time));
        }
        for _ in 0..BATCH {
            match news.try_recv() {
                Ok(one) => {
                    is_new = true;
                    state.update(Input::News(one));
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => bail!("the threads that ask the daemon have ended"),
            }
        }
        if is_new {
            terminal.draw(|frame| draw(&mut state, theme, frame)).context("cannot draw on the terminal")?;
        }
        if event::poll(TURN).context("cannot read keys")? {
            // A change of size is an event too, and seen by the next frame.
            shown = None;
            if let Event::Key(pressed) = event::read().context("cannot read keys")?
                && let Some(key) = meant(pressed)
            {
                state.update(Input::Key(key));
            }
        }
    }
    Ok(())
}

/// What a key asks for.
fn meant(pressed: KeyEvent) -> Option<Key> {
    if pressed.kind == KeyEventKind::Release {
        return None;
    }
    if pressed.modifiers.contains(KeyModifiers::CONTROL) {
        return (pressed.code == KeyCode::Char('c')).then_some(Key::Quit);
    }
    Some(match pressed.code {
        KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
        KeyCode::Char('s') => Key::Sort,
        KeyCode::Char('r') => Key::Reverse,
        KeyCode::Char('p' | ' ') => Key::Pause,
        KeyCode::Char('h' | '?') => Key::Help,
        KeyCode::Char(digit @ '1'..='9') => Key::View(usize::try_from(digit.to_digit(10)?).ok()?),
        KeyCode::Tab | KeyCode::Right => Key::Next,
        KeyCode::BackTab | KeyCode::Left => Key::Previous,
        KeyCode::Up | KeyCode::Char('k') => Key::Scroll(-1),
        KeyCode::Down | KeyCode::Char('j') => Key::Scroll(1),
        KeyCode::PageUp => Key::Scroll(-10),
        KeyCode::PageDown => Key::Scroll(10),
        KeyCode::Home | KeyCode::Char('g') => Key::First,
        KeyCode::End | KeyCode::Char('G') => Key::Last,
        _ => return None,
    })
}

/// Becomes true with the first signal that ends it.
fn signals() -> Result<Arc<AtomicBool>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let (mut terminate, mut interrupt, mut hang_up) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
            signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?,
        )
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hang_up.recv() => {}
            }
        });
        end(&flag);
    })?;
    let flag = Arc::clone(&stop);
    std::thread::Builder::new().name("hang-up".to_owned()).spawn(move || {
        while !is_gone(&io::stdin()) {
            std::thread::sleep(LOOK);
        }
        end(&flag);
    })?;
    Ok(stop)
}

/// Has it end. Where nobody is at the other end of the terminal, what waits for keys may never come back: then the process
/// ends without it.
fn end(stop: &AtomicBool) {
    stop.store(true, Ordering::Relaxed);
    std::thread::sleep(LOOK);
    let _nothing_to_restore = ratatui::try_restore();
    std::process::exit(0);
}

/// Whether nobody is at the other end of a terminal any more.
fn is_gone(terminal: &impl AsFd) -> bool {
    let mut waited = [PollFd::new(terminal, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let polled = poll(&mut waited, Some(&now));
    polled.is_ok() && waited[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
}
