//! `borderguard doctor`: what of this host is covered, blocked, not covered or not known, with what was read.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Result;

use super::table::{plain, write_wrapped};
use super::target::Target;
use super::{CliError, exit_of};
use crate::control::client;
use crate::control::status::Status;
use crate::doctor::{CHECKS, Checked, Host, Next, Report, State, Unknown};
use crate::exit::Exit;
use crate::kernel::{Interface, wall_clock};

const AFTER_HELP: &str = "\
The exit code is 0 where every way is covered, blocked, absent or accepted, and
5 where one is not covered or not known. docs/doctor.md has the checks.";

/// Arguments of `doctor`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// One JSON object; docs/doctor.md has its keys
    #[arg(long)]
    pub json: bool,
    /// Checks that do not count for the exit code: somebody has looked at them
    #[arg(long, value_name = "CODE,...", value_delimiter = ',')]
    pub accept: Vec<String>,
    /// The daemon.
    #[command(flatten)]
    pub target: Target,
}

/// Looks at this host, and writes what was found.
///
/// # Errors
/// Where a code is none, a config was named that is not there, or `out` can't be written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let accepted: BTreeSet<String> = args.accept.iter().cloned().collect();
    if let Some(code) = accepted.iter().find(|code| CHECKS.iter().all(|check| check.code != **code)) {
        let codes = CHECKS.iter().map(|check| check.code).collect::<Vec<_>>().join(", ");
        return Err(
            CliError::bad_input(format!("there is no check {code:?} to accept; there are {codes}")).into()
        );
    }
    let report = Report::of(&this_host(daemon(&args.target)?), &accepted);
    match args.json {
        true => writeln!(out, "{}", serde_json::to_string(&report)?)?,
        false => write_text(&report, out)?,
    }
    out.flush()?;
    Ok(if report.is_well() { Exit::Ok } else { Exit::Degraded })
}

/// The daemon's word, or why there is none.
///
/// # Errors
/// Where a config was named that is no config.
pub(super) fn daemon(target: &Target) -> Result<Result<Status, Unknown>> {
    let socket = match target.socket() {
        Ok(socket) => socket,
        Err(error) if exit_of(&error) == Exit::BadInput => return Err(error),
        // A config that this user may not read.
        Err(error) => return Ok(Err(Unknown { why: super::told(&error), next: Next::AsRoot })),
    };
    Ok(client::status(&socket).map(|status| *status).map_err(|error| {
        let next = if error.exit() == Exit::NotPermitted { Next::AsRoot } else { Next::AskDaemon };
        Unknown { why: error.to_string(), next }
    }))
}

/// This host, with the daemon's word.
pub(super) fn this_host(daemon: Result<Status, Unknown>) -> Host {
    Host {
        root: Path::new("/").to_owned(),
        arch: std::env::consts::ARCH,
        daemon,
        clock: wall_clock().map_err(|error| error.to_string()),
        with_xdp: Interface::with_xdp().map_err(|error| error.to_string()),
    }
}

/// Before evidence and what to do.
const INDENT: &str = "      ";

/// Writes the report for people, what needs doing first.
///
/// # Errors
/// Where `out` can't be written.
pub fn write_text(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let counts = State::ALL.into_iter().filter_map(|state| {
        let count = report.checks.iter().filter(|it| it.state == state && !it.accepted).count();
        (count > 0).then(|| format!("{count} {state}"))
    });
    let accepted = report.checks.iter().filter(|it| it.accepted).count();
    let accepted = (accepted > 0).then(|| format!("{accepted} accepted"));
    let counts: Vec<String> = counts.chain(accepted).collect();
    writeln!(out, "{}", counts.join(", "))?;
    match &report.no_daemon {
        Some(why) => write_wrapped("", INDENT, &format!("WITHOUT A DAEMON: {}", plain(why)), out)?,
        None if report.problems.is_empty() => writeln!(out, "the daemon answers and has no problem")?,
        None => {
            let mut codes: Vec<&str> = report.problems.iter().map(|problem| problem.code.as_str()).collect();
            codes.dedup();
            write_wrapped(
                "",
                INDENT,
                &format!("the daemon answers and has problems: {}", codes.join(", ")),
                out,
            )?;
        }
    }
    let mut left: Vec<&Checked> = report.checks.iter().collect();
    while let Some(first) = left.first().copied() {
        // What has one reason is said once: a daemon that does not answer leaves many checks without a word.
        let (alike, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|other| is_alike(first, other));
        write_alike(first, &alike, out)?;
        left = others;
    }
    let rest = "docs/limits.md has more ways, of which no look at a host can tell. Root can detach the guard on any host.";
    writeln!(out)?;
    write_wrapped("", "", rest, out)
}

