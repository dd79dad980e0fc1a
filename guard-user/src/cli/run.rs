//! `borderguard run`: the daemon.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tracing::Level;

use super::target::{DEFAULT_PIN_PATH, pin_path, state_of};
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
        let default = Path::new(DEFAULT_PIN_PATH);
        // Where even the place of its pins can't be read from it, they are where they are by default, or unknown.
        let goes_on = pin_path(Some(&options.config)).map_or_else(
            |_| of_unknown_place(default, &daemon::what_goes_on(default)),
            |pin_path| daemon::what_goes_on(&pin_path),
        );
        let config = options.config.display();
        CliError::document(format!(
            "{error}\nno config that was taken before can go on: {why}. One is kept only where it has [approval.policy]\n\
             {goes_on}\nto do: correct what is named above, see that `borderguard check {config}` finds no error, and start the \
             daemon again (`systemctl restart borderguard`). Until then nobody can reload, load or stay anything"
        ))
    })
}

/// What goes on where the config can't say where its pins are, by what goes on at the default place.
fn of_unknown_place(default: &Path, goes_on: &str) -> String {
    format!(
        "at {}, the default of `state.pin_path`: {goes_on}. Whether the config names another place can't be read from it: \
         `bpftool link` shows what is attached",
        default.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_with_a_config_that_can_t_be_used_says_what_goes_on_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("policy.toml");
        let (state, pins) = (folder.path().join("state"), folder.path().join("pins"));
        let told = |text: &str| {
            std::fs::write(&config, text).unwrap();
            let options = Options { config: config.clone(), observe: false };
            let error = inputs::load_config(&config, false).unwrap_err();
            taken_last(&options, &error).unwrap_err().message
        };
        let slip = format!("[hots]\n[state]\ndirectory = {state:?}\npin_path = {pins:?}\n");
        let nothing = format!("NOTHING is guarded: there is nothing at {}", pins.display());
        for part in
            [nothing.as_str(), "[approval.policy]", "to do: ", "`borderguard check ", "systemctl restart"]
        {
            assert!(told(&slip).contains(part), "{part}: {}", told(&slip));
        }
        let no_toml = told("= 1\n");
        for part in [DEFAULT_PIN_PATH, "`bpftool link`", "to do: "] {
            assert!(no_toml.contains(part), "{part}: {no_toml}");
        }
    }
}
