//! The worker that owns the store. A disk may take its time: nobody waits for it who has not to.

use std::io;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::mpsc::UnboundedSender;
use tracing::{error, warn};

use losses::Losses;

use super::approvals::Moment;
use super::last_database::Keeper;
use super::queue::{Receiver, Urgency};
use super::reads::{Answer, Read};
use super::{approvals, lifts, reads, trail, unattributed, worker};
use crate::approval;
use crate::compile::Places;
use crate::config::Errors;
use crate::config::policy::Policy;
use crate::control::protocol::ErrorKind;
use crate::daemon::engine::{
    self, Input, LoadJob, LoadedExemption, RefusedLoad, StoreId, StoreJob, StoreOutcome, Surroundings, daemon,
};
use crate::exemption::Clocks;
use crate::health::{Problem, ProblemCode};
use crate::hostname::hostname;
use crate::store::last_policy::{self, LastPolicy};
use crate::store::{self, Asked, FILE, LoadError, Marks, Progress, Store, StoreError, Submission};

/// Why a store is given up.
const BROKEN: &str = "reading or writing it ended in an error that nothing was prepared for";

/// How long an operation may take without a word about it.
const SLOW: Duration = Duration::from_secs(1);

/// Jobs of the store.
type Jobs = Receiver<(StoreId, StoreJob)>;
/// The way to the thread that reads what takes long.
type Reader = worker::Worker<Beside>;

/// What takes long to read.
enum Beside {
    /// For an answer.
    Answer(StoreId, Box<Read>),
    /// Whether the audit trail is whole.
    Verify(Box<store::Reader>),
}

/// The way to the worker.
pub(super) struct Worker(worker::Worker<(StoreId, StoreJob)>);

impl Worker {
    /// Starts it. A store that could not be opened is tried again: where it is, and whether the kernel's counters
    /// began with this daemon. The keeper of the geo database looks at its file when the store's place is looked at.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub(super) fn start(
        store: Store,
        at: StoreAt,
        keeper: Keeper,
        inputs: UnboundedSender<Input>,
    ) -> io::Result<Self> {
        // What takes long to read is read beside: a change does not wait for a report.
        let answers = inputs.clone();
        let place = at.state.clone();
        let reader = Reader::start("reader", move |jobs| read(&jobs, &place, &answers))?;
        let work = move |jobs: Jobs| work(store, &at, (&jobs, &reader), (&inputs, &keeper));
        worker::Worker::start("store", work).map(Self)
    }

    pub(super) fn put(&self, id: StoreId, job: StoreJob) {
        let urgency = if job.is_urgent() { Urgency::Urgent } else { Urgency::Ordinary };
        self.0.put((id, job), urgency);
    }

    pub(super) fn end(&mut self, deadline: Instant) {
        self.0.end(deadline);
    }
}

/// What work on the database comes to; `None` where its own code panicked, as it does on pages that are not what was
/// written.
fn unless_broken<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

pub(super) fn broken(state: &Path) -> StoreError {
    StoreError::Damaged { path: state.join(FILE), reason: BROKEN.to_owned() }
}

/// How a job is answered whose store is broken.
fn refusal_of(job: &StoreJob) -> fn(StoreError) -> StoreOutcome {
    match job {
        StoreJob::Load(_) => |error| StoreOutcome::Loaded(Err(LoadError::from(error).into())),
        StoreJob::Change { .. } | StoreJob::Lift(_) => |error| StoreOutcome::Changed(Err(error)),
        StoreJob::Tend { .. } => {
            |error| StoreOutcome::Tended { closed: Vec::new(), refused: vec![error.to_string()] }
        }
        StoreJob::ReadCounts => |error| StoreOutcome::WhoseCounts(Err(error.to_string())),
        StoreJob::Read(_) => |error| StoreOutcome::Answered(reads::failed(&error)),
        StoreJob::LookAtSigners(_) => |error| StoreOutcome::Signers(Err(error.to_string())),
        _ => |error| StoreOutcome::Saved(Err(error)),
    }
}

