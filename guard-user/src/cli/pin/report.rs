//! `borderguard pin report NAME`: what a pin has come to, and whether it is ready for a stricter action.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::edit::with_action;
use super::evidence::Evidence;
use super::readiness::{Bounds, Facts, Reason, reasons};
use super::violations::Violations;
use super::wanted::{To, Wanted};
use crate::audit::Stored;
use crate::cli::apply::NewDrops;
use crate::cli::progress::Progress;
use crate::cli::simulate::{Look, Recorded, Simulated, policy_in_force, policy_of_trail};
use crate::cli::{CliError, told as words_of, trail};
use crate::config::policy::{Action, Policy};
use crate::control::client::{self, ask, unexpected};
use crate::control::protocol::{Request, Response};
use crate::control::status::Status;
use crate::daemon::action_name;
use crate::exemption::{State, Summary};
use crate::exit::Exit;
use crate::simulate::{Amount, Kind, Sums};

/// What counts as recent.
const RECENT: SignedDuration = SignedDuration::from_hours(24);

const AFTER_HELP: &str = "\
The exit code is 0 where the pin is ready, 1 where it is not, and 2 where there
is no such pin, or its action is as strict already.";

/// Arguments of `pin report`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Which pin, and when it is ready.
    #[command(flatten)]
    pub wanted: Wanted,
}

/// Writes it.
///
/// # Errors
/// Where no daemon answers, this user may not ask it, or there is nothing stricter for such a pin.
pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let gathered = Gathered::of(&args.wanted, Timestamp::now())?;
    match args.wanted.json {
        true => writeln!(out, "{}", Value::Object(gathered.json()))?,
        false => gathered.write(out)?,
    }
    Ok(if gathered.reasons.is_empty() { Exit::Ok } else { Exit::Failed })
}

/// An exemption that is for the pin, and how much of what was seen it would let pass.
pub(super) struct Covers {
    pub(super) summary: Summary,
    pub(super) amount: Amount,
}

/// What a pin has come to.
pub(super) struct Gathered {
    pub(super) pin: String,
    /// What the config says.
    pub(super) action: Action,
    pub(super) to: Action,
    pub(super) observes: bool,
    pub(super) evidence: Evidence,
    pub(super) violations: Violations,
    /// What of the last day would be dropped, or flagged.
    pub(super) recent: Amount,
    pub(super) exemptions: Vec<Covers>,
    pub(super) simulated: Simulated,
    pub(super) drops_words: String,
    pub(super) new_drops: Value,
    pub(super) reasons: Vec<Reason>,
    /// The daemon's config file, and its text with the action.
    pub(super) file: PathBuf,
    pub(super) text: String,
    /// The policy in force.
    pub(super) now: Policy,
}

