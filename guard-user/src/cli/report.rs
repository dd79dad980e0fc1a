//! `borderguard report`: the record of transfers, as Art. 30 GDPR asks for it.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use jiff::civil::Date;

use super::CliError;
use super::exemption::file;
use super::target::Target;
use crate::control::client::{ask, unexpected};
use crate::control::protocol::{Request, Response};
use crate::exit::Exit;
use crate::report::{Format, render};

/// Arguments of `report`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The form of the report
    #[arg(long, value_enum, default_value = "html")]
    pub format: Format,
    /// First day in UTC, as 2026-11-23; without it from the beginning
    #[arg(long, value_name = "DAY")]
    pub from: Option<Date>,
    /// Last day in UTC; without it until now
    #[arg(long, value_name = "DAY")]
    pub until: Option<Date>,
    /// Leave out the text of confidential exemptions, also where you may read it
    #[arg(long)]
    pub redact: bool,
    /// Into a new file, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The daemon.
    #[command(flatten)]
    pub target: Target,
}

/// Writes the report.
///
/// # Errors
/// Where the days are the wrong way round, no daemon answers, or the file can't be written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    if let (Some(from), Some(until)) = (args.from, args.until)
        && until < from
    {
        let message = format!("--until {until} is before --from {from}: the report would be empty");
        return Err(CliError::bad_input(message).into());
    }
    let socket = args.target.socket()?;
    let day = |day: Date| day.to_string();
    let request = Request::Report { from: args.from.map(day), until: args.until.map(day) };
    let Response::Report { mut report } = ask(&socket, &request)? else {
        return Err(unexpected(&socket).into());
    };
    report.redacted |= args.redact;
    let Some(path) = &args.out else {
        render(&report, args.format, out)?;
        return Ok(Exit::Ok);
    };
    let failed = || format!("cannot write {}", path.display());
    let mut file = BufWriter::new(
        // What is confidential in it is its owner's alone.
        file::create(path).with_context(failed)?,
    );
    render(&report, args.format, &mut file).with_context(failed)?;
    file.flush().with_context(failed)?;
    writeln!(out, "{} is written", path.display())?;
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

    #[test]
    fn days_that_are_none_or_the_wrong_way_round_are_bad_input() {
        let parsed = |words: &[&str]| Line::try_parse_from([&["report"], words].concat());
        for wrong in ["foo", "2026-13-01", "2026-02-30", ""] {
            assert!(parsed(&["--from", wrong]).is_err(), "{wrong:?}");
        }
        let line = parsed(&["--from", "2026-12-02", "--until", "2026-12-01"]).unwrap();
        let error = run(&line.args, &mut Vec::new()).unwrap_err();
        assert_eq!(exit_of(&error), Exit::BadInput);
        assert!(error.to_string().starts_with("--until 2026-12-01 is before --from 2026-12-02"), "{error}");
    }
}
