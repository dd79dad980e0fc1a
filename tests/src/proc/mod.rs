//! Real servers and clients as child processes, with their output kept and their end assured.
mod listening;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use listening::{Transport, is_listening};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::cleanup::{self, Undo};
use crate::error::SetupError;
use crate::netns::Netns;

/// How long a process may take to end after SIGTERM before SIGKILL follows.
const GRACE: Duration = Duration::from_secs(2);

/// How often a condition is looked at again.
const POLL: Duration = Duration::from_millis(10);

/// Asks `probe` again and again until it gives something.
///
/// # Errors
/// [`SetupError::TimedOut`] naming `what` after `deadline`.
pub fn retry_until<T>(
    deadline: Duration,
    what: &str,
    mut probe: impl FnMut() -> Option<T>,
) -> Result<T, SetupError> {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return Ok(found);
        }
        if start.elapsed() >= deadline {
            return Err(SetupError::TimedOut {
                what: what.to_owned(),
                waited: deadline,
                detail: String::new(),
            });
        }
        std::thread::sleep(POLL);
    }
}

/// A running child and what it wrote. On drop it is asked to end, then killed, with the processes
/// that it started (unless they left its process group).
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    child: Arc<Mutex<Child>>,
    stdout: File,
    stderr: File,
    _undo: Undo,
}

impl Process {
    /// Starts `command` in a process group of its own, with no standard input; `name` is for messages.
    ///
    /// # Errors
    /// [`SetupError::ToolMissing`] if there is no such program.
    pub fn spawn(name: &str, mut command: Command) -> Result<Self, SetupError> {
        let output_file = || -> io::Result<(File, Stdio)> {
            let file = tempfile::tempfile()?;
            let writer = file.try_clone()?;
            Ok((file, writer.into()))
        };
        let kept = |error| SetupError::io("make", std::env::temp_dir(), error);
        let (stdout, stdout_writer) = output_file().map_err(kept)?;
        let (stderr, stderr_writer) = output_file().map_err(kept)?;
        let program = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(stdout_writer).stderr(stderr_writer).process_group(0);
        let ((child, pid), undo) = cleanup::make(|| {
            let child = command.spawn().map_err(|error| SetupError::spawn(&program, error))?;
            let pid = child.id();
            let child = Arc::new(Mutex::new(child));
            let to_end = child.clone();
            Ok::<_, SetupError>(((child, pid), move || end(&to_end)))
        })?;
        Ok(Process { name: name.to_owned(), pid, child, stdout, stderr, _undo: undo })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        read_all(&self.stdout)
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        read_all(&self.stderr)
    }

    /// The end of both outputs, for messages about a failure.
    pub fn log_tail(&self) -> String {
        let (out, err) = (self.stdout(), self.stderr());
        let lines: Vec<&str> = out.lines().chain(err.lines()).collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Its exit status if it has ended.
    pub fn ended(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if !has_ended(&child) {
            return None;
        }
        reap(&mut child)
    }

    /// Sends it a signal; one that has ended gets none.
    pub fn signal(&self, signal: Signal) {
        // Under the lock the child cannot be reaped, so its id cannot be someone else's by now.
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if !has_ended(&child) {
            let _ended_since = rustix::process::kill_process(Pid::from_child(&child), signal);
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`SetupError::TimedOut`] if it still runs after `deadline`.
    pub fn wait(&self, deadline: Duration) -> Result<ExitStatus, SetupError> {
        let what = format!("the end of {} (process {})", self.name, self.pid);
        retry_until(deadline, &what, || self.ended()).map_err(|error| self.with_log(error))
    }

    /// Has it end by SIGKILL, so that it can put nothing in order, and waits for that.
    ///
    /// # Errors
    /// As [`Process::wait`].
    pub fn kill(&self, deadline: Duration) -> Result<ExitStatus, SetupError> {
        self.signal(Signal::KILL);
        self.wait(deadline)
    }

    /// Waits until it listens on a port inside `netns`. No packet is sent for that.
    ///
    /// # Errors
    /// [`SetupError::Ended`] with its log if it ends before, [`SetupError::TimedOut`] after `deadline`.
    pub fn wait_for_port(
        &self,
        netns: &Netns,
        transport: Transport,
        port: u16,
        deadline: Duration,
    ) -> Result<(), SetupError> {
        let what = format!("{} to listen on {transport} port {port}", self.name);
        self.wait_for(deadline, &what, || {
            netns.run(|| is_listening(transport, port)).unwrap_or(false).then_some(())
        })
    }

    /// Waits until `probe` gives something while this process runs.
    ///
    /// # Errors
    /// [`SetupError::Ended`] with its log if it ends before, [`SetupError::TimedOut`] after `deadline`.
    pub fn wait_for<T>(
        &self,
        deadline: Duration,
        what: &str,
        mut probe: impl FnMut() -> Option<T>,
    ) -> Result<T, SetupError> {
        let found = retry_until(deadline, what, || match probe() {
            Some(found) => Some(Ok(found)),
            None => self.ended().map(Err),
        });
        match found.map_err(|error| self.with_log(error))? {
            Ok(found) => Ok(found),
            Err(status) => Err(SetupError::Ended {
                name: self.name.clone(),
                status: status.to_string(),
                log: self.log_tail(),
            }),
        }
    }

    fn with_log(&self, error: SetupError) -> SetupError {
        match error {
            SetupError::TimedOut { what, waited, .. } => {
                let detail = format!("; the output of {}:\n{}", self.name, self.log_tail());
                SetupError::TimedOut { what, waited, detail }
            }
            other => other,
        }
    }
}

/// Runs a command to its end and returns its exit status and both outputs.
///
/// # Errors
/// As [`Process::spawn`] and [`Process::wait`]; a status that tells of failure is no error here.
pub fn run_to_end(
    name: &str,
    command: Command,
    deadline: Duration,
) -> Result<(ExitStatus, String, String), SetupError> {
    let process = Process::spawn(name, command)?;
    let status = process.wait(deadline)?;
    Ok((status, process.stdout(), process.stderr()))
}

/// Reads a file that others append to, from its start, without moving the offset they share.
fn read_all(file: &File) -> String {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 16 * 1024]);
    while let Ok(read @ 1..) = file.read_at(&mut chunk, bytes.len() as u64) {
        bytes.extend_from_slice(&chunk[..read]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether the child has ended; it stays unreaped, so its id stays its own.
fn has_ended(child: &Child) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    // An error means that it was reaped before.
    !matches!(rustix::process::waitid(WaitId::Pid(Pid::from_child(child)), options), Ok(None))
}

/// Ends what an ended child left in its process group, and takes its exit status.
fn reap(child: &mut Child) -> Option<ExitStatus> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let pid = Pid::from_child(child);
    if matches!(rustix::process::waitid(WaitId::Pid(pid), options), Ok(Some(_))) {
        // Not reaped yet: the group's id is surely still ours.
        let _none_left = rustix::process::kill_process_group(pid, Signal::KILL);
    }
    child.wait().ok()
}

/// Asks the child to end, kills it after a while, and reaps it.
fn end(child: &Mutex<Child>) {
    let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
    if !has_ended(&child) {
        let pid = Pid::from_child(&child);
        let _ended_since = rustix::process::kill_process(pid, Signal::TERM);
        let start = Instant::now();
        while !has_ended(&child) && start.elapsed() < GRACE {
            std::thread::sleep(POLL);
        }
        if !has_ended(&child) {
            let _ended_since = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
    while !has_ended(&child) {
        std::thread::sleep(POLL);
    }
    let _status = reap(&mut child);
}
