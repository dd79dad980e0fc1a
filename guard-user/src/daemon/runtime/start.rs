//! The start: what is in the kernel goes on throughout, and what can't be had is told and tried again, not a reason
//! to guard nothing.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use tokio::sync::mpsc::{self, UnboundedSender};
use tracing::{error, info, warn};

use super::databases::Databases;
use super::dropped::Dropped;
use super::first_tables;
use super::gate::{self, AtStart, Given};
use super::instead::OfStart;
use super::kept_config::ConfigKeeper;
use super::last_database::Keeper;
use super::loader::{self, Options, Reading};
use super::naming::Naming;
use super::patience::{NoOutcome, disk, within};
use super::sampler::Sources;
use super::shadow::Shadows;
use super::store::StoreAt;
use super::unpublished::Unpublished;
use super::untagged::Watch;
use super::{canaries, counts, flow_records, kernel, namespaces, notices, sampler, sockets, store};
use crate::audit::{Kind, NOT_FOUND, Stored};
use crate::canary::Sent;
use crate::config::policy::{InterfacePattern, Log, State};
use crate::config::{self, Checked};
use crate::control::server::{Message, Setup};
use crate::control::users::{Host, Names};
use crate::daemon::engine::{self, Action, Begin, Engine, Held, Input, Prepared, StoreFault, Surroundings};
use crate::events::budget::Limits;
use crate::events::history::History;
use crate::events::log::EventLog;
use crate::events::log_past::{Earlier, LogPast};
use crate::events::names::SharedNames;
use crate::exemption::Clocks;
use crate::exemption::clock::boot_id;
use crate::health::{Problem, ProblemCode};
use crate::history;
use crate::history::untagged::Pending;
use crate::kernel::{Calls, Kernel, KernelError, LinuxKernel, ObservedInterface, View};
use crate::metrics::server as metrics;
use crate::store::last_policy;
use crate::store::{Cursor, FILE, PinCounts, Store, StoreError};
use crate::telemetry::{self, counters_of, diagnostics};

/// How long the start waits for the name of the daemon's own user.
const OWN_NAME: Duration = Duration::from_millis(200);
/// Requests that wait for the daemon.
const REQUESTS: usize = 16;

/// Why the daemon can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The config or a database can't be used, and there are no tables to guard with instead.
    #[error("{0}")]
    Input(String),
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// What the loop works with.
pub(super) struct Parts {
    pub(super) options: Options,
    pub(super) inputs: UnboundedSender<Input>,
    pub(super) reading: Reading,
    pub(super) kernel: kernel::Worker,
    pub(super) store: store::Worker,
    pub(super) sampler: sampler::Worker,
    /// Ends with this, and has its last words then.
    pub(super) telemetry: Arc<telemetry::Worker>,
    pub(super) past: Arc<history::Worker>,
    pub(super) sockets: sockets::Worker,
    pub(super) naming: Naming,
    /// The names that events are told by.
    pub(super) names: SharedNames,
    pub(super) notices: notices::Worker,
    pub(super) canaries: canaries::Worker,
    pub(super) shadows: Shadows,
}

/// A daemon that is about to run.
pub(super) struct Started {
    pub(super) engine: Engine,
    pub(super) actions: Vec<Action>,
    pub(super) parts: Parts,
    pub(super) control: Setup,
    /// Where the config wants metrics.
    pub(super) metrics: Option<metrics::Setup>,
    pub(super) requests: mpsc::Receiver<Message>,
}

/// Opens everything and begins. Must be called inside a tokio runtime.
///
/// # Errors
/// Where nothing can be guarded by this process; the message says whether the kernel guards without it.
pub(super) async fn start(
    options: Options,
    config: OfStart,
    inputs: UnboundedSender<Input>,
) -> Result<Started> {
    let pin_path = config.checked.policy.state.pin_path.clone();
    try_to_start(options, config, inputs).await.with_context(|| what_goes_on(&pin_path))
}

