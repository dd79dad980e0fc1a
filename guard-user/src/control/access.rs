//! Who may talk to the daemon: the socket's folder, mode and group, and the peer's credentials.

use std::ffi::CString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

/// The socket's mode: owner and group may connect.
const SOCKET_MODE: u32 = 0o660;
/// The mode of a folder that is made for it: anybody may look, nobody else may put something there.
const FOLDER_MODE: u32 = 0o755;
/// Most groups of one process (`NGROUPS_MAX`, linux/limits.h).
const MAX_GROUPS: usize = 65_536;

/// Why the control socket can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The system call failed.
    #[error("cannot {what} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Anybody could put a socket of their own there.
    #[error("{path} may be written by everybody, so anybody could put another socket there: choose another `control.socket`, or chmod o-w it", path = path.display())]
    OpenFolder {
        /// The folder.
        path: PathBuf,
    },
    /// Something that is no socket has the name.
    #[error("{path} is there and is no socket: remove it, or choose another `control.socket`", path = path.display())]
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// Another daemon answers there.
    #[error("a daemon listens on {path} already: end it first, or choose another `control.socket`", path = path.display())]
    Taken {
        /// The path.
        path: PathBuf,
    },
    /// The group does not exist.
    #[error(
        "there is no group \"{group}\" on this host (`control.group`): create it with `groupadd --system {group}`"
    )]
    NoGroup {
        /// Its name.
        group: String,
    },
}

/// Who may talk to the daemon, beside root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The daemon's own user.
    pub uid: u32,
    /// The control group.
    pub gid: Option<u32>,
}

/// Whose the other end of a connection was when it was made (SO_PEERCRED and SO_PEERGROUPS, unix(7)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl Access {
    /// The access that this config gives.
    ///
    /// # Errors
    /// [`AccessError::NoGroup`], or where the groups can't be read.
    pub fn new(group: Option<&str>) -> Result<Self, AccessError> {
        let gid = group.map(group_id).transpose()?;
        Ok(Self { uid: rustix::process::geteuid().as_raw(), gid })
    }

    /// Whether this peer may talk to the daemon.
    #[must_use]
    pub fn permits(&self, peer: &Peer) -> bool {
        let in_group = |gid| peer.gid == gid || peer.groups.contains(&gid);
        peer.uid == 0 || peer.uid == self.uid || self.gid.is_some_and(in_group)
    }
}

/// Makes the socket, in place of one on which nobody listens any more.
///
/// # Errors
/// [`AccessError`] where the folder is open to all, the place is taken or the kernel refuses.
pub fn bind(path: &Path, access: &Access) -> Result<UnixListener, AccessError> {
    let io = |what, path: &Path| {
        let path = path.to_owned();
        move |source| AccessError::Io { what, path, source }
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !folder.exists() {
        let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder);
        made.map_err(io("make the folder", folder))?;
    }
    let mode = fs::metadata(folder).map_err(io("look at", folder))?.mode();
    // In a folder like /tmp nobody can take away or replace what is another's.
    let (others_may_write, sticky) = (mode & 0o002 != 0, mode & 0o1000 != 0);
    if others_may_write && !sticky {
        return Err(AccessError::OpenFolder { path: folder.to_owned() });
    }
    remove_stale(path)?;
    // Without rights for others from its first moment on; the umask is set back at once.
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = bound.map_err(io("listen on", path))?;
    if access.gid.is_some() {
        chown(path, None, access.gid).map_err(io("give to the control group", path))?;
    }
    let permissions = fs::Permissions::from_mode(SOCKET_MODE);
    fs::set_permissions(path, permissions).map_err(io("set the mode of", path))?;
    Ok(listener)
}