fn read(jobs: &Receiver<Beside>, state: &Path, inputs: &UnboundedSender<Input>) {
    while let Some(job) = jobs.take() {
        let input = match job {
            Beside::Answer(id, read) => {
                let response = unless_broken(|| read.answer());
                Input::Read { id, response: response.unwrap_or_else(|| reads::failed(&broken(state))) }
            }
            Beside::Verify(reader) => {
                let found = unless_broken(|| trail::verify(&reader));
                Input::Verified(found.unwrap_or_else(|| Err(broken(state).to_string())))
            }
        };
        if inputs.send(input).is_err() {
            return;
        }
    }
}

fn work(
    mut store: Store,
    at: &StoreAt,
    (jobs, reader): (&Jobs, &Reader),
    (inputs, keeper): (&UnboundedSender<Input>, &Keeper),
) {
    // Databases that were given up. Each is left as it is and not even closed: its lock keeps it from being opened again.
    let mut given_up = Vec::new();
    // Read now, before anybody loads.
    let _host = hostname();
    let state = at.state.as_path();
    let (mut mark_fault, mut verified) = (None, None::<Instant>);
    let mut losses = Losses::begin([state, &at.mark, &at.pin_path], inputs);
    while let Some((id, job)) = jobs.take() {
        let mut of_trail = None;
        let begin = Instant::now();
        let refusal = refusal_of(&job);
        let tells = losses::Tells::of(&job);
        let done = unless_broken(|| {
            if matches!(job, StoreJob::CheckPlace) {
                keeper.look();
                if verified.is_none_or(|at| at.elapsed() >= trail::PERIOD)
                    && let Ok(it) = store.reader()
                {
                    verified = Some(Instant::now());
                    reader.put(Beside::Verify(Box::new(it)), Urgency::Last);
                }
                if !store.kept().is_usable() {
                    of_trail = open_again(&mut store, at, given_up.is_empty(), inputs);
                }
            }
            match job {
                StoreJob::Read(job) => match reads::answer(&mut store, job, Timestamp::now()) {
                    Answer::Now(response) => Some(StoreOutcome::Answered(response)),
                    Answer::Beside(read) => {
                        reader.put(Beside::Answer(id, read), Urgency::Ordinary);
                        None
                    }
                },
                StoreJob::Load(job) => {
                    let places = |policy: &Policy| places(policy, keeper);
                    Some(StoreOutcome::Loaded(load(&mut store, job, Timestamp::now(), &places)))
                }
                job => Some(done(&mut store, job, Timestamp::now())),
            }
        });
        let outcome = match done {
            Some(Some(outcome)) => outcome,
            Some(None) => continue,
            None => {
                let error = broken(state);
                let before =
                    std::mem::replace(&mut store, Store::closed(state, &error).noting_in(at.marks().again()));
                store.take_orders_of(&before.kept());
                given_up.push(ManuallyDrop::new(before));
                let fault = Surroundings::Store(Some((&error).into()));
                let _nobody_is_left = inputs.send(Input::Surroundings(fault));
                refusal(error)
            }
        };
        losses.note(tells, &outcome, inputs);
        store.keep_marks();
        if store.mark_fault() != mark_fault {
            mark_fault = store.mark_fault();
            let fault = Surroundings::Mark(mark_fault.clone());
            let _nobody_is_left = inputs.send(Input::Surroundings(fault));
        }
        if begin.elapsed() > SLOW {
            warn!("the disk took {} ms for a change of the store", begin.elapsed().as_millis());
        }
        if inputs.send(Input::Stored { id, outcome, kept: store.kept() }).is_err() {
            break;
        }
        // After that, so that it is known by then which keys are revoked.
        if let Some(of_trail) = of_trail {
            let _nobody_is_left = inputs.send(Input::ConfigOfTrail(of_trail));
        }
    }
    store.keep_last_marks();
}

