//! `borderguard top`: what the guard does now, on a terminal.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::CliError;
use super::target::Target;
use crate::control::client;
use crate::exit::Exit;
use crate::live::feed;
use crate::top::terminal;

/// Events of before that it begins with.
const EVENTS: usize = 1000;

/// Arguments of `top`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Ask for the figures every N seconds
    #[arg(short, long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub interval: u64,
    /// The daemon.
    #[command(flatten)]
    pub target: Target,
}

/// Draws until it is to end.
///
/// # Errors
/// Where standard output is no terminal, or no daemon answers at the beginning.
pub fn run(args: &Args) -> Result<Exit> {
    let theme = terminal::theme().map_err(CliError::bad_input)?;
    let socket = args.target.socket()?;
    // Before the terminal is taken: who may not look, or has no daemon, reads why, and a script has its exit code.
    client::status(&socket)?;
    let wanted = feed::Wanted { socket, interval: Duration::from_secs(args.interval), events: EVENTS };
    let news = feed::start(&wanted).context("cannot start the threads that ask the daemon")?;
    terminal::run(&news, theme)?;
    Ok(Exit::Ok)
}
