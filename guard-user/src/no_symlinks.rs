//! Opening a file by a path of which no part is a symbolic link: whoever can write to one of its folders can't lead it
//! elsewhere.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::{Errno, Result};

/// Opens it by `openat2` (openat2(2), `RESOLVE_NO_SYMLINKS`), and where a filter of system calls hides that one, part by part.
/// systemd does so: `RestrictSUIDSGID=` answers it with `ENOSYS`, for a filter can't see the mode that it is given.
///
/// # Errors
/// `ELOOP` where a part is a symbolic link, and what openat(2) says.
pub(crate) fn open(path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(CWD, path, flags, mode, resolve) {
        Err(Errno::NOSYS) => open_by_parts(path, flags, mode),
        other => other,
    }
}

/// The same without `openat2`: each folder is opened in the one before, and is held open meanwhile.
fn open_by_parts(path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    const FOLDER: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
    let parts: Vec<&OsStr> = path.components().map(Component::as_os_str).collect();
    let (last, folders) = parts.split_last().ok_or(Errno::NOENT)?;
    let mut folder: Option<OwnedFd> = None;
    for part in folders {
        let next = match &folder {
            Some(folder) => openat(folder, *part, FOLDER, Mode::empty())?,
            None => openat(CWD, *part, FOLDER, Mode::empty())?,
        };
        match FileType::from_raw_mode(fstat(&next)?.st_mode) {
            FileType::Directory => folder = Some(next),
            FileType::Symlink => return Err(Errno::LOOP),
            _ => return Err(Errno::NOTDIR),
        }
    }
    let flags = flags | OFlags::NOFOLLOW;
    match &folder {
        Some(folder) => openat(folder, *last, flags, mode),
        None => openat(CWD, *last, flags, mode),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Both ways do the same with every kind of path.
    #[test]
    fn the_two_ways_agree() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("real/deep")).unwrap();
        fs::write(at("real/deep/file"), "it").unwrap();
        symlink(at("real"), at("linked")).unwrap();
        symlink(at("real/deep/file"), at("real/link")).unwrap();
        symlink("nowhere", at("real/broken")).unwrap();
        let read = OFlags::RDONLY | OFlags::CLOEXEC;
        let append = OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC;
        let create = append | OFlags::CREATE;
        for (name, flags) in [
            ("real/deep/file", read),
            ("real/deep/file", append),
            ("real/deep/../deep/./file", read),
            ("real/deep", OFlags::RDONLY | OFlags::DIRECTORY),
            ("real/deep/file", OFlags::RDONLY | OFlags::DIRECTORY),
            ("real/deep/file/more", read),
            ("real/none", read),
            ("none/deep/file", create),
            ("linked/deep/file", read),
            ("linked/new", create),
            ("real/link", append),
            ("real/broken", create),
            ("linked", OFlags::RDONLY | OFlags::DIRECTORY),
        ] {
            let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            let mode =
                if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o640) } else { Mode::empty() };
            let whole = openat2(CWD, at(name), flags, mode, resolve);
            let by_parts = open_by_parts(&at(name), flags, mode);
            let inode = |opened: Result<OwnedFd>| opened.map(|file| fstat(&file).unwrap().st_ino);
            let (whole, by_parts) = (inode(whole), inode(by_parts));
            // A link that is asked for as a folder is none.
            if (&whole, &by_parts) != (&Err(Errno::LOOP), &Err(Errno::NOTDIR)) {
                assert_eq!(whole, by_parts, "{name} {flags:?}");
            }
        }
        assert!(!at("real/new").exists() && !at("real/nowhere").exists());
        // What is made has the mode that it is given.
        open_by_parts(&at("real/new"), create, Mode::from_raw_mode(0o600)).unwrap();
        let made = fs::metadata(at("real/new")).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&made.permissions()) & 0o777, 0o600);
    }
}