/// That this store was just begun, though the kernel has tables of an earlier daemon, which began with a record.
pub(super) fn is_begun_beside(store: &Store, generation: u64) -> Option<Problem> {
    if generation == 0 || !store.kept().is_usable() || store.last_audit_line().is_some() {
        return None;
    }
    let message = "the kernel has the tables of an earlier daemon, and there was no store: a new one was begun. \
                   Exemptions, stays, revocations and the audit trail from before are not in it";
    Some(Problem::new(ProblemCode::StoreMoved, message))
}

/// Where the store is.
#[derive(Clone, Debug)]
pub(super) struct StoreAt {
    /// Its folder.
    pub(super) state: PathBuf,
    /// The folder of the mark of how far it had come.
    pub(super) mark: PathBuf,
    /// Where the kernel's maps are pinned.
    pub(super) pin_path: PathBuf,
    /// Whether the kernel's counters began with this daemon.
    pub(super) is_anew: bool,
    /// Whether nothing but the store, where it could not be opened, can say that there was a daemon before: the kernel had no
    /// tables, and no config was kept.
    pub(super) may_be_first: bool,
}

impl StoreAt {
    pub(super) fn marks(&self) -> Marks {
        Marks::new(self.mark.clone(), Some(in_kernel::keeper(&self.pin_path)))
    }
}

/// Opens the store, ready for what the kernel counts from now on, and holds it against the mark of how far it had come.
///
/// # Errors
/// As [`Store::open`], and where the disk refuses.
pub(super) fn open(at: &StoreAt) -> Result<(Store, Option<Problem>), StoreError> {
    open_by(at, at.marks())
}

/// Likewise, by these marks of it.
fn open_by(at: &StoreAt, marks: Marks) -> Result<(Store, Option<Problem>), StoreError> {
    let mut store = Store::open(&at.state)?;
    let older = store.mark_by(marks, &daemon(None), Timestamp::now())?;
    make_ready(&mut store, at.is_anew)?;
    let problem = older.map(|older| {
        error!("{older}");
        Problem::new(ProblemCode::StoreOlder, older.to_string())
    });
    Ok((store, problem))
}

/// Before its first generation the kernel has counted nothing, also where a start that was cut short has left its
/// maps; nor has it for a store that could not be opened since then.
pub(in crate::daemon) fn make_ready(store: &mut Store, is_anew: bool) -> Result<(), StoreError> {
    if is_anew && store.kept().is_usable() {
        store.counters_began_anew(Timestamp::now())?;
    }
    if !is_anew {
        store.began_beside_tables()?;
    }
    store.grant()?;
    Ok(())
}

/// A database that could not be used is tried again: what it holds is open only when it was read.
/// Who holds it is another process only where this one has given none up. Returns the config that was in force before this
/// daemon, against which its own one was not held.
fn open_again(
    store: &mut Store,
    at: &StoreAt,
    is_held_by_others: bool,
    inputs: &UnboundedSender<Input>,
) -> Option<Result<Option<LastPolicy>, String>> {
    match open_by(at, store.noted(at.marks())) {
        Ok((opened, older)) if opened.kept().is_usable() => {
            // Nothing is written to it yet.
            let is_first = at.may_be_first && older.is_none() && opened.last_audit_line().is_none();
            let of_trail = opened.reader().and_then(|it| it.last_config()).map_err(|error| error.to_string());
            let before = std::mem::replace(store, opened);
            store.take_orders_of(&before.kept());
            if is_first {
                forget_unheld(&at.state);
                let _nobody_is_left = inputs.send(Input::FirstStart);
            }
            let _nobody_is_left = inputs.send(Input::Surroundings(Surroundings::Store(None)));
            let begun = is_begun_beside(store, u64::from(!at.is_anew));
            let found: Vec<Problem> = begun.into_iter().chain(older).collect();
            if !found.is_empty() {
                let _nobody_is_left = inputs.send(Input::Surroundings(Surroundings::Start(found)));
            }
            (!is_first).then_some(of_trail)
        }
        Ok(_) => None,
        Err(StoreError::Held { .. }) if !is_held_by_others => None,
        Err(error) => {
            let _nobody_is_left =
                inputs.send(Input::Surroundings(Surroundings::Store(Some((&error).into()))));
            None
        }
    }
}

