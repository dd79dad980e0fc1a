//! The `borderguard` program.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use guard_user::cli::exit::Exit;
use guard_user::cli::{self, CliError, check, detach, events, exemption, explain, reload, run, status};
use guard_user::config::Surroundings;
use guard_user::config::groups;
use guard_user::geo::embedded;

/// Keeps region-pinned data in its region: marks every flow that comes from pinned storage, and drops or
/// flags it in the kernel where it goes to a jurisdiction that the data may not reach.
#[derive(Parser)]
#[command(name = "borderguard", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done; 1 failed, or a difference found; 2 input that can't be used; 3 no daemon; 4 not permitted.
Start with `borderguard check FILE`, then `borderguard run --config FILE --observe`, then without `--observe`.";

#[derive(Subcommand)]
enum Command {
    /// Guard this host: load, attach, watch and log, until SIGTERM (enforcement stays)
    Run(run::Args),
    /// Check a config: every error at once, or every warning
    Check(CheckArgs),
    /// Show what is guarded, how, and what was counted
    Status(status::Args),
    /// Show violations and exempted flows, one line each
    Events(events::Args),
    /// Write, check, load, list and revoke exemptions
    Exemption(exemption::Args),
    /// Tell why a packet passes or not, step by step, or judge every frame of a capture
    Explain(explain::Args),
    /// Have the daemon read config, geo databases and exemptions again
    Reload(reload::Args),
    /// Remove everything from the kernel: nothing is guarded any more
    Detach(detach::Args),
}

#[derive(clap::Args)]
struct CheckArgs {
    /// The config
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match execute(&Cli::parse().command) {
        Ok(exit) => exit.into(),
        Err(error) if cli::is_closed_pipe(&error) => Exit::Ok.into(),
        Err(error) => {
            report(&error);
            cli::exit_of(&error).into()
        }
    }
}

fn execute(command: &Command) -> Result<Exit> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let exit = match command {
        Command::Run(args) => {
            // The daemon's log of events is written by a thread of its own.
            drop(out);
            return run::run(args);
        }
        Command::Check(args) => check_config(args, &mut out)?,
        Command::Status(args) => status::run(args, &mut out)?,
        Command::Events(args) => events::run(args, &mut out, &mut io::stderr())?,
        Command::Exemption(args) => exemption::run(args, &mut out)?,
        Command::Explain(args) => explain::run(args, &mut out)?,
        Command::Reload(args) => reload::run(args, &mut out)?,
        Command::Detach(args) => detach::run(args, &mut out)?,
    };
    out.flush()?;
    Ok(exit)
}

fn check_config(args: &CheckArgs, out: &mut impl Write) -> Result<Exit> {
    let database = embedded::load();
    let place = |address| Some(database.lookup(address));
    let surroundings = Surroundings { groups: &groups::builtin, database: Some(&place) };
    let code = check::run(&args.file, args.json, &surroundings, out)?;
    Ok(if code == check::USABLE { Exit::Ok } else { Exit::BadInput })
}

fn report(error: &anyhow::Error) {
    let of_document =
        error.chain().any(|cause| cause.downcast_ref::<CliError>().is_some_and(|error| error.of_document));
    // Nobody can be told that standard error is closed.
    let _closed = match of_document {
        true => writeln!(io::stderr(), "{error:#}"),
        false => writeln!(io::stderr(), "borderguard: {error:#}"),
    };
}
