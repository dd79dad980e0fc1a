//! The Dublin demo: real flows of a storage host, judged by the kernel before one's eyes.
//!
//! A storage host in Dublin serves a mailbox that is pinned to Ireland and may reach the EU, and an
//! address book that is not pinned. Clients in Belgium, in the US and at a place that no source knows
//! ask for both. The story runs in acts: nothing guards; the guard starts; a warrant and an unsigned
//! request are refused; the signed one is loaded, stayed, resumed and revoked during transfers; the mail service pushes
//! a copy by itself; the audit trail and the report say so; the guard is detached. What each client received and what the guard says
//! about it is held against what must be, and any difference fails the demo.
mod acts;
mod authority;
mod client;
mod expect;
mod guard;
mod number;
mod policy;
mod receipt;
mod screen;
mod transfer;
mod world;

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};

use crate::privilege;

/// What the demo is run with.
#[derive(Debug, clap::Parser)]
#[command(name = "guard-demo", about = "Shows Border Guard judging the flows of a storage host in Dublin")]
pub struct Options {
    /// The borderguard program [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    borderguard: Option<PathBuf>,
    /// Show the network and the service only: every flow must pass
    #[arg(long)]
    without_guard: bool,
}

/// Runs the demo. `Ok(false)` when something that was seen differs from what must be.
///
/// # Errors
/// When the demo cannot go on: no root, a program that is missing, a guard that does not start.
pub fn run(options: &Options) -> Result<bool> {
    privilege::can_bpf().map_err(|why| anyhow!("the demo needs a kernel to guard: {why}"))?;
    let mut stage = acts::Stage::set_up()?;
    stage.nothing_guards()?;
    if options.without_guard {
        stage.a_transfer_goes_on()?;
    } else {
        let guard = stage.start_guard(options.borderguard()?)?;
        stage.the_guard_judges(&guard)?;
        stage.a_wider_policy_is_refused(&guard)?;
        stage.what_is_no_ground_is_refused(&guard)?;
        stage.an_exemption_is_loaded(&guard)?;
        stage.a_stay_cuts_a_transfer(&guard)?;
        stage.it_is_revoked_during_a_transfer(&guard)?;
        stage.a_pinned_service_pushes_a_copy()?;
        stage.all_of_it_is_on_record(&guard)?;
        stage.a_receipt_is_verified(&guard)?;
        stage.the_guard_is_detached(guard)?;
    }
    Ok(stage.finish())
}

impl Options {
    /// The program under demonstration, which must be there.
    fn borderguard(&self) -> Result<PathBuf> {
        let path = match &self.borderguard {
            Some(path) => path.clone(),
            None => std::env::current_exe()
                .context("cannot find this program itself")?
                .with_file_name("borderguard"),
        };
        let missing = || {
            format!("no borderguard program at {}: build it with `cargo build -p guard-user`", path.display())
        };
        path.canonicalize().with_context(missing)
    }
}