/// What is guarded without this process, for the message of one that can't start.
#[must_use]
pub fn what_goes_on(pin_path: &Path) -> String {
    let hooks = |view: &View| Ok(view.interfaces()?.iter().map(|it| it.attachments.len()).sum::<usize>());
    let found = View::open(pin_path).and_then(|view| Ok((view.live_generation()?, hooks(&view)?)));
    match found {
        Ok((generation @ 1.., hooks @ 1..)) => {
            let hooks = if hooks == 1 { "1 hook".to_owned() } else { format!("{hooks} hooks") };
            format!("the daemon can't start. The kernel goes on by generation {generation} at {hooks}")
        }
        Ok(_) => "the daemon can't start, and NOTHING is guarded".to_owned(),
        Err(_) if pin_path.try_exists().is_ok_and(|is_there| !is_there) => {
            format!(
                "the daemon can't start, and NOTHING is guarded: there is nothing at {}",
                pin_path.display()
            )
        }
        // What can't be looked at may guard all the same.
        Err(error) => format!("the daemon can't start, and whether the kernel guards can't be seen: {error}"),
    }
}

async fn try_to_start(options: Options, config: OfStart, inputs: UnboundedSender<Input>) -> Result<Started> {
    let OfStart { checked: Checked { mut policy, warnings }, refused } = config;
    loader::look_up(&mut policy).map_err(|failure| StartError::Input(failure.message))?;
    let State { directory: state, mark_directory: mark, pin_path } = policy.state.clone();
    // What a config has that comes by a reload alone counts from the next start on: the programs are much larger.
    let calls = if policy.sockets.refuse { Calls::Judged } else { Calls::Noted };
    let mut kernel = LinuxKernel::open_and(&pin_path, calls).map_err(StartError::Kernel)?;
    let adopted = kernel.adopted();
    if adopted {
        info!(generation = Kernel::generation(&kernel), "took over what is guarded already");
    }
    let is_anew = Kernel::generation(&kernel) == 0;
    let at = StoreAt { state: state.clone(), mark, pin_path: pin_path.clone(), is_anew, may_be_first: false };
    // Where this fails it goes last, after the store.
    let mut unpublished = Unpublished::default();
    let Opened { store, fault: store_problem, older, counts, cursor } = open_store(&at, adopted);
    unpublished.state = (is_anew && store.kept().is_usable()).then(|| state.clone());
    let keeper = Keeper::new(state.clone(), inputs.clone());
    let databases =
        Databases::new().context("cannot make what wakes the thread that watches geo databases")?;
    let configs = ConfigKeeper::new(state.clone(), inputs.clone());
    let reading = Reading { keeper: keeper.clone(), configs, databases };
    let last = || reading.keeper.last(disk()).ok().flatten();
    let read = || loader::whole(&policy.geo, &reading.databases).ok().or_else(last);
    let given = Given { file: &options.config, observe: options.observe, refused: refused.as_deref() };
    // A store that can't be opened now may have a past.
    let is_first = is_anew && store.kept().is_usable() && store.last_audit_line().is_none();
    let recorded = || {
        if !store.kept().is_usable() {
            return Err("the store can't be opened".to_owned());
        }
        if older.is_some() {
            return Err("an older store was put back, which does not have what was in force".to_owned());
        }
        store.reader().and_then(|reader| reader.last_config()).map_err(|error| error.to_string())
    };
    // Before the one that was given takes its place.
    let named_before = named_before(&state, &store);
    let guarded_until = guarded_until(&store);
    let before = first_tables::of_databases(&store, &keeper, (is_first, older.is_some()));
    let spent = store.kept().spent_signatures();
    let (policy, held_config) = match gate::at_start(
        (&reading.configs, disk()),
        (recorded, is_first),
        (given, &spent),
        &policy,
        (read, before.known()),
    ) {
        Ok(AtStart::Given(held)) => (policy, held),
        Ok(AtStart::InForce(in_force, held)) => (*in_force, held),
        Err(failure) => return Err(StartError::Input(failure.message).into()),
    };
    // An older store, and one that was lost, does not say what was in force: that means nothing where nobody is asked.
    let knows_none = store.kept().is_usable() && (older.is_some() || store.last_audit_line().is_none());
    let is_asked = !held_config.none_kept || gate::asks(&policy).is_some();
    let unheld = held_config.unheld.clone().filter(|_| is_asked || !knows_none);
    let held_config = Held { unheld, ..held_config };
    let at = StoreAt { may_be_first: is_anew && held_config.none_kept, ..at };
    let of_config = held_config.refused.clone().map(|why| Problem::new(ProblemCode::ConfigRefused, why));
    if let Some(problem) = &of_config {
        error!("{problem}");
    }
    if let Some(why) = &held_config.unheld {
        error!("{}", Problem::new(ProblemCode::ConfigUnheld, why));
    }
    let generation = Kernel::generation(&kernel);
    let (mut prepared, database_problem) =
        first_tables::prepare(policy, generation, (&reading, before), &spent).map_err(StartError::Input)?;
    prepared.held.signed.extend(held_config.signed);
    let Held { signed, tables_unheld, .. } = prepared.held;
    let held = Held { signed, tables_unheld, ..held_config };
    let prepared = Prepared { warnings, held, ..prepared };
    let names = SharedNames::default();
    if let Some(counts) = &counts {
        let config = options.config.to_string_lossy();
        let left = counts::names_left(counts, &store.kept(), generation, &config);
        left.into_iter().for_each(|it| names.add(it));
    }
    let held = Kernel::held(&mut kernel).map_err(StartError::Kernel)?;
    let volume_slots = Kernel::volume_slots(&mut kernel).map_err(StartError::Kernel)?;
    let users = Names::start(Host).context("cannot start the thread that looks up names")?;
    let uid = rustix::process::geteuid().as_raw();
    let view = View::open(&pin_path).map_err(StartError::Kernel)?;
    let begin = Begin {
        config_file: options.config.clone(),
        kept: store.kept(),
        counts,
        generation: Kernel::generation(&kernel),
        refused_bypass: view.refuses_bypass().map_err(StartError::Kernel)?,
        held,
        ended: Kernel::ended(&mut kernel, Clocks::read().boot_ns).map_err(StartError::Kernel)?,
        volume_slots,
        daemon: engine::daemon(users.name_of(uid, OWN_NAME).await),
        named_before,
        guarded_until,
        left_unconfirmed: store.reader().and_then(|reader| reader.unconfirmed()).ok().flatten(),
        latest: store.kept().latest(),
        prepared,
    };
    let control = begin.prepared.policy.control.clone();
    let looks = begin.prepared.policy.log.clone();
    let (counters, lost) = (counters_of(&view), view.lost().ok());
    // Nothing is attached yet: a disk that does not answer holds no guard up.
    let place = state.clone();
    let past = within(disk(), "read-event-log", move || LogPast::read(&place, &counters, lost));
    let mut past = past.unwrap_or_else(|error| {
        warn!("what the event log has told so far is not known, so that a `difference` may tell it again: {error}");
        LogPast::unknown()
    });
    let boot = boot_id().ok();
    let of_cursor = boot.as_ref().zip(cursor.as_ref());
    let earlier =
        past.earlier(of_cursor.and_then(|(boot, it)| it.reported_until(boot, Clocks::read().boot_ns)));
    let log = EventLog::start(&looks.to, past).context("cannot start the event log")?;
    let (listen, session) = (begin.prepared.policy.metrics.clone(), log.session());
    let is_of_this_boot = of_cursor.is_some_and(|(boot, cursor)| *boot == cursor.boot);
    let mut gone: Vec<Problem> =
        store::is_begun_beside(&store, generation).into_iter().chain(older).chain(of_config).collect();
    if let Some(last_seen) =
        guarded_until.filter(|until| !adopted && was_guard_lost(&store, is_of_this_boot, *until))
    {
        let guards = |it: &ObservedInterface| begin.prepared.policy.guards(&it.interface.name);
        if let Some(problem) = guard_that_was_lost(&mut kernel, last_seen, guards) {
            gone.push(problem);
            let detail = serde_json::json!({"last_seen": last_seen.to_string()});
            let of_guard = (Kind::Detach, &begin.daemon);
            let record = engine::record_of(Clocks::read().wall, of_guard, "", NOT_FOUND, detail);
            let _the_loop_reads_it = inputs.send(Input::Record(record));
        }
    }
    let history = Arc::new(History::default());
    // Before the first event, which may be of the time without a daemon.
    let settings = engine::history_settings(&begin.prepared.policy, &begin.kept, Clocks::read().wall);
    let past = history::Worker::start(settings, session);
    let past = Arc::new(past.context("cannot start the thread that writes the flow history")?);
    let canaries = Sent::default();
    let watch = Watch::start(&state, &pin_path, (names.clone(), users.clone()), session);
    let watch = watch.map_err(StartError::Kernel)?;
    let sources = report_events(
        &mut kernel,
        &pin_path,
        (names.clone(), users.clone(), Arc::clone(&history), Arc::clone(&past)),
        (log, looks, (canaries.clone(), earlier)),
        watch,
    )?;
    let private = crate::kernel::is_private(&pin_path);
    let (engine, actions) = Engine::new(begin, Clocks::read());
    for problem in [
        Surroundings::Store(store_problem),
        Surroundings::LastDatabase(database_problem),
        Surroundings::Start(gone),
        Surroundings::Pins(
            private.then(|| format!("the host's first process does not see {}", pin_path.display())),
        ),
    ] {
        let _the_loop_reads_it = inputs.send(Input::Surroundings(problem));
    }
    let (sender, requests) = mpsc::channel(REQUESTS);
    let metrics = listen.map(|listen| metrics::Setup {
        listen,
        groups: control.groups.clone(),
        names: users.clone(),
        requests: sender.clone(),
        start: Clocks::read().wall,
        slow_turns: Arc::default(),
    });
    let control = Setup {
        path: control.socket,
        groups: control.groups,
        names: users,
        history,
        past: Some(Arc::clone(&sources.past)),
        flows: Some(flow_records::source(pin_path.clone(), names.clone(), sources.users.clone(), session)),
        untagged: Some({
            let untagged = Arc::clone(&sources.untagged);
            Pending::new(move || untagged.pending())
        }),
        requests: sender,
    };
    reading.databases.start(inputs.clone()).context("cannot start the thread that watches geo databases")?;
    namespaces::start(inputs.clone()).context("cannot start the thread that looks at network namespaces")?;
    let shadows = Shadows {
        names: names.clone(),
        users: sources.users.clone(),
        session,
        observe: options.observe,
        inputs: inputs.clone(),
    };
    let parts = Parts {
        shadows,
        telemetry: Arc::clone(&sources.telemetry),
        past: Arc::clone(&sources.past),
        sampler: sampler::Worker::start(View::open(&pin_path)?, sources, inputs.clone())?,
        names: names.clone(),
        naming: Naming::over(View::open(&pin_path)?, inputs.clone()),
        sockets: sockets::Worker::start(View::open(&pin_path)?, inputs.clone())?,
        notices: notices::Worker::start(inputs.clone())?,
        canaries: canaries::Worker::start(View::open(&pin_path)?, canaries, inputs.clone())?,
        kernel: kernel::Worker::start(Box::new(kernel), names, inputs.clone())?,
        store: store::Worker::start(store, at, keeper, inputs.clone())?,
        options,
        inputs,
        reading,
    };
    // From here on something may be published.
    unpublished.state = None;
    Ok(Started { engine, actions, parts, control, metrics, requests })
}

