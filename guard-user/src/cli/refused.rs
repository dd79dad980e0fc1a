//! A refusal as JSON, for commands that were asked for JSON: standard output has an object in any case.

use serde_json::{Value, json};

use super::command::{Cli, Command};
use super::{CliError, approval, audit, exemption, exit_of, geo, instrument, pin, policy};
use crate::control::client::ClientError;
use crate::report::Format;

/// Whether a command line asks for JSON.
#[must_use]
pub fn wants_json(cli: &Cli) -> bool {
    use exemption::Command as Of;
    match &cli.command {
        Command::Check(args) => args.json,
        Command::Status(args) => args.json,
        Command::Doctor(args) => args.json,
        Command::Selftest(args) => args.json,
        Command::Events(args) => args.json,
        Command::Explain(args) => args.json,
        Command::Simulate(args) => args.json,
        Command::Shadow(args) => args.json,
        Command::Trace(args) => args.json,
        Command::Reload(args) => args.json,
        Command::Apply(args) => args.json,
        Command::Confirm(args) => args.json,
        Command::Pin(args) => match &args.command {
            pin::Command::Report(args) => args.wanted.json,
            pin::Command::Promote(args) => args.wanted.json,
        },
        Command::Report(args) => args.format == Format::Json,
        Command::Instrument(args) => match &args.command {
            instrument::Command::List(list) => list.json,
            instrument::Command::Restore(restore) => restore.change.how.json,
            instrument::Command::Invalidate(invalidate) => invalidate.change.how.json,
        },
        Command::Approval(args) => match &args.command {
            approval::Command::List(list) => list.json,
            approval::Command::Revoke { how, .. } => how.json,
        },
        Command::Audit(args) => match &args.command {
            audit::Command::Show { json, .. } | audit::Command::Verify { json, .. } => *json,
            audit::Command::Export { .. }
            | audit::Command::Config { .. }
            | audit::Command::Lift { .. }
            | audit::Command::Checkpoint { .. } => false,
        },
        Command::Exemption(args) => match &args.command {
            Of::New(args) => args.json,
            Of::Lint(args) => args.json,
            Of::Sign(args) => args.how.json,
            Of::Verify(args) => args.json,
            Of::Renew(args) => args.json,
            Of::Receipt(args) => args.json,
            Of::List { json, .. } | Of::Show { json, .. } => *json,
            Of::Orders(list) => list.json,
            Of::Lift(args) => args.how.json,
            Of::Load { how, .. }
            | Of::Stay { how, .. }
            | Of::Resume { how, .. }
            | Of::Revoke { how, .. }
            | Of::Done { how, .. } => how.json,
        },
        Command::Groups(args) => args.json,
        Command::Policy(args) => match &args.command {
            policy::Command::Diff(args) => args.json,
            policy::Command::Sign(args) => args.how.json,
            policy::Command::Verify(args) => args.json,
            policy::Command::Text(_) => false,
        },
        Command::Geo(args) => matches!(&args.command, geo::Command::Diff(args) if args.json),
        Command::Run(_)
        | Command::Suggest(_)
        | Command::Bundle(_)
        | Command::Top(_)
        | Command::Page(_)
        | Command::Canary(_)
        | Command::Detach(_)
        | Command::Generate(_) => false,
    }
}

