//! Where the audit trail comes from for commands that read it: the daemon, the store where none runs, or an
//! export.

use std::path::Path;

use anyhow::{Context, Result};

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
    let bytes = std::fs::read(file).with_context(|| format!("cannot read the export {}", file.display()))?;
    let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    match text.is_empty() {
        true => Ok(Vec::new()),
        false => Ok(text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()),
    }
}
