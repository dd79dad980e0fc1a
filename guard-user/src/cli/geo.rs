//! `borderguard geo diff [NEW]`: which networks change their country with other geo databases, and what that would drop
//! or open for each pin, without a daemon. `borderguard geo accept`: the yes to what waits for one.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use guard_common::jurisdiction::Jurisdiction;
use serde_json::{Value, json};

use super::table::{numbers, plain, words, write, write_wrapped};
use super::target::Target;
use super::{BY_CONFIG, CliError, DEFAULT_CONFIG, default_must_be_there};
use crate::compile::{Counts, GeoChange, MovedNetwork, PinChange, geo_change};
use crate::config::policy::{Geo, Policy};
use crate::control::client::{ask, unexpected};
use crate::control::protocol::{Request, Response};
use crate::exit::Exit;
use crate::geo::{GeoDb, Info};
use crate::inputs;
use crate::report::number::grouped;
use crate::store::last_database;

/// Arguments of `geo`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done with geo databases.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Compare databases: networks that move, and what pins would drop or permit
    Diff(DiffArgs),
    /// Have the daemon take the databases as they are now, however much they change
    Accept(AcceptArgs),
}

const AFTER_HELP: &str = "\
The exit code is 1 where the change is above geo.ask_above, so that a reload
would wait for a yes, or opens more than geo.may_open, which needs signatures,
and else 0.";

/// Arguments of `geo diff`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct DiffArgs {
    /// Databases (MMDB) that would take the place of the present ones [default: the config's `geo.files` as they are]
    #[arg(value_name = "NEW")]
    pub new: Vec<PathBuf>,
    /// A database that is compared with, once for each file [default: the one in force, as the daemon has kept it]
    #[arg(long, value_name = "FILE")]
    pub old: Vec<PathBuf>,
    /// The config, whose pins and sites count
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// So many networks are listed at most; 0 lists all, as --json does
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `geo accept`.
#[derive(Clone, Debug, clap::Args)]
pub struct AcceptArgs {
    /// The daemon.
    #[command(flatten)]
    pub target: Target,
}

/// Does it.
///
/// # Errors
/// Where the config or a database can't be used, no daemon answers or it refuses, or `out` can't be written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    match &args.command {
        Command::Diff(args) => diff(args, out),
        Command::Accept(args) => accept(args, out),
    }
}

fn accept(args: &AcceptArgs, out: &mut impl Write) -> Result<Exit> {
    let socket = args.target.socket()?;
    match ask(&socket, &Request::GeoAccept {})? {
        Response::Done { message, generation, .. } => {
            writeln!(out, "{message} (generation {generation})")?;
            Ok(Exit::Ok)
        }
        _ => Err(unexpected(&socket).into()),
    }
}

fn diff(args: &DiffArgs, out: &mut impl Write) -> Result<Exit> {
    default_must_be_there(&args.config, BY_CONFIG)?;
    let policy = inputs::load_config(&args.config, false)?.policy;
    let new = database(&policy, if args.new.is_empty() { &policy.geo.files } else { &args.new })?;
    let old = match args.old.as_slice() {
        [] => in_force(&policy.state.directory)?,
        files => database(&policy, files)?,
    };
    let compared = Compared::of(policy, old, new);
    match args.json {
        true => writeln!(out, "{}", compared.json())?,
        false => compared.write(args.limit, out)?,
    }
    Ok(if compared.asks().is_some() || compared.needs_signatures().is_some() {
        Exit::Failed
    } else {
        Exit::Ok
    })
}

/// These files as one database; the embedded one where there are none.
///
/// # Errors
/// Where one can't be used.
pub(super) fn database(policy: &Policy, files: &[PathBuf]) -> Result<GeoDb> {
    let geo = Geo { files: files.to_vec(), ..policy.geo.clone() };
    Ok(inputs::load_database(&geo).map_err(|error| CliError::bad_input(error.to_string()))?)
}

