//! Reading config and databases and making tables of them: beside the loop, for it may take seconds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::chosen::{Before, Chosen, choose};
use super::databases::{Databases, Identities, identities};
use super::gate::{Candidate, InForce, OfFile, asks};
use super::kept_config::{CLOSES, ConfigKeeper, OPENS};
use super::last_database::Keeper;
use super::patience::{disk, within};
use super::{facts, memory, own_file};
use crate::compile;
use crate::config::policy::{self, Policy};
use crate::config::{self, Checked};
use crate::control::protocol::ErrorKind;
use crate::daemon::engine::{Geo, Held, Input, LoadFailure, LoadOf, Prepared, SignedFile, Ticket, Waits};
use crate::exemption::LawPack;
use crate::geo::{GeoDb, Info};
use crate::inputs::{self, InputError};
use crate::kernel::{Mounts, senders};
use crate::openings::Openings;
use crate::store::last_policy::LastPolicy;
use crate::store::{KnownSpent, sha256};

/// What the daemon is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The config file, as an absolute path.
    pub config: PathBuf,
    /// Whether every action counts as `observe`, whatever the config says.
    pub observe: bool,
}

/// What is needed to read databases.
#[derive(Clone)]
pub(super) struct Reading {
    /// Who has the last good ones.
    pub(super) keeper: Keeper,
    /// Who has the config that the next is held against.
    pub(super) configs: ConfigKeeper,
    /// Who watches their files.
    pub(super) databases: Databases,
}

/// What a config is held against.
pub(super) struct Against {
    /// The config that is live.
    pub(super) live: LastPolicy,
    /// What signs nothing any more.
    pub(super) spent: KnownSpent,
    /// The one before it, where the live one is to be held against that.
    pub(super) of_trail: Option<LastPolicy>,
    /// Which config is to be read.
    pub(super) of: LoadOf,
}

/// How long a reload waits for the disk that has the last database.
const PATIENCE: Duration = Duration::from_secs(10);
/// Tries to read files that somebody writes.
const TRIES: u32 = 5;
/// The time between two of them.
const BETWEEN: Duration = Duration::from_millis(500);

/// Reads both again in a thread of its own, and hands over what came of it.
pub(super) fn load(options: &Options, reading: &Reading, against: Against, inputs: &UnboundedSender<Input>) {
    let (options, reading) = (options.clone(), reading.clone());
    let Against { live, spent, of_trail, of } = against;
    let told = match of {
        LoadOf::Plan(ticket) => Told::Planned(ticket),
        _ => Told::Loaded,
    };
    in_a_thread(inputs, told, move || match (of_trail, of) {
        (Some(last), LoadOf::File) => hold(&options.config, &reading, (live, last), &spent),
        (_, of) => read((&options.config, options.observe), &reading, (live, &spent), &of),
    });
}

/// Likewise the databases of this policy alone.
pub(super) fn load_databases(
    policy: Arc<Policy>,
    yes: (bool, KnownSpent),
    reading: &Reading,
    inputs: &UnboundedSender<Input>,
) {
    let reading = reading.clone();
    in_a_thread(inputs, Told::Loaded, move || read_databases((*policy).clone(), (yes.0, &yes.1), &reading));
}

/// For what something is read.
#[derive(Clone, Copy)]
enum Told {
    /// To be made live.
    Loaded,
    /// To say what a reload would do.
    Planned(Ticket),
}

impl Told {
    fn input(self, result: Result<Box<Prepared>, LoadFailure>) -> Input {
        match self {
            Self::Loaded => Input::Loaded(result),
            Self::Planned(ticket) => Input::Planned(ticket, result),
        }
    }
}

fn in_a_thread(
    inputs: &UnboundedSender<Input>,
    told: Told,
    work: impl FnOnce() -> Result<Prepared, LoadFailure> + Send + 'static,
) {
    let answer = inputs.clone();
    let started = std::thread::Builder::new().name("loader".to_owned()).spawn(move || {
        let result = work().map(Box::new);
        memory::trim();
        let _nobody_is_left = answer.send(told.input(result));
    });
    if let Err(error) = started {
        let message = format!("no thread can be had to read the config in: {error}");
        let failure = LoadFailure { kind: ErrorKind::Failed, message };
        let _nobody_is_left = inputs.send(told.input(Err(failure)));
    }
}

