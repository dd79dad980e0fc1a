//! Where the audit trail comes from for commands that read it: the daemon, the store where none runs, or an
//! export.

use std::io;
use std::path::Path;

use anyhow::{Context, Result};

use super::CliError;
use super::target::Target;
use crate::control::client::{ClientError, ask, unexpected};
use crate::control::protocol::{Request, Response};
use crate::store::Reader;

/// The lines of the trail from a sequence number on, oldest first.
///
/// # Errors
/// Where neither a daemon answers nor the store can be read.
pub(super) fn lines(target: &Target, from: u64) -> Result<Vec<String>> {
    let socket = target.socket()?;
    let mut lines = Vec::new();
    let mut next = from;
    loop {
        let some = match ask(&socket, &Request::Audit { from: next }) {
            Ok(Response::Audit { lines }) => lines,
            Ok(_) => return Err(unexpected(&socket).into()),
            Err(error @ ClientError::NoDaemon { .. }) => {
                let state = target.state_directory()?;
                return match Reader::open(&state)? {
                    Some(reader) => Ok(reader.audit_lines(from, usize::MAX)?),
                    None => Err(error).with_context(|| format!("there is no store in {}", state.display())),
                };
            }
            Err(error) => return Err(error.into()),
        };
        if some.is_empty() {
            return Ok(lines);
        }
        next = next.max(1) + some.len() as u64;
        lines.extend(some);
    }
}

/// The lines of an export, without their breaks.
///
/// # Errors
/// Where it can't be read.
pub(super) fn exported(file: &Path) -> Result<Vec<Vec<u8>>> {
    let bytes = std::fs::read(file).map_err(|error| unreadable("export", file, error))?;
    let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    match text.is_empty() {
        true => Ok(Vec::new()),
        false => Ok(text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()),
    }
}

/// A file that was named and can't be read: bad input, for exit code 1 says that a trail is not whole.
pub(super) fn unreadable(what: &str, file: &Path, error: io::Error) -> anyhow::Error {
    let message = format!("cannot read the {what} {}: {error}", file.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied => anyhow::Error::new(error).context(message),
        _ => CliError::bad_input(message).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit_of;
    use crate::exit::Exit;

    #[test]
    fn an_export_that_is_not_there_is_no_broken_trail() {
        let folder = tempfile::tempdir().unwrap();
        let error = exported(&folder.path().join("no.jsonl")).unwrap_err();
        assert_eq!(exit_of(&error), Exit::BadInput);
        assert!(error.to_string().starts_with("cannot read the export "), "{error}");
        let denied = unreadable("export", Path::new("x"), io::ErrorKind::PermissionDenied.into());
        assert_eq!(exit_of(&denied), Exit::NotPermitted);
    }
}
