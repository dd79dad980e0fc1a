//! What a file is that signers of the policy sign: a config, or a geo database.

use std::path::Path;

use anyhow::Result;

use crate::approval::{GEO, POLICY};
use crate::cli::CliError;
use crate::config::policy::Policy;
use crate::config::{self, Surroundings};
use crate::geo::{GeoDb, mmdb};

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

    /// What a signature over it is made for.
    pub(super) const fn namespace(&self) -> &'static str {
        match self {
            Self::Config(_) => POLICY,
            Self::Database(_) => GEO,
        }
    }
}
