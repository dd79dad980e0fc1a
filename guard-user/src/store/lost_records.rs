//! How many records the audit trail lacks and does not say so yet, apart from the store: for the next daemon, where this one ends
//! before the disk takes a record again.
//!
//! The number stands in a file of the state directory and in one of the mark's. Both are made before anything is lost and are
//! written over in their place, which most file systems take on a full disk. The kernel's mark has it too, with the times: who puts
//! the two files back, removes them or writes others takes nothing away. Why, only the files have: that is told as their words.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::marks::{Lacks, MarkKeeper};

/// The file's name in each of the two folders.
const FILE: &str = "audit-lost.json";
/// The length of its content.
const BYTES: usize = 512;
/// The most bytes of a reason.
const WHY: usize = 200;
/// Before a reason that is in the words of a file.
const SAYS: &str = "audit-lost.json says: ";
/// The reason where no file has what the kernel's mark has.
const DIFFERS: &str = "the reason is not known, for audit-lost.json differs from the kernel's mark in number or times, or is \
                       gone: its words are not taken";

/// Records that could not be written, and of which the trail does not say so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// How many.
    pub count: u64,
    /// When the first one was given up.
    pub from: Timestamp,
    /// When the last one was.
    pub to: Timestamp,
    /// Why.
    pub why: String,
}

/// Keeps how many there are.
#[derive(Default)]
pub struct LostRecords {
    files: Vec<File>,
    kernel: Option<Box<dyn MarkKeeper + Send>>,
    /// Why a file can't be had.
    fault: Option<String>,
    lost: Option<Lost>,
}

impl LostRecords {
    /// Opens the files, and makes them where they are not there. The folder of the mark is made too, as its first mark does; that
    /// of the store is the store's to make: one that was moved away must not seem to be there.
    #[must_use]
    pub fn open(state: &Path, mark: &Path, kernel: Option<Box<dyn MarkKeeper + Send>>) -> Self {
        let mut kept = Self { kernel, ..Self::default() };
        // Where it can't be made, its file can't be opened, which says why.
        let _made = DirBuilder::new().recursive(true).mode(0o700).create(mark);
        let mut found = Vec::new();
        for folder in [state, mark] {
            match open(folder) {
                Ok(file) => {
                    found.extend(read(&file).filter(|it| it.count > 0));
                    kept.files.push(file);
                }
                Err(error) => kept.fault = Some(format!("{}: {error}", folder.join(FILE).display())),
            }
        }
        let of_kernel = kept.kernel.as_ref().and_then(|it| it.read().ok()?.lacks);
        kept.lost = held_against(&found, of_kernel);
        kept
    }

    /// Those of which the trail does not say that it lacks them.
    #[must_use]
    pub const fn lost(&self) -> Option<&Lost> {
        self.lost.as_ref()
    }

    /// Another one could not be written.
    ///
    /// # Errors
    /// Why no file has that.
    pub fn add(&mut self, now: Timestamp, why: &str) -> Result<(), String> {
        let mut end = why.len().min(WHY);
        while !why.is_char_boundary(end) {
            end -= 1;
        }
        let why = why.get(..end).unwrap_or_default().to_owned();
        let (count, from) = self.lost.as_ref().map_or((0, now), |lost| (lost.count, lost.from));
        self.lost = Some(Lost { count: count.saturating_add(1), from, to: now, why });
        self.keep()
    }

    /// The trail says of so many that it lacks them.
    ///
    /// # Errors
    /// Why no file has that: the next daemon says it once more.
    pub fn recorded(&mut self, count: u64) -> Result<(), String> {
        let Some(lost) = &mut self.lost else { return Ok(()) };
        lost.count = lost.count.saturating_sub(count);
        let kept = self.keep();
        self.lost.take_if(|lost| lost.count == 0);
        kept
    }

    fn keep(&mut self) -> Result<(), String> {
        let Some(lost) = &self.lost else { return Ok(()) };
        let lacks = Lacks { count: lost.count, from: lost.from, to: lost.to };
        // It is there for a restart, and not for a reboot: the files are what counts.
        let _of_this_boot = self.kernel.as_ref().map(|it| it.lacks(Some(lacks).filter(|it| it.count > 0)));
        let (mut is_kept, mut fault) = (false, self.fault.clone());
        for file in &self.files {
            match write(file, lost) {
                Ok(()) => is_kept = true,
                Err(error) => fault = Some(error.to_string()),
            }
        }
        if is_kept { Ok(()) } else { Err(fault.unwrap_or_default()) }
    }
}

