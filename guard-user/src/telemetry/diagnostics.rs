//! The daemon's own log, on standard error.
//!
//! A reader of standard error may be slow or gone, and nothing waits for it: lines go to a bounded queue, from
//! which a thread writes them. What finds the queue full, or can't be written, is counted, and a line says so as
//! soon as lines are taken again.
//!
//! Where standard error is the journal, lines begin with a priority as sd-daemon(3) has it and have no time of
//! their own, for the journal keeps it.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::policy::LogFormat;

/// Lines that wait to be written: under a MiB of them, and some minutes of an ordinary day.
const QUEUE: usize = 4096;
/// Where the service manager says which file is the journal's (systemd.exec(5), `$JOURNAL_STREAM`).
const JOURNAL_STREAM: &str = "JOURNAL_STREAM";

/// What lines look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Text or JSON.
    pub format: LogFormat,
    /// The least important lines that are written.
    pub level: Level,
    /// Where they go.
    pub stream: Stream,
}

/// Where lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The journal: priorities, and no time.
    Journal,
    /// A terminal: colours.
    Terminal,
    /// Anything else.
    File,
}

impl Stream {
    /// What standard error is.
    #[must_use]
    pub fn of_stderr() -> Self {
        let stderr = io::stderr();
        let journal = std::env::var(JOURNAL_STREAM).unwrap_or_default();
        match () {
            () if is_file(&stderr, &journal) => Self::Journal,
            () if stderr.is_terminal() => Self::Terminal,
            () => Self::File,
        }
    }
}

/// Whether this is the file of `DEVICE:INODE`.
fn is_file(file: impl AsFd, name: &str) -> bool {
    let Some((device, inode)) = name.split_once(':') else { return false };
    rustix::fs::fstat(file)
        .is_ok_and(|found| device.parse() == Ok(found.st_dev) && inode.parse() == Ok(found.st_ino))
}

/// The log of this process. Dropped, it writes the lines that wait, for about a second at most.
#[derive(Debug)]
pub struct Diagnostics {
    _worker: WorkerGuard,
}

/// How many lines were lost, of the process's log.
static LOST: OnceLock<Lost> = OnceLock::new();

/// How many lines of this process's log were lost so far.
#[must_use]
pub fn lost() -> u64 {
    LOST.get().map_or(0, Lost::count)
}

/// Logs to standard error from now on. That there is a log already can only be in a program that uses this
/// library; then that one goes on.
#[must_use = "the last lines are written when it is dropped"]
pub fn start(style: Style) -> Diagnostics {
    let (subscriber, lost, diagnostics) = subscriber(io::stderr(), style);
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        let _first = LOST.set(lost);
    }
    diagnostics
}

type Boxed = Box<dyn Subscriber + Send + Sync>;

/// What takes events of `tracing` and writes them to `out`.
fn subscriber(out: impl Write + Send + 'static, style: Style) -> (Boxed, Lost, Diagnostics) {
    let lost = Lost::default();
    let out = Counting { out, style, lost: lost.clone(), reported: 0 };
    let (writer, worker) =
        NonBlockingBuilder::default().buffered_lines_limit(QUEUE).thread_name("diagnostics").finish(out);
    let _only_here = lost.0.queue.set(writer.error_counter());
    let log = tracing_subscriber::fmt()
        .with_writer(writer)
        .with_max_level(style.level)
        .with_target(false)
        .with_ansi(style.stream == Stream::Terminal);
    let subscriber: Boxed = match (style.stream, style.format) {
        (Stream::Journal, LogFormat::Text | LogFormat::Ocsf | LogFormat::Ecs) => Box::new(
            log.map_event_format(|format| Prioritized(format.without_time().with_level(false))).finish(),
        ),
        (Stream::Journal, LogFormat::Json) => {
            Box::new(log.json().map_event_format(|format| Prioritized(format.without_time())).finish())
        }
        (_, LogFormat::Text | LogFormat::Ocsf | LogFormat::Ecs) => Box::new(log.finish()),
        (_, LogFormat::Json) => Box::new(log.json().finish()),
    };
    (subscriber, lost, Diagnostics { _worker: worker })
}

