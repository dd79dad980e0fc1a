//! The command line: one subcommand a file.
//!
//! Each has its arguments as `Args` and a function `run` that does the work, writes to the output that it
//! is given and says how it ended as an [`Exit`](crate::exit::Exit). An error that has no exit code of its own
//! ([`CliError`]) ends with [`Exit::Failed`](crate::exit::Exit::Failed).

pub mod apply;
pub mod approval;
pub mod audit;
pub mod bundle;
pub mod canary;
pub mod check;
pub mod command;
pub mod confirm;
pub mod detach;
mod differences;
pub mod doctor;
pub mod events;
pub mod exemption;
pub mod explain;
pub mod form;
pub mod generate;
pub mod geo;
pub mod groups;
pub mod instrument;
pub mod on_terminal;
pub mod page;
pub mod pin;
pub mod policy;
mod progress;
pub mod refused;
pub mod reload;
pub mod report;
pub mod run;
mod seconds;
pub mod seen;
pub mod selftest;
pub mod shadow;
mod signing;
pub mod simulate;
pub mod status;
pub mod suggest;
pub mod table;
pub mod target;
mod time_stamp;
pub mod top;
pub mod trace;
mod trail;
pub mod unread;
mod verified;

use std::fmt;
use std::path::Path;

use crate::exit::Exit;

use crate::config::{Errors, Explain};
use crate::control::client::ClientError;
use crate::daemon::StartError;
use crate::kernel::KernelError;

/// The config file that is read where none is named.
pub const DEFAULT_CONFIG: &str = "/etc/borderguard/policy.toml";

/// An error with the exit code that it ends the program with.
#[derive(Debug)]
pub struct CliError {
    /// The exit code.
    pub exit: Exit,
    /// What happened, where, and what to do next.
    pub message: String,
    /// Whether the message names its file itself, as those about documents do, line by line.
    pub of_document: bool,
    /// What is wrong with the input, by short names for programs.
    pub codes: Vec<&'static str>,
}

impl CliError {
    /// An error in what the user gave.
    #[must_use]
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self { exit: Exit::BadInput, message: message.into(), of_document: false, codes: Vec::new() }
    }

    /// Errors in a config or another document, which name their file and line.
    #[must_use]
    pub fn document(message: impl Into<String>) -> Self {
        Self { exit: Exit::BadInput, message: message.into(), of_document: true, codes: Vec::new() }
    }

    /// The same with the codes of what is wrong.
    #[must_use]
    pub fn with_codes(self, codes: impl IntoIterator<Item = &'static str>) -> Self {
        Self { codes: codes.into_iter().collect(), ..self }
    }

    /// Every error in a config or another document.
    #[must_use]
    pub fn errors<K: Explain>(errors: &Errors<K>) -> Self {
        Self::document(errors.to_string()).with_codes(errors.errors.iter().map(|error| error.kind.code()))
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CliError {}

/// Refuses where the config that is taken by default is not there: `how` says how another one is named.
fn must_be_there(default: &Path, how: &str) -> Result<(), CliError> {
    match default.try_exists() {
        Ok(false) => {
            let message = format!("there is no config {}: {how}", default.display());
            Err(CliError::bad_input(message).with_codes(["unreadable"]))
        }
        // Reading it says what is wrong with it.
        Ok(true) | Err(_) => Ok(()),
    }
}

/// How a config is named that is not the default one.
const BY_CONFIG: &str = "name it by --config FILE";

/// How the config in force is named where it is not the default one.
const OF_FORCE: &str = "name the one in force by --config FILE";

/// As [`must_be_there`], where this is the config that is taken by default.
fn default_must_be_there(config: &Path, how: &str) -> Result<(), CliError> {
    match config == Path::new(DEFAULT_CONFIG) {
        true => must_be_there(config, how),
        // One that was named is told as any other file that is not there.
        false => Ok(()),
    }
}

/// The exit code that an error ends the program with.
#[must_use]
pub fn exit_of(error: &anyhow::Error) -> Exit {
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<CliError>() {
            return error.exit;
        }
        if let Some(error) = cause.downcast_ref::<ClientError>() {
            return error.exit();
        }
        let kernel = match cause.downcast_ref::<StartError>() {
            Some(StartError::Kernel(error)) => Some(error),
            _ => cause.downcast_ref::<KernelError>(),
        };
        if matches!(kernel, Some(KernelError::NotPermitted { .. })) {
            return Exit::NotPermitted;
        }
        if let Some(error) = cause.downcast_ref::<std::io::Error>()
            && error.kind() == std::io::ErrorKind::PermissionDenied
        {
            return Exit::NotPermitted;
        }
    }
    Exit::Failed
}

