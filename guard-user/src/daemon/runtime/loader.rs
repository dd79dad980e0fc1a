//! Reading config and databases and making tables of them: beside the loop, for it may take seconds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use super::facts;
use super::last_database::Keeper;
use crate::compile;
use crate::config::policy::Policy;
use crate::config::{self, Checked};
use crate::control::protocol::ErrorKind;
use crate::daemon::engine::{Geo, Input, LoadFailure, Prepared};
use crate::geo::{GeoDb, Info};
use crate::inputs::{self, InputError};
use crate::kernel::{Mounts, senders};

/// What the daemon is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The config file, as an absolute path.
    pub config: PathBuf,
    /// Whether every action counts as `observe`, whatever the config says.
    pub observe: bool,
}

/// Reads both again in a thread of its own, and hands over what came of it.
pub(super) fn load(options: &Options, keeper: &Keeper, inputs: &UnboundedSender<Input>) {
    let (options, keeper, answer) = (options.clone(), keeper.clone(), inputs.clone());
    let started = std::thread::Builder::new().name("loader".to_owned()).spawn(move || {
        let result = read(&options.config, options.observe, &keeper).map(Box::new);
        let _nobody_is_left = answer.send(Input::Loaded(result));
    });
    if let Err(error) = started {
        let message = format!("no thread can be had to read the config in: {error}");
        let failure = LoadFailure { kind: ErrorKind::Failed, message };
        let _nobody_is_left = inputs.send(Input::Loaded(Err(failure)));
    }
}

fn read(file: &Path, observe: bool, keeper: &Keeper) -> Result<Prepared, LoadFailure> {
    let Checked { mut policy, warnings } = inputs::load_config_again(file, observe).map_err(failure)?;
    look_up(&mut policy)?;
    let database = inputs::load_database(&policy.geo).map_err(failure)?;
    let prepared = prepare(policy, &database)?;
    keeper.keep(database);
    Ok(Prepared { warnings, ..prepared })
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
pub(super) fn prepare(policy: Policy, database: &GeoDb) -> Result<Prepared, LoadFailure> {
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
    Prepared { policy: Arc::new(policy), warnings: Vec::new(), geo, cgroups }
}
