//! A host as checks see it: files below a root, and the daemon's word.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::finding::{Next, Unknown};
use crate::control::status::Status;
use crate::kernel::WallClock;

/// The most that is read of a file, in bytes: a kernel's config has some 300 KiB.
const MOST: u64 = 4 << 20;

/// Why a check that needs the daemon does not know.
const NO_WORD: &str = "the daemon does not answer";

/// What checks look at.
#[derive(Clone, Debug)]
pub struct Host {
    /// The folder that stands for `/`.
    pub root: PathBuf,
    /// What the processor is, as [`std::env::consts::ARCH`] has it.
    pub arch: &'static str,
    /// What the daemon says of itself, or why it says nothing.
    pub daemon: Result<Status, Unknown>,
    /// The clock, or why it can't be read.
    pub clock: Result<WallClock, String>,
    /// Interfaces of this network namespace that have an XDP program, or why they can't be listed.
    pub with_xdp: Result<BTreeSet<String>, String>,
}

impl Host {
    /// What the daemon says of itself.
    ///
    /// # Errors
    /// Where none answers. Why that is has [`Self::daemon`]: once for all checks.
    pub(super) fn status(&self) -> Result<&Status, Unknown> {
        let missing = |unknown: &Unknown| Unknown { why: NO_WORD.to_owned(), next: unknown.next };
        self.daemon.as_ref().map_err(missing)
    }

    /// A file's text without white space around it; `None` where the host has no such file, or the kernel none of what it would
    /// show. `path` has no `/` in front.
    ///
    /// # Errors
    /// Where it can't be read, or the file system that would have it is not there.
    pub(super) fn text(&self, path: &str) -> Result<Option<String>, Unknown> {
        let mut bytes = Vec::new();
        let read = File::open(self.root.join(path)).and_then(|file| file.take(MOST).read_to_end(&mut bytes));
        match read {
            Ok(_) => Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned())),
            // Of a device whose driver does not know the attribute.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(None),
            Err(error) => self.unread(path, &error),
        }
    }

    /// A file's number.
    ///
    /// # Errors
    /// As [`Self::text`]; and where it is no number.
    pub(super) fn number(&self, path: &str) -> Result<Option<u64>, Unknown> {
        let Some(text) = self.text(path)? else { return Ok(None) };
        let number = text.parse();
        number.map(Some).map_err(|_| Unknown::by_hand(format!("/{path} has {text:?}, which is no number")))
    }

    /// The names in a folder, sorted; none where the host has no such folder.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub(super) fn names(&self, path: &str) -> Result<Vec<String>, Unknown> {
        let entries = fs::read_dir(self.root.join(path)).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut names: Vec<String> = match entries {
            Ok(entries) => {
                entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
            }
            Err(error) => return self.unread(path, &error).map(|_: Option<()>| Vec::new()),
        };
        names.sort();
        Ok(names)
    }

    /// Whether there is anything at this path.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub(super) fn has(&self, path: &str) -> Result<bool, Unknown> {
        match fs::symlink_metadata(self.root.join(path)) {
            Ok(_) => Ok(true),
            Err(error) => self.unread(path, &error).map(|_: Option<()>| false),
        }
    }

    /// What a symbolic link leads to; `None` where there is none.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub(super) fn link(&self, path: &str) -> Result<Option<PathBuf>, Unknown> {
        fs::read_link(self.root.join(path)).map(Some).or_else(|error| self.unread(path, &error))
    }

    /// The last name of what a symbolic link leads to, as sysfs names drivers and functions.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub(super) fn linked(&self, path: &str) -> Result<Option<String>, Unknown> {
        let link = self.link(path)?;
        Ok(link.and_then(|to| to.file_name().map(|name| name.to_string_lossy().into_owned())))
    }

    /// Owner and permission bits of what is at this path; `None` where nothing is.
    ///
    /// # Errors
    /// Where it can't be looked at.
    pub(super) fn owner_and_mode(&self, path: &Path) -> Result<Option<(u32, u32)>, Unknown> {
        let below = path.strip_prefix("/").unwrap_or(path);
        match fs::metadata(self.root.join(below)) {
            Ok(found) => Ok(Some((found.uid(), found.permissions().mode() & 0o7777))),
            Err(error) => self.unread(&below.to_string_lossy(), &error),
        }
    }

    /// The interfaces of this network namespace, as sysfs has them.
    ///
    /// # Errors
    /// Where sysfs shows another network namespace's, or can't be read.
    pub(super) fn interfaces(&self) -> Result<Vec<String>, Unknown> {
        // `bonding_masters` stands beside the interfaces.
        let mut names = self.names("sys/class/net")?;
        names.retain(|name| name != "bonding_masters");
        let Some(listed) = self.text("proc/net/dev")? else {
            return Err(Unknown::by_hand("/proc/net/dev is not there"));
        };
        let here = listed.lines().filter_map(|line| line.split_once(':'));
        let here: BTreeSet<&str> = here.map(|(name, _)| name.trim()).collect();
        match names.iter().map(String::as_str).eq(here.iter().copied()) {
            true => Ok(names),
            false => Err(Unknown::by_hand(format!(
                "/sys/class/net shows another network namespace than this one ({} interfaces there, {} here): \
                 mount a sysfs in this one to have it read",
                names.len(),
                here.len()
            ))),
        }
    }

    /// Whether the guard judges what leaves by this interface.
    pub(super) fn is_guarded(&self, name: &str) -> bool {
        let Ok(status) = &self.daemon else { return false };
        let of_name = status.interfaces.iter().filter(|interface| interface.name == name);
        of_name.flat_map(|interface| &interface.hooks).any(|hook| hook.hook == "egress")
    }

    /// An option of the kernel's config, such as `y`; an empty text where it is not set.
    ///
    /// # Errors
    /// Where no config of the running kernel can be read.
    pub(super) fn option(&self, name: &str) -> Result<(String, String), Unknown> {
        let release = self.text("proc/sys/kernel/osrelease")?.unwrap_or_default();
        let places = [format!("boot/config-{release}"), format!("lib/modules/{release}/config")];
        for place in &places {
            let Ok(Some(config)) = self.text(place) else { continue };
            let value = config.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            let shown = format!("/{place} has {name}={}", value.unwrap_or("n"));
            return Ok((value.unwrap_or_default().to_owned(), shown));
        }
        Err(Unknown::by_hand(format!(
            "the kernel's config can't be read: neither /{} nor /{}",
            places[0], places[1]
        )))
    }

    /// What is not there is absent only where the file system is that would have it.
    fn unread<T>(&self, path: &str, error: &io::Error) -> Result<Option<T>, Unknown> {
        let sign = match path.split('/').next() {
            Some("proc") => "proc/version",
            Some("sys") => "sys/class",
            _ => ".",
        };
        match error.kind() {
            ErrorKind::NotFound if self.root.join(sign).exists() => Ok(None),
            ErrorKind::NotFound => Err(Unknown::by_hand(format!(
                "/{path} is not there, nor /{sign}: that file system is not mounted here"
            ))),
            _ => Err(unknown(format!("/{path} can't be read: {error}"), error)),
        }
    }
}

fn unknown(why: String, error: &io::Error) -> Unknown {
    let denied = error.kind() == ErrorKind::PermissionDenied;
    Unknown { why, next: if denied { Next::AsRoot } else { Next::ByHand } }
}
