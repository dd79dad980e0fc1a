//! The bench: what a packet, a lookup and a new generation cost.
//!
//! Packets are timed by the kernel itself (`BPF_PROG_TEST_RUN` with a repeat count), in rounds that take
//! every program by turns, so that a slow moment of the machine hits all of them; the median of the
//! rounds counts. Every figure is over an empty program, and over the generator of destinations where it
//! is used, of the same round.

mod beside;
mod daemon;
mod draws;
mod figures;
mod generation;
mod policies;
mod programs;
mod throughput;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;

use crate::bpffs::BpfFs;
use figures::Figures;

/// Measures Border Guard on this machine. Nothing leaves it: packets are judged, not sent.
#[derive(Debug, Parser)]
#[command(name = "guard-bench")]
struct Arguments {
    /// Print one JSON object and nothing else
    #[arg(long)]
    json: bool,
    /// Rounds; the median counts
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Packets in one round of one program
    #[arg(long, default_value_t = 400_000)]
    repeat: u32,
    /// Exit with 1 where a figure is past the bound that the project sets itself
    #[arg(long)]
    check: bool,
}

/// Runs the bench; the exit code is 1 where it could not, or where `--check` finds a figure past its bound.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(within) if within || !arguments.check => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    let pins = BpfFs::new("bench").context("make a folder for pinned maps")?;
    let mut figures = Figures::default();
    let progress = |what: &str| {
        if !arguments.json {
            eprintln!("{what} ...");
        }
    };
    progress("building generations of the full embedded database");
    let mut kernel = generation::measure(pins.path(), &mut figures)?;
    progress("filling the yardstick's tries");
    let bench = programs::Bench::load(pins.path(), &mut figures)?;
    progress("judging packets");
    bench.measure(&mut kernel, arguments.rounds, arguments.repeat, &mut figures)?;
    drop(kernel);
    progress("sending by TCP");
    throughput::measure(&mut figures).context("measure a TCP connection")?;
    progress("starting the daemon");
    let daemon = daemon::measure(&mut figures);
    progress("sending beside a storm");
    let beside = beside::measure(&mut figures);
    if !arguments.json {
        print!("{}", figures.table());
    }
    daemon.context("measure the daemon")?;
    beside.context("measure a connection beside a storm")?;
    if arguments.json {
        println!("{}", figures.json()?);
    }
    Ok(figures.within_bounds())
}
