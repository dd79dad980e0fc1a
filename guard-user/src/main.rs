//! The `borderguard` program.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use guard_user::cli::command::{Cli, Command};
use guard_user::cli::{
    self, CliError, audit, check, detach, events, exemption, explain, geo, groups, instrument, policy,
    refused, reload, run, status,
};
use guard_user::exit::Exit;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match execute(&cli.command) {
        Ok(exit) => exit.into(),
        Err(error) if cli::is_closed_pipe(&error) => Exit::Ok.into(),
        Err(error) => {
            report(&error);
            if refused::wants_json(&cli) {
                // Nobody can be told that standard output is closed; the exit code says the rest.
                let _closed = writeln!(io::stdout(), "{}", refused::object(&error));
            }
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
        Command::Check(args) => check::run(args, &mut out)?,
        Command::Status(args) => status::run(args, &mut out)?,
        Command::Events(args) => events::run(args, &mut out, &mut io::stderr())?,
        Command::Exemption(args) => exemption::run(args, &mut out)?,
        Command::Instrument(args) => instrument::run(args, &mut out)?,
        Command::Audit(args) => audit::run(args, &mut out)?,
        Command::Report(args) => guard_user::cli::report::run(args, &mut out)?,
        Command::Explain(args) => explain::run(args, &mut out)?,
        Command::Geo(args) => geo::run(args, &mut out)?,
        Command::Policy(args) => policy::run(args, &mut out)?,
        Command::Groups(args) => groups::run(args, &mut out)?,
        Command::Reload(args) => reload::run(args, &mut out)?,
        Command::Detach(args) => detach::run(args, &mut out)?,
    };
    out.flush()?;
    Ok(exit)
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
