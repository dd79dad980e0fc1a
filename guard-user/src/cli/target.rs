//! Which daemon a command talks to.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{CliError, DEFAULT_CONFIG};

/// The control socket where the config names none.
pub const DEFAULT_SOCKET: &str = "/run/borderguard/control.sock";

/// The state directory where the config names none.
const DEFAULT_STATE: &str = "/var/lib/borderguard";

/// The daemon to talk to.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Target {
    /// The daemon's config, which names its control socket [default: /etc/borderguard/policy.toml]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// The daemon's control socket, instead of the config's `control.socket`
    #[arg(long, value_name = "PATH", conflicts_with = "config", global = true)]
    pub socket: Option<PathBuf>,
}

impl Target {
    /// The daemon's control socket. The config is read for this one value only, so that a config with
    /// errors does not keep anybody from the daemon that runs.
    ///
    /// # Errors
    /// Where a config was named and can't be read, or is no TOML.
    pub fn socket(&self) -> Result<PathBuf> {
        match (&self.socket, &self.config) {
            (Some(socket), _) => Ok(socket.clone()),
            (None, Some(config)) => {
                let text = std::fs::read_to_string(config)
                    .with_context(|| format!("cannot read the config {}", config.display()))
                    .map_err(not_there)?;
                socket_in(&text, config)
            }
            // Members of the control groups may not be allowed to read the config, and need not.
            (None, None) => match std::fs::read_to_string(DEFAULT_CONFIG) {
                Ok(text) => socket_in(&text, Path::new(DEFAULT_CONFIG)),
                Err(_) => Ok(DEFAULT_SOCKET.into()),
            },
        }
    }
}

impl Target {
    /// The daemon's config.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| DEFAULT_CONFIG.into())
    }

    /// Where the daemon keeps what must outlive it: the config's `state.directory`.
    ///
    /// # Errors
    /// Where a config was named and can't be read, or is no TOML.
    pub fn state_directory(&self) -> Result<PathBuf> {
        let config = self.config_file();
        let text = match std::fs::read_to_string(&config) {
            Ok(text) => text,
            Err(_) if self.config.is_none() => return Ok(DEFAULT_STATE.into()),
            Err(error) => {
                let error = anyhow::Error::new(error);
                return Err(not_there(error.context(format!("cannot read the config {}", config.display()))));
            }
        };
        let found = value_in(&text, &config, "state", "directory")?;
        Ok(found.map_or_else(|| DEFAULT_STATE.into(), PathBuf::from))
    }
}

/// A config that is named and not there is bad input; one that may not be read is not.
fn not_there(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<io::Error>() {
        Some(cause) if cause.kind() != io::ErrorKind::PermissionDenied => {
            CliError::bad_input(format!("{error:#}")).into()
        }
        _ => error,
    }
}

fn socket_in(text: &str, config: &Path) -> Result<PathBuf> {
    let socket = value_in(text, config, "control", "socket")?;
    Ok(socket.map_or_else(|| DEFAULT_SOCKET.into(), PathBuf::from))
}

/// Where everything is pinned if the config does not say.
const DEFAULT_PIN_PATH: &str = "/sys/fs/bpf/borderguard";

/// Where everything is pinned. The config is read for this one value only, so that one with errors keeps nobody from
/// detaching.
///
/// # Errors
/// Where a config was named and can't be read, or is no TOML.
pub(super) fn pin_path(config: Option<&Path>) -> Result<PathBuf> {
    let config = match config {
        Some(config) => config,
        None if Path::new(DEFAULT_CONFIG).exists() => Path::new(DEFAULT_CONFIG),
        None => return Ok(DEFAULT_PIN_PATH.into()),
    };
    let text = std::fs::read_to_string(config)
        .with_context(|| format!("cannot read the config {}", config.display()))?;
    let found = value_in(&text, config, "state", "pin_path")?;
    Ok(found.map_or_else(|| DEFAULT_PIN_PATH.into(), PathBuf::from))
}

/// One text of a config, whatever else is in it; `None` where it is not there.
fn value_in(text: &str, config: &Path, section: &str, key: &str) -> Result<Option<String>> {
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let config = config.display();
        CliError::bad_input(format!(
            "{config} is no TOML ({}): `borderguard check {config}` says where",
            error.message()
        ))
    })?;
    let value = table.get(section).and_then(|section| section.get(key)).and_then(toml::Value::as_str);
    Ok(value.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::super::exit_of;
    use super::*;
    use crate::exit::Exit;

    fn of_config(text: &str) -> Result<PathBuf> {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("policy.toml");
        std::fs::write(&config, text).unwrap();
        Target { config: Some(config), socket: None }.socket()
    }

    #[test]
    fn the_socket_is_found_even_in_a_config_with_errors() {
        let found = of_config("[hots]\n[control]\nsocket = \"/run/x.sock\"\n").unwrap();
        assert_eq!(found, Path::new("/run/x.sock"));
        assert_eq!(of_config("").unwrap(), Path::new(DEFAULT_SOCKET));
        let named = Target { config: None, socket: Some("/s".into()) };
        assert_eq!(named.socket().unwrap(), Path::new("/s"));
    }

    #[test]
    fn a_config_that_is_no_toml_or_not_there_is_bad_input() {
        assert_eq!(exit_of(&of_config("= 1").unwrap_err()), Exit::BadInput);
        let missing = Target { config: Some("/no/such/file".into()), socket: None };
        assert_eq!(exit_of(&missing.socket().unwrap_err()), Exit::BadInput);
    }
}