/// The interfaces that the config in force until now names, as far as the disk says so in time.
fn named_before(state: &Path, store: &Store) -> Option<Vec<InterfacePattern>> {
    let place = state.to_owned();
    let kept = within(disk(), "read-last-policy", move || last_policy::read(&place)).ok();
    let recorded = || store.reader().and_then(|reader| reader.last_config()).ok().flatten();
    // None is kept of one that asks for no signatures.
    let kept = kept.and_then(Result::ok).flatten().or_else(recorded)?;
    let last = config::parse(Path::new(last_policy::FILE), &kept.bytes, &config::Surroundings::new(None));
    last.ok().map(|last| last.policy.host.interfaces)
}

/// When the guard before this start was last known to be at work, as the store has it.
fn guarded_until(store: &Store) -> Option<Timestamp> {
    let last = Stored::read(store.last_audit_line()?.as_bytes()).ok()?.time;
    Some(store.kept().counted_before().map_or(last, |counted| counted.max(last)))
}

/// Starts the worker that reports events.
fn report_events(
    kernel: &mut LinuxKernel,
    pin_path: &Path,
    (names, users, history, past): (SharedNames, Names, Arc<History>, Arc<history::Worker>),
    (log, looks, (canaries, earlier)): (EventLog, Log, (Sent, Earlier)),
    untagged: Arc<Watch>,
) -> Result<Sources> {
    let (boot, condition) = (boot_id().ok(), log.condition());
    let cursor = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&cursor);
    let parts = telemetry::Parts {
        events: Box::new(kernel.events()?),
        records: Box::new(View::open(pin_path)?),
        names,
        users: {
            let users = users.clone();
            Box::new(move |uid| users.known(uid))
        },
        history: Arc::clone(&history),
        past: Some(Arc::clone(&past)),
        log,
        looks,
        limits: Limits::default(),
        keep: Box::new(move |swept_ns| {
            // The store is another worker's: the next sample takes it there.
            let now = boot.clone().map(|boot| Cursor { boot, swept_ns });
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = now;
        }),
        flow: {
            let dropped = Dropped::start(View::open(pin_path)?, Kernel::generation(kernel));
            let dropped = dropped.context("cannot start the thread that closes sockets")?;
            Box::new(move |key, record| dropped.seen(key, record))
        },
        canaries,
        earlier,
        diagnostics_lost: Box::new(diagnostics::lost),
    };
    let telemetry = telemetry::Worker::start(parts).context("cannot start the thread that reports events")?;
    Ok(Sources { telemetry: Arc::new(telemetry), history, past, untagged, users, log: condition, cursor })
}