/// What an error is to programs: its kind, the codes of what is wrong with the input, the message, and the exit code.
#[must_use]
pub fn object(error: &anyhow::Error) -> Value {
    let exit = exit_of(error);
    let mut kind = exit.kind();
    let mut codes: Vec<String> = Vec::new();
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<CliError>() {
            codes = error.codes.iter().map(|code| (*code).to_owned()).collect();
            break;
        }
        if let Some(error) = cause.downcast_ref::<ClientError>() {
            kind = error.kind();
            if let ClientError::Refused { codes: its, .. } = error {
                codes.clone_from(its);
            }
            break;
        }
    }
    json!({ "error": { "kind": kind, "codes": codes, "message": super::told(error), "exit": exit.code() } })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::control::protocol::ErrorKind;

    /// Each subcommand with what it needs beside `--json`.
    const COMMANDS: &[&[&str]] = &[
        &["check", "f"],
        &["status"],
        &["doctor"],
        &["selftest"],
        &["events"],
        &["explain", "--from", "192.0.2.1", "--to", "192.0.2.2"],
        &["simulate"],
        &["shadow"],
        &["trace"],
        &["reload", "--dry-run"],
        &["apply", "f"],
        &["confirm"],
        &["pin", "report", "p"],
        &["pin", "promote", "p"],
        &["geo", "diff"],
        &["policy", "diff", "o", "n"],
        &["policy", "verify", "n"],
        &["policy", "sign", "n", "--key", "k"],
        &["groups"],
        &["instrument", "list"],
        &["instrument", "restore", "n", "--why", "w"],
        &["instrument", "invalidate", "n", "--why", "w"],
        &["approval", "list"],
        &["approval", "revoke", "k", "--why", "w"],
        &["audit", "show"],
        &["audit", "verify"],
        &["exemption", "new", "f"],
        &["exemption", "lint", "f"],
        &["exemption", "sign", "f", "--key", "k"],
        &["exemption", "verify", "f"],
        &["exemption", "receipt", "i"],
        &["exemption", "renew", "f", "--until", "2027-01-15T00:00:00Z"],
        &["exemption", "list"],
        &["exemption", "orders"],
        &["exemption", "show", "i"],
        &["exemption", "load", "f"],
        &["exemption", "stay", "i", "--order", "o"],
        &["exemption", "resume", "i", "--why", "w"],
        &["exemption", "lift", "f"],
        &["exemption", "done", "i", "answer", "--why", "w"],
        &["exemption", "revoke", "i", "--why", "w"],
    ];

    fn with_json(command: &clap::Command) -> usize {
        let own = usize::from(command.get_arguments().any(|arg| arg.get_long() == Some("json")));
        own + command.get_subcommands().map(with_json).sum::<usize>()
    }

    #[test]
    fn every_command_with_json_is_known_here() {
        assert_eq!(with_json(&Cli::command()), COMMANDS.len());
        for words in COMMANDS {
            let parse =
                |json: &[&str]| Cli::try_parse_from([&["borderguard"], *words, json].concat()).unwrap();
            assert!(wants_json(&parse(&["--json"])) && !wants_json(&parse(&[])), "{words:?}");
        }
        let report = |format| Cli::try_parse_from(["borderguard", "report", "--format", format]).unwrap();
        assert!(wants_json(&report("json")) && !wants_json(&report("csv")));
    }

    #[test]
    fn an_error_has_kind_codes_message_and_exit_code() {
        let refused = ClientError::Refused {
            kind: ErrorKind::BadInput,
            message: "approvals are missing".into(),
            codes: vec!["approvals-missing".into()],
        };
        let expected = json!({"error": {
            "kind": "bad-input", "codes": ["approvals-missing"], "message": "approvals are missing", "exit": 2,
        }});
        assert_eq!(object(&refused.into()), expected);
        let of_document = CliError::document("m.toml:1: x").with_codes(["bad-line"]);
        let object_of = |error: anyhow::Error| object(&error)["error"].clone();
        assert_eq!(object_of(of_document.into())["codes"], json!(["bad-line"]));
        let gone = object_of(ClientError::NoDaemon { socket: "/s".into(), is_there: false }.into());
        assert_eq!((&gone["kind"], &gone["exit"]), (&json!("no-daemon"), &json!(3)));
        let outer = anyhow::anyhow!("inner").context("outer");
        assert_eq!(
            object_of(outer),
            json!({"kind": "failed", "codes": [], "message": "outer: inner", "exit": 1})
        );
    }
}