fn read(
    (file, observe): (&Path, bool),
    reading: &Reading,
    (live, spent): (LastPolicy, &KnownSpent),
    of: &LoadOf,
) -> Result<Prepared, LoadFailure> {
    let (candidate, source) = match of {
        LoadOf::File | LoadOf::Plan(_) => (Candidate::read(file, observe)?, OfFile::from(file)),
        LoadOf::Candidate(it, _) | LoadOf::Confirmed(it, _) => {
            let source = OfFile { file: &it.name, signatures: Some(&it.signatures) };
            (Candidate::of(&it.name, it.bytes.clone(), observe)?, source)
        }
    };
    if let LoadOf::Candidate(it, _) = of {
        own_file::has(file, &live.bytes, it)?;
    }
    let Checked { mut policy, warnings } = candidate.checked.clone();
    look_up(&mut policy)?;
    let read = match of {
        LoadOf::File | LoadOf::Confirmed(..) => whole(&policy.geo, &reading.databases)?,
        // Those on the disk are still to be taken where this is not live any more.
        LoadOf::Plan(_) | LoadOf::Candidate(..) => unwatched(&policy.geo, &reading.databases)?.0,
    };
    let before = Before::of(&reading.keeper, PATIENCE);
    let known = before.known().cloned();
    let chosen = choose(&policy, read, before, (false, spent));
    let mut held = chosen.held();
    // One that is gone from the disk while the daemon runs, or was not kept there, is in force all the same.
    let kept = |patience| InForce::kept(reading.configs.read(patience), reading.configs.state());
    let live = InForce::any(live, "the live config")?;
    let kept = match kept(CLOSES)? {
        // What closes does not wait for the disk. What opens does.
        Err(_) => match live.opened_by((&candidate, &policy), &chosen.database, known.as_ref())? {
            Some(found) => Some(kept(OPENS)?.map_err(|why| not_known(source.file, &found, &why))?),
            None => None,
        },
        Ok(kept) => Some(kept),
    };
    let opens_nothing = kept.is_none();
    let kept = kept.flatten().filter(|it| !it.is(live.last()));
    // What is kept says nothing of whether this one was live: it may have been refused after it was kept.
    let is_asked = opens_nothing || live.asks();
    let to_record = match of {
        LoadOf::File | LoadOf::Candidate(..) if !is_asked => {
            unsigned(&live, source.file, (&candidate, &policy), (&chosen.database, known.as_ref()))
        }
        _ => None,
    };
    let live_to_keep = live.asks().then(|| live.last().clone());
    for in_force in kept.into_iter().chain(live.asks().then_some(live)) {
        let admitted = match opens_nothing {
            true => None,
            false => {
                in_force.admit((source, spent), (&candidate, &policy), &chosen.database, known.as_ref())?
            }
        };
        let is_new = |it: &SignedFile| !held.signed.iter().any(|other| other.sha256 == it.sha256);
        held.signed.extend(admitted.filter(is_new));
        held.unheld = held.unheld.or_else(|| candidate.still_unheld((source, spent), in_force.unheld()));
    }
    let anew = candidate.signed_anew(source, spent, &held.signed);
    held.signed.extend(anew);
    let to_keep = candidate.to_keep(held.unheld.clone(), policy.named_users());
    let mut prepared = tables(policy, &chosen)?;
    match of {
        LoadOf::Plan(_) => return Ok(Prepared { warnings, held, ..prepared }),
        LoadOf::Candidate(_, in_force) => {
            prepared.before = Some(Box::new(before_it((**in_force).clone(), known.as_ref())?));
            held.signed.extend(to_record);
            return Ok(Prepared { warnings, held, ..prepared });
        }
        LoadOf::Confirmed(it, in_force) => own_file::replace(file, &in_force.text, it)?,
        LoadOf::File => {}
    }
    if to_record.is_some() {
        // Kept before its record and never live, it would keep out what is live, and a start would go by it.
        held.to_keep = Some(to_keep);
    // What closes does not wait for the disk, and what is confirmed is in the file already.
    } else if held.signed.is_empty() || !matches!(of, LoadOf::File) {
        reading.configs.keep(to_keep, CLOSES);
    } else if let Err(why) = reading.configs.keep_first(to_keep, live_to_keep, OPENS) {
        let message = format!(
            "what opens is not taken, for it can't be kept as what the next config is held against: {why}. Reload again when \
             the disk takes it"
        );
        return Err(LoadFailure { kind: ErrorKind::Failed, message });
    }
    if prepared.geo.is_some() {
        chosen.keep(&reading.keeper);
    }
    held.signed.extend(to_record);
    Ok(Prepared { warnings, held, ..prepared })
}

/// What a config opens, where nobody has to sign that: the audit trail has it before it is live.
fn unsigned(
    live: &InForce,
    file: &Path,
    of: (&Candidate, &Policy),
    (read, in_force): (&GeoDb, Option<&GeoDb>),
) -> Option<SignedFile> {
    // Where the database in force can't be read, what closes is not to wait for that.
    let found = live.opened_by(of, read, in_force.or(Some(read)));
    let opens = found.map_or_else(|why| Some(why.message), |found| found.map(|it| it.to_string()))?;
    Some(SignedFile { file: file.to_owned(), sha256: sha256(&of.1.text), opens, by: Vec::new() })
}