/// What is kept of the config in force says that it was held against none, for the store could not be read then: there was
/// none.
fn forget_unheld(state: &Path) {
    let kept = last_policy::read(state).ok().flatten().filter(|kept| kept.unheld.is_some());
    if let Some(kept) = kept
        && let Err(error) = last_policy::write(state, &LastPolicy { unheld: None, ..kept })
    {
        warn!(
            "{} can't be written anew, so that the next start takes this one for held against none: {error}",
            last_policy::FILE
        );
    }
}

/// Does one job.
pub(in crate::daemon) fn done(store: &mut Store, job: StoreJob, now: Timestamp) -> StoreOutcome {
    match job {
        StoreJob::Load(job) => StoreOutcome::Loaded(load(store, job, now, &|_| None)),
        StoreJob::Change { target, change, who } => {
            StoreOutcome::Changed(store.change(&target, &change, &who, now))
        }
        StoreJob::Lift(job) => StoreOutcome::Changed(lifts::lift(store, *job, now)),
        StoreJob::Tend { counts, who, over_by } => {
            let mut refused = Vec::new();
            if let Err(error) = store.checkpoint_use(&counts, now) {
                refused.push(format!("what the exemptions have used can't be saved: {error}"));
            }
            let closed = store.close_what_is_over(&who, over_by, now).unwrap_or_else(|error| {
                refused.push(format!("an exemption is over, and that could not be kept: {error}"));
                Vec::new()
            });
            if let Err(error) = store.grant() {
                refused.push(format!("quotas can't be extended, and what is granted runs out: {error}"));
            }
            StoreOutcome::Tended { closed, refused }
        }
        StoreJob::SaveUses(counts) => StoreOutcome::Saved(store.checkpoint_use(&counts, now)),
        StoreJob::Compare { counts, who } => {
            StoreOutcome::Saved(unattributed::take_up(store, &counts, &who, now))
        }
        StoreJob::SlotsReset(slots) => StoreOutcome::Saved(store.slots_were_reset(&slots)),
        StoreJob::CountersEnd(counts) => StoreOutcome::Saved(store.counters_end(&counts, now)),
        StoreJob::Record(record) => StoreOutcome::Saved(store.audit(record)),
        StoreJob::RecordAll(records) => StoreOutcome::Saved(store.audit_all(records)),
        StoreJob::NoteConfig { record, text } => {
            store.note_config(&record, &text);
            StoreOutcome::Saved(Ok(()))
        }
        StoreJob::RecordConfig { record, text } => StoreOutcome::Saved(store.audit_config(record, &text)),
        StoreJob::SaveCounts { counts, judged, cursor } => {
            let progress =
                Progress { pin_counts: counts.as_deref(), judged: judged.as_ref(), cursor: cursor.as_ref() };
            StoreOutcome::Saved(store.save_progress(progress, now))
        }
        StoreJob::ReadCounts => {
            StoreOutcome::WhoseCounts(store.pin_counts().map_err(|error| error.to_string()))
        }
        StoreJob::Read(job) => StoreOutcome::Answered(reads::answer(store, job, now).read()),
        StoreJob::CheckPlace => StoreOutcome::Saved(store.restore_place()),
        StoreJob::LookAtSigners(file) => {
            let read = approval::load::load(&file, &TimeZone::system());
            StoreOutcome::Signers(read.map_err(|error| error.to_string()))
        }
    }
}

/// How long a load waits for the disk that has the last geo database.
const DATABASE: Duration = Duration::from_secs(2);

/// Where this policy and the database in force place addresses; `None` where that can't be told: the kernel holds each
/// packet against it all the same.
fn places(policy: &Policy, keeper: &Keeper) -> Option<Places> {
    match keeper.last(DATABASE) {
        Ok(database) => Some(Places::new(policy, &database?)),
        Err(error) => {
            warn!("where the networks of recipients are placed is not looked at: {error}");
            None
        }
    }
}