/// Whether a daemon was at work since the host's boot, and nobody detached it by the audit trail. Where it left of which boot its
/// flow records are, that says it whatever the wall clock says.
fn was_guard_lost(store: &Store, is_of_this_boot: bool, until: Timestamp) -> bool {
    let Clocks { wall, boot_ns } = Clocks::read();
    let booted = wall.checked_sub(Duration::from_nanos(boot_ns));
    let is_since_boot = is_of_this_boot || booted.is_ok_and(|boot| until >= boot);
    let last = store.last_audit_line().and_then(|line| Stored::read(line.as_bytes()).ok());
    let is_detachment =
        |it: &Stored| it.kind == Kind::Detach.name() && it.subject.is_empty() && it.why != NOT_FOUND;
    is_since_boot && last.is_some_and(|last| !is_detachment(&last))
}

/// That nothing of a guard is in the kernel that was at work at that time.
fn guard_that_was_lost(
    kernel: &mut LinuxKernel,
    last_seen: Timestamp,
    guards: impl Fn(&ObservedInterface) -> bool,
) -> Option<Problem> {
    // After a change of the pin path the one before it still guards.
    let has_others = |it: &ObservedInterface| guards(it) && !it.other_guards.is_empty();
    if kernel.observe().is_ok_and(|observed| observed.interfaces.iter().any(has_others)) {
        return None;
    }
    let message = format!(
        "at this start nothing was guarded, though a daemon was at work since the host's boot (it is last known of \
         {last_seen:.0}) and the audit trail has nobody who detached it: what left in between was not judged"
    );
    Some(Problem::new(ProblemCode::AttachmentLost, message))
}