/// What the files have, held against the kernel's mark: number and times are the mark's where no file has the same. A file that has
/// more is taken at its number, and at a later end: the mark may have been out of reach by then.
fn held_against(found: &[Lost], of_kernel: Option<Lacks>) -> Option<Lost> {
    let most = found.iter().max_by_key(|it| it.count);
    let Some(Lacks { count, from, to }) = of_kernel else { return most.map(in_its_words) };
    // The mark has seconds.
    let is_same = |it: &&Lost| {
        (it.count, it.from.as_second(), it.to.as_second()) == (count, from.as_second(), to.as_second())
    };
    let more = most.filter(|it| it.count > count);
    match (more, found.iter().find(is_same)) {
        (None, Some(same)) => Some(in_its_words(same)),
        (more, _) => {
            let (count, to) = more.map_or((count, to), |it| (it.count, to.max(it.to)));
            Some(Lost { count, from, to, why: DIFFERS.to_owned() })
        }
    }
}

/// What a file has, with its reason as the file's: whoever can write that can have changed it.
fn in_its_words(lost: &Lost) -> Lost {
    let why = match lost.why.as_str() {
        "" => format!("{FILE} does not say why"),
        // An earlier daemon has taken it from there, and kept it.
        why if why.starts_with(SAYS) || why == DIFFERS => why.to_owned(),
        why => format!("{SAYS}{why}"),
    };
    Lost { why, ..lost.clone() }
}

fn open(folder: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(folder.join(FILE))?;
    if file.metadata()?.len() < BYTES as u64 {
        // Room that is there when it is needed.
        file.write_all_at(&[b' '; BYTES], 0)?;
    }
    Ok(file)
}

fn read(file: &File) -> Option<Lost> {
    let mut bytes = [0; BYTES];
    let count = file.read_at(&mut bytes, 0).ok()?;
    serde_json::from_slice(bytes.get(..count)?).ok()
}

