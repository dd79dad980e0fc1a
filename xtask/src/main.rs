//! `cargo xtask`: everything that is done to this workspace, one command a file.

mod run;
mod setup;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Build, test, demo and measure Border Guard.
///
/// Each command first sets up what it needs, so a fresh clone needs no other step.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find or install what the build of the kernel program needs
    Setup,
}

fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    let outcome = workspace::enter().and_then(|()| match command {
        Command::Setup => setup::command(),
    });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
