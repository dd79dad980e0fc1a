//! `borderguard detach`: removes everything from the kernel. Nothing is guarded from then on.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::json;

use super::CliError;
use super::check::counted;
use super::exit::Exit;
use super::target::{Target, pin_path};
use crate::audit::{Kind, Record, Who};
use crate::control::users::user_name;
use crate::kernel::{KernelError, LinuxKernel, Removed, View};
use crate::store::{self, Change, Store, Use};

/// Arguments of `detach`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The daemon's config, which names its `state.pin_path` [default: /etc/borderguard/policy.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where everything is pinned, instead of the config's `state.pin_path`
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub pin_path: Option<PathBuf>,
    /// The reason, which the audit trail keeps
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub why: String,
}

/// Detaches. A daemon that runs is to be ended first: it would attach again.
///
/// # Errors
/// Where nothing is pinned, a daemon runs, or the kernel refuses.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let pin_path = match &args.pin_path {
        Some(pin_path) => pin_path.clone(),
        None => pin_path(args.config.as_deref())?,
    };
    // Held open, so that the last counts can be read once nothing counts any more.
    let view = View::open(&pin_path).ok();
    let held = view.as_ref().map(View::held).transpose();
    let removed = LinuxKernel::detach(&pin_path).map_err(|error| match error {
        KernelError::Locked { path } => CliError {
            exit: Exit::Failed,
            of_document: false,
            message: format!(
                "a daemon works with {}, and would attach again: end it first (`systemctl stop borderguard`, or SIGTERM to \
                 the process that `borderguard status` names), then run `borderguard detach` again. Nothing was changed",
                path.display()
            ),
        }
        .into(),
        error => anyhow::Error::from(error),
    })?;
    writeln!(
        out,
        "detached {} and {}, and removed {} at {}: nothing is guarded any more",
        counted(removed.links.len(), "link"),
        counted(removed.filters.len(), "filter"),
        counted(removed.maps.len(), "map"),
        pin_path.display()
    )?;
    // Nothing above waits for the store: who is locked out must get in again.
    let may_lose = !matches!(&held, Ok(held) if held.as_ref().is_none_or(BTreeSet::is_empty));
    keep(args, view.as_ref(), held, &removed).map(|()| Exit::Ok).map_err(|error| {
        let lost = match may_lose {
            false => "",
            true => {
                ". ORDERS ARE LOST that only the kernel had: what they closed is open at the next start; see the log \
                 for them, and give them again then"
            }
        };
        error.context(format!(
            "detached, but the store was not told: bytes that were granted to exemptions count as used, and the audit \
             trail has no record of it{lost}"
        ))
    })
}

/// Has the store keep the last counts, and the audit trail that nothing is guarded any more.
fn keep(
    args: &Args,
    view: Option<&View>,
    held: Result<Option<BTreeSet<u16>>, KernelError>,
    removed: &Removed,
) -> Result<()> {
    if args.pin_path.is_some() {
        anyhow::bail!("--pin-path does not name the store; --config does");
    }
    let target = Target { config: args.config.clone(), socket: None };
    let state = target.state_directory()?;
    if !state.join(store::FILE).exists() {
        return Ok(());
    }
    let mut store = Store::open(&state)?;
    let now = Timestamp::now();
    let uid = rustix::process::getuid().as_raw();
    let who = Who { uid, user: user_name(uid), pid: Some(std::process::id()) };
    // What fails of this is said last: counts and record are to be kept all the same.
    let orders = match held {
        Ok(held) => keep_orders(&mut store, &held.unwrap_or_default(), &who, now),
        Err(error) => Err(anyhow::Error::new(error).context("cannot read which orders only the kernel has")),
    };
    if let Some(view) = view {
        let mut counts = Vec::new();
        for slot in store.kept().accounts() {
            let used = view.exemption_use(slot)?;
            counts.push((slot, Use { bytes: used.bytes, packets: used.packets }));
        }
        store.counters_end(&counts, now)?;
        // What crossed since the daemon ended is not saved yet, and the counters are gone with this.
        store.take_over_files()?;
        let judged = store.pin_counts()?.judged(&view.counters()?);
        store.record_counts(&judged, now)?;
    }
    let detail = [("links", json!(removed.links)), ("filters", json!(removed.filters))];
    store.audit(Record {
        time: now,
        kind: Kind::Detach,
        who,
        subject: String::new(),
        why: args.why.clone(),
        detail: detail.map(|(key, value)| (key.to_owned(), value)).into_iter().collect(),
    })?;
    orders
}

/// Has the store keep orders of which only the marks in the kernel are left, which are gone with it.
fn keep_orders(store: &mut Store, held: &BTreeSet<u16>, who: &Who, now: Timestamp) -> Result<()> {
    let mut lost = Vec::new();
    for slot in held {
        let kept = store.kept();
        let Some((id, _)) = kept.by_slot(*slot).and_then(|document| kept.open_version_of(document)) else {
            continue;
        };
        if let Err(error) = store.change(&store::Target::Id(id.clone()), &Change::of_mark(now), who, now) {
            lost.push(format!("{id}: {error}"));
        }
    }
    // A later write may have kept what an earlier one could not.
    let unsaved = store.kept().unsaved();
    lost.retain(|line| unsaved.iter().any(|(id, _)| line.starts_with(&format!("{id}:"))));
    anyhow::ensure!(
        lost.is_empty(),
        "these exemptions were closed by an order that only the kernel had, and are open again at the next start: {}",
        lost.join("; ")
    );
    Ok(())
}
