//! The config that was taken last and that asks for signatures of the next one, in a file beside the store: what the next
//! one is held against, by a reload and by a start.
//!
//! The file is written beside and then renamed, so that a crash leaves the old or the new one, and it ends with a SHA-256
//! of all before it. A file that is damaged is an error and never used.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::new_file;

/// The file's name in the state directory.
pub const FILE: &str = "policy.last";

/// How every file begins, with the version of its form.
const MAGIC: &[u8; 22] = b"border guard policy 3\n";
/// How one begins that an earlier version of this program wrote, which kept no numbers of users.
const SECOND_MAGIC: &[u8; 22] = b"border guard policy 2\n";
/// Likewise one before that, which kept no word on why it was held against none.
const FIRST_MAGIC: &[u8; 22] = b"border guard policy 1\n";
/// The largest file that is read, in bytes.
const LARGEST: u64 = 16 << 20;
/// Bytes of the sum at the end.
const SUM: usize = 32;

/// A config as it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastPolicy {
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// Whether the daemon was told to observe only, whatever the config says.
    pub observe: bool,
    /// Why it, or one before it, was held against none, and nobody has signed it since.
    pub unheld: Option<String>,
    /// The numbers of the users that its pins select by name, as they were looked up when it was taken.
    pub users: NamedUsers,
}

/// Numbers of users by their names.
pub type NamedUsers = BTreeMap<String, u32>;

/// Keeps a config in the place of the one before.
///
/// # Errors
/// Where the disk refuses. The one before is kept then.
pub fn write(state_directory: &Path, policy: &LastPolicy) -> io::Result<()> {
    let (path, beside) = (state_directory.join(FILE), state_directory.join(format!("{FILE}.new")));
    new_file::remove_left(&beside)?;
    let mut bytes = MAGIC.to_vec();
    bytes.push(u8::from(policy.observe));
    let unheld = policy.unheld.as_deref().unwrap_or_default().as_bytes();
    let users = serde_json::to_vec(&policy.users)?;
    for part in [unheld, &users] {
        bytes.extend(u32::try_from(part.len()).map_err(io::Error::other)?.to_le_bytes());
        bytes.extend(part);
    }
    bytes.extend(&policy.bytes);
    let sum = Sha256::digest(&bytes);
    bytes.extend(sum);
    let mut file = new_file::private().open(&beside)?;
    if let Err(error) = file.write_all(&bytes).and_then(|()| file.sync_all()) {
        // On a full disk the room that it takes is the store's.
        let _left_for_the_next_try = fs::remove_file(&beside);
        return Err(error);
    }
    fs::rename(&beside, &path)?;
    File::open(state_directory)?.sync_all()
}

/// Keeps none: the config in force asks for no signatures.
///
/// # Errors
/// Where the disk refuses.
pub fn forget(state_directory: &Path) -> io::Result<()> {
    match fs::remove_file(state_directory.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The one that is kept; `None` where none is.
///
/// # Errors
/// Where the file can't be read, or is damaged.
pub fn read(state_directory: &Path) -> io::Result<Option<LastPolicy>> {
    let path = state_directory.join(FILE);
    let file =
        match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    parse(&bytes).map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is damaged"))
}

fn parse(bytes: &[u8]) -> Option<LastPolicy> {
    let (content, sum) = bytes.split_at_checked(bytes.len().checked_sub(SUM)?)?;
    if Sha256::digest(content).as_slice() != sum {
        return None;
    }
    if let Some(first) = content.strip_prefix(FIRST_MAGIC) {
        let (observe, bytes) = first.split_first()?;
        let (bytes, users) = (bytes.to_vec(), NamedUsers::new());
        return Some(LastPolicy { bytes, observe: *observe != 0, unheld: None, users });
    }
    let (rest, has_users) = match content.strip_prefix(MAGIC) {
        Some(rest) => (rest, true),
        None => (content.strip_prefix(SECOND_MAGIC)?, false),
    };
    let (observe, rest) = rest.split_first()?;
    let (unheld, mut rest) = part(rest)?;
    let mut users = NamedUsers::new();
    if has_users {
        let (kept, bytes) = part(rest)?;
        users = serde_json::from_slice(kept).ok()?;
        rest = bytes;
    }
    let unheld = String::from_utf8(unheld.to_vec()).ok()?;
    let unheld = (!unheld.is_empty()).then_some(unheld);
    Some(LastPolicy { bytes: rest.to_vec(), observe: *observe != 0, unheld, users })
}

/// A part with its length before it, and the rest.
fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_what_is_damaged_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        assert_eq!(read(state).unwrap(), None);
        for (bytes, observe, unheld) in
            [("", false, None), ("[host]\n", true, Some("it was gone".to_owned()))]
        {
            let users = unheld.iter().map(|_| ("dovecot".to_owned(), 107)).collect();
            let policy = LastPolicy { bytes: bytes.into(), observe, unheld, users };
            write(state, &policy).unwrap();
            assert_eq!(read(state).unwrap(), Some(policy));
        }
        let whole = fs::read(state.join(FILE)).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(state.join(FILE), &damaged).unwrap();
            assert!(read(state).is_err(), "byte {at}");
            fs::write(state.join(FILE), &whole[..at]).unwrap();
            assert!(read(state).is_err(), "{at} bytes");
        }
        let earlier: [(&[u8], &[u8]); 2] =
            [(FIRST_MAGIC, b"\x01[host]\n"), (SECOND_MAGIC, b"\x01\0\0\0\0[host]\n")];
        for (magic, rest) in earlier {
            let content = [magic, rest].concat();
            let sum = Sha256::digest(&content);
            fs::write(state.join(FILE), [content.as_slice(), sum.as_slice()].concat()).unwrap();
            let policy = LastPolicy {
                bytes: b"[host]\n".to_vec(),
                observe: true,
                unheld: None,
                users: NamedUsers::new(),
            };
            assert_eq!(read(state).unwrap(), Some(policy), "what an earlier version has kept");
        }
        forget(state).unwrap();
        forget(state).unwrap();
        assert_eq!(read(state).unwrap(), None);
    }
}