/// The live policy with tables of the database in force, for going back from a candidate.
fn before_it(policy: Policy, database: Option<&GeoDb>) -> Result<Prepared, LoadFailure> {
    let database = database.ok_or_else(|| LoadFailure {
        kind: ErrorKind::Failed,
        message: "the geo database in force can't be read, so that there would be no way back: reload instead, once the \
                  problem `last-database` or `database-not-kept` is mended"
            .to_owned(),
    })?;
    prepare(policy, database)
}

/// Holds the live config against the one that was in force before the daemon's start, which could not be read then. Where it
/// opens over that one without signatures, that one goes on.
fn hold(
    file: &Path,
    reading: &Reading,
    (live, last): (LastPolicy, LastPolicy),
    spent: &KnownSpent,
) -> Result<Prepared, LoadFailure> {
    let candidate = Candidate::of(file, live.bytes, live.observe)?;
    let Checked { mut policy, warnings } = candidate.checked.clone();
    look_up(&mut policy)?;
    let choose = |policy: &Policy| {
        let read = whole(&policy.geo, &reading.databases);
        let read = read.or_else(|failure| reading.keeper.last(PATIENCE).ok().flatten().ok_or(failure))?;
        Ok(choose(policy, read, Before::of(&reading.keeper, PATIENCE), (false, spent)))
    };
    let mut chosen = choose(&policy)?;
    let in_force = InForce::of(last, "the audit trail")?;
    // By no database: the one that is kept now was taken while nobody knew which was in force.
    let admitted = match &in_force {
        Some(it) => it.admit((file, spent), (&candidate, &policy), &chosen.database, None),
        None => Ok(None),
    };
    let none_was_asked = asks(&policy).is_none();
    let prepared = match (admitted, in_force) {
        (Err(failure), Some(in_force)) => {
            let (last, mut policy) = in_force.into_policy();
            look_up(&mut policy)?;
            chosen = choose(&policy)?;
            if none_was_asked {
                let why = "the config of the start asked nobody to sign databases, and the store could not be opened";
                chosen.database.info.unheld.get_or_insert(why.to_owned());
            }
            let mut prepared = tables(policy, &chosen)?;
            prepared.held.refused = Some(failure.message);
            prepared.held.unheld.clone_from(&last.unheld);
            reading.configs.keep(Some(last), CLOSES);
            prepared
        }
        (admitted, in_force) => {
            let users = policy.named_users();
            let mut prepared = Prepared { warnings, ..tables(policy, &chosen)? };
            prepared.held.signed.extend(admitted?);
            let unheld = in_force.as_ref().and_then(InForce::unheld);
            prepared.held.unheld = candidate.still_unheld((file, spent), unheld);
            reading.configs.keep(candidate.to_keep(prepared.held.unheld.clone(), users), CLOSES);
            prepared
        }
    };
    if prepared.geo.is_some() {
        chosen.keep(&reading.keeper);
    }
    Ok(prepared)
}

/// That a config opens, and what it is to be held against is not known.
fn not_known(file: &Path, found: &Openings, why: &str) -> LoadFailure {
    let message = format!(
        "{} newly lets pass: {found}. What opens waits for the disk, which has the config that it is held against: {why}. Reload \
         again when the disk answers; what closes is taken meanwhile",
        file.display()
    );
    LoadFailure { kind: ErrorKind::Failed, message }
}

fn read_databases(
    policy: Policy,
    yes: (bool, &KnownSpent),
    reading: &Reading,
) -> Result<Prepared, LoadFailure> {
    let read = whole(&policy.geo, &reading.databases)?;
    let chosen = choose(&policy, read, Before::of(&reading.keeper, PATIENCE), yes);
    if let Some(Waits::All(_)) = chosen.waits {
        // What the kernel has goes on.
        let (held, database_waits) = (chosen.held(), chosen.waits.clone());
        return Ok(Prepared { database_waits, held, ..with_tables(policy, None) });
    }
    let prepared = tables(policy, &chosen)?;
    if prepared.geo.is_some() {
        chosen.keep(&reading.keeper);
    }
    Ok(prepared)
}

/// The policy with tables of the databases that were chosen. Where it is not known what these open, the tables that the kernel
/// has stay, and the policy is taken with those.
fn tables(policy: Policy, chosen: &Chosen) -> Result<Prepared, LoadFailure> {
    let held = chosen.held();
    match uncompared(chosen) {
        Some(waits) => Ok(Prepared { database_waits: Some(waits), held, ..with_tables(policy, None) }),
        None => {
            let prepared = prepare(policy, &chosen.database)?;
            Ok(Prepared { database_waits: chosen.waits.clone(), held, ..prepared })
        }
    }
}

