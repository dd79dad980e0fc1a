//! `borderguard approval`: keys that approve nothing any more.

use std::io::Write;

use anyhow::Result;
use jiff::Timestamp;

use super::exemption::ask::CUT;
use super::exemption::ask::{self, AsList, How, change};
use crate::control::protocol::Request;
use crate::exemption::OrderKind;
use crate::exit::Exit;

/// Arguments of `approval`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do with signers' keys.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Show the keys that are revoked
    List(AsList),
    /// Let a key approve nothing any more, and close every exemption that it approved, at once and for good
    Revoke {
        /// The key's fingerprint, as `exemption show` and `ssh-keygen -lf KEY.pub` write it
        #[arg(value_name = "FINGERPRINT")]
        key: String,
        /// The reason, which is kept
        #[arg(long, value_name = "TEXT")]
        why: String,
        /// Revoke it also where no allowed signer has it and it approved nothing that was ever loaded
        #[arg(long)]
        unknown: bool,
        /// How.
        #[command(flatten)]
        how: How,
    },
}

/// Does it.
///
/// # Errors
/// Where this is no fingerprint, no daemon answers or it refuses, or `out` can't be written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let now = Timestamp::now();
    match &args.command {
        Command::List(list) => ask::orders(Some(OrderKind::RevokedKey), list, now, out),
        Command::Revoke { key, why, unknown, how } => {
            let (key, why, unknown) = (key.clone(), why.clone(), *unknown);
            let request = Request::ApprovalRevoke { key, why, unknown, dry_run: how.dry_run };
            change(&how.target.socket()?, &request, how, CUT, now, out)
        }
    }
}
