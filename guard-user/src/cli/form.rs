//! In which form each command prints.

use super::command::{Cli, Command};
use super::seen::Form;
use super::{policy, refused};
use crate::control::protocol::EventFormat;
use crate::report::Format;

/// What a command prints.
#[must_use]
pub fn form_of(cli: &Cli) -> Form {
    match &cli.command {
        // Bound by a hash, or with escapes of their own.
        Command::Audit(args) if args.is_of_bytes() => Form::Bytes,
        Command::Report(args) if args.format != Format::Json => Form::Bytes,
        Command::Policy(args) if matches!(args.command, policy::Command::Text(_)) => Form::Bytes,
        Command::Events(args) if args.format != EventFormat::Text => Form::Json,
        _ if refused::wants_json(cli) => Form::Json,
        _ => Form::Lines,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// A command's name may have any characters in it: escaped as for people they would be no JSON.
    #[test]
    fn every_way_to_ask_for_json_is_written_as_json() {
        for (words, form) in [
            ("events", Form::Lines),
            ("events --json", Form::Json),
            ("events --format json", Form::Json),
            ("events --format ocsf --follow", Form::Json),
            ("events --format ecs --since -1h", Form::Json),
            ("report --format json", Form::Json),
            ("report --format csv", Form::Bytes),
            ("status --json", Form::Json),
            ("audit export", Form::Bytes),
            ("policy text f", Form::Bytes),
        ] {
            let cli = Cli::try_parse_from(format!("borderguard {words}").split(' ')).unwrap();
            assert_eq!(form_of(&cli), form, "{words}");
        }
    }
}