impl Gathered {
    /// Asks the daemon for all of it.
    ///
    /// # Errors
    /// Where no daemon answers, this user may not ask it, or there is nothing stricter for such a pin.
    pub(super) fn of(wanted: &Wanted, at: Timestamp) -> Result<Self> {
        let socket = wanted.target.socket()?;
        let progress = Progress::on_stderr(wanted.json);
        progress.begin("reads the audit trail", None);
        let status = client::status(&socket)?;
        let file = PathBuf::from(&status.config);
        let now = policy_in_force(&socket, &status.config)?;
        let (action, to) = actions(&now, wanted, &status)?;
        let name = wanted.name.clone();
        let text = std::str::from_utf8(&now.text).ok().and_then(|text| with_action(text, &name, to));
        let text = text.ok_or_else(|| {
            CliError::bad_input(format!("{}: the action of the pin {name} is not found", status.config))
        })?;
        let records: Vec<Stored> = trail::lines(&wanted.target, 0)?
            .iter()
            .filter_map(|it| Stored::read(it.as_bytes()).ok())
            .collect();
        let policy_of =
            |sha256: &str| policy_of_trail(&socket, sha256, &status.config).map_err(|error| words_of(&error));
        let evidence = Evidence::of(&records, (&now, &name, status.observe), policy_of, at);
        let mut violations = Violations::default();
        // What was seen is read once, for all of it.
        let take: &mut dyn FnMut(Recorded<'_>) = &mut |it| violations.take((&name, evidence.since), it);
        let mut look = Look {
            recent: Some(at.checked_sub(RECENT).unwrap_or(Timestamp::MIN)),
            each: Some(take),
            ..Look::since(evidence.since, &progress)
        };
        let simulated = Simulated::of_text(&socket, (file.as_path(), text.as_str()), &mut look)?;
        violations.missing += simulated.missed();
        let recent = of_pin(simulated.recent(), &name);
        let exemptions = exemptions(&socket, &name, &simulated)?;
        let drops = NewDrops::of(&simulated);
        let drops_words = drops.words(wanted.max_new_drops);
        let facts = Facts {
            observes: status.observe,
            has_history: now.history.directory.is_some(),
            seen: evidence.seen,
            // What is flagged passes.
            recent: if to == Action::Drop { recent.flows } else { 0 },
            new_drops: drops.are_above(wanted.max_new_drops).then(|| drops_words.clone()),
        };
        let bounds = Bounds { min_seen: wanted.min_seen, max_recent: wanted.max_recent };
        Ok(Self {
            pin: name,
            action,
            to,
            observes: status.observe,
            evidence,
            violations,
            recent,
            exemptions,
            new_drops: drops.json(wanted.max_new_drops),
            simulated,
            drops_words,
            reasons: reasons(&facts, bounds),
            file,
            text,
            now,
        })
    }
}

/// The pin's action, and the one that it is to have.
fn actions(now: &Policy, wanted: &Wanted, status: &Status) -> Result<(Action, Action), CliError> {
    let name = &wanted.name;
    let Some(pin) = now.pins.iter().find(|pin| pin.name == *name) else {
        let names: Vec<&str> = now.distinct_pins().map(|pin| pin.name.as_str()).collect();
        return Err(CliError::bad_input(format!("there is no pin {name:?}: {}", names.join(", "))));
    };
    let next = match pin.action {
        Action::Observe => Some(Action::Flag),
        Action::Flag => Some(Action::Drop),
        Action::Drop => None,
    };
    let to = match (wanted.to.map(To::action), next) {
        (Some(to), _) if to > pin.action => to,
        (None, Some(next)) => next,
        (Some(to), _) if to < pin.action => {
            return Err(CliError::bad_input(format!(
                "the pin {name} has the action {}, and {} is milder: that opens. Write it into a copy of {}, have that signed \
                 where [approval.policy] asks for it (`borderguard policy sign`), and `borderguard apply` it",
                action_name(pin.action),
                action_name(to),
                status.config
            )));
        }
        _ => {
            let action = action_name(pin.action);
            return Err(CliError::bad_input(format!("the pin {name} has the action {action} already")));
        }
    };
    Ok((pin.action, to))
}

/// What of the flows that were seen this pin would drop newly, or flag.
fn of_pin(sums: &Sums, name: &str) -> Amount {
    let is_stricter = |kind: Kind| matches!(kind, Kind::Drops | Kind::Flags);
    let mut sum = Amount::default();
    for (group, amount) in &sums.groups {
        if is_stricter(group.kind) && group.hook != "ingress" && group.pins.iter().any(|pin| pin == name) {
            sum += *amount;
        }
    }
    sum
}

/// The exemptions that are open for the pin.
fn exemptions(socket: &Path, name: &str, simulated: &Simulated) -> Result<Vec<Covers>> {
    let Response::Exemptions { exemptions, .. } = ask(socket, &Request::ExemptionList {})? else {
        return Err(unexpected(socket).into());
    };
    let is_for = |it: &Summary| it.state == State::Active && it.pins.iter().any(|pin| pin == name);
    let covers = |summary: Summary| {
        let amount = simulated.sums().exempt.get(&summary.id).copied().unwrap_or_default();
        Covers { summary, amount }
    };
    Ok(exemptions.into_iter().filter(is_for).map(covers).collect())
}
