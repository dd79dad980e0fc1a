//! `borderguard detach`: removes everything from the kernel. Nothing is guarded from then on.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::json;

use super::check::counted;
use super::exit::Exit;
use super::target::Target;
use super::{CliError, DEFAULT_CONFIG};
use crate::audit::{Kind, Record, Who};
use crate::control::users::user_name;
use crate::kernel::{KernelError, LinuxKernel, Removed, View};
use crate::store::{self, Change, Store, Use};

/// Where everything is pinned if the config does not say.
const DEFAULT_PIN_PATH: &str = "/sys/fs/bpf/borderguard";

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
    let pin_path = pin_path(args)?;
    // Held open, so that the last counts can be read once nothing counts any more.
    let view = View::open(&pin_path).ok();
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
    match keep(args, view.as_ref(), &removed) {
        Ok(()) => Ok(Exit::Ok),
        Err(error) => Err(error.context(
            "detached, but the store was not told: bytes that were granted to exemptions count as used, and the audit \
             trail has no record of it",
        )),
    }
}

/// Has the store keep the last counts, and the audit trail that nothing is guarded any more.
fn keep(args: &Args, view: Option<&View>, removed: &Removed) -> Result<()> {
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
    if let Some(view) = view {
        keep_orders(&mut store, &view.held()?, &who, now)?;
    }
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
    Ok(())
}

/// Has the store keep orders of which only the marks in the kernel are left, which are gone with it.
fn keep_orders(store: &mut Store, held: &BTreeSet<u16>, who: &Who, now: Timestamp) -> Result<()> {
    for slot in held {
        let kept = store.kept();
        let Some((id, _)) = kept.by_slot(*slot).and_then(|document| kept.open_version_of(document)) else {
            continue;
        };
        store.change(&store::Target::Id(id.clone()), &Change::of_mark(now), who, now).with_context(|| {
            format!(
                "exemption {id} was closed by an order that only the kernel had: it is open again at the next start"
            )
        })?;
    }
    Ok(())
}

/// The config is read for this one value only, so that one with errors keeps nobody from detaching.
fn pin_path(args: &Args) -> Result<PathBuf> {
    let config = match (&args.pin_path, &args.config) {
        (Some(pin_path), _) => return Ok(pin_path.clone()),
        (None, Some(config)) => config.clone(),
        (None, None) if PathBuf::from(DEFAULT_CONFIG).exists() => DEFAULT_CONFIG.into(),
        (None, None) => return Ok(DEFAULT_PIN_PATH.into()),
    };
    let text = std::fs::read_to_string(&config)
        .with_context(|| format!("cannot read the config {}", config.display()))?;
    let found = super::target::value_in(&text, &config, "state", "pin_path")?;
    Ok(found.map_or_else(|| DEFAULT_PIN_PATH.into(), PathBuf::from))
}