/// Of one length, so that nothing stays of what was there. It is forced to the disk: the next daemon may be one after a reboot.
fn write(file: &File, lost: &Lost) -> io::Result<()> {
    let mut text = serde_json::to_vec(lost)?;
    if text.len() >= BYTES {
        // Of a reason with many letters that JSON writes longer the number counts more.
        text = serde_json::to_vec(&Lost { why: String::new(), ..lost.clone() })?;
    }
    if text.len() >= BYTES {
        return Err(io::Error::other("it is too long"));
    }
    text.resize(BYTES - 1, b' ');
    text.push(b'\n');
    file.write_all_at(&text, 0)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::super::tests::high_water::Memory;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_was_lost_is_known_until_the_trail_says_it() {
        let folder = tempfile::tempdir().unwrap();
        let [state, mark] = ["state", "mark"].map(|name| folder.path().join(name));
        let open = || LostRecords::open(&state, &mark, None);
        let mut without_store = open();
        without_store.add(at(1), "first").unwrap();
        without_store.recorded(1).unwrap();
        assert!(!state.exists(), "a folder that is not there is not made");
        std::fs::create_dir(&state).unwrap();
        let mut kept = open();
        assert_eq!(kept.lost(), None);
        let long = "ö".repeat(WHY);
        for (second, why) in [(1, "first"), (2, "second"), (3, long.as_str())] {
            kept.add(at(second), why).unwrap();
        }
        let known = open().lost().cloned().unwrap();
        assert_eq!((known.count, known.from, known.to), (3, at(1), at(3)));
        let why = known.why.strip_prefix(SAYS).unwrap();
        assert!(why.len() <= WHY && long.starts_with(why));
        // Either of the two is enough.
        std::fs::write(state.join(FILE), "{").unwrap();
        let mut kept = open();
        assert_eq!(kept.lost().map(|it| it.count), Some(3));
        kept.recorded(2).unwrap();
        assert_eq!(open().lost().map(|it| it.count), Some(1));
        kept.recorded(1).unwrap();
        assert_eq!((kept.lost(), open().lost()), (None, None));
        kept.add(at(4), &"\u{1}".repeat(WHY)).unwrap();
        assert_eq!(
            open().lost().map(|it| (it.count, it.why.as_str())),
            Some((1, "audit-lost.json does not say why"))
        );
    }

    #[test]
    fn where_no_file_can_be_had_that_is_said() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let none = folder.path().join("file/folder");
        let why = LostRecords::open(&none, &none, None).add(at(1), "full").unwrap_err();
        assert!(why.contains(FILE), "{why}");
        // A full file system: what is there already is written over in its place.
        let mut full = LostRecords {
            files: vec![File::open(folder.path().join("file")).unwrap()],
            ..LostRecords::default()
        };
        assert!(full.add(at(1), "full").is_err());
    }

    #[test]
    fn who_puts_both_files_back_or_removes_them_takes_nothing_away() {
        let folder = tempfile::tempdir().unwrap();
        let [state, mark] = ["state", "mark"].map(|name| folder.path().join(name));
        std::fs::create_dir(&state).unwrap();
        let kernel = Memory::default();
        let open = || LostRecords::open(&state, &mark, Some(Box::new(kernel.clone())));
        let before = open().lost().cloned();
        assert_eq!(before, None);
        let files = [&state, &mark].map(|folder| folder.join(FILE));
        let put_back = files.clone().map(|file| std::fs::read(file).unwrap());
        let mut kept = open();
        for second in [1, 2] {
            kept.add(at(second), "full").unwrap();
        }
        assert_eq!(open().lost().unwrap().why, "audit-lost.json says: full", "the files say why");
        for (file, bytes) in files.iter().zip(put_back) {
            std::fs::write(file, bytes).unwrap();
        }
        let known = |kept: &LostRecords| kept.lost().map(|it| (it.count, it.from, it.to));
        assert_eq!(known(&open()), Some((2, at(1), at(2))));
        files.iter().for_each(|file| std::fs::remove_file(file).unwrap());
        let mut kept = open();
        assert_eq!(known(&kept), Some((2, at(1), at(2))));
        kept.recorded(2).unwrap();
        assert_eq!((known(&kept), known(&open())), (None, None));
    }

    /// Who can write the files can give another time to what was lost, so that it is in the report of another period, and other
    /// words.
    #[test]
    fn number_and_times_are_the_kernel_s_where_somebody_wrote_others_into_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let [state, mark] = ["state", "mark"].map(|name| folder.path().join(name));
        std::fs::create_dir(&state).unwrap();
        let kernel = Memory::default();
        let open = || LostRecords::open(&state, &mark, Some(Box::new(kernel.clone())));
        let forge = |folder: &Path, lost: &Lost| {
            write(&OpenOptions::new().write(true).open(folder.join(FILE)).unwrap(), lost).unwrap();
        };
        let mut kept = open();
        for second in [11, 12] {
            kept.add(at(second), "full").unwrap();
        }
        let own = Lost { count: 2, from: at(11), to: at(12), why: "a test".to_owned() };
        for folder in [&state, &mark] {
            forge(folder, &own);
        }
        assert_eq!(open().lost().unwrap().why, "audit-lost.json says: a test");
        let forged = [
            Lost { from: at(1), to: at(2), ..own.clone() },
            Lost { from: at(1), ..own.clone() },
            Lost { to: at(99), ..own.clone() },
            Lost { count: 1, ..own.clone() },
        ];
        for forged in forged {
            for folder in [&state, &mark] {
                forge(folder, &forged);
            }
            let known = open().lost().cloned().unwrap();
            assert_eq!(known, Lost { why: DIFFERS.to_owned(), ..own.clone() }, "{forged:?}");
            // One that nobody has touched says why.
            forge(&state, &own);
            assert_eq!(open().lost().unwrap().why, "audit-lost.json says: a test");
        }
        // The mark could not be written at the end.
        forge(&mark, &Lost { count: 5, from: at(1), to: at(20), why: "a test".to_owned() });
        let known = open().lost().cloned().unwrap();
        assert_eq!(known, Lost { count: 5, from: at(11), to: at(20), why: DIFFERS.to_owned() });
    }
}
