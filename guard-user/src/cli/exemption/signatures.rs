//! The files of a document's signatures: beside it, `FILE.LABEL.sig` for each signer, and `FILE.sig`, which
//! is what `ssh-keygen -Y sign` itself writes.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::approval::Signature;
use crate::approval::beside::{self, SIGNATURES};
use crate::approval::signature::SIGNATURE_BYTES;
use crate::cli::CliError;
use crate::control::protocol::SignatureText;

/// The signatures that are named, or, where none is, those beside the document, by name.
pub(super) fn collect(document: &Path, named: &[PathBuf]) -> Result<Vec<Signature>> {
    let files = match named {
        [] => beside::paths(document)
            .with_context(|| format!("cannot look for signatures beside {}", document.display()))?,
        named => named.to_vec(),
    };
    if files.len() > SIGNATURES {
        let message = format!("there are {} signatures, and {SIGNATURES} are accepted", files.len());
        return Err(CliError::bad_input(message).into());
    }
    files.iter().map(|file| read(file)).collect()
}

/// The signatures that are named, or, where none is, those beside the file, as they go over the control socket.
///
/// # Errors
/// Where one can't be read, or is none that `ssh-keygen` wrote.
pub(in crate::cli) fn texts(file: &Path, named: &[PathBuf]) -> Result<Vec<SignatureText>> {
    collect(file, named)?.into_iter().map(text).collect()
}

/// A signature as the daemon takes it; what is no text is no signature either.
fn text(signature: Signature) -> Result<SignatureText> {
    let Signature { name, bytes } = signature;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(SignatureText { name, text }),
        Err(_) => Err(CliError::bad_input(format!("{name} is no SSH signature: it is no text")).into()),
    }
}

fn read(file: &Path) -> Result<Signature> {
    let mut bytes = Vec::new();
    let read =
        File::open(file).and_then(|opened| opened.take(SIGNATURE_BYTES as u64 + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(Signature { name: file.to_string_lossy().into_owned(), bytes }),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(anyhow::Error::new(error).context(format!("cannot read {}", file.display())))
        }
        Err(error) => Err(CliError::bad_input(format!("cannot read {}: {error}", file.display())).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_beside_a_document_are_found_and_no_other_file_is() {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            "m.toml",
            "m.toml.sig",
            "m.toml.b@example.org.sig",
            "m.toml.a.sig",
            "m.toml..sig",
            "m.tomlx.sig",
            "m.toml.a.sig.old",
            "n.toml.a.sig",
        ];
        for name in names {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let document = folder.path().join("m.toml");
        let found = collect(&document, &[]).unwrap();
        let found: Vec<&[u8]> = found.iter().map(|signature| signature.bytes.as_slice()).collect();
        assert_eq!(found, [&b"m.toml.a.sig"[..], b"m.toml.b@example.org.sig", b"m.toml.sig"]);
        let named = collect(&document, &[folder.path().join("n.toml.a.sig")]).unwrap();
        assert_eq!(named[0].bytes, b"n.toml.a.sig");
        assert!(collect(&document, &[folder.path().join("no.sig")]).is_err());
        assert!(collect(&document, &vec![document.clone(); SIGNATURES + 1]).is_err());
    }
}
