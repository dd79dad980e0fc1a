//! The worker that runs the operator's program for notices (`record.notify`), one at a time. Nobody waits for it.

use std::io::{self, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use super::queue::{Receiver, Urgency};
use super::worker;
use crate::daemon::engine::{Input, Notice, Surroundings};
use crate::hostname::hostname;

/// How long the program may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks whether it has ended.
const LOOK: Duration = Duration::from_millis(20);
/// The form of what it reads.
const VERSION: u32 = 1;

/// A notice, and the program with its arguments.
type Job = (Vec<String>, Notice);

/// What the program reads on its standard input: one line.
#[derive(Serialize)]
struct Line<'n> {
    schema: &'static str,
    version: u32,
    host: &'n str,
    time: Timestamp,
    #[serde(flatten)]
    notice: Named<'n>,
}

/// The notice's own version is the exemption's.
#[derive(Serialize)]
struct Named<'n> {
    notice: &'n Notice,
}

/// The way to the worker.
pub(super) struct Worker(worker::Worker<Job>);

impl Worker {
    /// Starts it.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub(super) fn start(inputs: UnboundedSender<Input>) -> io::Result<Self> {
        worker::Worker::start("notices", move |jobs| work(&jobs, PATIENCE, &inputs)).map(Self)
    }

    pub(super) fn put(&self, command: Vec<String>, notice: Notice) {
        self.0.put((command, notice), Urgency::Ordinary);
    }
}

fn work(jobs: &Receiver<Job>, patience: Duration, inputs: &UnboundedSender<Input>) {
    while let Some((command, notice)) = jobs.take() {
        let failed = tell(&command, &notice, patience).err().map(|why| {
            let Notice { what, exemption, version, .. } = &notice;
            warn!("nobody was told of {what:?} of the exemption {exemption}, version {version}: {why}");
            format!("{}: {why}", command.first().map_or("", String::as_str))
        });
        if inputs.send(Input::Surroundings(Surroundings::Notices(failed))).is_err() {
            return;
        }
    }
}

/// Runs the program, and gives it the notice to read.
fn tell(command: &[String], notice: &Notice, patience: Duration) -> Result<(), String> {
    let [program, arguments @ ..] = command else { return Err("no program is named".to_owned()) };
    let line = Line {
        schema: "borderguard-notice",
        version: VERSION,
        host: hostname(),
        time: Timestamp::now(),
        notice: Named { notice },
    };
    let mut text = serde_json::to_string(&line).map_err(|error| error.to_string())?;
    text.push('\n');
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("it can't be run: {error}"))?;
    if let Some(mut input) = child.stdin.take() {
        // A line fits into a pipe. Where it ends before it has read it, its exit code says more.
        let _closed = input.write_all(text.as_bytes());
    }
    match ended(&mut child, patience).map_err(|error| format!("it can't be waited for: {error}"))? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(status.to_string()),
        None => {
            let _ended_by_itself = child.kill();
            let _reaped = child.wait();
            Err(format!("it had not ended after {} s, and was killed", patience.as_secs()))
        }
    }
}

fn ended(child: &mut Child, patience: Duration) -> io::Result<Option<std::process::ExitStatus>> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begin.elapsed() > patience {
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::daemon::engine::What;

    fn notice() -> Notice {
        Notice {
            what: What::DutyDue,
            exemption: "m-1".to_owned(),
            version: 2,
            by: Some(Timestamp::UNIX_EPOCH),
            duty: Some("answer".to_owned()),
        }
    }

    fn shell(script: &str, argument: &str) -> Vec<String> {
        ["/bin/sh", "-c", script, "sh", argument].map(str::to_owned).to_vec()
    }

    #[test]
    fn a_program_reads_one_line_of_json() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("told");
        let command = shell("cat > \"$1\"", file.to_str().unwrap());
        tell(&command, &notice(), PATIENCE).unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        let told: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&told["schema"], &told["version"]), (&"borderguard-notice".into(), &1.into()));
        let expected = serde_json::json!({
            "what": "duty-due", "exemption": "m-1", "version": 2, "by": "1970-01-01T00:00:00Z", "duty": "answer",
        });
        assert_eq!(told["notice"], expected);
    }

    #[test]
    fn one_that_fails_or_hangs_is_told_and_the_next_is_run() {
        let (inputs, mut told) = tokio::sync::mpsc::unbounded_channel();
        let (jobs, receiver) = super::super::queue::queue();
        for command in [
            shell("exit 3", ""),
            vec!["/nowhere/no-such-program".to_owned()],
            shell("sleep 60", ""),
            // It does not read what it is told, which is no reason to wait.
            shell("true", ""),
        ] {
            jobs.put((command, notice()), Urgency::Ordinary);
        }
        drop(jobs);
        let begin = Instant::now();
        work(&receiver, Duration::from_millis(200), &inputs);
        assert!(begin.elapsed() < Duration::from_secs(30));
        let mut found = Vec::new();
        while let Ok(Input::Surroundings(Surroundings::Notices(why))) = told.try_recv() {
            found.push(why);
        }
        let [Some(failed), Some(missing), Some(hung), None] = &found[..] else { panic!("{found:?}") };
        assert!(failed.contains("exit status: 3"), "{failed}");
        assert!(missing.contains("can't be run"), "{missing}");
        assert!(hung.contains("was killed"), "{hung}");
    }
}