fn remove_stale(path: &Path) -> Result<(), AccessError> {
    let io = |what| move |source| AccessError::Io { what, path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io("look at")(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(AccessError::NoSocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(AccessError::Taken { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(io("remove the stale socket"))
        }
        Err(error) => Err(io("find out who listens on")(error)),
    }
}

/// The number of a group, from whatever source of names the host has.
fn group_id(name: &str) -> Result<u32, AccessError> {
    let no_group = || AccessError::NoGroup { group: name.to_owned() };
    let c_name = CString::new(name).map_err(|_| no_group())?;
    let mut buffer = vec![0_u8; 1 << 10];
    loop {
        // SAFETY: libc::group is plain data (pointers and integers), for which zeroes are a value.
        let mut entry: libc::group = unsafe { std::mem::zeroed() };
        let mut found = std::ptr::null_mut();
        // SAFETY: the name is a C string; entry, buffer and found are valid for writes for the call, and
        // the buffer's length is its own.
        let status = unsafe {
            libc::getgrnam_r(
                c_name.as_ptr(),
                &raw mut entry,
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                &raw mut found,
            )
        };
        match status {
            0 if found.is_null() => return Err(no_group()),
            0 => return Ok(entry.gr_gid),
            libc::ERANGE if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 4, 0),
            error => {
                let source = io::Error::from_raw_os_error(error);
                return Err(AccessError::Io { what: "look up the group", path: name.into(), source });
            }
        }
    }
}

/// Who the other end of a connection is.
///
/// # Errors
/// What the kernel says.
pub fn peer(stream: &impl AsFd) -> io::Result<Peer> {
    let credentials = rustix::net::sockopt::socket_peercred(stream)?;
    Ok(Peer {
        uid: credentials.uid.as_raw(),
        gid: credentials.gid.as_raw(),
        groups: supplementary_groups(stream.as_fd())?,
    })
}

fn supplementary_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; 64];
    loop {
        let mut bytes = (groups.len() * size_of::<u32>()) as libc::socklen_t;
        // SAFETY: the descriptor is open as long as it is borrowed, and the kernel writes at most `bytes`
        // bytes to the buffer, which has as many.
        let status = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let needed = bytes as usize / size_of::<u32>();
        if status == 0 {
            groups.truncate(needed);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE) || needed <= groups.len() || needed > MAX_GROUPS {
            return Err(error);
        }
        groups.resize(needed, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer_of(uid: u32, gid: u32, groups: &[u32]) -> Peer {
        Peer { uid, gid, groups: groups.to_vec() }
    }

    #[test]
    fn root_the_daemons_user_and_the_group_may_connect_and_nobody_else() {
        let access = Access { uid: 900, gid: Some(77) };
        for peer in [peer_of(0, 0, &[]), peer_of(900, 5, &[]), peer_of(1, 77, &[]), peer_of(1, 1, &[5, 77])] {
            assert!(access.permits(&peer), "{peer:?}");
        }
        assert!(!access.permits(&peer_of(1, 1, &[5])));
        let rootly = Access { uid: 0, gid: None };
        assert!(!rootly.permits(&peer_of(1, 77, &[77])));
    }

    #[test]
    fn the_peer_of_an_own_connection_is_this_process() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = peer(&one).unwrap();
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        assert_eq!(peer.gid, rustix::process::getegid().as_raw());
    }

    #[test]
    fn groups_are_found_by_name() {
        assert_eq!(group_id("root").unwrap(), 0);
        assert!(matches!(group_id("no-such-group-here"), Err(AccessError::NoGroup { .. })));
        assert!(matches!(group_id("a\0b"), Err(AccessError::NoGroup { .. })));
    }

    #[test]
    fn a_socket_is_made_with_its_folder_and_a_stale_one_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/control.sock");
        let access = Access { uid: rustix::process::geteuid().as_raw(), gid: None };
        let listener = bind(&path, &access).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, SOCKET_MODE);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o002, 0);
        assert!(matches!(bind(&path, &access), Err(AccessError::Taken { .. })));
        drop(listener);
        bind(&path, &access).unwrap();
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        fs::write(&path, "mine").unwrap();
        let access = Access { uid: 0, gid: None };
        assert!(matches!(bind(&path, &access), Err(AccessError::NoSocket { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }

    #[test]
    fn a_folder_that_all_may_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let access = Access { uid: 0, gid: None };
        assert!(matches!(bind(&open.join("s"), &access), Err(AccessError::OpenFolder { .. })));
        fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
        bind(&open.join("s"), &access).unwrap();
    }
}
