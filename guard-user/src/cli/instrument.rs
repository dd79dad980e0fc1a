//! `borderguard instrument`: what becomes of every exemption that rests on one legal instrument.

use std::io::Write;

use anyhow::Result;
use jiff::Timestamp;

use super::CliError;
use super::exemption::ask::{self, AsList, CUT, How, change};
use super::exemption::lift;
use crate::control::protocol::Request;
use crate::exemption::OrderKind;
use crate::exemption::summary::OrderSummary;
use crate::exit::Exit;
use crate::store;
use crate::text::{escaped, look_alike, visible};

/// Arguments of `instrument`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do with instruments.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Show the instruments that have fallen
    List(AsList),
    /// Let documents rest again on an instrument that has fallen; what was closed with it stays closed
    Restore(Restore),
    /// Close every exemption that rests on an instrument, at once and for good; nothing that rests on it is loaded any more
    Invalidate(Invalidate),
}

/// What becomes of an instrument.
#[derive(Clone, Debug, clap::Args)]
pub struct Change {
    /// The instrument's name, as the documents have it
    #[arg(value_name = "NAME")]
    name: String,
    /// The reason, which is kept
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// How.
    #[command(flatten)]
    pub how: How,
}

/// An instrument that falls.
#[derive(Clone, Debug, clap::Args)]
pub struct Invalidate {
    /// Keep it also where nothing that was ever loaded rests on it: nothing is loaded later that does
    #[arg(long)]
    not_loaded: bool,
    /// Which, and why.
    #[command(flatten)]
    pub change: Change,
}

/// A fallen instrument that is to be restored.
#[derive(Clone, Debug, clap::Args)]
pub struct Restore {
    /// Which, and why.
    #[command(flatten)]
    pub change: Change,
    /// As a document.
    #[command(flatten)]
    document: lift::AsDocument,
}

/// Does it.
///
/// # Errors
/// Where nothing that was ever loaded rests on it, no daemon answers or it refuses, or `out` can't be written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let now = Timestamp::now();
    match &args.command {
        Command::List(list) => ask::orders(Some(OrderKind::Fallen), list, now, out),
        Command::Restore(Restore { change: Change { name, why, how }, document }) => {
            let socket = how.target.socket()?;
            let (name, order) = fallen(&ask::standing(&socket)?, name)?;
            let (target, why) = (store::Target::Instrument(name), why.clone());
            let (order, lift) = (Some(order), None);
            let request =
                Request::ExemptionResume { target, order, why, lift, dry_run: how.dry_run, to_sign: false };
            lift::resume(&request, document, how, now, out)
        }
        Command::Invalidate(Invalidate { not_loaded, change: Change { name, why, how } }) => {
            let (name, why, not_loaded) = (name.clone(), why.clone(), *not_loaded);
            let request = Request::InstrumentInvalidate { name, why, not_loaded, dry_run: how.dry_run };
            change(&how.target.socket()?, &request, how, CUT, now, out)
        }
    }
}

/// The name under which the instrument has fallen, exactly as that is kept, and why. What is given may be any name that counts
/// as the same: what opens again, and what is signed for it, has the kept one.
///
/// # Errors
/// Where none has fallen that counts as the same, or several have and none is written just so.
fn fallen(standing: &[OrderSummary], name: &str) -> Result<(String, String), CliError> {
    let fallen: Vec<&OrderSummary> =
        standing.iter().filter(|it| it.kind == OrderKind::Fallen.name()).collect();
    if let Some(it) = fallen.iter().find(|it| it.name == *name) {
        return Ok((it.name.clone(), it.order.clone()));
    }
    // Documents rest on a name and on all that look like it.
    if let [it] = fallen.iter().filter(|it| look_alike(&it.name, name)).collect::<Vec<_>>()[..] {
        return Ok((it.name.clone(), it.order.clone()));
    }
    // One that is only near may be another instrument.
    let near: Vec<String> = fallen
        .iter()
        .filter(|it| look_alike(&it.name, name) || store::is_nearly(&it.name, name))
        .map(|it| format!("`borderguard instrument restore {}`", shell_word(&it.name)))
        .collect();
    let hint = match near.as_slice() {
        [] => "`borderguard instrument list` names those that have".to_owned(),
        [one] => format!("one of a name like it has: {one} if that is meant"),
        several => format!("some of names like it have: {}", several.join(", or ")),
    };
    Err(CliError::bad_input(format!("no instrument \"{}\" has fallen; {hint}", escaped(name))))
}

/// A name as a word of a shell, exactly: what a shell would read as something else is between single quotes.
fn shell_word(name: &str) -> String {
    // What nobody sees can be no part of what is to be typed: it is told as an escape all the same.
    let name = visible(name);
    let is_plain = |letter: char| !matches!(letter, '"' | '\\' | '$' | '`' | '!');
    match name.chars().all(is_plain) {
        true => format!("\"{name}\""),
        false => format!("'{}'", name.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_word_of_a_shell() {
        for (name, word) in [
            ("US-Ireland MLAT 2001", "\"US-Ireland MLAT 2001\""),
            (" Treaty", "\" Treaty\""),
            ("Cour d'appel", "\"Cour d'appel\""),
            ("Act $1", "'Act $1'"),
            ("The \"Act\"", "'The \"Act\"'"),
            ("d'un $", "'d'\\''un $'"),
        ] {
            assert_eq!(shell_word(name), word);
        }
    }

    #[test]
    fn a_name_that_looks_like_a_fallen_one_is_that_one_and_a_near_one_is_told_it() {
        let order = |name: &str, kind: OrderKind| OrderSummary {
            order: format!("of {name}"),
            kind: kind.name().to_owned(),
            covers: "instrument".to_owned(),
            name: name.to_owned(),
            at: Timestamp::UNIX_EPOCH,
            by: 0,
        };
        let standing = [
            order("US-Ireland MLAT 2001", OrderKind::Fallen),
            order("EU-US DPF", OrderKind::Fallen),
            order("SCC 2021/914", OrderKind::Stay),
        ];
        let mlat = ("US-Ireland MLAT 2001".to_owned(), "of US-Ireland MLAT 2001".to_owned());
        for same in ["US-Ireland MLAT 2001", "us-ireland mlat 2001", "US\u{2013}Ireland MLAT 2001"] {
            assert_eq!(fallen(&standing, same).unwrap(), mlat, "{same}");
        }
        // Of two that look alike the one that is written just so is taken, and neither by a third name.
        let both = [order("A Treaty", OrderKind::Fallen), order("a treaty", OrderKind::Fallen)];
        assert_eq!(fallen(&both, "a treaty").unwrap().0, "a treaty");
        let told = fallen(&both, "A TREATY").unwrap_err().to_string();
        for name in ["A Treaty", "a treaty"] {
            assert!(told.contains(&format!("`borderguard instrument restore \"{name}\"`")), "{told}");
        }
        for near in ["US-Irland MLAT 2001", "US-Ireland M\u{41b}AT 2001"] {
            let told = fallen(&standing, near).unwrap_err().to_string();
            let is_named = told.contains("`borderguard instrument restore \"US-Ireland MLAT 2001\"` if that");
            assert!(is_named && !told.contains("DPF"), "{told}");
        }
        for other in ["SCC 2021/914", "SCC 2021-914", "a treaty"] {
            let told = fallen(&standing, other).unwrap_err().to_string();
            assert!(told.contains("`borderguard instrument list` names those that have"), "{told}");
        }
    }
}
