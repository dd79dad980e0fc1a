//! Running other programs: quietly with a log for long steps, or captured for their answer.

use std::{
    fs::{self, File},
    io::{IsTerminal as _, Write as _},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// How many lines of a failed command's log are shown.
const TAIL_LINES: usize = 25;

/// Set by a signal that asks this program to end, after [`stop_on_signals`].
static STOPPED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on a signal that asks this program to end makes the step that runs fail, so that what has to be removed
/// is removed.
pub(crate) fn stop_on_signals() -> Result<()> {
    let stopped = STOPPED.get_or_init(Arc::default);
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(stopped)).context("cannot take signals")?;
    }
    Ok(())
}

/// Waits for a program's end, with something to do every tenth of a second. Kills it where this program was asked
/// to end, or after `limit`.
fn wait(child: &mut Child, limit: Duration, tick: impl Fn()) -> Result<ExitStatus> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let stopped = STOPPED.get().is_some_and(|stopped| stopped.load(Ordering::Relaxed));
        if stopped || started.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("{}", if stopped { "interrupted" } else { "it did not come to its end in time" });
        }
        tick();
        thread::sleep(Duration::from_millis(100));
    }
}

/// Runs a program that shows its own output, for `limit` at most.
pub(crate) fn shown(command: &mut Command, limit: Duration) -> Result<ExitStatus> {
    let mut child = command
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    wait(&mut child, limit, || {})
}

/// Runs one long step: says what it is, how long it takes, and keeps what the command prints in
/// `target/xtask/LOG.log`, of which only the end is shown, and only when the command fails.
pub(crate) fn step(what: &str, log: &str, command: &mut Command) -> Result<()> {
    let dir = workspace::target_dir().join("xtask");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let log = dir.join(format!("{log}.log"));
    let mut file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    writeln!(file, "$ {command:?}")?;

    let progress = Progress::start(what);
    let mut child = command
        .stdin(Stdio::null())
        // The end of the log should be the message, not the way through another program's code.
        .env("RUST_BACKTRACE", "0")
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let status = wait(&mut child, Duration::MAX, || progress.tick())?;
    if status.success() {
        progress.done();
        return Ok(());
    }
    progress.failed();
    bail!("{what}: {status}; the end of {}:\n{}", log.display(), tail(&log, TAIL_LINES));
}

/// Runs a short command for its standard output; on failure the error carries its standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{command:?} printed no UTF-8"))
}

/// The last `lines` lines of a file, indented; empty where it cannot be read.
pub(crate) fn tail(file: &Path, lines: usize) -> String {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    let shown = all.get(all.len().saturating_sub(lines)..).unwrap_or_default();
    shown.iter().map(|line| format!("  | {line}")).collect::<Vec<_>>().join("\n")
}

/// Seconds in the way a person reads them: `0.4 s`, `12 s`, `2 min 05 s`.
pub(crate) fn duration(took: Duration) -> String {
    let seconds = took.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", took.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

/// A line for a step that is under way: a running clock on a terminal, one line for its start and one
/// for its end elsewhere.
struct Progress<'a> {
    what: &'a str,
    started: Instant,
    terminal: bool,
}

impl<'a> Progress<'a> {
    fn start(what: &'a str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        if !terminal {
            eprintln!("{what} ...");
        }
        Self { what, started: Instant::now(), terminal }
    }

    fn tick(&self) {
        if self.terminal {
            eprint!("\r{} ... {}\x1b[K", self.what, duration(self.started.elapsed()));
        }
    }

    fn end(&self, word: &str) {
        let start_of_line = if self.terminal { "\r\x1b[K" } else { "" };
        eprintln!("{start_of_line}{}: {word} in {}", self.what, duration(self.started.elapsed()));
    }

    fn done(&self) {
        self.end("done");
    }

    fn failed(&self) {
        self.end("failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_goes_on_is_ended() {
        let started = Instant::now();
        let error = shown(Command::new("sleep").arg("60"), Duration::from_millis(200)).unwrap_err();
        assert!(error.to_string().contains("in time"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(30));
        assert!(shown(&mut Command::new("true"), Duration::from_secs(60)).unwrap().success());
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(Duration::from_millis(432)), "0.4 s");
        assert_eq!(duration(Duration::from_secs(59)), "59 s");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 05 s");
    }
}
