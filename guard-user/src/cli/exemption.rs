//! `borderguard exemption`: writes and checks documents, has the daemon load and revoke them, and shows what
//! they allow.

mod ask;
mod file;
pub mod lint;
pub mod new;
pub mod renew;
pub mod show;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::Timestamp;

use super::CliError;
use super::exit::Exit;
use super::target::Target;
use crate::config;

/// Arguments of `exemption`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do with exemptions.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Check a document without a daemon: every error at once, or what it would allow
    #[command(visible_alias = "check")]
    Lint(lint::Args),
    /// Write a document: ask what is not given, and say what is missing
    New(new::Args),
    /// Write the next version of a document, which takes the place of the one that is loaded
    Renew(renew::Args),
    /// Load a document: from then on the kernel lets its transfer through
    Load {
        /// The document
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Say what would be allowed, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// The daemon.
        #[command(flatten)]
        target: Target,
    },
    /// Show every exemption: what it allows, and what it let through
    List {
        /// One JSON array
        #[arg(long)]
        json: bool,
        /// The daemon.
        #[command(flatten)]
        target: Target,
    },
    /// Close an exemption for good; the packets of a transfer that is under way no longer pass
    Revoke {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
        /// The reason, which is kept
        #[arg(long, value_name = "TEXT")]
        why: String,
        /// The daemon.
        #[command(flatten)]
        target: Target,
    },
}

/// Does it.
///
/// # Errors
/// Where the document can't be used, no daemon answers or it refuses, or `out` can't be written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let now = Timestamp::now();
    match &args.command {
        Command::Lint(args) => lint::run(args, now, out),
        Command::New(args) => new::run(args, now, out),
        Command::Renew(args) => renew::run(args, now, out),
        Command::Load { file, dry_run: false, target } => ask::load(file, &target.socket()?, now, out),
        Command::Load { file, dry_run: true, target } => ask::try_load(file, &target.socket()?, now, out),
        Command::List { json, target } => ask::list(*json, &target.socket()?, now, out),
        Command::Revoke { id, why, target } => ask::revoke(id, why, &target.socket()?, now, out),
    }
}

/// The names of a config's pins.
fn pins_of(config: &Path) -> Result<Vec<String>> {
    let surroundings = config::Surroundings { groups: &config::groups::builtin, database: None };
    let checked =
        config::load(config, &surroundings).map_err(|errors| CliError::document(errors.to_string()))?;
    Ok(checked.policy.pins.into_iter().map(|pin| pin.name).collect())
}
