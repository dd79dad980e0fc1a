//! `borderguard apply FILE`: makes another config live, for a time, unless it is confirmed.

use std::io::Write;
use std::path::{Path, PathBuf, absolute};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::CliError;
use super::exemption::signatures;
use super::policy::{Compared, Side};
use super::progress::Progress;
use super::seconds::whole_seconds;
use super::signing::terminal;
use super::simulate::Simulated;
use super::table::{plain, write_wrapped};
use super::target::Target;
use crate::config::policy::Policy;
use crate::config::share::Share;
use crate::control::client::{self, ask, unexpected};
use crate::control::protocol::{ApplyWanted, MOST_UNCONFIRMED_SECONDS, Request, Response};
use crate::control::status::Status;
use crate::exit::Exit;
use crate::simulate::{Amount, Kind, Lack, Sums};

const AFTER_HELP: &str = "\
It goes by itself when the time is over, and when the daemon is started anew;
`borderguard confirm` keeps it. The exit code is 0 where it is live, 1 where
more flows would be dropped than goes, no interface would be guarded, nobody
said yes, or the daemon fails, and 2 where the config can't be used or lacks a
signature.";
/// What is said of a config by which nothing is guarded.
const GUARDS_NOTHING: &str = "it guards no interface after this: it has no pin, or its `host.interfaces` match none that is \
                              guarded now or by which a route leads";

/// Arguments of `apply`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The config that is to be live; its signatures lie beside it. The daemon's own file stays as it is until it is confirmed
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Go back unless `borderguard confirm` comes within this time, at most 24h
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = seconds)]
    pub confirm_within: u64,
    /// Refuse where more of the flows that were seen would newly be dropped, or may be
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = share)]
    pub max_new_drops: Share,
    /// Apply it also where no interface of this host is guarded after it
    #[arg(long)]
    pub guard_nothing: bool,
    /// Do not ask on the terminal
    #[arg(long)]
    pub yes: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    /// The daemon.
    #[command(flatten)]
    pub target: Target,
}

/// For how long a candidate waits, as options have it.
///
/// # Errors
/// That it is no such time.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    whole_seconds(text, MOST_UNCONFIRMED_SECONDS, "it waits for whole seconds, from 1s to 24h")
}

/// A share, as options have it.
///
/// # Errors
/// That it is none.
pub(super) fn share(text: &str) -> Result<Share, String> {
    Share::read(text).ok_or_else(|| "a share is written as 5% or 0.5%, at most 100%".to_owned())
}