/// Admits a document, looks whether its recipients are where it says and whether the tables have room for it, and keeps
/// it.
fn load(
    store: &mut Store,
    job: LoadJob,
    now: Timestamp,
    places: &dyn Fn(&Policy) -> Option<Places>,
) -> Result<Box<LoadedExemption>, RefusedLoad> {
    let LoadJob { name, bytes, signatures, who, dry_run, mut basis, policy, law, latest } = job;
    let law = law.map_err(|why| RefusedLoad {
        kind: ErrorKind::BadInput,
        message: format!("no exemption can be loaded: {why}"),
        codes: vec!["law-pack"],
    })?;
    let (pins, homes) = (policy.pin_names(), policy.homes());
    let kept = store.kept();
    let approve =
        approvals::approver(&kept, &policy, &bytes, &signatures, &who, Moment { wall: now, latest });
    let submission = Submission {
        name: Path::new(&name),
        bytes: &bytes,
        signatures: &signatures,
        pins: &pins,
        homes: &homes,
        law: &law,
        widest: policy.approval.as_ref().map(|approvals| approvals.widest).unwrap_or_default(),
        approve: &approve,
    };
    // What ended by the latest time that is known has ended, whatever the wall clock says.
    let admission = kept.admit(&submission, now.max(latest)).map_err(|error| behind(error, now, latest))?;
    let required = match &policy.approval {
        Some(approvals) => {
            let due = admission.document().due(approvals);
            let due = due.map_err(|error| LoadError::Approval(approval::NotApproved::from(error).into()))?;
            Some(due.iter().map(|it| (it.role.to_owned(), it.count)).collect())
        }
        None => None,
    };
    let admission = admission.by(Asked { config_sha256: store::sha256(&policy.text), required });
    if admission.document().recipients.iter().any(|it| !it.networks.is_empty() && !it.anywhere) {
        let errors = places(&policy).map(|places| places.errors(admission.document())).unwrap_or_default();
        if !errors.is_empty() {
            return Err(LoadError::Document(Errors { file: name.into(), errors }).into());
        }
    }
    let clocks = Clocks::read();
    basis.exemptions = kept.kernel_exemptions_with(&admission, &clocks, &pins);
    store::end_by(&mut basis.exemptions, &clocks, latest);
    basis.exemptions.sort_by_key(|exemption| exemption.slot);
    let compiled = basis.compile(&policy, 0).map_err(|error| RefusedLoad {
        kind: ErrorKind::BadInput,
        message: error.to_string(),
        codes: vec!["no-room"],
    })?;
    if dry_run {
        return Ok(Box::new(LoadedExemption { admission, compiled: None }));
    }
    store.load_admitted(&admission, &who, now).map_err(LoadError::from)?;
    Ok(Box::new(LoadedExemption { admission, compiled: Some((basis, compiled)) }))
}

/// Why a document is refused, with why the time that it was held against is not that of the wall clock.
fn behind(error: LoadError, now: Timestamp, latest: Timestamp) -> RefusedLoad {
    let mut refused = RefusedLoad::from(error);
    if refused.codes.contains(&"expired") && latest > now {
        refused.message += &format!(
            "\nthe wall clock is behind: it is {now:.0}, and windows are held against the latest time that is known, {latest:.0}"
        );
    }
    refused
}

impl From<LoadError> for RefusedLoad {
    fn from(error: LoadError) -> Self {
        let (kind, codes) = match &error {
            LoadError::Document(errors) => {
                (ErrorKind::BadInput, errors.errors.iter().map(|error| error.kind.code()).collect())
            }
            LoadError::DocumentAndOrder { errors, held } => {
                let codes = errors.errors.iter().map(|error| error.kind.code());
                (ErrorKind::BadInput, codes.chain(held.code()).collect())
            }
            LoadError::Approval(error) => (ErrorKind::BadInput, vec![error.code()]),
            LoadError::Store(error) => (engine::kind_of(error), vec![error.code().unwrap_or("store")]),
        };
        Self { kind, message: error.to_string(), codes }
    }
}

mod in_kernel;
mod losses;
#[cfg(test)]
mod tests;
