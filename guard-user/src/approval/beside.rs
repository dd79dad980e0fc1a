//! Signatures that lie beside a file: `FILE.sig`, and `FILE.NAME.sig` for each signer.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Signature;
use super::signature::SIGNATURE_BYTES;

/// Signatures of one file; more are refused.
pub const SIGNATURES: usize = 64;

/// All signatures that lie beside a file, by name.
///
/// # Errors
/// Where the folder or one of them can't be read, or there are more than 64.
pub fn read(file: &Path) -> io::Result<Vec<Signature>> {
    let paths = paths(file)?;
    if paths.len() > SIGNATURES {
        return Err(io::Error::other(format!(
            "there are {} signatures beside it, and {SIGNATURES} are accepted",
            paths.len()
        )));
    }
    paths.iter().map(|path| read_one(path)).collect()
}

/// The paths of all signatures that lie beside a file, by name.
///
/// # Errors
/// Where the folder can't be read.
pub fn paths(file: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(name) = file.file_name() else { return Ok(Vec::new()) };
    let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let mut names = Vec::new();
    for entry in folder.read_dir()? {
        let other = entry?.file_name();
        if is_signature_of(name, &other) {
            names.push(other);
        }
    }
    names.sort();
    Ok(names.into_iter().map(|name| file.with_file_name(name)).collect())
}

fn is_signature_of(file: &OsStr, other: &OsStr) -> bool {
    let rest = other.as_bytes().strip_prefix(file.as_bytes());
    let label = rest.and_then(|rest| rest.strip_suffix(b".sig"));
    label.is_some_and(|label| label.is_empty() || label.len() > 1 && label.starts_with(b"."))
}

fn read_one(path: &Path) -> io::Result<Signature> {
    let mut bytes = Vec::new();
    // A named pipe would keep whoever opens it waiting for ever.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    opened
        .and_then(|opened| opened.take(SIGNATURE_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    Ok(Signature { name: path.display().to_string(), bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beside_a_file_is_read_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["p.toml", "p.toml.sig", "p.toml.b.sig", "p.toml..sig", "p.tomlx.sig", "p.toml.a.sig.old"]
        {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let found = read(&folder.path().join("p.toml")).unwrap();
        let found: Vec<&[u8]> = found.iter().map(|it| it.bytes.as_slice()).collect();
        assert_eq!(found, [&b"p.toml.b.sig"[..], b"p.toml.sig"]);
        for number in 0..SIGNATURES {
            std::fs::write(folder.path().join(format!("p.toml.n{number}.sig")), "").unwrap();
        }
        assert!(read(&folder.path().join("p.toml")).is_err());
    }
}
