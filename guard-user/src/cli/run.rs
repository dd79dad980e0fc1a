//! `borderguard run`: the daemon.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context, Result};
use tracing::Level;

use super::exit::Exit;
use super::{CliError, DEFAULT_CONFIG};
use crate::config::policy::LogFormat;
use crate::daemon::{self, Options, StartError};
use crate::inputs;

/// Arguments of `run`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The config; SIGHUP and `borderguard reload` read it again
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// Drop nothing: every pin's action counts as `observe`, for a first rollout
    #[arg(long)]
    pub observe: bool,
    /// Say more on standard error
    #[arg(short, long)]
    pub verbose: bool,
}

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// Where it can't start; what the kernel guarded before goes on.
pub fn run(args: &Args) -> Result<Exit> {
    let config = inputs::absolute(&args.config)
        .with_context(|| format!("cannot find {} from the current folder", args.config.display()))?;
    // The config says how to log, so it is read once before there is a log.
    let checked =
        inputs::load_config(&config, args.observe).map_err(|error| CliError::document(error.to_string()))?;
    start_log(checked.policy.log.format, args.verbose);
    let options = Options { config, observe: args.observe };
    match daemon::run(options, checked) {
        Ok(()) => Ok(Exit::Ok),
        Err(error) => match error.downcast_ref::<StartError>() {
            Some(StartError::Input(_)) => Err(CliError::document(format!("{error:#}")).into()),
            _ => Err(error),
        },
    }
}

/// What the daemon says of itself goes to standard error; events go to standard output.
fn start_log(format: LogFormat, verbose: bool) {
    let level = if verbose { Level::DEBUG } else { Level::INFO };
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    // That a log is set already can only be in a program that uses this library.
    let _set_already = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
}
