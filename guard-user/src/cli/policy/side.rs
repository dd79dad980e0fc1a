//! A config with its database, as one side of a comparison.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cli::CliError;
use crate::config::policy::{Geo, Policy};
use crate::config::{self, Surroundings};
use crate::geo::GeoDb;
use crate::inputs;
use crate::openings::World;

/// A config with its database.
pub(in crate::cli) struct Side {
    pub(in crate::cli) file: PathBuf,
    pub(in crate::cli) policy: Policy,
    pub(in crate::cli) geo: GeoDb,
}

impl Side {
    /// Reads a config with these databases, or else with those that it names.
    ///
    /// # Errors
    /// Where either can't be used.
    pub(in crate::cli) fn read(file: &Path, databases: &[PathBuf]) -> Result<Self> {
        let checked = config::load(file, &Surroundings::new(None));
        Self::of(file, checked.map_err(|errors| CliError::errors(&errors))?.policy, databases)
    }

    /// The same of a config that was read.
    ///
    /// # Errors
    /// Where a database can't be used.
    pub(in crate::cli) fn of(file: &Path, mut policy: Policy, databases: &[PathBuf]) -> Result<Self> {
        // A name that this host does not have is compared as it is.
        let _unknown = inputs::look_up_users(&mut policy);
        let files = if databases.is_empty() { &policy.geo.files } else { databases };
        let geo = Geo { files: files.to_vec(), ..policy.geo.clone() };
        let geo = inputs::load_database(&geo).map_err(|error| CliError::bad_input(error.to_string()))?;
        Ok(Self { file: file.to_owned(), policy, geo })
    }

    /// What is compared of it.
    pub(in crate::cli) const fn world(&self) -> World<'_> {
        World { policy: &self.policy, geo: &self.geo, exemptions: &[], may_exempt: true }
    }
}
