//! What a file is that signers of the policy sign: a config, or a geo database.

use std::path::Path;

use anyhow::Result;

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
    /// Reads it from the bytes of this file.
    ///
    /// # Errors
    /// Where it is neither, or has errors.
    pub(super) fn read(file: &Path, bytes: &[u8]) -> Result<Self> {
        if mmdb::is_meant(bytes) {
            let database =
                mmdb::parse(bytes, file).map_err(|error| CliError::bad_input(error.to_string()))?;
            return Ok(Self::Database(Box::new(database)));
        }
        let checked = config::parse(file, bytes, &Surroundings::new(None));
        let checked = checked.map_err(|errors| CliError::errors(&errors))?;
        Ok(Self::Config(Box::new(checked.policy)))
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
