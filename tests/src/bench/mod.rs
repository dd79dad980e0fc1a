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
mod wire;

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
    /// Measure these alone, separated by commas
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Exit with 1 where a figure is past the bound that the project sets itself
    #[arg(long)]
    check: bool,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Packets in the kernel program, and generations of tables
    Packets,
    /// Packets between two namespaces: with nothing on their way, and with the guard, an nftables set and a trie
    Wire,
    /// A TCP connection with the guard and without it
    Connection,
    /// The daemon's memory, revocations, a storm of new flows, and what it uses when nothing happens
    Daemon,
    /// A permitted connection beside a storm
    Beside,
}

type Measure = fn(&Arguments, &mut Figures) -> Result<()>;

const PARTS: &[(Part, &str, Measure)] = &[
    (Part::Packets, "judging packets", packets),
    (Part::Wire, "sending packets", |_, figures| wire::measure(figures)),
    (Part::Connection, "sending by TCP", |_, figures| throughput::measure(figures)),
    (Part::Daemon, "running the daemon", |_, figures| daemon::measure(figures)),
    (Part::Beside, "sending beside a storm", |_, figures| beside::measure(figures)),
];

fn packets(arguments: &Arguments, figures: &mut Figures) -> Result<()> {
    let pins = BpfFs::new("bench").context("make a folder for pinned maps")?;
    let mut kernel = generation::measure(pins.path(), figures)?;
    let bench = programs::Bench::load(pins.path(), figures)?;
    bench.measure(&mut kernel, arguments.rounds, arguments.repeat, figures)
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
    let mut figures = Figures::default();
    let progress = |what: &str| {
        if !arguments.json {
            eprintln!("{what} ...");
        }
    };
    let is_wanted = |part: Part| arguments.only.is_empty() || arguments.only.contains(&part);
    // All of them are tried before the first error is told.
    let mut measured = Vec::new();
    for (part, what, measure) in PARTS {
        if is_wanted(*part) {
            progress(what);
            measured.push(measure(arguments, &mut figures).with_context(|| format!("{what} failed")));
        }
    }
    if !arguments.json {
        print!("{}", figures.table());
    }
    measured.into_iter().collect::<Result<()>>()?;
    if arguments.only.is_empty() {
        figures.are_whole()?;
    }
    if arguments.json {
        println!("{}", figures.json()?);
    }
    Ok(figures.within_bounds())
}
