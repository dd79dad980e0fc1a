//! `borderguard policy diff OLD NEW`: what the new config lets pass that the old one does not, without a daemon.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use guard_common::abi::Hook;

use super::side::Side;
use crate::cli::CliError;
use crate::cli::table::{plain, write_wrapped};
use crate::exit::Exit;
use crate::openings::{Changed, Destinations, Opening, Openings, Packets, openings};
use crate::report::number::grouped;

const AFTER_HELP: &str = "\
The exit code is 0 where nothing opens, 1 where anything does, and 2 where a
config or a database can't be used. What closes does not count.";

/// Arguments of `policy diff`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The config that is in force
    #[arg(value_name = "OLD")]
    pub old: PathBuf,
    /// The config that would take its place
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
    /// A database of the old config, once for each file [default: its `geo.files`]
    #[arg(long, value_name = "FILE")]
    pub old_geo: Vec<PathBuf>,
    /// A database of the new config, once for each file [default: its `geo.files`]
    #[arg(long, value_name = "FILE")]
    pub new_geo: Vec<PathBuf>,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// Does it.
///
/// # Errors
/// Where a config or a database can't be used, or `out` can't be written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let (old, new) = (Side::read(&args.old, &args.old_geo)?, Side::read(&args.new, &args.new_geo)?);
    let compared = Compared::of(&old, &new)?;
    match args.json {
        true => writeln!(out, "{}", compared.json())?,
        false => compared.write(out)?,
    }
    Ok(if compared.opens.is_empty() { Exit::Ok } else { Exit::Failed })
}

/// What two configs differ in.
pub(in crate::cli) struct Compared<'a> {
    sides: [&'a Side; 2],
    opens: Openings,
    closes: Openings,
}

impl<'a> Compared<'a> {
    /// Compares them.
    ///
    /// # Errors
    /// Where a database lacks too much to be compared.
    pub(in crate::cli) fn of(old: &'a Side, new: &'a Side) -> Result<Self> {
        let compare = |old: &Side, new: &Side| {
            openings(&old.world(), &new.world()).map_err(|error| CliError::bad_input(error.to_string()))
        };
        Ok(Self { sides: [old, new], opens: compare(old, new)?, closes: reversed(compare(new, old)?) })
    }

    pub(in crate::cli) fn json(&self) -> serde_json::Value {
        super::json::compared(self.sides, &self.opens, &self.closes)
    }

    pub(in crate::cli) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        write(&self.opens, &self.closes, out)
    }
}

/// What closes, from what would open the other way round: with the old on the left again.
fn reversed(mut found: Openings) -> Openings {
    let swap = |to: &mut Destinations| std::mem::swap(&mut to.from, &mut to.to);
    for flow in &mut found.flows {
        flow.hooks.iter_mut().for_each(|(_, was, is)| std::mem::swap(was, is));
        flow.changes.iter_mut().for_each(|it| std::mem::swap(&mut it.was, &mut it.is));
        flow.to.iter_mut().flatten().for_each(swap);
    }
    for change in &mut found.changes {
        std::mem::swap(&mut change.was, &mut change.is);
    }
    found
}

fn write(opens: &Openings, closes: &Openings, out: &mut impl Write) -> io::Result<()> {
    let count = |found: &Openings| found.flows.len() + found.changes.len();
    let told = |found: &Openings, verb: &str, verbs: &str| match count(found) {
        0 => format!("nothing {verb}"),
        1 => format!("1 change {verb}"),
        many => format!("{} changes {verbs}", grouped(many as u64)),
    };
    writeln!(out, "{}", told(opens, "opens", "open"))?;
    write_all(opens, Verb::Opens, out)?;
    writeln!(out, "\n{}", told(closes, "closes", "close"))?;
    write_all(closes, Verb::Closes, out)
}

/// Which way round.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Opens,
    Closes,
}

