//! `[log]`: how the daemon logs.

use std::path::PathBuf;

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// How a log line looks.
    pub format: LogFormat,
    /// Where the lines go.
    pub to: LogTo,
}

/// Where the event log's lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTo {
    /// Standard output.
    Stdout,
    /// The systemd journal, by its native protocol.
    Journald,
    /// A file, by its absolute path.
    File(PathBuf),
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, with keys of our own.
    Json,
    /// One JSON object a line, as the Open Cybersecurity Schema Framework has it, version 1.8.0.
    Ocsf,
    /// One JSON object a line, as the Elastic Common Schema has it, version 9.4.
    Ecs,
}
