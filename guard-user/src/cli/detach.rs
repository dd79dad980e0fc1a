//! `borderguard detach`: removes everything from the kernel. Nothing is guarded from then on.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::json;

use super::CliError;
use super::check::counted;
use super::target::{Target, pin_path};
use crate::audit::{Kind, Record, Who};
use crate::control::users::user_name;
use crate::events::told;
use crate::exit::Exit;
use crate::kernel::{KeptHead, KernelError, LinuxKernel, Marks, Removed, View, latest_of, other_pin_paths};
use crate::store::{self, Change, Store, StoreError, Use};
use crate::telemetry;
use crate::text::Unseen;

/// Arguments of `detach`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The daemon's config, which names its `state.pin_path` [default: /etc/borderguard/policy.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where everything is pinned, instead of the config's `state.pin_path`, such as its value before a change
    #[arg(long, value_name = "DIR")]
    pub pin_path: Option<PathBuf>,
    /// The reason, which the audit trail keeps
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub why: String,
    /// Succeed where nothing is attached: there is nothing to do
    #[arg(long)]
    pub if_attached: bool,
}

/// Detaches. A daemon that runs is to be ended first: it would attach again.
///
/// # Errors
/// Where nothing is pinned, a daemon runs, or the kernel refuses.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    if let Some(unseen) = Unseen::find(&args.why) {
        return Err(CliError::bad_input(format!(
            "the text of --why {unseen}: write it without; nothing was changed"
        ))
        .into());
    }
    let pin_path = match &args.pin_path {
        Some(pin_path) => pin_path.clone(),
        None => pin_path(args.config.as_deref())?,
    };
    // Held open, so that the last counts and marks can be read once nothing counts and nobody marks any more. The
    // marks mean the same in every version, which the rest does not.
    let (view, marks) = (View::open_to_read(&pin_path), Marks::open(&pin_path));
    // What of another one is attached can be told as long as ours can be told from it.
    let others = view.as_ref().ok().and_then(other_guards);
    let latest =
        KeptHead::open_to_read(&pin_path).and_then(|mark| mark.read()).ok().as_ref().and_then(latest_of);
    // The kernel's mark goes with the maps.
    let is_kept = latest.map(|latest| leave_time(args, latest));
    let removed = LinuxKernel::detach(&pin_path);
    if args.if_attached && matches!(removed, Err(KernelError::NothingPinned { .. })) {
        return nothing_attached(&pin_path, out);
    }
    let removed = removed.map_err(|error| match error {
        KernelError::Locked { path } => CliError {
            exit: Exit::Failed,
            of_document: false,
            codes: Vec::new(),
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
        "detached {} and {}, and removed {} at {}{}",
        counted(removed.links.len(), "link"),
        counted(removed.filters.len(), "filter"),
        counted(removed.maps.len(), "map"),
        pin_path.display(),
        match &others {
            Some(others) if removed.left.is_none() && others.is_empty() => ": nothing is guarded any more",
            None =>
                ". Whether another Border Guard, with another pin path, is attached could not be looked for",
            Some(_) => "",
        },
    )?;
    if let Some(others) = others.filter(|others| !others.is_empty()) {
        writeln!(
            out,
            "another Border Guard, with another pin path, is still attached and guards by a policy of its own: {}. \
             `borderguard detach --config FILE --pin-path DIR` takes it off",
            others.join(", ")
        )?;
    }
    if let Err(KernelError::AbiDiffers { found, wanted, .. }) = &view {
        writeln!(
            out,
            "what was counted last can't be read, so bytes that were granted to exemptions count as used: another \
             version of borderguard made the maps (ABI {found}; this one has {wanted})"
        )?;
    }
    // Nothing above waits for the store: who is locked out must get in again.
    let mut failed = Vec::new();
    failed.extend(removed.left.as_ref().map(|why| {
        format!(
            "NOT ALL IS OFF: {why}. What the lines above name is not guarded any more. See what is left with `bpftool \
             net` and `tc filter show dev INTERFACE egress`, take it off, and run `borderguard detach` again"
        )
    }));
    let is_closed = keep(args, (view, marks), (&removed, latest), &mut failed);
    // Where the store has it, no clock opens again what is over now.
    if !is_closed && let Some(Err(why)) = is_kept {
        failed.push(format!(
            "the time is kept nowhere: {why}. Look at the host's clock before the next start: what has ended by now, and the \
             store does not have as ended, is open again where the clock is set back"
        ));
    }
    if failed.is_empty() {
        return Ok(Exit::Ok);
    }
    Err(anyhow::anyhow!("detached, but {}", failed.join("\nand ")))
}

/// There is nothing to do, unless a guard is at another pin path: the config may have named that when it was attached.
fn nothing_attached(pin_path: &Path, out: &mut impl Write) -> Result<Exit> {
    let others: Vec<String> = other_pin_paths(pin_path).iter().map(|it| it.display().to_string()).collect();
    if !others.is_empty() {
        anyhow::bail!(
            "nothing is attached by {}, which the config names now, and a guard is by {}: `borderguard detach --pin-path \
             DIR` takes it off. Nothing was changed",
            pin_path.display(),
            others.join(", ")
        );
    }
    writeln!(out, "nothing is attached by {}: nothing was changed", pin_path.display())?;
    Ok(Exit::Ok)
}

/// Interfaces and hooks at which another Border Guard is attached, as `eth0 egress`; `None` where that can't be seen.
fn other_guards(view: &View) -> Option<Vec<String>> {
    let interfaces = view.interfaces().ok()?.into_iter();
    let hooks = |it: crate::kernel::ObservedInterface| {
        let name = it.interface.name;
        it.other_guards.into_iter().map(move |hook| format!("{name} {}", hook.name())).collect::<Vec<_>>()
    };
    Some(interfaces.flat_map(hooks).collect())
}

/// What was opened before the detachment.
type Opened = (Result<View, KernelError>, Result<Option<Marks>, KernelError>);

/// Has the store keep the last orders and counts, and the audit trail that nothing is guarded any more. What fails
/// of it is told, and holds up nothing else.
/// Returns whether the store has closed what is over by this time.
fn keep(
    args: &Args,
    (view, marks): Opened,
    (removed, latest): (&Removed, Option<Timestamp>),
    failed: &mut Vec<String>,
) -> bool {
    let held = marks.and_then(|marks| marks.map_or_else(|| Ok(BTreeSet::new()), |marks| marks.held()));
    let mut store = match open_store(args) {
        Ok(Some(store)) => store,
        // No exemption was ever loaded, or there is nobody to keep anything.
        Ok(None) => return true,
        Err(error) if is_anothers(args, &error, &held) => {
            eprintln!(
                "a daemon with another pin path works with the store, so that the audit trail has no record of this and the \
                 last counts are lost: keep this output and the time as your record of it"
            );
            return false;
        }
        Err(error) => {
            failed.push(format!(
                "the store was not told: bytes that were granted to exemptions count as used, and the audit trail has no \
                 record of it: {error:#}"
            ));
            if !held.is_ok_and(|held| held.is_empty()) {
                failed.push(
                    "ORDERS ARE LOST that only the kernel had: what they closed is open at the next start. See the log \
                     for them, and give them again then"
                        .to_owned(),
                );
            }
            return false;
        }
    };
    let now = Timestamp::now();
    let uid = rustix::process::getuid().as_raw();
    let who = Who { uid, user: user_name(uid), pid: Some(std::process::id()) };
    match &held {
        Ok(held) => keep_orders(&mut store, held, &who, now),
        Err(error) => failed.push(format!(
            "which orders only the kernel had can't be read: {error}. What they closed is open at the next start: see \
             the log for them, and give them again then"
        )),
    }
    let is_closed = store.close_what_is_over(&who, latest.unwrap_or(now), now);
    if let Err(error) = &is_closed {
        failed.push(format!("an exemption is over, and that could not be kept: {error}"));
    }
    let counts = match &view {
        Ok(view) if removed.left.is_none() => {
            failed.extend(leave_totals(args, view).err().map(|error| {
                format!("the event log will not tell what was counted last and had no line: {error:#}")
            }));
            keep_counts(&mut store, view, now)
        }
        // Of what is still attached the last counts are to come.
        Ok(_) | Err(KernelError::NothingPinned { .. } | KernelError::AbiDiffers { .. }) => Ok(()),
        Err(error) => Err(anyhow::anyhow!("{error}")),
    };
    if let Err(error) = counts {
        failed.push(format!(
            "the last counts are lost: bytes that were granted to exemptions count as used: {error:#}"
        ));
    }
    let detail = [("links", json!(removed.links)), ("filters", json!(removed.filters))];
    let left = removed.left.as_ref().map(|why| ("left", json!(why)));
    let record = Record {
        time: now,
        kind: Kind::Detach,
        who,
        subject: String::new(),
        why: args.why.clone(),
        detail: detail.into_iter().chain(left).map(|(key, value)| (key.to_owned(), value)).collect(),
    };
    if let Err(error) = store.audit(record) {
        failed.push(format!("the audit trail has no record of it: {error}"));
    }
    // A later write may have kept what an earlier one could not.
    for (id, _) in store.kept().unsaved() {
        failed.push(format!(
            "THE ORDER IS LOST that closed {id}, which only the kernel had: it is open at the next start. Stay it again \
             then"
        ));
    }
    is_closed.is_ok()
}

/// Has the file of the mark know the time that the kernel's mark knew, and waits no longer for its disk than so: who is
/// locked out must get in again.
fn leave_time(args: &Args, latest: Timestamp) -> Result<(), String> {
    const DISK: Duration = Duration::from_secs(2);
    if args.pin_path.is_some() && args.config.is_none() {
        return Err(
            "--pin-path does not name the folder of high-water.json; --config beside it does".to_owned()
        );
    }
    let target = Target { config: args.config.clone(), socket: None };
    let folder = target.mark_directory().map_err(|error| format!("{error:#}"))?;
    let (sender, done) = mpsc::channel();
    let write = move || {
        let _nobody_waits_any_more = sender.send(store::keep_time(&folder, latest));
    };
    let started = thread::Builder::new().name("keep-time".to_owned()).spawn(write);
    started.map_err(|error| format!("no thread can be had: {error}"))?;
    done.recv_timeout(DISK).unwrap_or_else(|_| Err("the disk of the mark has not answered".to_owned()))
}

/// The store of the config, where there is one.
fn open_store(args: &Args) -> Result<Option<Store>> {
    if args.pin_path.is_some() && args.config.is_none() {
        anyhow::bail!("--pin-path does not name the store; --config beside it does");
    }
    let target = Target { config: args.config.clone(), socket: None };
    let state = target.state_directory()?;
    if !state.join(store::FILE).exists() {
        return Ok(None);
    }
    Ok(Some(Store::open(&state)?))
}

/// Whether a daemon with another pin path works with the store, and nothing is to be kept but the record.
fn is_anothers(args: &Args, error: &anyhow::Error, held: &Result<BTreeSet<u16>, KernelError>) -> bool {
    let is_held = matches!(error.downcast_ref::<StoreError>(), Some(StoreError::Held { .. }));
    args.pin_path.is_some() && is_held && held.as_ref().is_ok_and(BTreeSet::is_empty)
}

/// Leaves what the totals came to for the event log of the next run.
fn leave_totals(args: &Args, view: &View) -> Result<()> {
    let target = Target { config: args.config.clone(), socket: None };
    Ok(told::leave(&target.state_directory()?, &telemetry::counters_of(view), &telemetry::totals_of(view)?)?)
}

/// Has the store keep what was counted since the daemon ended: the counters are gone with the maps.
fn keep_counts(store: &mut Store, view: &View, now: Timestamp) -> Result<()> {
    let mut counts = Vec::new();
    for slot in store.kept().slots_in_use() {
        let used = view.exemption_use(slot)?;
        counts.push((slot, Use { bytes: used.bytes, packets: used.packets }));
    }
    store.counters_end(&counts, now)?;
    store.take_over_files()?;
    let judged = store.pin_counts()?.judged(&view.counters()?);
    store.record_counts(&judged, now)?;
    Ok(())
}

/// Has the store keep orders of which only the marks in the kernel are left, which are gone with it. What it can't
/// write is among its unsaved ones.
fn keep_orders(store: &mut Store, held: &BTreeSet<u16>, who: &Who, now: Timestamp) {
    for slot in held {
        let kept = store.kept();
        let open = kept.by_slot(*slot).and_then(|document| kept.open_version_of(document));
        if let Some((id, _)) = open {
            let _told_at_the_end = store.change(&store::Target::Id(id), &Change::of_mark(now), who, now);
        }
    }
}
