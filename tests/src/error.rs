//! Why a test bed could not be made, and what to do about it.
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ipnetwork::IpNetwork;

/// Why a part of a test bed could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A program that the test bed runs is not installed.
    #[error("`{program}` is not installed: install it with `apt-get install {package}`")]
    ToolMissing {
        /// The program that was looked for.
        program: String,
        /// Debian's package that has it.
        package: String,
    },
    /// The process may not do what a test bed needs.
    #[error("not permitted to {what}: run as root (or with CAP_NET_ADMIN, CAP_SYS_ADMIN and CAP_BPF)")]
    NotPermitted {
        /// What was tried.
        what: String,
    },
    /// A command ended with an error.
    #[error("`{command}` failed ({status}): {message}")]
    Command {
        /// The command line.
        command: String,
        /// Its exit status or signal.
        status: String,
        /// What it wrote to standard error.
        message: String,
    },
    /// A file or a system call failed.
    #[error("cannot {what} {path}: {source}", path = path.display())]
    Io {
        /// What was tried, as a verb: "write", "mount".
        what: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A thread could not enter a network namespace.
    #[error("cannot enter the network namespace {name}: {source}")]
    Enter {
        /// The namespace.
        name: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A label that cannot be part of a name.
    #[error("`{label}` is no label: use 1 to 20 of a-z, 0-9 and `-`")]
    Label {
        /// The label as given.
        label: String,
    },
    /// An address outside the ranges that are reserved for documentation.
    #[error(
        "{address} is not a documentation address: test networks use 192.0.2.0/24, 198.51.100.0/24, \
         203.0.113.0/24 and 2001:db8::/32 only, and 192.88.99.0/24 and 4000:db8::/32 where a database is to place them"
    )]
    NotDocumentation {
        /// The address as given.
        address: IpNetwork,
    },
    /// A test network that cannot work.
    #[error("the test network does not fit together: {why}")]
    Topology {
        /// What is wrong.
        why: String,
    },
    /// No mount of this file system was found.
    #[error("no {kind} file system is mounted: {hint}")]
    NotMounted {
        /// The file system's type.
        kind: &'static str,
        /// How to mount it.
        hint: &'static str,
    },
    /// A process ended although it should have gone on.
    #[error("{name} ended too early ({status}); its output:\n{log}")]
    Ended {
        /// The process's label.
        name: String,
        /// Its exit status or signal.
        status: String,
        /// The end of what it wrote.
        log: String,
    },
    /// Something did not happen in time.
    #[error("waited {waited:?} for {what} in vain{detail}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// For how long.
        waited: Duration,
        /// More about the state at the end; empty or starting with a separator.
        detail: String,
    },
}

impl SetupError {
    /// Wraps an I/O error; a missing permission becomes [`SetupError::NotPermitted`].
    pub fn io(what: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        if source.kind() == io::ErrorKind::PermissionDenied {
            return SetupError::NotPermitted { what: format!("{what} {}", path.display()) };
        }
        SetupError::Io { what, path, source }
    }

    /// Wraps the failure to start `program`; an absent one becomes [`SetupError::ToolMissing`].
    pub fn spawn(program: &str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => SetupError::ToolMissing {
                program: program.to_owned(),
                package: debian_package(program).to_owned(),
            },
            _ => SetupError::io("start", program, source),
        }
    }
}

/// Debian's package for each program that the tests run.
fn debian_package(program: &str) -> &str {
    match program.rsplit('/').next().unwrap_or(program) {
        "ip" | "tc" | "bridge" => "iproute2",
        "nginx" => "nginx-light",
        "ping" => "iputils-ping",
        "sleep" | "true" | "cat" => "coreutils",
        other => other,
    }
}
