//! `borderguard events`: what was seen, one line each; and `events export`, the same into a file.

mod export;
mod wanted;

use std::io::Write;

use anyhow::Result;
use jiff::Timestamp;

pub use self::wanted::Wanted;
use self::wanted::read;
use super::target::Target;
use crate::control::client::Exchange;
use crate::control::protocol::{EventFormat, Request};
use crate::exit::Exit;

/// Arguments of `events`.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// What else is to be done with them.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Go on with new events as they come, until interrupted
    #[arg(short, long)]
    pub follow: bool,
    /// One JSON object a line; docs/logs.md has its keys
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// How a line looks
    #[arg(long, value_enum, default_value_t)]
    pub format: EventFormat,
    /// The last N that are wanted [default: 10,000; with --since or --until all]
    #[arg(short = 'n', long, value_name = "N")]
    pub limit: Option<usize>,
    /// Which events.
    #[command(flatten)]
    pub wanted: Wanted,
    /// The daemon.
    #[command(flatten)]
    pub target: Target,
}

/// What else is to be done with events.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Write them to a new file, sorted by time
    Export(export::Args),
}

/// Writes the events to `out`, and what was missed to `complaints`.
///
/// # Errors
/// Where no daemon answers, what is wanted is not there, or `out` can't be written.
pub fn run(args: &Args, out: &mut impl Write, complaints: &mut impl Write) -> Result<Exit> {
    if let Some(Command::Export(args)) = &args.command {
        return export::run(args, out, complaints);
    }
    let format = if args.json { EventFormat::Json } else { args.format };
    let filter = args.wanted.filter(Timestamp::now())?;
    let request = Request::Events { follow: args.follow, limit: args.limit, format, filter, brief: false };
    let mut exchange = Exchange::begin(&args.target.socket()?, &request)?;
    exchange.wait_for_ever()?;
    read(&mut exchange, complaints, |line| {
        writeln!(out, "{line}")?;
        if args.follow {
            out.flush()?;
        }
        Ok(())
    })?;
    out.flush()?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::exit_of;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(words: &[&str]) -> Args {
        Line::try_parse_from([&["events"], words].concat()).unwrap().args
    }

    #[test]
    fn what_is_no_name_says_what_there_is() {
        for (words, says) in [
            (&["--verdict", "dropped"][..], "there is no verdict \"dropped\": pass, observe, flag, drop"),
            (&["--reason", "because"], "there is no reason \"because\": "),
            (&["--to", "XX"], "there is no jurisdiction \"XX\": an ISO 3166-1 alpha-2 code such as US"),
            (&["--since", "yesterday"], "--since: \"yesterday\" is no moment: write 2026-11-23T12:00:00Z"),
            (&["--since", "-1h", "--until", "-2h"], "is not after --since"),
        ] {
            let error = run(&parsed(words), &mut Vec::new(), &mut Vec::new()).unwrap_err();
            assert_eq!(exit_of(&error), Exit::BadInput, "{words:?}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn without_a_daemon_it_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("none.sock");
        let args =
            parsed(&["--socket", socket.to_str().unwrap(), "--since", "-2h", "--pin", "mail", "-n", "3"]);
        let error = run(&args, &mut Vec::new(), &mut Vec::new()).unwrap_err();
        assert_eq!(exit_of(&error), Exit::NoDaemon);
        assert!(error.to_string().contains("systemctl status borderguard"), "{error}");
    }
}