fn write_all(found: &Openings, verb: Verb, out: &mut impl Write) -> io::Result<()> {
    for change in &found.changes {
        let key = if change.key.is_empty() { "what can't be compared" } else { &change.key };
        writeln!(out, "\n  {}", plain(key))?;
        write_was_is(&change.was, &change.is, out)?;
        if verb == Verb::Opens {
            write_wrapped("    opens: ", "           ", &plain(&change.opens), out)?;
        }
    }
    found.flows.iter().try_for_each(|flow| write_flow(flow, out))
}

fn write_flow(flow: &Opening, out: &mut impl Write) -> io::Result<()> {
    let keys: Vec<&str> = flow.changes.iter().map(|it| it.key).collect();
    writeln!(out, "\n  pin {}: {}", plain(&flow.pin), keys.join(" and "))?;
    for changed in &flow.changes {
        write_changed(changed, out)?;
    }
    let hooks = flow.hooks.iter().map(|(hook, was, is)| {
        let hook = if *hook == Hook::Ingress { "ingress" } else { "egress" };
        format!("{hook} {} becomes {}", was.name(), is.name())
    });
    write_wrapped("    at:   ", "          ", &hooks.collect::<Vec<_>>().join(", "), out)?;
    let which = match flow.packets {
        Packets::Any => None,
        Packets::Unreadable => Some("packets that can't be read to their end, wherever they go"),
        Packets::Layered => Some("packets alone that carry a packet or a source route"),
    };
    which.map_or(Ok(()), |which| write_wrapped("    what: ", "          ", which, out))?;
    match &flow.to {
        None if flow.packets == Packets::Unreadable => Ok(()),
        None => writeln!(out, "    to:   wherever the pin forbids"),
        Some(to) => to.iter().try_for_each(|to| write_destinations(to, out)),
    }
}

fn write_changed(changed: &Changed, out: &mut impl Write) -> io::Result<()> {
    write_was_is(&changed.was, &changed.is, out)?;
    if changed.values.is_empty() || matches!(changed.key, "permit" | "geo" | "site" | "geo.nat64") {
        // The destinations say it.
        return Ok(());
    }
    let shown = changed.values.iter().take(SHOWN).map(|value| plain(value)).collect::<Vec<_>>().join("; ");
    let more = match changed.values.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("; and {} more", grouped(more as u64)),
    };
    write_wrapped("    which: ", "           ", &format!("{shown}{more}"), out)
}

fn write_was_is(was: &str, is: &str, out: &mut impl Write) -> io::Result<()> {
    let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { plain(text) };
    write_wrapped("    was:  ", "          ", &or_none(was), out)?;
    write_wrapped("    is:   ", "          ", &or_none(is), out)
}

/// Values and networks of a list that are shown.
const SHOWN: usize = 6;

fn write_destinations(to: &Destinations, out: &mut impl Write) -> io::Result<()> {
    let way = match to.from == to.to {
        true => to.to.to_string(),
        false => format!("{}, now {}", to.from, to.to),
    };
    let networks: Vec<String> =
        to.first.iter().flat_map(|run| run.networks(SHOWN)).take(SHOWN).map(|it| it.to_string()).collect();
    let number = |count: u128| grouped(u64::try_from(count).unwrap_or(u64::MAX));
    let addresses = |count: u128, family: &str| match count {
        1 => format!("1 {family} address"),
        _ if count >> 64 == 0 => format!("{} {family} addresses", number(count)),
        _ => format!("{} {family} networks of /64", number(count >> 64)),
    };
    let counts = [(to.v4, "IPv4"), (to.v6, "IPv6")].into_iter().filter(|(count, _)| *count > 0);
    let mut counts: Vec<String> = counts.map(|(count, family)| addresses(count, family)).collect();
    if !to.carriers.is_empty() {
        counts.push("IPv6 addresses that carry such an IPv4 address".to_owned());
    }
    let is_all = to.first.iter().map(|run| run.networks(SHOWN + 1).len()).sum::<usize>() <= SHOWN;
    let rest = if is_all { "" } else { " and more" };
    let shown = if networks.is_empty() { String::new() } else { format!(": {}{rest}", networks.join(", ")) };
    write_wrapped("    to:   ", "          ", &format!("{way}: {}{shown}", counts.join(", ")), out)
}

#[cfg(test)]
mod tests;
