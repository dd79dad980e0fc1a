//! A transfer that is under way, and how it goes on.
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::client::Request;
use super::number::grouped;
use super::screen::{Screen, Style};
use super::world::World;
use crate::proc::Process;

/// Between two looks at it.
const TICK: Duration = Duration::from_millis(500);

/// The length of a full bar, in columns, and in a narrow terminal.
const BAR: [usize; 2] = [40, 22];

/// A client that is receiving.
#[derive(Debug)]
pub(super) struct Transfer {
    client: Process,
    output: PathBuf,
    started: Instant,
    /// How many bytes there are in all.
    length: u64,
}

/// What was seen over a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Watched {
    /// Bytes that the client had at the start.
    pub(super) first: u64,
    /// Bytes that it had at the end.
    pub(super) last: u64,
    /// How many of the looks found more bytes than the one before.
    pub(super) growing_looks: u32,
}

impl Transfer {
    /// Starts it; `length` is the whole content's.
    pub(super) fn start(world: &World, request: &Request, length: u64, folder: &Path) -> Result<Self> {
        let output = folder.join(format!("received-{}", request.client_port));
        let client = Process::spawn("curl", request.curl(world, &output)?)?;
        Ok(Transfer { client, output, started: Instant::now(), length })
    }

    /// Bytes that have arrived at the client.
    pub(super) fn received(&self) -> u64 {
        std::fs::metadata(&self.output).map_or(0, |file| file.len())
    }

    /// Whether the client has given up, or has it all.
    pub(super) fn has_ended(&self) -> bool {
        self.client.ended().is_some()
    }

    /// Whether its client ends with a reset before so long: curl's exit status is 56 then (curl(1)).
    pub(super) fn was_reset(&self, soon: Duration) -> bool {
        self.client.wait(soon).is_ok_and(|status| status.code() == Some(56))
    }

    /// Looks `looks` times and draws a bar for each, with a remark on what was seen. A look that is not
    /// as `must_grow` says stands out.
    pub(super) fn watch(&self, screen: &Screen, looks: u32, must_grow: bool) -> Watched {
        let first = self.received();
        let mut watched = Watched { first, last: first, growing_looks: 0 };
        let length = if screen.is_narrow() { BAR[1] } else { BAR[0] };
        for _ in 0..looks {
            std::thread::sleep(TICK);
            let now = self.received();
            let more = now.saturating_sub(watched.last);
            watched.growing_looks += u32::from(more > 0);
            watched.last = now;
            let filled = (now.saturating_mul(length as u64) / self.length.max(1)) as usize;
            let (style, remark) = match (more > 0, must_grow) {
                (true, true) => (Style::Good, "goes on"),
                (false, false) => (Style::Special, "stands still"),
                (true, false) => (Style::Bad, "still goes on"),
                (false, true) => (Style::Bad, "does not go on"),
            };
            let bar = screen.paint(&"█".repeat(filled.min(length)), style);
            let rest = screen.paint(&"░".repeat(length - filled.min(length)), Style::Faint);
            let change = format!("+{}", grouped(more));
            screen.line(&format!(
                "   {:4.1} s  {bar}{rest}  {:>11} bytes  {}  {}",
                self.started.elapsed().as_secs_f32(),
                grouped(now),
                screen.paint(&format!("{change:>10}"), style),
                screen.paint(remark, Style::Faint),
            ));
        }
        watched
    }
}
