//! The listening socket's file: its folder, its mode and its group.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind as bind_to, listen, socket_with,
};

use super::access::Access;

/// The mode of a folder that is made for it: anybody may look, nobody else may put something there.
const FOLDER_MODE: u32 = 0o755;

/// Why the control socket can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
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
}

/// Which file a socket has: a path may lead to another one later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// The file that is at this path now; `None` where there is none, or it can't be looked at.
    #[must_use]
    pub fn at(path: &Path) -> Option<Self> {
        let found = fs::symlink_metadata(path).ok()?;
        Some(Self { device: found.dev(), inode: found.ino() })
    }
}

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Makes the socket, in place of one on which nobody listens any more.
///
/// # Errors
/// [`SocketError`] where the folder is open to all, the place is taken or the kernel refuses.
pub fn bind(path: &Path, access: &Access) -> Result<UnixListener, SocketError> {
    let io = |what, path: &Path| {
        let path = path.to_owned();
        move |source| SocketError::Io { what, path, source }
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
        return Err(SocketError::OpenFolder { path: folder.to_owned() });
    }
    remove_stale(path)?;
    let listener = listen_on(path).map_err(io("listen on", path))?;
    permit(path, access)?;
    Ok(listener)
}

/// A socket at this path that nobody else may connect to, from its first moment on.
fn listen_on(path: &Path) -> io::Result<UnixListener> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // The file gets the socket's own mode (net/unix/af_unix.c). The process's umask would be that of every thread.
    fchmod(&socket, Mode::from_raw_mode(0o600))?;
    bind_to(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

/// Gives the socket's file the mode and the group for this access.
///
/// # Errors
/// [`SocketError::Io`]; then it lets no more connect than before.
pub fn permit(path: &Path, access: &Access) -> Result<(), SocketError> {
    let io = |what| move |source| SocketError::Io { what, path: path.to_owned(), source };
    let (mode, group) = mode_for(access);
    // Closed in between: the new group must not have the mode that was meant for the old one.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(io("set the mode of"))?;
    if group.is_some() {
        chown(path, None, group).map_err(io("give to the control group"))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(io("set the mode of"))
}

/// The socket's mode and group: it can be connected to only as far as that is needed.
///
/// A file has one group. With one control group it is that, and the kernel keeps all others away. With
/// several anybody may connect, and the peer's credentials decide alone, before anything of it is read.
/// Without any the file is its owner's; root may connect whatever the mode.
fn mode_for(access: &Access) -> (u32, Option<u32>) {
    let mut groups: Vec<u32> = access.groups.iter().map(|group| group.gid).collect();
    groups.sort_unstable();
    groups.dedup();
    match groups.as_slice() {
        [] => (0o600, None),
        [one] => (0o660, Some(*one)),
        _ => (0o666, None),
    }
}

fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let io = |what| move |source| SocketError::Io { what, path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io("look at")(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NoSocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::Taken { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(io("remove the stale socket"))
        }
        Err(error) => Err(io("find out who listens on")(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::access::Member;
    use crate::control::right::Right;

    fn access(groups: &[u32]) -> Access {
        let groups = groups.iter().map(|&gid| Member { gid, name: gid.to_string(), right: Right::View });
        Access { uid: rustix::process::geteuid().as_raw(), groups: groups.collect() }
    }

    #[test]
    fn the_mode_lets_no_more_connect_than_have_a_right() {
        assert_eq!(mode_for(&access(&[])), (0o600, None));
        assert_eq!(mode_for(&access(&[7])), (0o660, Some(7)));
        assert_eq!(mode_for(&access(&[7, 7])), (0o660, Some(7)));
        assert_eq!(mode_for(&access(&[7, 8])), (0o666, None));
    }

    #[test]
    fn a_socket_is_made_with_its_folder_and_a_stale_one_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/control.sock");
        let access = access(&[]);
        let listener = bind(&path, &access).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o002, 0);
        assert!(matches!(bind(&path, &access), Err(SocketError::Taken { .. })));
        drop(listener);
        bind(&path, &access).unwrap();
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        fs::write(&path, "mine").unwrap();
        let access = access(&[]);
        assert!(matches!(bind(&path, &access), Err(SocketError::NoSocket { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }

    #[test]
    fn a_folder_that_all_may_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let access = access(&[]);
        assert!(matches!(bind(&open.join("s"), &access), Err(SocketError::OpenFolder { .. })));
        fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
        bind(&open.join("s"), &access).unwrap();
    }
}
