//! The files of `policy.d` beside a config's own file, and the one text that all of them make: what is checked, hashed, signed,
//! kept and compared is that text, and nothing else.
//!
//! The text is the config's own file, then for each of these files, in the order of the bytes of their names, a line that says
//! which one begins and what the file has. A file ends with a line break there, whether it has one or not. A config without
//! such files is its own file, byte for byte. A single file that has the whole text is the same config: its SHA-256 is the
//! same, and so are its signatures.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::error::{ConfigErrors, ErrorKind};
use super::fragment_fault::FragmentFault;
use super::limits;
use super::sink::Report;
use super::syntax::FileText;

/// The folder's name, beside the config's own file.
pub const FOLDER: &str = "policy.d";

/// How the line begins that says which file begins; its name and a line break follow.
const MARK: &str = "#= policy.d/";
/// How the names of the files end that are read; others lie there for people and editors.
const ENDING: &str = ".toml";
/// The key of the only tables that such a file may have.
const ONLY: &str = "site";
/// Looks at files that somebody changes meanwhile.
const TRIES: u32 = 5;
/// The time between two of them.
const BETWEEN: Duration = Duration::from_millis(50);

/// A config as its files have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OnDisk {
    /// What the config's own file has.
    pub(crate) own: Vec<u8>,
    /// What the files beside it add to the text.
    pub(crate) fragments: Vec<u8>,
}

impl OnDisk {
    /// It, where the config's own file is not the whole text already, as the audit trail has it.
    fn checked(self, file: &Path) -> Result<Self, ConfigErrors> {
        let is_whole = || std::str::from_utf8(&self.own).is_ok_and(|text| !split(text).1.is_empty());
        match !self.fragments.is_empty() && is_whole() {
            true => Err(ConfigErrors::whole_file(file, FragmentFault::Twice.into())),
            false => Ok(self),
        }
    }

    /// The whole text.
    pub(crate) fn text(self) -> Vec<u8> {
        let Self { mut own, fragments } = self;
        if !fragments.is_empty() {
            end_line(&mut own);
            own.extend(fragments);
        }
        own
    }

    /// What the config's own file has to have for the whole text to be this one; `None` where the files beside it had to be
    /// others for that.
    pub(crate) fn own_of<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        text.strip_suffix(self.fragments.as_slice())
    }
}

/// Returns where the folder is that belongs to a config's own file.
#[must_use]
pub fn folder(file: &Path) -> PathBuf {
    file.with_file_name(FOLDER)
}

/// Reads a config's own file and those beside it, as all of them were at one moment.
///
/// # Errors
/// The file that can't be read, or is no config's by its name or its length.
pub(crate) fn read(file: &Path) -> Result<OnDisk, ConfigErrors> {
    let mut before = look(file)?;
    for _ in 0..TRIES {
        let read = read_once(file, &before)?;
        let after = look(file)?;
        if after == before {
            return read.checked(file);
        }
        before = after;
        std::thread::sleep(BETWEEN);
    }
    let reason = "somebody goes on changing it, or the files beside it".to_owned();
    Err(unreadable(file, reason))
}

/// What tells a file from what it was: device, inode, length, and when content and inode were changed last.
type Identity = (u64, u64, u64, (i64, i64), (i64, i64));

fn identity(metadata: &Metadata) -> Identity {
    let changed = (metadata.ctime(), metadata.ctime_nsec());
    (metadata.dev(), metadata.ino(), metadata.len(), (metadata.mtime(), metadata.mtime_nsec()), changed)
}

/// The files that there are, as far as they can be looked at: reading says why one can't be.
#[derive(PartialEq, Eq)]
struct Look {
    own: Option<Identity>,
    fragments: Vec<(String, Option<Identity>)>,
}

fn look(file: &Path) -> Result<Look, ConfigErrors> {
    let identity_of = |path: &Path| std::fs::metadata(path).ok().as_ref().map(identity);
    let folder = folder(file);
    let fragments = names(&folder)?.into_iter().map(|name| {
        let identity = identity_of(&folder.join(&name));
        (name, identity)
    });
    Ok(Look { own: identity_of(file), fragments: fragments.collect() })
}

/// The names of the files that are read, in their order; none where there is no folder.
fn names(folder: &Path) -> Result<Vec<String>, ConfigErrors> {
    let unreadable = |error: io::Error| unreadable(folder, error.to_string());
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_nothing(folder) => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let too_many =
        |what, limit, count| ConfigErrors::whole_file(folder, ErrorKind::OverLimit { what, limit, count });
    let mut names = Vec::new();
    for (at, entry) in entries.enumerate() {
        if at >= limits::FRAGMENT_ENTRIES {
            return Err(too_many("entries of policy.d", limits::FRAGMENT_ENTRIES, at + 1));
        }
        let name = entry.map_err(unreadable)?.file_name();
        let bytes = name.as_bytes();
        if bytes.starts_with(b".") || !bytes.ends_with(ENDING.as_bytes()) {
            continue;
        }
        match name.to_str().filter(|name| is_name(name)) {
            Some(name) => names.push(name.to_owned()),
            None => {
                let name = name.to_string_lossy().into_owned();
                let file = folder.join(&name);
                return Err(ConfigErrors::whole_file(&file, FragmentFault::BadName { name }.into()));
            }
        }
    }
    if names.len() > limits::FRAGMENTS {
        return Err(too_many("files in policy.d", limits::FRAGMENTS, names.len()));
    }
    names.sort();
    Ok(names)
}

