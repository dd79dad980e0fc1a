//! `borderguard selftest`: a real packet of each kind through the kernel's programs, in a network of its own.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use super::table::{plain, write_wrapped};
use super::{BY_CONFIG, CliError, DEFAULT_CONFIG, default_must_be_there};
use crate::exit::Exit;
use crate::inputs;
use crate::selftest::{self, Outcome, Tried};

const AFTER_HELP: &str = "\
The exit code is 0 where all that was sent became what it should, 1 where one
packet did not, and 5 where something could not be tried. docs/selftest.md says
what is sent.";

/// Sends real packets of each kind through the kernel's programs, and says what became of them.
///
/// It loads the programs anew with the config's pins, and attaches them to a pair of virtual interfaces in a network
/// namespace of its own: nothing leaves it, and a guard that runs is not touched. What comes out at the other end, and
/// what is counted, has to be what `explain` says. It needs root and no daemon.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The config file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// One JSON object; docs/selftest.md has its keys
    #[arg(long)]
    pub json: bool,
}

/// Tries the config on this host, and writes what came of it.
///
/// # Errors
/// Without root, where the config or a database can't be used, the kernel does not take the programs, or `out` can't be
/// written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    if !rustix::process::geteuid().is_root() {
        let message = "a self-test loads programs into the kernel: run it as root".to_owned();
        let exit = Exit::NotPermitted;
        return Err(CliError { exit, message, of_document: false, codes: Vec::new() }.into());
    }
    default_must_be_there(&args.config, BY_CONFIG)?;
    let mut inputs =
        inputs::load(&args.config, false).map_err(|error| CliError::document(error.to_string()))?;
    inputs::look_up_users(&mut inputs.policy).map_err(|error| CliError::document(error.to_string()))?;
    let tried = selftest::run(inputs.policy, inputs.database)?;
    match args.json {
        true => writeln!(out, "{}", object(&tried))?,
        false => write_text(&tried, out)?,
    }
    Ok(exit(&tried))
}

fn count(tried: &[Tried], result: Outcome) -> usize {
    tried.iter().filter(|one| one.result == result).count()
}

fn exit(tried: &[Tried]) -> Exit {
    match (count(tried, Outcome::Failed), count(tried, Outcome::NotTried)) {
        (0, 0) => Exit::Ok,
        (0, _) => Exit::Degraded,
        _ => Exit::Failed,
    }
}

fn object(tried: &[Tried]) -> serde_json::Value {
    json!({
        "schema": 1,
        "ok": count(tried, Outcome::Ok),
        "failed": count(tried, Outcome::Failed),
        "not_tried": count(tried, Outcome::NotTried),
        "tries": tried,
    })
}

/// What needs looking at is in capitals.
fn write_text(tried: &[Tried], out: &mut impl Write) -> Result<()> {
    for one in tried {
        let Tried { pin, kind, to, result, verdict, reason, why, .. } = one;
        let said = match result {
            Outcome::Ok => "ok",
            Outcome::Failed => "FAILED",
            Outcome::NotTried => "NOT TRIED",
        };
        let expected = match (verdict, reason) {
            (Some(verdict), Some(reason)) => format!(": {verdict} {reason}"),
            _ => String::new(),
        };
        let received = match (result, one.received) {
            (Outcome::NotTried, _) | (_, None) => "",
            (_, Some(true)) => ", received",
            (_, Some(false)) => ", not received",
        };
        let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let line = format!("{said} {pin}, {kind}, {to}{expected}{received}{why}");
        write_wrapped("", "      ", &plain(&line), out)?;
    }
    let counts = [
        (count(tried, Outcome::Ok), "ok"),
        (count(tried, Outcome::Failed), "failed"),
        (count(tried, Outcome::NotTried), "not tried"),
    ];
    let counts: Vec<String> = counts.iter().map(|(count, what)| format!("{count} {what}")).collect();
    Ok(writeln!(out, "{}", counts.join(", "))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(result: Outcome) -> Tried {
        let has_failed = result == Outcome::Failed;
        let is_tried = result != Outcome::NotTried;
        Tried {
            pin: "mail".to_owned(),
            kind: "tcp".to_owned(),
            to: "forbidden",
            result,
            verdict: is_tried.then_some("drop"),
            reason: is_tried.then_some("forbidden"),
            received: is_tried.then_some(has_failed),
            counted: is_tried.then_some(true),
            why: (result != Outcome::Ok).then(|| "a reason".to_owned()),
        }
    }

    #[test]
    fn each_try_is_a_line_and_the_exit_code_has_the_worst() {
        let all = [Outcome::Ok, Outcome::Failed, Outcome::NotTried].map(tried);
        let mut out = Vec::new();
        write_text(&all, &mut out).unwrap();
        let expected = "ok mail, tcp, forbidden: drop forbidden, not received\n\
                        FAILED mail, tcp, forbidden: drop forbidden, received: a reason\n\
                        NOT TRIED mail, tcp, forbidden: a reason\n1 ok, 1 failed, 1 not tried\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let [well, failed, not_tried] = all;
        assert_eq!(exit(&[well.clone(), not_tried.clone()]), Exit::Degraded);
        assert_eq!(exit(&[well.clone(), failed, not_tried]), Exit::Failed);
        assert_eq!(exit(std::slice::from_ref(&well)), Exit::Ok);
        let object = object(&[well]);
        assert_eq!(
            (&object["ok"], &object["failed"], &object["not_tried"]),
            (&json!(1), &json!(0), &json!(0))
        );
        assert_eq!(object["tries"][0]["result"], "ok");
    }
}