/// The database in force, as a daemon has kept it in this state directory.
///
/// # Errors
/// Where none is kept, or it can't be read.
pub(super) fn in_force(state: &Path) -> Result<GeoDb> {
    let none = || {
        let folder = state.display();
        CliError::bad_input(format!(
            "no daemon has kept a database in {folder}: name the old one with --old FILE"
        ))
    };
    let kept = last_database::read(state).map_err(|error| CliError::bad_input(error.to_string()))?;
    Ok(kept.ok_or_else(none)?)
}

/// Two databases, compared.
pub(super) struct Compared {
    policy: Policy,
    old: Info,
    new: Info,
    change: GeoChange,
}

impl Compared {
    /// Compares them under this policy.
    pub(super) fn of(policy: Policy, old: GeoDb, new: GeoDb) -> Self {
        Self { change: geo_change(&policy, &old, &new), policy, old: old.info, new: new.info }
    }

    /// The pin for which most opens, where that is above what goes without signatures.
    fn needs_signatures(&self) -> Option<&PinChange> {
        let share = self.policy.geo.may_open;
        let asks = self.policy.approval.as_ref().is_some_and(|approvals| !approvals.policy.is_empty());
        self.change.most_opened().filter(|pin| asks && share.is_below(pin.opened_percent()))
    }

    /// The pin that changes most, where that is above what goes without a yes.
    fn asks(&self) -> Option<&PinChange> {
        let share = self.policy.geo.ask_above?;
        self.change.largest().filter(|pin| share.is_below(pin.percent()))
    }

    pub(super) fn write(&self, limit: usize, out: &mut impl Write) -> io::Result<()> {
        for (which, info) in [("old", &self.old), ("new", &self.new)] {
            let made = info
                .generated
                .map(|made| format!(", made {}", made.strftime("%Y-%m-%d")))
                .unwrap_or_default();
            write_wrapped("", "     ", &format!("{which}: {}{made}", plain(&info.source)), out)?;
        }
        writeln!(out, "\npins: destinations that change (IPv6 in /64 networks)")?;
        let rows: Vec<[String; 6]> = self.change.pins.iter().flat_map(rows_of).collect();
        match rows.is_empty() {
            true => writeln!(out, "  the config has no pin")?,
            false => write(
                out,
                [
                    words("pin"),
                    words("family"),
                    numbers("permits now"),
                    numbers("would drop"),
                    numbers("would permit"),
                    numbers("change"),
                ],
                &rows,
            )?,
        }
        self.write_networks(limit, out)?;
        let told = match (self.policy.geo.ask_above, self.asks()) {
            (None, _) => "no change waits for a yes: geo.ask_above is \"never\"".to_owned(),
            (Some(share), None) => {
                let then =
                    if self.needs_signatures().is_none() { "it would be taken" } else { "it needs no yes" };
                format!("no pin changes by more than {share} (geo.ask_above): {then}")
            }
            (Some(share), Some(pin)) => format!(
                "the pin {} changes by {}, more than {share} (geo.ask_above): it would wait for `borderguard geo accept`",
                plain(&pin.pin),
                percent(pin.percent())
            ),
        };
        writeln!(out)?;
        write_wrapped("", "", &told, out)?;
        let Some(pin) = self.needs_signatures() else { return Ok(()) };
        let told = format!(
            "for the pin {} {} would open, more than {} (geo.may_open): that would stay closed until each file is signed \
             (`borderguard policy sign`; `borderguard policy verify` says whether one is)",
            plain(&pin.pin),
            percent(pin.opened_percent()),
            self.policy.geo.may_open
        );
        write_wrapped("", "", &told, out)
    }

