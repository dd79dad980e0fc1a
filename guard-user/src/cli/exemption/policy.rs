//! The config that a document is held against.

use std::path::Path;

use anyhow::Result;

use crate::cli::CliError;
use crate::config::{self, Policy, Surroundings};

/// What a config says, by its text alone.
pub(super) fn load(config: &Path) -> Result<Policy> {
    let checked = config::load(config, &Surroundings::new(None))
        .map_err(|errors| CliError::document(errors.to_string()))?;
    Ok(checked.policy)
}

/// The names of a config's pins.
pub(super) fn pins_of(config: &Path) -> Result<Vec<String>> {
    Ok(pin_names(&load(config)?))
}

/// The names of a policy's pins.
pub(super) fn pin_names(policy: &Policy) -> Vec<String> {
    policy.pins.iter().map(|pin| pin.name.clone()).collect()
}
