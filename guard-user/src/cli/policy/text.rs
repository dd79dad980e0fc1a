//! `borderguard policy text FILE`: the whole text of a config, which is hashed, signed and kept.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;

use crate::cli::CliError;
use crate::config;
use crate::exit::Exit;

/// Arguments of `policy text`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The config's own file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Writes it, byte for byte.
///
/// # Errors
/// Where a file of it can't be read, or `out` can't be written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let text = config::text(&args.file).map_err(|errors| CliError::errors(&errors))?;
    out.write_all(&text)?;
    Ok(Exit::Ok)
}
