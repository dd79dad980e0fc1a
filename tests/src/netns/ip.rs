//! Runs iproute2's `ip`.
use std::process::{Command, Stdio};

use crate::error::SetupError;

/// Runs `ip` and returns what it printed.
///
/// # Errors
/// [`SetupError::ToolMissing`], [`SetupError::NotPermitted`] or [`SetupError::Command`].
pub(super) fn run(arguments: &[&str]) -> Result<String, SetupError> {
    let output = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| SetupError::spawn("ip", error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let command = format!("ip {}", arguments.join(" "));
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if message.contains("Operation not permitted") || message.contains("Permission denied") {
        return Err(SetupError::NotPermitted { what: format!("run `{command}`") });
    }
    Err(SetupError::Command { command, status: output.status.to_string(), message })
}
