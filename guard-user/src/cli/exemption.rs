//! `borderguard exemption`: writes and checks documents, has the daemon load and revoke them, and shows what
//! they allow.

pub(crate) mod ask;
pub(in crate::cli) mod file;
pub mod lift;
pub mod lint;
pub mod new;
mod policy;
pub mod receipt;
pub mod renew;
pub mod show;
pub mod sign;
pub(in crate::cli) mod signatures;
#[cfg(test)]
mod tests;
pub mod verify;
mod when;
mod who;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use self::ask::{CUT, How, Only};
use super::target::Target;
use crate::control::protocol::Request;
use crate::exemption::State;
use crate::exit::Exit;
use crate::store;

/// Arguments of `exemption`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do with exemptions.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Write a document: ask for each key, or take answers from a file
    New(new::Args),
    /// Check a document without a daemon: every error at once, or what it would allow
    #[command(visible_alias = "check")]
    Lint(lint::Args),
    /// Approve a document: sign it with your SSH key
    Sign(sign::Args),
    /// Say who approved a document, and whose approval is missing
    Verify(verify::Args),
    /// Load a document: from then on the kernel lets its transfer through
    Load {
        /// The document
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Its signatures [default: FILE.sig and every FILE.*.sig beside it]
        #[arg(long = "signature", value_name = "SIG")]
        signatures: Vec<PathBuf>,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Show every exemption: what it allows, and what it let through
    List {
        /// Only those in this state, once for each: active, stayed, revoked, ...
        #[arg(long = "state", value_name = "STATE", value_parser = state)]
        states: Vec<State>,
        /// Only those for this pin, once for each
        #[arg(long = "pin", value_name = "NAME")]
        pins: Vec<String>,
        /// What has to be done, by when: duties, reviews, deletions, of closed ones too
        #[arg(long)]
        due: bool,
        /// One JSON array
        #[arg(long)]
        json: bool,
        /// The daemon.
        #[command(flatten)]
        target: Target,
    },
    /// Show one exemption with its approvals and its document
    Show {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
        /// Its version; without it the one that is open, else the highest
        #[arg(long, value_name = "NUMBER")]
        version: Option<u32>,
        /// One JSON object
        #[arg(long)]
        json: bool,
        /// The daemon.
        #[command(flatten)]
        target: Target,
    },
    /// Note that something was done that was due, also of a closed exemption
    Done {
        /// The exemption's id
        #[arg(value_name = "ID")]
        id: String,
        /// What was done, as `list --due` names it: tell-authority, answer, delete, ...
        #[arg(value_name = "DUTY")]
        duty: String,
        /// Its version; without it the one that has this to be done, of several the one where it is due first
        #[arg(long, value_name = "NUMBER")]
        version: Option<u32>,
        /// When it was done, such as 2026-12-18 or 2026-12-18T16:00:00Z [default: now]
        #[arg(long, value_name = "TIME", value_parser = moment)]
        at: Option<Timestamp>,
        /// How, which is kept
        #[arg(long, value_name = "TEXT")]
        why: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Write what a closed exemption let through, signed by the host's key, or verify that
    Receipt(receipt::Args),
    /// Let nothing through by what an order covers, until the order is lifted
    Stay {
        /// What it covers.
        #[command(flatten)]
        covers: Covers,
        /// The order's reference, by which it is lifted
        #[arg(long, value_name = "REF")]
        order: String,
        /// Keep it also where nothing that was ever loaded is covered: what is loaded later is
        #[arg(long)]
        not_loaded: bool,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Lift an order; what no other order covers passes again
    Resume {
        /// What it covers.
        #[command(flatten)]
        covers: Covers,
        /// The order's reference [default: the only one that covers this]
        #[arg(long, value_name = "REF")]
        order: Option<String>,
        /// The reason, which is kept
        #[arg(long, value_name = "TEXT")]
        why: String,
        /// As a document.
        #[command(flatten)]
        document: lift::AsDocument,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Lift an order by a signed document, which `resume --write` makes
    Lift(lift::Args),
    /// Show the orders that stand, also those that cover nothing that is loaded
    Orders(ask::AsList),
    /// Write the next version of a document, to take the place of this one
    Renew(renew::Args),
    /// Close an exemption for good; a transfer under way is cut
    Revoke {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
        /// The reason, which is kept
        #[arg(long, value_name = "TEXT")]
        why: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
}

impl Command {
    /// Whether it prints sentences alone, which may be wrapped: no document, and no line that is to be copied.
    #[must_use]
    pub const fn is_of_sentences(&self) -> bool {
        match self {
            Self::Lint(_)
            | Self::Verify(_)
            | Self::Load { .. }
            | Self::List { .. }
            | Self::Done { .. }
            | Self::Stay { .. }
            | Self::Resume { .. }
            | Self::Lift(_)
            | Self::Orders(_)
            | Self::Revoke { .. } => true,
            Self::New(_) | Self::Sign(_) | Self::Show { .. } | Self::Receipt(_) | Self::Renew(_) => false,
        }
    }
}

/// What an order covers.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Covers {
    /// The exemption of this id, whatever its version
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Every exemption for this pin
    #[arg(long, value_name = "NAME")]
    pin: Option<String>,
    /// Every exemption with this recipient, as the documents name it
    #[arg(long, value_name = "NAME")]
    recipient: Option<String>,
    /// Every exemption that rests on this instrument, as the documents name it
    #[arg(long, value_name = "NAME")]
    instrument: Option<String>,
    /// Every exemption
    #[arg(long)]
    all: bool,
}

impl Covers {
    fn target(&self) -> store::Target {
        let Self { id, pin, recipient, instrument, all: _ } = self;
        let id = id.clone().map(store::Target::Id);
        let pin = pin.clone().map(store::Target::Pin);
        let recipient = recipient.clone().map(store::Target::Recipient);
        let instrument = instrument.clone().map(store::Target::Instrument);
        id.or(pin).or(recipient).or(instrument).unwrap_or(store::Target::All)
    }
}

/// Does it.
///
/// # Errors
/// Where the document can't be used, no daemon answers or it refuses, or `out` can't be written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let now = Timestamp::now();
    match &args.command {
        Command::Lint(args) => lint::run(args, now, out),
        Command::Receipt(args) => receipt::run(args, now, out),
        Command::New(args) => new::run(args, now, out),
        Command::Renew(args) => renew::run(args, now, out),
        Command::Sign(args) => sign::run(args, now, out),
        Command::Verify(args) => verify::run(args, now, out),
        Command::Load { file, signatures, how } => ask::load(file, signatures, how, now, out),
        Command::List { states, pins, due, json, target } => {
            ask::list(&Only { states, pins, due: *due }, *json, &target.socket()?, now, out)
        }
        Command::Show { id, version, json, target } => {
            ask::show(id, *version, *json, &target.socket()?, now, out)
        }
        Command::Orders(list) => ask::orders(None, list, now, out),
        Command::Stay { covers, order, not_loaded, how } => {
            let (target, order, not_loaded) = (covers.target(), order.clone(), *not_loaded);
            let request = Request::ExemptionStay { target, order, not_loaded, dry_run: how.dry_run };
            ask::change(&how.target.socket()?, &request, how, CUT, now, out)
        }
        Command::Resume { covers, order, why, document, how } => {
            let (target, order, why) = (covers.target(), order.clone(), why.clone());
            let request = Request::ExemptionResume {
                target,
                order,
                why,
                lift: None,
                dry_run: how.dry_run,
                to_sign: false,
            };
            lift::resume(&request, document, how, now, out)
        }
        Command::Done { id, duty, version, at, why, how } => {
            let (id, duty, why) = (id.clone(), duty.clone(), why.clone());
            let request =
                Request::ExemptionDone { id, version: *version, duty, on: *at, why, dry_run: how.dry_run };
            ask::change(&how.target.socket()?, &request, how, CUT, now, out)
        }
        Command::Lift(args) => lift::run(args, now, out),
        Command::Revoke { id, why, how } => {
            let (id, why) = (id.clone(), why.clone());
            let request = Request::ExemptionRevoke { id, why, dry_run: how.dry_run };
            ask::change(&how.target.socket()?, &request, how, CUT, now, out)
        }
    }
}

/// A time, or the begin of a day in UTC.
fn moment(text: &str) -> std::result::Result<Timestamp, String> {
    let of_day = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok();
    text.parse()
        .ok()
        .or_else(|| of_day().map(|day| day.timestamp()))
        .ok_or_else(|| "give a day such as 2026-12-18, or a time such as 2026-12-18T16:00:00Z".to_owned())
}

/// A state that lists show, by its name.
fn state(text: &str) -> std::result::Result<State, String> {
    State::LISTED.into_iter().find(|state| state.name() == text).ok_or_else(|| {
        let names: Vec<&str> = State::LISTED.into_iter().map(State::name).collect();
        format!("the states are {}", names.join(", "))
    })
}
