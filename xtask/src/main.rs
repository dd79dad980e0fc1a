//! `cargo xtask`: everything that is done to this workspace, one command a file.

mod attack;
mod bench;
mod bpf;
mod browser;
mod build;
mod ci;
mod debian;
mod demo;
mod files;
mod fresh;
mod fuzz;
mod kubernetes;
mod lanes;
mod licences;
mod package;
mod prometheus;
mod python;
mod run;
mod services;
mod setup;
mod ship;
mod sigma;
mod suites;
mod tally;
mod test;
mod tidy;
mod unit;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Build, test, demo and measure Border Guard.
///
/// Each command first sets up what it needs, so a fresh clone needs no other step. Where it cannot (no
/// root, no Debian), it says in one line what is missing and how to get it.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Setup(setup::Arguments),
    Build(build::Arguments),
    Package(package::Arguments),
    Test(test::Arguments),
    Demo(demo::Arguments),
    Attack(attack::Arguments),
    Fresh(fresh::Arguments),
    Fuzz(fuzz::Arguments),
    Bench(bench::Arguments),
    Vm(vm::Arguments),
    Services(services::Arguments),
    Tidy(tidy::Arguments),
    Ci(ci::Arguments),
    Nightly(ci::Nightly),
}

fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    let outcome = workspace::enter().and_then(|()| match command {
        Command::Setup(arguments) => setup::command(&arguments),
        Command::Build(arguments) => build::command(&arguments),
        Command::Package(arguments) => package::command(&arguments),
        Command::Test(arguments) => test::command(&arguments),
        Command::Demo(arguments) => demo::command(&arguments),
        Command::Attack(arguments) => attack::command(&arguments),
        Command::Fresh(arguments) => fresh::command(&arguments),
        Command::Fuzz(arguments) => fuzz::command(&arguments),
        Command::Bench(arguments) => bench::command(&arguments),
        Command::Vm(arguments) => vm::command(&arguments),
        Command::Services(arguments) => services::command(&arguments),
        Command::Tidy(arguments) => tidy::command(&arguments),
        Command::Ci(arguments) => ci::command(&arguments),
        Command::Nightly(arguments) => ci::nightly(&arguments),
    });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
