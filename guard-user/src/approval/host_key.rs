//! Signs by a private key of the host, in a file: what the daemon vouches for itself.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ssh_key::private::KeypairData;
use ssh_key::{HashAlg, LineEnding, PrivateKey};

/// Bytes of a key's file, at most.
const FILE_BYTES: u64 = 64 << 10;

/// Why nothing is signed.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// The file can't be opened or read.
    #[error("the host's key {} can't be read: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Others can read it, or have put it there.
    #[error("the host's key {} is not root's alone: chown root and chmod 600 it", file.display())]
    Open {
        /// The file.
        file: PathBuf,
    },
    /// It is of no use.
    #[error("the host's key {} can't sign: {reason}", file.display())]
    Unfit {
        /// The file.
        file: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// A detached signature as `ssh-keygen -Y sign` writes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The armoured signature.
    pub signature: String,
    /// The public key, as a file of allowed signers has it: type and Base64.
    pub public_key: String,
}

/// Signs these bytes for this namespace. RSA keys are refused: the crate that computes with them does not hide its
/// timing (RUSTSEC-2023-0071).
///
/// # Errors
/// Where the file can't be read, is not this user's or root's alone, or has no key that can sign.
pub fn sign(file: &Path, namespace: &str, bytes: &[u8]) -> Result<Signed, HostKeyError> {
    let unreadable = |error| HostKeyError::Unreadable { file: file.to_owned(), error };
    let unfit = |reason: String| HostKeyError::Unfit { file: file.to_owned(), reason };
    // A named pipe would keep whoever opens it waiting for ever.
    let opened =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(file).map_err(unreadable)?;
    let metadata = opened.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unreadable(io::Error::other("it is no file")));
    }
    let own = rustix::process::geteuid().as_raw();
    // The group that some distributions give it lets ssh-keysign alone read it.
    if ![0, own].contains(&metadata.uid()) || metadata.mode() & 0o037 != 0 {
        return Err(HostKeyError::Open { file: file.to_owned() });
    }
    let mut text = String::new();
    opened.take(FILE_BYTES).read_to_string(&mut text).map_err(unreadable)?;
    let key = PrivateKey::from_openssh(&text).map_err(|error| unfit(error.to_string()))?;
    match key.key_data() {
        KeypairData::Ed25519(_) | KeypairData::Ecdsa(_) => {}
        KeypairData::Encrypted(_) => return Err(unfit("it has a passphrase".to_owned())),
        _ => return Err(unfit("it is neither Ed25519 nor ECDSA".to_owned())),
    }
    let failed = |error: ssh_key::Error| unfit(error.to_string());
    let signature = key.sign(namespace, HashAlg::Sha512, bytes).map_err(failed)?;
    let signature = signature.to_pem(LineEnding::LF).map_err(failed)?;
    let public = key.public_key().to_openssh().map_err(failed)?;
    let public_key = public.split(' ').take(2).collect::<Vec<_>>().join(" ");
    Ok(Signed { signature: format!("{}\n", signature.trim_end()), public_key })
}