/// An error with its causes in one text, each said once: many have the text of their cause in their own. Where no more files
/// can be opened, how many there may be is what is to be raised.
#[must_use]
pub fn told(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if said.is_empty() {
            said = cause;
        } else if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    let number = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error)
    };
    let is = |wanted: i32| {
        error.chain().any(|cause| number(cause) == Some(wanted))
            || said.contains(&format!("(os error {wanted})"))
    };
    if is(libc::EMFILE) {
        said += ". Let the process have more files open: `LimitNOFILE=65536` in the unit, `ulimit -n 65536` in a shell";
    } else if is(libc::ENFILE) {
        said += ". Let the host have more files open: raise `fs.file-max` (sysctl(8))";
    }
    said
}

/// Whether the error is that nobody reads the output any more (`borderguard events --follow | head`), which is how a command
/// ends that goes on for as long as somebody reads, and no failure of it. Others have [`unread`] in between.
#[must_use]
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context;
    use clap::Parser;

    use super::command::{Cli, Command};
    use super::*;

    #[test]
    fn where_the_default_config_is_not_there_it_is_said_how_another_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.toml");
        let error = must_be_there(&file, BY_CONFIG).unwrap_err();
        assert_eq!(error.message, format!("there is no config {}: name it by --config FILE", file.display()));
        assert_eq!((error.exit, error.codes), (Exit::BadInput, vec!["unreadable"]));
        // Of one that was named its reader says what is wrong.
        assert!(default_must_be_there(&file, BY_CONFIG).is_ok());
        std::fs::write(&file, "").unwrap();
        assert!(must_be_there(&file, "").is_ok());
    }

    #[test]
    fn every_command_that_takes_the_default_config_says_alike_that_it_is_not_there() {
        // On a host that has one there is nothing to say.
        if Path::new(DEFAULT_CONFIG).exists() {
            return;
        }
        let commands: [&[&str]; 5] = [
            &["explain", "--from", "192.0.2.1", "--to", "192.0.2.2"],
            &["trace"],
            &["geo", "diff"],
            &["policy", "verify", "n"],
            &["policy", "sign", "n", "--key", "k"],
        ];
        for words in commands {
            let cli = Cli::try_parse_from([&["borderguard"][..], words].concat()).unwrap();
            let mut out = Vec::<u8>::new();
            let done = match &cli.command {
                Command::Explain(args) => explain::run(args, &mut out),
                Command::Trace(args) => trace::run(args, &mut out, &mut Vec::<u8>::new()),
                Command::Geo(args) => geo::run(args, &mut out),
                Command::Policy(args) => policy::run(args, &mut out),
                other => panic!("{other:?}"),
            };
            let error = done.unwrap_err();
            let told = error.to_string();
            assert!(told.starts_with(&format!("there is no config {DEFAULT_CONFIG}: name ")), "{told}");
            assert!(told.ends_with("by --config FILE") && exit_of(&error) == Exit::BadInput, "{told}");
        }
    }

    #[test]
    fn an_error_deep_inside_decides_the_exit_code() {
        let bad: anyhow::Result<()> = Err(CliError::bad_input("x")).context("outer");
        assert_eq!(exit_of(&bad.unwrap_err()), Exit::BadInput);
        let denied: anyhow::Result<()> =
            Err(io::Error::from(io::ErrorKind::PermissionDenied)).context("cannot read");
        assert_eq!(exit_of(&denied.unwrap_err()), Exit::NotPermitted);
        assert_eq!(exit_of(&anyhow::anyhow!("x")), Exit::Failed);
        let files = io::Error::from_raw_os_error(libc::EMFILE);
        let inner = anyhow::Error::new(files)
            .context("cannot open the map CONTROL: Too many open files (os error 24)");
        assert_eq!(
            told(&inner.context("the daemon can't start")),
            "the daemon can't start: cannot open the map CONTROL: Too many open files (os error 24). Let the process have more \
             files open: `LimitNOFILE=65536` in the unit, `ulimit -n 65536` in a shell"
        );
        let pipe: anyhow::Result<()> = Err(io::Error::from(io::ErrorKind::BrokenPipe)).context("write");
        assert!(is_closed_pipe(&pipe.unwrap_err()));
    }
}
