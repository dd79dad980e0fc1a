//! Which daemon a command talks to.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::seen::{Form, Seen};
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

/// A control socket, and why it is not the config's where the config could not say.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    socket: PathBuf,
    fault: Option<String>,
}

impl Target {
    /// The daemon's control socket. The config is read for this one value only, so that a config with
    /// errors does not keep anybody from the daemon that runs. Where not even this value can be read, the default
    /// socket is taken, and standard error says so: an order must not wait for a config to be mended.
    ///
    /// # Errors
    /// Where a config was named that can't be read, or that is no TOML, and there is no default socket.
    pub fn socket(&self) -> Result<PathBuf> {
        let Found { socket, fault } = self.find(Path::new(DEFAULT_SOCKET))?;
        if let Some(fault) = fault {
            // Nobody can be told that standard error is closed.
            let _closed = writeln!(
                Seen::new(io::stderr(), Form::Lines),
                "borderguard: {fault}; asking the daemon on the default socket {}, --socket PATH names another",
                socket.display()
            );
        }
        Ok(socket)
    }

    fn find(&self, default: &Path) -> Result<Found> {
        let of_config = match (&self.socket, &self.config) {
            (Some(socket), _) => return Ok(Found { socket: socket.clone(), fault: None }),
            (None, Some(config)) => std::fs::read_to_string(config)
                .with_context(|| format!("cannot read the config {}", config.display()))
                .map_err(not_there)
                .and_then(|text| socket_in(&text, config, default)),
            // Members of the control groups may not be allowed to read the config, and need not.
            (None, None) => match std::fs::read_to_string(DEFAULT_CONFIG) {
                Ok(text) => socket_in(&text, Path::new(DEFAULT_CONFIG), default),
                Err(_) => Ok(default.to_owned()),
            },
        };
        match of_config {
            Ok(socket) => Ok(Found { socket, fault: None }),
            // One that can't be looked at may be there.
            Err(fault) if !matches!(default.try_exists(), Ok(false)) => {
                Ok(Found { socket: default.to_owned(), fault: Some(format!("{fault:#}")) })
            }
            Err(fault) => Err(fault.context(format!(
                "which socket the daemon has is not known, and the default one ({}) is not there: mend the config, or name \
                 the socket with --socket PATH",
                default.display()
            ))),
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
        Ok(self.in_state("directory")?.unwrap_or_else(|| DEFAULT_STATE.into()))
    }

    /// Where it keeps the mark of how far its store had come: the config's `state.mark_directory`.
    ///
    /// # Errors
    /// As [`state_directory`](Self::state_directory).
    pub fn mark_directory(&self) -> Result<PathBuf> {
        match self.in_state("mark_directory")? {
            Some(mark) => Ok(mark),
            None => Ok(format!("{}-mark", self.state_directory()?.display()).into()),
        }
    }

    fn in_state(&self, key: &str) -> Result<Option<PathBuf>> {
        let config = self.config_file();
        let text = match std::fs::read_to_string(&config) {
            Ok(text) => text,
            Err(_) if self.config.is_none() => return Ok(None),
            Err(error) => {
                let error = anyhow::Error::new(error);
                return Err(not_there(error.context(format!("cannot read the config {}", config.display()))));
            }
        };
        Ok(value_in(&text, &config, "state", key)?.map(PathBuf::from))
    }
}

/// Where a daemon with this config keeps what must outlive it, whatever else is wrong with the config. Where not even that can be
/// read, it is the default folder for the default config alone: there may be another daemon's.
///
/// # Errors
/// Where that can't be read of another config.
pub(super) fn state_of(config: &Path) -> Result<PathBuf> {
    let target = Target { config: Some(config.to_owned()), socket: None };
    match target.state_directory() {
        Err(_) if config == Path::new(DEFAULT_CONFIG) => Ok(DEFAULT_STATE.into()),
        found => found,
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

fn socket_in(text: &str, config: &Path, default: &Path) -> Result<PathBuf> {
    let socket = value_in(text, config, "control", "socket")?;
    Ok(socket.map_or_else(|| default.to_owned(), PathBuf::from))
}

/// Where everything is pinned if the config does not say.
pub(super) const DEFAULT_PIN_PATH: &str = "/sys/fs/bpf/borderguard";

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
    let found = value_in(&text, config, "state", "pin_path").context(
        "where everything is pinned is not known: mend the config, or name it with --pin-path DIR",
    )?;
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
    match table.get(section).and_then(|section| section.get(key)) {
        None => Ok(None),
        Some(toml::Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => {
            Err(CliError::bad_input(format!("{}: {section}.{key} is no text", config.display())).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::exit_of;
    use super::*;
    use crate::exit::Exit;

    /// Where this config has the daemon looked for, where the default socket is there or not.
    fn of_config(text: &str, is_there: bool) -> Result<Found> {
        let folder = tempfile::tempdir().unwrap();
        let (config, default) = (folder.path().join("policy.toml"), folder.path().join("default.sock"));
        std::fs::write(&config, text).unwrap();
        if is_there {
            std::fs::write(&default, "").unwrap();
        }
        let mut found = Target { config: Some(config), socket: None }.find(&default)?;
        if found.socket == default {
            found.socket = "default".into();
        }
        Ok(found)
    }

    #[test]
    fn the_socket_is_found_even_in_a_config_with_errors() {
        let of = |socket: &str| Found { socket: socket.into(), fault: None };
        let found = of_config("[hots]\n[control]\nsocket = \"/run/x.sock\"\n", true).unwrap();
        assert_eq!(found, of("/run/x.sock"));
        assert_eq!(of_config("", false).unwrap(), of("default"));
        let named = Target { config: None, socket: Some("/s".into()) };
        assert_eq!(named.socket().unwrap(), Path::new("/s"));
    }

    #[test]
    fn a_config_that_can_t_say_its_socket_leaves_the_default_one() {
        for (text, fault) in [("= 1", "is no TOML"), ("control.socket = 5", "control.socket is no text")] {
            let found = of_config(text, true).unwrap();
            assert_eq!(found.socket, Path::new("default"));
            let told = found.fault.unwrap();
            assert!(told.contains(fault) && told.contains("policy.toml") && !told.contains('\n'), "{told:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let missing = Target { config: Some(folder.path().join("none.toml")), socket: None };
        let found = missing.find(folder.path()).unwrap();
        assert_eq!(found.socket, folder.path());
        assert!(found.fault.unwrap().contains("none.toml"));
    }

    #[test]
    fn the_state_is_found_even_in_a_config_with_errors() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("policy.toml");
        std::fs::write(&config, "[hots]\n[state]\ndirectory = \"/srv/guard\"\n").unwrap();
        assert_eq!(state_of(&config).unwrap(), Path::new("/srv/guard"));
        std::fs::write(&config, "[hots]\n").unwrap();
        assert_eq!(state_of(&config).unwrap(), Path::new(DEFAULT_STATE));
        // It may have named any.
        std::fs::write(&config, "= 1").unwrap();
        assert!(state_of(&config).unwrap_err().to_string().contains("is no TOML"));
        std::fs::remove_file(&config).unwrap();
        assert!(state_of(&config).is_err());
    }

    #[test]
    fn without_a_default_socket_the_config_s_fault_is_the_error() {
        let error = of_config("= 1", false).unwrap_err();
        assert_eq!(exit_of(&error), Exit::BadInput);
        let told = format!("{error:#}");
        assert!(told.contains("is no TOML") && told.contains("--socket PATH"), "{told}");
        let missing = Target { config: Some("/no/such/file".into()), socket: None };
        let error = missing.find(Path::new("/no/such/socket")).unwrap_err();
        assert_eq!(exit_of(&error), Exit::BadInput);
        assert!(format!("{error:#}").contains("/no/such/file"), "{error:#}");
    }
}