/// Whether two checks have the same to say.
fn is_alike(one: &Checked, other: &Checked) -> bool {
    let said = |it: &Checked| (it.state, it.accepted, it.evidence.clone(), it.todo.clone());
    said(one) == said(other)
}

/// Checks that have the same to say: what is open in capitals, as a problem of `status` is.
fn write_alike(first: &Checked, alike: &[&Checked], out: &mut impl Write) -> io::Result<()> {
    let Checked { state, accepted, evidence, todo, .. } = first;
    let state = match (state, accepted) {
        (_, true) => format!("accepted, {state}"),
        (State::NotCovered, false) => "NOT COVERED".to_owned(),
        (State::NotKnown, false) => "NOT KNOWN".to_owned(),
        _ => state.to_string(),
    };
    for Checked { code, title, .. } in alike {
        write_wrapped("  ", INDENT, &format!("{state} {code}: {title}"), out)?;
    }
    for line in evidence {
        write_wrapped(INDENT, INDENT, &plain(line), out)?;
    }
    match todo {
        Some(todo) if !accepted => write_wrapped(INDENT, INDENT, &format!("To do: {todo}"), out),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::WIDTH;
    use super::*;

    fn checked(code: &'static str, state: State, todo: Option<&str>) -> Checked {
        let evidence = vec!["/proc/x\u{1b}[1m has 1".to_owned()];
        Checked { code, title: "A way", state, accepted: false, evidence, todo: todo.map(Into::into) }
    }

    fn shown(report: &Report) -> String {
        let mut out = Vec::new();
        write_text(report, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        text
    }

    #[test]
    fn what_is_open_is_in_capitals_once_and_safe_for_a_terminal() {
        let long = "Do what has to be done, which is more than one line of a terminal holds, and do it soon.";
        let mut accepted = checked("d", State::NotCovered, Some(long));
        accepted.accepted = true;
        let checks = vec![
            checked("a", State::NotCovered, Some(long)),
            checked("b", State::Blocked, None),
            checked("c", State::NotCovered, Some(long)),
            accepted,
        ];
        let report =
            Report { schema: 1, checks, problems: Vec::new(), no_daemon: Some("none\u{7} answers".into()) };
        let text = shown(&report);
        assert!(
            text.starts_with("2 not covered, 1 blocked, 1 accepted\nWITHOUT A DAEMON: none\\u{7} answers\n"),
            "{text}"
        );
        let begin = "  NOT COVERED a: A way\n  NOT COVERED c: A way\n      /proc/x\\u{1b}[1m has 1\n      To do: Do what";
        assert!(text.contains(begin), "{text}");
        assert!(
            text.contains("  blocked b: A way\n") && text.contains("  accepted, not covered d: A way\n"),
            "{text}"
        );
        assert_eq!(text.matches("To do").count(), 1);
    }

    #[test]
    fn a_code_that_is_no_check_is_not_accepted() {
        let args =
            Args { json: true, accept: vec!["rdma".into(), "rdmaa".into()], target: Target::default() };
        let error = run(&args, &mut Vec::new()).unwrap_err();
        assert_eq!(exit_of(&error), Exit::BadInput);
        assert!(
            error.to_string().contains("\"rdmaa\"") && error.to_string().contains("rdma, vfio"),
            "{error}"
        );
    }
}
