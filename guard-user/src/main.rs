//! The `borderguard` program.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser};
use guard_user::cli::command::{Cli, Command};
use guard_user::cli::form::form_of;
use guard_user::cli::on_terminal::{self, Kind, OnTerminal};
use guard_user::cli::seen::{Form, Seen};
use guard_user::cli::unread::Unread;
use guard_user::cli::{
    self, CliError, apply, approval, audit, bundle, canary, check, confirm, detach, doctor, events,
    exemption, explain, generate, geo, groups, instrument, page, pin, policy, refused, reload, run, selftest,
    shadow, simulate, status, suggest, told, top, trace,
};
use guard_user::control::protocol::EventFormat;
use guard_user::exit::Exit;
use guard_user::kernel::cgroup;
use guard_user::text::visible_lines;

fn main() -> ExitCode {
    // Before there is any thread.
    cgroup::see_all();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misread(&error),
    };
    match execute(&cli) {
        Ok(exit) => exit.into(),
        Err(error) if goes_on(&cli) && cli::is_closed_pipe(&error) => Exit::Ok.into(),
        Err(error) => {
            report(&error);
            if refused::wants_json(&cli) {
                // Nobody can be told that standard output is closed; the exit code says the rest.
                let mut out = Seen::new(io::stdout(), Form::Json);
                let _closed = writeln!(out, "{}", refused::object(&error));
            }
            cli::exit_of(&error).into()
        }
    }
}

/// Says what is wrong with the command line, which may have any characters in it, or shows the help.
fn misread(error: &clap::Error) -> ExitCode {
    let shown = error.render().to_string();
    match visible_lines(&shown) {
        // With its colours.
        Cow::Borrowed(_) => error.exit(),
        Cow::Owned(shown) => {
            // Nobody can be told that standard error is closed.
            let _closed = write!(io::stderr(), "{shown}");
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
        }
    }
}

/// What is wrapped and coloured where it is written to a terminal.
fn kind(cli: &Cli) -> Kind {
    match &cli.command {
        _ if form_of(cli) != Form::Lines => Kind::Other,
        Command::Status(_) => Kind::Status,
        Command::Events(args) if args.format == EventFormat::Text => Kind::Events,
        Command::Exemption(args) if args.command.is_of_sentences() => Kind::Sentences,
        Command::Instrument(_) | Command::Approval(_) => Kind::Sentences,
        _ => Kind::Other,
    }
}

/// Whether the command goes on for as long as somebody reads what it writes.
const fn goes_on(cli: &Cli) -> bool {
    matches!(cli.command, Command::Events(_) | Command::Page(_) | Command::Shadow(_) | Command::Trace(_))
}

fn execute(cli: &Cli) -> Result<Exit> {
    let out = Unread::new(io::stdout().lock(), goes_on(cli));
    let out = OnTerminal::new(out, kind(cli), on_terminal::colours());
    let mut out = io::BufWriter::new(Seen::new(out, form_of(cli)));
    let exit = match &cli.command {
        Command::Run(args) => {
            // The daemon's log of events is written by a thread of its own.
            drop(out);
            return run::run(args);
        }
        Command::Top(args) => {
            // It draws on the terminal by itself.
            drop(out);
            return top::run(args);
        }
        Command::Page(args) => page::run(args, &mut out)?,
        Command::Check(args) => check::run(args, &mut out)?,
        Command::Status(args) => status::run(args, &mut out)?,
        Command::Doctor(args) => doctor::run(args, &mut out)?,
        Command::Selftest(args) => selftest::run(args, &mut out)?,
        Command::Bundle(args) => bundle::run(args, &mut out)?,
        Command::Events(args) => events::run(args, &mut out, &mut Seen::new(io::stderr(), Form::Lines))?,
        Command::Exemption(args) => exemption::run(args, &mut out)?,
        Command::Instrument(args) => instrument::run(args, &mut out)?,
        Command::Approval(args) => approval::run(args, &mut out)?,
        Command::Audit(args) => audit::run(args, &mut out)?,
        Command::Report(args) => guard_user::cli::report::run(args, &mut out)?,
        Command::Explain(args) => explain::run(args, &mut out)?,
        Command::Simulate(args) => simulate::run(args, &mut out)?,
        Command::Shadow(args) => shadow::run(args, &mut out, &mut Seen::new(io::stderr(), Form::Lines))?,
        Command::Trace(args) => trace::run(args, &mut out, &mut Seen::new(io::stderr(), Form::Lines))?,
        Command::Suggest(args) => suggest::run(args, &mut out)?,
        Command::Geo(args) => geo::run(args, &mut out)?,
        Command::Policy(args) => policy::run(args, &mut out)?,
        Command::Groups(args) => groups::run(args, &mut out)?,
        Command::Canary(args) => canary::run(args, &mut out)?,
        Command::Reload(args) => reload::run(args, &mut out)?,
        Command::Apply(args) => apply::run(args, &mut out)?,
        Command::Pin(args) => pin::run(args, &mut out)?,
        Command::Confirm(args) => confirm::run(args, &mut out)?,
        Command::Detach(args) => detach::run(args, &mut out)?,
        Command::Generate(args) => generate::run(args, &Cli::command(), &mut out)?,
    };
    out.flush()?;
    Ok(exit)
}

fn report(error: &anyhow::Error) {
    let of_document =
        error.chain().any(|cause| cause.downcast_ref::<CliError>().is_some_and(|error| error.of_document));
    let terminal = io::stderr().is_terminal().then_some(false);
    let out = OnTerminal::new(io::stderr(), Kind::Sentences, terminal);
    let mut out = Seen::new(out, Form::Lines);
    // Nobody can be told that standard error is closed.
    let _closed = match of_document {
        true => writeln!(out, "{}", told(error)),
        false => writeln!(out, "borderguard: {}", told(error)),
    };
}
