//! What a file is that signers of the policy sign: a config, or a geo database.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::approval::{GEO, GEO_OLDER, POLICY};
use crate::cli::CliError;
use crate::config::policy::Policy;
use crate::config::{self, Surroundings};
use crate::geo::{Built, GeoDb, Info, mmdb};

/// A file that is signed.
pub(super) enum Signed {
    /// A config.
    Config(Box<Policy>),
    /// A geo database.
    Database(Box<GeoDb>),
}

impl Signed {
    /// Reads it, and what a signature is made over: the bytes of a database, the whole text of a config.
    ///
    /// # Errors
    /// Where it can't be read, is neither, or has errors.
    pub(super) fn read(file: &Path) -> Result<(Self, Vec<u8>)> {
        let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        if mmdb::is_meant(&bytes) {
            let database =
                mmdb::parse(&bytes, file).map_err(|error| CliError::bad_input(error.to_string()))?;
            return Ok((Self::Database(Box::new(database)), bytes));
        }
        let text = config::text(file).map_err(|errors| CliError::errors(&errors))?;
        let checked = config::parse(file, &text, &Surroundings::new(None));
        let checked = checked.map_err(|errors| CliError::errors(&errors))?;
        Ok((Self::Config(Box::new(checked.policy)), text))
    }

    /// What a signature over it is made for, where databases were in force that were built then.
    pub(super) fn namespace(&self, built: &Built) -> &'static str {
        match self {
            Self::Config(_) => POLICY,
            Self::Database(database) => of_database(&database.info, built),
        }
    }
}

/// What a signature over a database is made for, where databases were in force that were built then.
pub(super) fn of_database(database: &Info, built: &Built) -> &'static str {
    if built.newer_than(database).is_some() { GEO_OLDER } else { GEO }
}
