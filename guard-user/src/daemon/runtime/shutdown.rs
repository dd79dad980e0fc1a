//! What is different when the daemon ends because the host does.
//!
//! A daemon that ends leaves enforcement and what it granted to exemptions in force. When the host goes down
//! after it, the kernel's counts go too, and what was granted would have to count as used. So a daemon that
//! ends with its host closes the exemptions first and keeps the last counts; after the boot quotas go on
//! exactly where they were.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long systemd may take to say whether the host goes down.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the host goes down: what systemctl(1) says to `is-system-running`. Without systemd nobody says.
pub(super) fn host_is_stopping() -> bool {
    said("systemctl", &["is-system-running"]).is_some_and(|state| state.trim() == "stopping")
}

/// What a program prints, if it ends in time.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        match child.try_wait() {
            // A word fits into a pipe, so that nobody had to read it meanwhile.
            Ok(Some(_)) => {
                return Some(String::from_utf8_lossy(&child.wait_with_output().ok()?.stdout).into_owned());
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            Err(_) => break,
        }
    }
    let _ended_by_itself = child.kill();
    let _reaped = child.wait();
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_says_is_heard_and_one_that_hangs_is_not_waited_for() {
        assert_eq!(said("echo", &["stopping"]).as_deref(), Some("stopping\n"));
        assert_eq!(said("no-such-program-here", &[]), None);
        let begin = Instant::now();
        assert_eq!(said("sleep", &["60"]), None);
        assert!(begin.elapsed() < Duration::from_secs(30));
    }
}
