//! `borderguard page`: what the guard does, in a browser.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::target::Target;
use crate::config::metrics::Listen;
use crate::control::client;
use crate::exit::Exit;
use crate::live::feed;
use crate::page::server;

/// Events of before that it begins with.
const EVENTS: usize = 1000;

/// Arguments of `page`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// A loopback address with a port (0: a free one), or a Unix socket's path
    #[arg(long, value_name = "WHERE", default_value = "127.0.0.1:0", value_parser = server::listen)]
    pub listen: Listen,
    /// Ask for the figures every N seconds
    #[arg(short, long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub interval: u64,
    /// The daemon.
    #[command(flatten)]
    pub target: Target,
}

/// Serves it until it is to end. Where no daemon answers the page says so, and goes on when one does.
///
/// # Errors
/// Where this user may not look, or it can't listen there.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let socket = args.target.socket()?;
    if let Err(error) = client::status(&socket)
        && error.exit() == Exit::NotPermitted
    {
        return Err(error.into());
    }
    let wanted = feed::Wanted { socket, interval: Duration::from_secs(args.interval), events: EVENTS };
    let news = feed::start(&wanted).context("cannot start the threads that ask the daemon")?;
    server::run(&args.listen, news, out)?;
    Ok(Exit::Ok)
}