/// Whether nothing has this name. A link whose folder is gone, as one that is not mounted, has it: without its files the config
/// would be another one.
fn is_nothing(folder: &Path) -> bool {
    std::fs::symlink_metadata(folder).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Whether a file of this name is read: it stands on a line of its own in the text.
fn is_name(name: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.' | '+');
    !name.starts_with('.') && name.ends_with(ENDING) && name.chars().all(is_plain)
}

fn read_once(file: &Path, seen: &Look) -> Result<OnDisk, ConfigErrors> {
    let mut left = limits::FILE_BYTES;
    let own = bytes_of(file, &mut left)?;
    let folder = folder(file);
    let mut fragments = Vec::new();
    for (name, _) in &seen.fragments {
        let bytes = bytes_of(&folder.join(name), &mut left)?;
        fragments.extend(format!("{MARK}{name}\n").as_bytes());
        fragments.extend(bytes);
        end_line(&mut fragments);
    }
    Ok(OnDisk { own, fragments })
}

/// The bytes of a file, where no more are left for it than all of them together may have.
fn bytes_of(file: &Path, left: &mut usize) -> Result<Vec<u8>, ConfigErrors> {
    let bytes = bytes_of_regular(file, *left).map_err(|error| unreadable(file, error.to_string()))?;
    *left = left
        .checked_sub(bytes.len())
        .ok_or_else(|| ConfigErrors::whole_file(file, ErrorKind::FileTooLong))?;
    Ok(bytes)
}

/// At most so many bytes of a file, and one more.
fn bytes_of_regular(file: &Path, most: usize) -> io::Result<Vec<u8>> {
    // Who opens a pipe to read waits for somebody who writes.
    let opened: File = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(file)?;
    if !opened.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    opened.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn end_line(bytes: &mut Vec<u8>) {
    if !bytes.is_empty() && !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
}

fn unreadable(file: &Path, reason: String) -> ConfigErrors {
    ConfigErrors::whole_file(file, ErrorKind::Unreadable { reason })
}

/// A file of `policy.d` within the whole text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment<'t> {
    /// Its name, with the folder's.
    pub(crate) name: &'t str,
    /// Where it begins, bytes from the begin of the text.
    pub(crate) start: usize,
    /// What it has.
    pub(crate) text: &'t str,
}

/// The whole text in its parts: the end of what the config's own file has, and the files of `policy.d`.
pub(crate) fn split(text: &str) -> (usize, Vec<Fragment<'_>>) {
    let mut marks = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let name = line.strip_suffix('\n').and_then(|line| line.strip_prefix(MARK));
        if let Some(name) = name.filter(|name| is_name(name)) {
            let begin = at + MARK.len() - FOLDER.len() - 1;
            let with_folder = text.get(begin..begin + FOLDER.len() + 1 + name.len()).unwrap_or(name);
            marks.push((at, with_folder, at + line.len()));
        }
        at += line.len();
    }
    let own = marks.first().map_or(text.len(), |(at, ..)| *at);
    let ends = marks.iter().skip(1).map(|(at, ..)| *at).chain([text.len()]);
    let fragments = marks.iter().zip(ends).map(|(&(_, name, start), end)| {
        let text = text.get(start..end).unwrap_or_default();
        Fragment { name, start, text }
    });
    (own, fragments.collect())
}

/// Reports what is wrong with the parts, each by itself: where nothing is, the whole text says what they say together. So no
/// file of `policy.d` can go on with a table that the one before it has begun, or hold what is not a site.
pub(super) fn check(text: &str, (own, fragments): (usize, &[Fragment<'_>]), sink: &mut dyn Report) {
    let own = FileText::whole(text.get(..own).unwrap_or_default());
    let _reported = own.parse_at(0, sink);
    for fragment in fragments {
        let Some(document) = FileText::whole(fragment.text).parse_at(fragment.start, sink) else { continue };
        check_fragment(fragment, document.get_ref(), sink);
    }
}

fn check_fragment(fragment: &Fragment<'_>, root: &DeTable<'_>, sink: &mut dyn Report) {
    for (key, value) in root {
        let is_headed = || matches!(value.get_ref(), DeValue::Array(_)) && begins_with_header(fragment.text);
        if key.get_ref() != ONLY || !is_headed() {
            let fault = FragmentFault::NotASite { key: key.get_ref().to_string() };
            sink.report(fragment.start + key.span().start, key.get_ref().to_string(), fault.into());
        }
    }
}

/// Whether a table's header is the first statement: a value before it would be one of the table that the file before it ends with.
fn begins_with_header(text: &str) -> bool {
    let mut lines = text.lines().map(|line| line.trim_matches([' ', '\t', '\r']));
    lines.find(|line| !line.is_empty() && !line.starts_with('#')).is_some_and(|line| line.starts_with('['))
}