/// Why databases that were read while a daemon runs are not taken, for the one in force is not there to compare them with.
fn uncompared(chosen: &Chosen) -> Option<Waits> {
    let why = chosen.database.info.unheld.as_ref().filter(|_| !chosen.is_compared)?;
    Some(Waits::Openings(format!(
        "{why}. The tables that the kernel has stay in force, with the [[site]] entries of their time"
    )))
}

/// Reads the databases of a config while nobody writes them: half of a file that is written in place may be of the one
/// before, and nothing in it would tell. Those are the ones that were taken from then on.
///
/// # Errors
/// Where one can't be used, or somebody goes on writing it.
pub(super) fn whole(geo: &policy::Geo, databases: &Databases) -> Result<GeoDb, LoadFailure> {
    let (database, identities) = unwatched(geo, databases)?;
    databases.were_read(identities);
    Ok(database)
}

/// Likewise, with which files they are; another one is not known to be taken by that.
fn unwatched(geo: &policy::Geo, databases: &Databases) -> Result<(GeoDb, Identities), LoadFailure> {
    for _ in 0..TRIES {
        let before = identities(&geo.files);
        if databases.being_written(&geo.files).is_none() {
            let database = inputs::load_database(geo);
            if identities(&geo.files) == before && databases.being_written(&geo.files).is_none() {
                return database.map(|it| (it, before)).map_err(failure);
            }
        }
        std::thread::sleep(BETWEEN);
    }
    let written = databases.being_written(&geo.files);
    let which = written.map_or_else(|| "a geo database".to_owned(), |path| path.display().to_string());
    let message = format!("{which} is being written; it is taken by itself when its writer has closed it");
    Err(LoadFailure { kind: ErrorKind::BadInput, message })
}

/// Looks up what the policy names of this host and its kernel.
///
/// # Errors
/// A user that is not there; a pin that goes by what this kernel does not tell; a path that is no volume's.
pub(super) fn look_up(policy: &mut Policy) -> Result<(), LoadFailure> {
    inputs::look_up_users(policy).map_err(failure)?;
    if let Some(pin) = policy.pins.iter().find(|pin| pin.select.asks_for_senders())
        && let Err(reason) = senders::programs()
    {
        return Err(refused(&config::ErrorKind::SenderUnknown { pin: pin.name.clone(), reason }));
    }
    let Some(pin) = policy.pins.iter().find(|pin| !pin.select.volumes.is_empty()) else { return Ok(()) };
    if let Err(reason) = senders::carrier_programs() {
        return Err(refused(&config::ErrorKind::CarrierUnknown { pin: pin.name.clone(), reason }));
    }
    let mounts = Mounts::read().map_err(|error| LoadFailure {
        kind: ErrorKind::Failed,
        message: format!("the mounts can't be looked at: {error}"),
    })?;
    let unfit = policy.volumes().into_iter().find_map(|it| Some((mounts.unfit(&it.path)?, it.path)));
    unfit.map_or(Ok(()), |(reason, path)| Err(refused(&config::ErrorKind::NotAVolume { path, reason })))
}

fn refused(kind: &config::ErrorKind) -> LoadFailure {
    LoadFailure { kind: ErrorKind::BadInput, message: format!("{kind}: {}", kind.hint()) }
}

fn failure(error: InputError) -> LoadFailure {
    LoadFailure { kind: ErrorKind::BadInput, message: error.to_string() }
}

/// Makes geo tables of a database with the policy's sites over it.
///
/// # Errors
/// Where they do not fit.
pub(super) fn prepare(mut policy: Policy, database: &GeoDb) -> Result<Prepared, LoadFailure> {
    compile::place(&mut policy, database);
    let image = compile::geo_image(database, &policy.sites).map_err(|error| LoadFailure {
        kind: ErrorKind::BadInput,
        message: format!("the geo tables do not fit: {error}"),
    })?;
    Ok(with_tables(policy, Some((Geo(Arc::new(image)), database.info.clone()))))
}

/// A policy with these geo tables, or with those that the kernel has.
pub(super) fn with_tables(policy: Policy, geo: Option<(Geo, Info)>) -> Prepared {
    let paths: Vec<String> = policy.pins.iter().flat_map(|pin| pin.select.cgroups.clone()).collect();
    let cgroups = facts::cgroups(&paths);
    let law = policy.law.clone().map(|named| {
        let read = move || LawPack::read(&named.pack, &named.sha256).map_err(|error| error.to_string());
        let read = within(disk(), "read-law-pack", read).map_err(|late| late.to_string());
        read.and_then(|pack| pack.map(Arc::new))
    });
    Prepared {
        policy: Arc::new(policy),
        warnings: Vec::new(),
        geo,
        database_waits: None,
        cgroups,
        held: Held::default(),
        law,
        before: None,
    }
}

#[cfg(test)]
mod tests;