/// The store, and what the start needs of it.
struct Opened {
    store: Store,
    fault: Option<StoreFault>,
    /// That it is an older one.
    older: Option<Problem>,
    /// Whose counts the kernel's are; `None` where that is to be read yet.
    counts: Option<PinCounts>,
    cursor: Option<Cursor>,
}

/// Opens the store, but waits no longer for the disk than [`disk`]: nothing is guarded by this process before. A thread
/// that the disk holds up ends by itself.
fn open_store(at: &StoreAt, adopted: bool) -> Opened {
    let (place, state) = (at.clone(), at.state.as_path());
    let error = match within(disk(), "open-store", move || open_store_now(&place, adopted)) {
        Ok(opened) => return opened,
        Err(NoOutcome::Broken) => return without_store(at, &store::broken(state)),
        Err(NoOutcome::NoThread(error)) => error,
        Err(late) => std::io::Error::new(std::io::ErrorKind::TimedOut, late.to_string()),
    };
    let error = StoreError::Disk { path: state.join(FILE), step: "opening it", source: error };
    without_store(at, &error)
}

fn open_store_now(at: &StoreAt, adopted: bool) -> Opened {
    let (mut store, older) = match store::open(at) {
        Ok(opened) => opened,
        Err(error) => return without_store(at, &error),
    };
    for problem in store.kept().problems() {
        error!("an exemption can't be used and is closed: {problem}");
    }
    if let Err(error) = store.take_over_files() {
        warn!("counts of an earlier release can't be taken over yet: {error}");
    }
    let counts = Some(pin_counts(&store, adopted));
    let cursor = store.cursor().unwrap_or_else(|error| {
        warn!("after this start some flows may be reported twice: {error}");
        None
    });
    Opened { store, fault: None, older, counts, cursor }
}

/// A store that holds nothing, so that every exemption is closed.
fn without_store(at: &StoreAt, error: &StoreError) -> Opened {
    error!("the store can't be used, so every exemption is closed: {error}");
    Opened {
        store: Store::closed(&at.state, error).noting_in(at.marks()),
        fault: Some(error.into()),
        older: None,
        counts: None,
        cursor: None,
    }
}

/// Which pins the kernel's counts are of.
fn pin_counts(store: &Store, adopted: bool) -> PinCounts {
    if !adopted {
        return PinCounts::default();
    }
    store.pin_counts().unwrap_or_else(|error| {
        warn!("which pins the counts so far are of is not known, and they are shown under the present ones: {error}");
        PinCounts::default()
    })
}
