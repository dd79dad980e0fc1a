//! `borderguard simulate`: what another policy, database or exemption would make of the flows that were seen.

mod read;
mod sides;
mod told;

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::Timestamp;
use serde_json::Value;

pub(in crate::cli) use self::read::{Look, Recorded};
use self::sides::{About, Both, Wanted};
pub(in crate::cli) use self::sides::{policy_in_force, policy_of_trail};
use super::CliError;
use super::progress::Progress;
use super::target::Target;
use crate::config::policy::Policy;
use crate::exit::Exit;
use crate::history::moment::{self, End};
use crate::simulate::{Needs, Sums, Unrecorded};

const AFTER_HELP: &str = "\
The exit code is 0 where no flow that was seen would have another verdict, 1
where one would or may have, and 2 where an input can't be used.";

/// Arguments of `simulate`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The config that would take the place of the one in force [default: the daemon's own file, as a reload would read it]
    #[arg(value_name = "NEW")]
    pub new: Option<PathBuf>,
    /// A database of the new config, once for each file [default: its `geo.files`]
    #[arg(long, value_name = "FILE")]
    pub geo: Vec<PathBuf>,
    /// An exemption's document, as if it was approved, loaded and in its window; may be given several times
    #[arg(long, value_name = "FILE")]
    pub exemption: Vec<PathBuf>,
    /// An open exemption, as if it was closed; may be given several times
    #[arg(long, value_name = "ID")]
    pub without: Vec<String>,
    /// Flows from this moment on alone: 2026-11-23T12:00:00Z, a date in UTC, or so long ago, as -2h
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    pub since: Option<String>,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    /// The daemon.
    #[command(flatten)]
    pub target: Target,
}

/// Judges what was seen by what is in force and by the candidate, and writes what differs.
///
/// # Errors
/// Where an input can't be used, no daemon answers, or this user may not ask it.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let since = args.since.as_ref().map(|text| moment::parse(text, Timestamp::now(), End::Begin));
    let since = since.transpose().map_err(|why| CliError::bad_input(format!("--since: {why}")))?;
    let wanted = Wanted {
        new: args.new.clone().unwrap_or_else(|| args.target.config_file()),
        text: None,
        geo: &args.geo,
        exemptions: &args.exemption,
        without: &args.without,
    };
    let socket = args.target.socket()?;
    let progress = Progress::on_stderr(args.json);
    let simulated = Simulated::of(&socket, &wanted, &mut Look::since(since, &progress))?;
    drop(progress);
    match args.json {
        true => writeln!(out, "{}", simulated.json())?,
        false => simulated.write(out)?,
    }
    Ok(if simulated.told().may_differ() { Exit::Failed } else { Exit::Ok })
}

/// What a candidate would make of the flows that were seen.
pub(in crate::cli) struct Simulated {
    about: About,
    window: told::Window,
    sums: Sums,
    /// What came of the same flows since another moment, where that was wanted.
    recent: Sums,
    unrecorded: Unrecorded,
}

impl Simulated {
    /// Of this config, with its own databases and the exemptions that are open.
    ///
    /// # Errors
    /// As [`run`].
    pub(in crate::cli) fn of_config(socket: &Path, new: &Path, progress: &Progress) -> Result<Self> {
        let wanted = Wanted { new: new.to_owned(), text: None, geo: &[], exemptions: &[], without: &[] };
        Self::of(socket, &wanted, &mut Look::since(None, progress))
    }

    /// Likewise of a config with this text, by the flows that are looked at. `new` is its file, for messages.
    ///
    /// # Errors
    /// As [`run`].
    pub(in crate::cli) fn of_text(
        socket: &Path,
        (new, text): (&Path, &str),
        look: &mut Look<'_>,
    ) -> Result<Self> {
        let text = Some(text.as_bytes());
        let wanted = Wanted { new: new.to_owned(), text, geo: &[], exemptions: &[], without: &[] };
        Self::of(socket, &wanted, look)
    }

    fn of(socket: &Path, wanted: &Wanted<'_>, look: &mut Look<'_>) -> Result<Self> {
        look.progress.begin("reads config and databases", None);
        // What the user gave is looked at before the daemon is asked for very much.
        let candidate = sides::candidate(wanted)?;
        let seen = read::all(socket, look)?;
        look.progress.begin("reads config and databases", None);
        let Both { now, then, about } = sides::both(socket, candidate, wanted, &seen)?;
        let (in_force, candidate) = (&about.policies.0, &about.policies.1);
        let own = about.addresses.iter().copied().map(IpAddr::from);
        let needs =
            Needs::of(in_force, candidate, &about.interfaces).with_addresses(in_force, candidate, own);
        let unrecorded = Unrecorded::of(in_force, candidate, &seen.permitted);
        let compared = crate::simulate::Sides {
            now: &now,
            then: &then,
            policy: Some(&about.now.sha256),
            generation: Some(seen.live.generation),
            same_places: about.same_places,
            boot_ns: about.boot_ns,
        };
        let (mut sums, mut recent) = (Sums::default(), Sums::default());
        let read::Seen { traffic, live, missed, .. } = seen;
        let window = told::Window { since: look.since, live, missed, ..told::Window::of(&traffic) };
        look.progress.begin("judges flows", Some(traffic.count()));
        for (mut flow, [amount, of_recent]) in traffic.in_windows() {
            let mut judged = None;
            for (amount, sums) in [(amount, &mut sums), (of_recent, &mut recent)] {
                let Some(amount) = amount else { continue };
                flow.amount = amount;
                // A flow is judged by how long its packets are, and by nothing else that its amount is.
                let len = amount.mean_len();
                let found = match judged.take() {
                    Some((of, found)) if of == len => found,
                    _ => compared.compare_by_pins(&flow, &needs),
                };
                if look.recent.is_some() {
                    judged = Some((len, found.clone()));
                }
                sums.add_by_interface(&flow, found, &about.let_go);
            }
            look.progress.add(1);
        }
        Ok(Self { about, window, sums, recent, unrecorded })
    }

    fn told(&self) -> told::Told<'_> {
        let Self { about, window, sums, unrecorded, .. } = self;
        told::Told { about, window, sums, unrecorded }
    }

    /// All of it as one object.
    pub(in crate::cli) fn json(&self) -> Value {
        self.told().json()
    }

    /// Writes it for people.
    ///
    /// # Errors
    /// Where `out` can't be written.
    pub(in crate::cli) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.told().write(out)
    }

    /// The policy in force, and the candidate.
    pub(in crate::cli) const fn policies(&self) -> (&Policy, &Policy) {
        (&self.about.policies.0, &self.about.policies.1)
    }

    /// What came of the flows one by one.
    pub(in crate::cli) const fn sums(&self) -> &Sums {
        &self.sums
    }

    /// Likewise, of those since the other moment.
    pub(in crate::cli) const fn recent(&self) -> &Sums {
        &self.recent
    }

    /// Events that are missing, and lines that can't be read.
    pub(in crate::cli) const fn missed(&self) -> u64 {
        self.window.missed
    }

    /// Whether the kernel counted as permitted what the candidate forbids, without a record of the flows.
    pub(in crate::cli) const fn drops_without_records(&self) -> bool {
        !self.unrecorded.forbidden.is_empty()
    }
}
