//! `borderguard reload`: has the daemon read config and databases again, and says what came of it.

use std::io::Write;

use anyhow::Result;

use super::target::Target;
use crate::control::client::{ask, unexpected};
use crate::control::protocol::{Request, Response};
use crate::exit::Exit;

/// Arguments of `reload`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The daemon.
    #[command(flatten)]
    pub target: Target,
}

/// Reloads.
///
/// # Errors
/// Where no daemon answers or it refuses; then the old generation stays live.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let socket = args.target.socket()?;
    match ask(&socket, &Request::Reload {})? {
        Response::Done { message, generation, .. } => {
            writeln!(out, "{message} (generation {generation})")?;
            Ok(Exit::Ok)
        }
        _ => Err(unexpected(&socket).into()),
    }
}
