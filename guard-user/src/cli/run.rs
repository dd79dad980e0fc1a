//! `borderguard run`: the daemon.

use std::path::PathBuf;

use anyhow::{Context, Result};
use tracing::Level;

use super::target::{pin_path, state_of};
use super::{CliError, DEFAULT_CONFIG, told};
use crate::daemon::{self, OfStart, Options, StartError};
use crate::exit::Exit;
use crate::inputs::{self, InputError};
use crate::telemetry::diagnostics::{self, Stream, Style};

/// Arguments of `run`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The config; SIGHUP and `borderguard reload` read it again
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// Drop nothing: every pin's action counts as `observe`, for a first rollout
    #[arg(long)]
    pub observe: bool,
    /// Log more on standard error
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
    let options = Options { config, observe: args.observe };
    let level = if args.verbose { Level::DEBUG } else { Level::INFO };
    let load = |options: &Options| {
        // The config says how to log, so it is read once before there is a log.
        let config = match inputs::load_config(&options.config, options.observe) {
            Ok(checked) => OfStart { checked, refused: None },
            Err(error) => taken_last(options, &error)?,
        };
        let format = config.checked.policy.log.format;
        // Its last lines are written when it is dropped.
        Ok((config, diagnostics::start(Style { format, level, stream: Stream::of_stderr() })))
    };
    match daemon::run(options, load) {
        Ok(()) => Ok(Exit::Ok),
        Err(error) => match error.downcast_ref::<StartError>() {
            Some(StartError::Input(_)) => Err(CliError::document(told(&error)).into()),
            _ => Err(error),
        },
    }
}

/// The config that was taken last, for a start whose own can't be used.
fn taken_last(options: &Options, error: &InputError) -> Result<OfStart, CliError> {
    let state = state_of(&options.config).map_err(|why| format!("which it was is not known: {why:#}"));
    let last = state.and_then(|state| daemon::taken_last(&state, options.observe, &error.to_string()));
    last.map_err(|why| {
        // Where even the place of its pins can't be read from it, they are where they are by default, or unknown.
        let goes_on = pin_path(Some(&options.config)).map_or_else(
            |_| {
                "the daemon can't start. What the kernel has goes on, if it has anything: where that is says \
                 `state.pin_path` of the config, which can't be read. `bpftool link` shows it"
                    .to_owned()
            },
            |pin_path| daemon::what_goes_on(&pin_path),
        );
        CliError::document(format!("{error}\nno config that was taken before can go on: {why}\n{goes_on}"))
    })
}