/// Lines that begin with their priority.
struct Prioritized<F>(F);

impl<S, N, F> FormatEvent<S, N> for Prioritized<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = String::new();
        self.0.format_event(context, Writer::new(&mut text), event)?;
        let priority = priority(*event.metadata().level());
        // The journal makes an entry of each line.
        text.lines().try_for_each(|line| writeln!(out, "<{priority}>{line}"))
    }
}

/// The priority of syslog(3) for a level.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// How many lines were lost.
#[derive(Clone, Debug, Default)]
struct Lost(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Lines that found the queue full.
    queue: OnceLock<ErrorCounter>,
    /// Lines that could not be written.
    failed: AtomicU64,
}

impl Lost {
    fn count(&self) -> u64 {
        let queue = self.0.queue.get().map_or(0, ErrorCounter::dropped_lines);
        u64::try_from(queue).unwrap_or(u64::MAX).saturating_add(self.0.failed.load(Ordering::Relaxed))
    }
}

/// Writes lines, each as a whole, and counts those that can't be written: the thread that writes them would
/// drop such an error.
struct Counting<W> {
    out: W,
    style: Style,
    lost: Lost,
    /// Lost lines of which the log has a line.
    reported: u64,
}

impl<W: Write> Counting<W> {
    fn report_lost(&mut self) {
        let lost = self.lost.count();
        let lines = lost.saturating_sub(self.reported);
        if lines > 0 && self.out.write_all(lost_line(lines, self.style).as_bytes()).is_ok() {
            self.reported = lost;
        }
    }
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.report_lost();
        if self.out.write_all(line).is_err() {
            self.lost.0.failed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The line about lines that were lost, in the style of the others.
fn lost_line(lines: u64, Style { format, stream, .. }: Style) -> String {
    let message = format!("{lines} lines of this log were lost, because standard error did not take them");
    let now = Timestamp::now();
    let mut line = match (stream, format) {
        (Stream::Journal, LogFormat::Text | LogFormat::Ocsf | LogFormat::Ecs) => message,
        (_, LogFormat::Text | LogFormat::Ocsf | LogFormat::Ecs) => format!("{now:.6}  WARN {message}"),
        (Stream::Journal, LogFormat::Json) => {
            serde_json::json!({"level": "WARN", "fields": {"message": message}}).to_string()
        }
        (_, LogFormat::Json) => {
            let now = format!("{now:.6}");
            serde_json::json!({"timestamp": now, "level": "WARN", "fields": {"message": message}}).to_string()
        }
    };
    if stream == Stream::Journal {
        line.insert_str(0, &format!("<{}>", priority(Level::WARN)));
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::fs::MetadataExt;
    use std::time::{Duration, Instant};

    use tracing::{debug, error, info, warn};

    use super::*;
    use crate::events::log::tests::Memory;

    fn style(format: LogFormat, stream: Stream) -> Style {
        Style { format, level: Level::DEBUG, stream }
    }

    /// What is written of these lines.
    fn written(style: Style, log: impl FnOnce()) -> String {
        let memory = Memory::default();
        let (subscriber, _, diagnostics) = subscriber(memory.clone(), style);
        tracing::subscriber::with_default(subscriber, log);
        drop(diagnostics);
        let bytes = memory.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_for_the_journal_have_priorities_and_no_time() {
        let text = written(style(LogFormat::Text, Stream::Journal), || {
            error!("one\ntwo");
            warn!(uid = 7, "three");
            info!("four");
            debug!("five");
        });
        assert_eq!(text, "<3>one\n<3>two\n<4>three uid=7\n<6>four\n<7>five\n");
        let json = written(style(LogFormat::Json, Stream::Journal), || warn!("six"));
        assert_eq!(json, "<4>{\"level\":\"WARN\",\"fields\":{\"message\":\"six\"}}\n");
    }

    #[test]
    fn other_lines_have_a_time_and_a_level() {
        let text = written(style(LogFormat::Text, Stream::File), || warn!("one"));
        let (time, rest) = text.split_once(' ').unwrap();
        assert!(time.parse::<Timestamp>().is_ok() && rest == " WARN one\n", "{text}");
        let lost = lost_line(3, style(LogFormat::Text, Stream::File));
        assert!(lost.split_once(' ').is_some_and(|(time, rest)| {
            time.parse::<Timestamp>().is_ok() && rest.starts_with(" WARN 3 lines of this log were lost")
        }));
        for stream in [Stream::File, Stream::Journal] {
            let lost = lost_line(3, style(LogFormat::Json, stream));
            let object = lost.trim_start_matches("<4>");
            assert_eq!(serde_json::from_str::<serde_json::Value>(object).unwrap()["level"], "WARN");
        }
    }

    #[test]
    fn the_journal_is_known_by_its_file() {
        let file = tempfile::tempfile().unwrap();
        let found = file.metadata().unwrap();
        assert!(is_file(&file, &format!("{}:{}", found.dev(), found.ino())));
        for other in
            [format!("{}:{}", found.dev(), found.ino() + 1), String::new(), ":".to_owned(), "x".to_owned()]
        {
            assert!(!is_file(&file, &other), "{other}");
        }
    }

    /// What a full pipe costs the daemon: nothing but lines, which are counted and reported.
    #[test]
    fn a_pipe_that_nobody_reads_holds_nothing_up_and_its_losses_are_reported() {
        const LINES: u64 = 10_000;
        let (read, write) = rustix::pipe::pipe().unwrap();
        let (subscriber, lost, diagnostics) =
            subscriber(File::from(write), style(LogFormat::Text, Stream::Journal));
        let begin = Instant::now();
        tracing::subscriber::with_default(subscriber, || {
            (0..LINES).for_each(|line| warn!("line {line:0200}"))
        });
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}");
        let count = lost.count();
        assert!(count > 0 && count < LINES, "{count}");
        // Somebody reads at last: all that was taken comes, and how much is missing.
        let end = std::thread::spawn(move || drop(diagnostics));
        let mut text = String::new();
        File::from(read).read_to_string(&mut text).unwrap();
        end.join().unwrap();
        let lines = text.lines().filter(|line| line.starts_with("<4>line ")).count() as u64;
        let said: Vec<&str> = text.lines().filter(|line| !line.starts_with("<4>line ")).collect();
        let number = |line: &&str| line.strip_prefix("<4>")?.split(' ').next()?.parse::<u64>().ok();
        assert_eq!(said.iter().filter_map(number).sum::<u64>(), count, "{said:?}");
        assert_eq!(lines + count, LINES);
    }

    #[test]
    fn a_pipe_whose_reader_is_gone_costs_lines_and_no_more() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        drop(read);
        let (subscriber, lost, diagnostics) =
            subscriber(File::from(write), style(LogFormat::Text, Stream::File));
        tracing::subscriber::with_default(subscriber, || (0..100).for_each(|line| info!("{line}")));
        let begin = Instant::now();
        drop(diagnostics);
        assert!(begin.elapsed() < Duration::from_secs(5));
        assert_eq!(lost.count(), 100);
    }

    #[test]
    fn the_end_waits_only_so_long_for_a_reader() {
        let (_read, write) = rustix::pipe::pipe().unwrap();
        let (subscriber, _, diagnostics) =
            subscriber(File::from(write), style(LogFormat::Text, Stream::File));
        tracing::subscriber::with_default(subscriber, || (0..1000).for_each(|line| info!("{line:0200}")));
        let begin = Instant::now();
        drop(diagnostics);
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    }
}