/// Shows what changes, and makes the config live where no more is dropped than goes and somebody says yes.
///
/// # Errors
/// Where it can't be used, more would be dropped, nobody says yes, or the daemon refuses.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let Args { file, json: as_json, .. } = args;
    if *as_json && !args.yes {
        let why = "with --json nobody is shown what changes, and nothing was applied: give --yes";
        return Err(CliError::bad_input(why).into());
    }
    let socket = args.target.socket()?;
    let status = client::status(&socket)?;
    let progress = Progress::on_stderr(*as_json);
    let simulated = Simulated::of_config(&socket, file, &progress)?;
    drop(progress);
    let (now, then) = simulated.policies();
    // The text that was looked at is the one that is sent.
    let text = String::from_utf8(then.text.to_vec())
        .map_err(|_| CliError::bad_input(format!("{}: it is not UTF-8", file.display())))?;
    let sides = (Side::of(Path::new(&status.config), now.clone(), &[])?, Side::of(file, then.clone(), &[])?);
    let compared = Compared::of(&sides.0, &sides.1)?;
    let drops = NewDrops::of(&simulated);
    let nothing = guards_nothing(then, &status);
    if !as_json {
        compared.write(out)?;
        writeln!(out)?;
        simulated.write(out)?;
        writeln!(out)?;
        write_wrapped("", "  ", &drops.words(args.max_new_drops), out)?;
        if nothing {
            write_wrapped("", "  ", &format!("NOTHING IS GUARDED: {GUARDS_NOTHING}"), out)?;
        }
        out.flush()?;
    }
    let is_open = nothing && !args.guard_nothing;
    let refused = is_open || drops.are_above(args.max_new_drops);
    let applied = match refused {
        true => None,
        false => {
            if !args.yes {
                let question = format!("apply {}? Type yes: ", plain(&file.to_string_lossy()));
                if terminal::ask(&question, "applied", "give --yes")?.trim() != "yes" {
                    anyhow::bail!("nothing was applied: the answer was not yes");
                }
            }
            let name = absolute(file).with_context(|| format!("cannot find {}", file.display()))?;
            let signatures = signatures::texts(file, &[])?;
            let (seconds, guard_nothing) = (args.confirm_within, args.guard_nothing);
            Some(apply(&socket, ApplyWanted { name, config: text, signatures, seconds, guard_nothing }))
        }
    };
    if *as_json {
        let done = applied.as_ref().and_then(|it| it.as_ref().ok());
        let object = json!({
            "applied": done.is_some(),
            "message": done.map(|(message, _)| message),
            "generation": done.map(|(_, generation)| generation),
            "confirm_within_seconds": args.confirm_within,
            "new_drops": drops.json(args.max_new_drops),
            "guards_nothing": nothing,
            "diff": compared.json(),
            "simulate": simulated.json(),
        });
        writeln!(out, "{object}")?;
    }
    let Some(applied) = applied else {
        if is_open {
            anyhow::bail!(
                "nothing was applied: {GUARDS_NOTHING}. Correct the config, or say that it is meant: --guard-nothing"
            );
        }
        anyhow::bail!(
            "nothing was applied: {}. Correct the config, or say that it is meant: --max-new-drops 100%",
            drops.words(args.max_new_drops)
        );
    };
    let (message, generation) = applied?;
    if !as_json {
        write_wrapped("", "  ", &format!("{message} (generation {generation})"), out)?;
    }
    Ok(Exit::Ok)
}

/// Whether something is guarded now, and nothing by this config, of what the daemon says of the host's interfaces. The daemon knows
/// of them all, and refuses by that.
fn guards_nothing(then: &Policy, status: &Status) -> bool {
    let is_guarded = status.interfaces.iter().any(|it| it.hooks.iter().any(|hook| hook.hook == "egress"));
    let here = status.interfaces.iter().filter(|it| it.index.is_some()).map(|it| &it.name);
    let names_none = || !here.chain(&status.unguarded).any(|name| then.guards(name));
    is_guarded && (then.pins.is_empty() || names_none())
}

/// Has the daemon make the candidate live: what it says of that, and the generation that is live.
///
/// # Errors
/// Where it refuses.
pub(super) fn apply(socket: &Path, wanted: ApplyWanted) -> Result<(String, u64)> {
    match ask(socket, &Request::Apply { wanted: Box::new(wanted) })? {
        Response::Done { message, generation, .. } => Ok((message, generation)),
        _ => Err(unexpected(socket).into()),
    }
}

/// What of the flows that were seen would newly be dropped, or may be: what is not known counts as dropped.
pub(super) struct NewDrops {
    flows: u64,
    of: u64,
    /// Whether the kernel counted as permitted what the candidate forbids, and no flow says how much of it there is now.
    without_records: bool,
}

impl NewDrops {
    /// By what a simulation came to.
    pub(super) fn of(simulated: &Simulated) -> Self {
        let without_records = simulated.drops_without_records();
        Self { without_records, ..Self::of_sums(simulated.sums()) }
    }

    fn of_sums(sums: &Sums) -> Self {
        let mut flows = sums.of(Kind::Drops);
        // What may be let go is not dropped by that.
        let may_drop = sums.not_known.iter().filter(|(lacks, _)| !lacks.contains(&Lack::LetGo));
        may_drop.for_each(|(_, amount)| flows += *amount);
        let mut of = Amount::default();
        for amount in
            sums.groups.values().chain(sums.not_known.values()).chain([&sums.same, &sums.other_reason])
        {
            of += *amount;
        }
        Self { flows: flows.flows, of: of.flows, without_records: false }
    }