    fn write_networks(&self, limit: usize, out: &mut impl Write) -> io::Result<()> {
        let all = self.change.networks().count();
        writeln!(out, "\nnetworks that change their jurisdiction: {}", grouped(all as u64))?;
        let shown = if limit == 0 { all } else { limit };
        let rows: Vec<[String; 4]> = self
            .change
            .networks()
            .take(shown)
            .map(|moved| {
                let pins = |verb: &str, names: Vec<&str>| match names.is_empty() {
                    true => None,
                    false => Some(format!("{verb} {}", names.join(" "))),
                };
                let pins = [pins("drops", self.drops(&moved)), pins("permits", self.opens(&moved))];
                let pins: Vec<String> = pins.into_iter().flatten().collect();
                [moved.network.to_string(), moved.from.to_string(), moved.to.to_string(), pins.join("; ")]
            })
            .collect();
        if !rows.is_empty() {
            write(out, [words("network"), words("from"), words("to"), words("pins")], &rows)?;
        }
        match all.saturating_sub(shown) {
            0 => Ok(()),
            more => writeln!(out, "  and {} more; --limit 0 lists all", grouped(more as u64)),
        }
    }

    fn drops(&self, moved: &MovedNetwork) -> Vec<&str> {
        self.change.pins.iter().filter(|pin| pin.drops(moved)).map(|pin| pin.pin.as_str()).collect()
    }

    fn opens(&self, moved: &MovedNetwork) -> Vec<&str> {
        self.change.pins.iter().filter(|pin| pin.opens(moved)).map(|pin| pin.pin.as_str()).collect()
    }

    pub(super) fn json(&self) -> Value {
        let database = |info: &Info| json!({ "source": info.source, "generated": info.generated.map(|made| made.to_string()) });
        let networks: Vec<Value> = self
            .change
            .networks()
            .map(|moved| {
                json!({
                    "network": moved.network.to_string(),
                    "from": code(moved.from),
                    "to": code(moved.to),
                    "drops": self.drops(&moved),
                    "permits": self.opens(&moved),
                })
            })
            .collect();
        let pins = self.change.pins.iter().map(
            |pin| json!({ "pin": pin.pin, "ipv4": counts_json(pin.v4, 0), "ipv6": counts_json(pin.v6, 64) }),
        );
        json!({
            "old": database(&self.old),
            "new": database(&self.new),
            "pins": pins.collect::<Vec<_>>(),
            "networks": networks,
            "ask_above": self.policy.geo.ask_above.map(|share| share.to_string()),
            "would_wait": self.asks().is_some(),
            "may_open": self.policy.geo.may_open.to_string(),
            "needs_signatures": self.needs_signatures().is_some(),
        })
    }
}

fn code(jurisdiction: Jurisdiction) -> String {
    jurisdiction.to_string()
}

/// How many networks there are of so many addresses, each with so many bits of its own; a part counts as one.
fn networks_of(addresses: u128, bits: u32) -> u64 {
    let whole = addresses.checked_shr(bits).unwrap_or(0);
    let part = u128::from(whole.checked_shl(bits).unwrap_or(0) < addresses);
    u64::try_from(whole + part).unwrap_or(u64::MAX)
}

fn rows_of(pin: &PinChange) -> [[String; 6]; 2] {
    [("IPv4", pin.v4, 0), ("IPv6", pin.v6, 64)].map(|(family, counts, bits)| {
        let number = |addresses| grouped(networks_of(addresses, bits));
        [
            pin.pin.clone(),
            family.to_owned(),
            number(counts.permitted),
            number(counts.dropped),
            number(counts.opened),
            percent(counts.percent()),
        ]
    })
}

/// A share for people. What permits nothing and would permit something has none.
fn percent(percent: f64) -> String {
    match percent.is_finite() {
        true => format!("{percent:.2}%"),
        false => "from none".to_owned(),
    }
}

/// The counts as numbers of addresses, or of /64 networks; `percent` is null for what permits nothing as it is and
/// would permit something.
fn counts_json(counts: Counts, bits: u32) -> Value {
    let number = |addresses| networks_of(addresses, bits);
    json!({
        "permitted": number(counts.permitted),
        "dropped": number(counts.dropped),
        "opened": number(counts.opened),
        "percent": counts.percent(),
    })
}

#[cfg(test)]
mod tests;