    fn percent(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "it is a share, told with two digits")]
        match self.of {
            0 => 0.0,
            of => self.flows as f64 / of as f64 * 100.0,
        }
    }

    /// They as an object, where that share goes.
    pub(super) fn json(&self, most: Share) -> Value {
        json!({
            "flows": self.flows, "of_flows": self.of, "percent": self.percent(),
            "without_records": self.without_records, "max": most.to_string(),
        })
    }

    /// Whether they are more than that share of all.
    pub(super) fn are_above(&self, most: Share) -> bool {
        most.is_below(self.percent()) || self.without_records && most.is_below(99.99)
    }

    /// How many they are, in a sentence, where that share goes.
    pub(super) fn words(&self, most: Share) -> String {
        let Self { flows, of, .. } = self;
        let more = match self.without_records {
            true => ", and what the kernel permitted without a record of the flows (NOT SEEN above)",
            false => "",
        };
        let percent = self.percent();
        format!(
            "{flows} of {of} flows ({percent:.2}%) would newly be dropped, or may be{more}; at most {most} go \
             (--max-new-drops)"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{self, Surroundings};
    use crate::control::status::{HookStatus, InterfaceStatus};

    #[test]
    fn a_candidate_waits_for_whole_seconds() {
        assert_eq!((seconds("5m"), seconds("24h"), seconds("1s")), (Ok(300), Ok(86_400), Ok(1)));
        for text in ["0s", "500ms", "25h", "10", ""] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_candidate_that_names_no_interface_of_the_host_guards_nothing() {
        let policy = |interfaces: &str, pin: &str| {
            let text = format!("approval = \"none\"\n[host]\ninterfaces = [{interfaces:?}]\n{pin}");
            config::parse(Path::new("policy.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap().policy
        };
        let pin =
            "[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\nselect.ports = [\"tcp/143\"]\n";
        let hooks = vec![HookStatus { hook: "egress".into(), ..HookStatus::default() }];
        let guarded = |name: &str| InterfaceStatus {
            name: name.into(),
            index: Some(2),
            hooks: hooks.clone(),
            ..InterfaceStatus::default()
        };
        let unguarded = vec!["eth1".to_owned()];
        let status = Status { interfaces: vec![guarded("eth0")], unguarded, ..Status::default() };
        for (interfaces, pin, is_nothing) in [
            ("eth0", pin, false),
            ("eth*", pin, false),
            ("eth1", pin, false),
            ("wg0", pin, true),
            ("eth0", "", true),
        ] {
            assert_eq!(guards_nothing(&policy(interfaces, pin), &status), is_nothing, "{interfaces} {pin}");
        }
        // Nothing is taken from a host that guards nothing.
        assert!(!guards_nothing(&policy("wg0", pin), &Status::default()));
    }

    #[test]
    fn what_is_not_known_counts_as_dropped() {
        let of = |flows| Amount { flows, packets: flows, bytes: flows };
        let mut sums = Sums { same: of(98), other_reason: of(1), ..Sums::default() };
        let most = |text| Share::read(text).unwrap();
        assert!(!NewDrops::of_sums(&Sums::default()).are_above(most("0%")), "nothing was seen");
        assert!(!NewDrops::of_sums(&sums).are_above(most("0%")));
        sums.not_known.insert(Vec::new(), of(1));
        let drops = NewDrops::of_sums(&sums);
        assert!(drops.are_above(most("0.99%")) && !drops.are_above(most("1%")));
        assert!(
            drops.words(most("1%")).starts_with("1 of 100 flows (1.00%) would newly be dropped, or may be;")
        );
        // What at most is let go with its interface is among all of them, and is not dropped.
        let let_go = BTreeMap::from([(vec![Lack::LetGo], of(100))]);
        let with_let_go = NewDrops::of_sums(&Sums { not_known: let_go, ..sums.clone() });
        assert_eq!((with_let_go.flows, with_let_go.of), (0, 199));
        let drops = NewDrops { without_records: true, ..drops };
        assert!(drops.are_above(most("99%")) && !drops.are_above(most("100%")));
    }
}
