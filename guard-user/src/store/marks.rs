//! Where it is kept how far the store had come: a file apart from it, and another place.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::marked_use::MarkedUse;
use super::unrecorded::{self, Noted, Unrecorded, Untold};
use crate::audit;
use crate::digest::from_hexadecimal;
use crate::exemption::StandingOrder;

/// The file's name in its folder.
pub(super) const FILE: &str = "high-water.json";
/// Version of the file's form.
const FORMAT: u32 = 1;
/// The most bytes of the file that are read.
const FILE_BYTES: u64 = 64 << 20;
/// How long its disk may take: the worker that owns the store does nothing else meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is written at most where exemptions have let more through and nothing else is new.
pub(super) const USES_EVERY: Duration = Duration::from_secs(10);

/// What is kept in the place that is no file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelMark {
    /// The end of the trail; `None` where none was kept yet.
    pub head: Option<audit::Head>,
    /// Of the file's notes on configs of which the trail has no record; `None` where there are none.
    pub unrecorded: Option<Noted>,
    /// What went live and is neither in the trail nor in these notes; who publishes writes it, and this does not.
    pub untold: Option<Untold>,
    /// The latest time that a daemon judged by, and what has passed since; who does writes it, and this does not.
    pub time: Option<Timestamp>,
    /// Records that the trail lacks without saying so; [`MarkKeeper::lacks`] writes it.
    pub lacks: Option<Lacks>,
}

/// Records that the trail lacks without saying so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lacks {
    /// How many; not 0.
    pub count: u64,
    /// When the first of them was given up.
    pub from: Timestamp,
    /// When the last of them was.
    pub to: Timestamp,
}

/// Where the mark is kept that is no file.
pub trait MarkKeeper {
    /// What was kept last.
    ///
    /// # Errors
    /// Why it can't be read.
    fn read(&self) -> Result<KernelMark, String>;

    /// Keeps the end and the notes of this.
    ///
    /// # Errors
    /// Why it can't be written.
    fn write(&self, mark: &KernelMark) -> Result<(), String>;

    /// Keeps that trail or notes have the config that judges by what has this SHA-256, and those before it.
    ///
    /// # Errors
    /// Why it can't be written.
    fn is_told(&self, judges: [u8; 32]) -> Result<(), String>;

    /// Keeps that the trail lacks these records, or none, without saying so.
    ///
    /// # Errors
    /// Why it can't be written.
    fn lacks(&self, records: Option<Lacks>) -> Result<(), String>;
}

/// Why the mark can't be kept, or could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MarkFault {
    /// The file.
    pub file: Option<String>,
    /// The kernel's.
    pub kernel: Option<String>,
}

impl MarkFault {
    const fn is_none(&self) -> bool {
        self.file.is_none() && self.kernel.is_none()
    }
}

impl std::fmt::Display for MarkFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let faults: Vec<&str> =
            [&self.file, &self.kernel].into_iter().flatten().map(String::as_str).collect();
        f.write_str(&faults.join("; "))
    }
}

/// The places of the mark.
#[derive(Default)]
pub struct Marks {
    folder: Option<PathBuf>,
    kernel: Option<Box<dyn MarkKeeper + Send>>,
    /// The end that both have, and the orders that the store lacks.
    pub(super) written: Option<(audit::Head, Vec<StandingOrder>)>,
    /// The uses that the file has, and when it was written last.
    pub(super) uses: Option<(Instant, Vec<MarkedUse>)>,
    /// The configs of which no trail has a record, as they are noted.
    pub(super) unrecorded: Vec<Unrecorded>,
    /// What the last config of the trail judges by, until the kernel has it that the trail has that.
    pub(super) told: Option<[u8; 32]>,
    /// Whether this daemon has marks already: what is untold then is its own, and on its way.
    is_again: bool,
    file_work: FileWork,
    fault: MarkFault,
}

impl Marks {
    /// A file in this folder, and another place.
    #[must_use]
    pub fn new(folder: PathBuf, kernel: Option<Box<dyn MarkKeeper + Send>>) -> Self {
        Self { folder: Some(folder), kernel, ..Self::default() }
    }

    /// Why the mark can't be kept, or could not be read.
    #[must_use]
    pub fn fault(&self) -> Option<&MarkFault> {
        Some(&self.fault).filter(|fault| !fault.is_none())
    }

    pub(super) fn read_file(&mut self) -> Option<Mark> {
        let file = self.folder.as_ref()?.join(FILE);
        match read(&file) {
            Ok(mark) => mark,
            Err(why) => {
                self.fault.file = Some(format!("{} can't be read: {why}", file.display()));
                None
            }
        }
    }

    /// Whether the file is there: somebody may have removed it, with its folder. Where its disk doesn't answer it is not, so that
    /// it is tried to write it, and told that it can't be.
    pub(super) fn has_file(&self) -> bool {
        let Some(folder) = &self.folder else { return true };
        let file = folder.join(FILE);
        self.file_work.in_time(move || file.exists()).unwrap_or(false)
    }

    /// Whether the file has the uses of this moment, or is not to be written for them yet. As the daemon ends it is.
    pub(super) fn has_uses(&self, is_end: bool, uses: impl FnOnce() -> Vec<MarkedUse>) -> bool {
        self.uses
            .as_ref()
            .is_some_and(|(at, written)| (!is_end && at.elapsed() < USES_EVERY) || *written == uses())
    }

    pub(super) fn read_kernel(&mut self) -> KernelMark {
        match self.kernel.as_ref().map(|kernel| kernel.read()) {
            Some(Ok(mark)) => mark,
            Some(Err(why)) => {
                self.fault.kernel = Some(format!("the kernel's mark can't be read: {why}"));
                KernelMark::default()
            }
            None => KernelMark::default(),
        }
    }

    /// These, where what a store before noted by others is taken over: it is known then whose notes the kernel's are.
    pub(super) fn after(self, before: &Self) -> Self {
        let file_work = before.file_work.clone();
        Self { unrecorded: before.unrecorded.clone(), file_work, ..self.again() }
    }

    /// These, where it is not the first store of this daemon.
    #[must_use]
    pub fn again(self) -> Self {
        Self { is_again: true, ..self }
    }

    pub(super) const fn is_again(&self) -> bool {
        self.is_again
    }

    /// What an earlier daemon made live and told nobody of.
    pub(super) fn untold(&self, kernel: &KernelMark) -> Option<Untold> {
        kernel.untold.filter(|_| !self.is_again)
    }

    /// Has the kernel know what is told.
    fn tell(&mut self, fault: &mut MarkFault) {
        let Some(judges) = self.told.take() else { return };
        if let Some(Err(why)) = self.kernel.as_ref().map(|kernel| kernel.is_told(judges)) {
            fault.kernel = Some(not_in_kernel(&why));
            self.told = Some(judges);
        }
    }

    /// Writes both. While the store lacks an order, the kernel has an end that no store has: without the file, which has that
    /// order, the next start closes everything.
    pub(super) fn write(&mut self, mut mark: Mark, head: audit::Head) {
        let mut fault = MarkFault::default();
        let kernel = self.kernel.as_ref().and_then(|kernel| kernel.read().ok()).unwrap_or_default();
        mark.before = kernel.head.map(|it| (it.sequence, it.hash_text()));
        mark.time = kernel.time;
        mark.unrecorded.clone_from(&self.unrecorded);
        let kernels = mark.kernels(head);
        if let Some(folder) = &self.folder
            && let Err(why) = self.file_work.write(folder, &mark)
        {
            fault.file = Some(of_file(folder, &format!("can't be written: {why}")));
        }
        let unrecorded = Noted::of(&self.unrecorded);
        let of_kernel = KernelMark { head: Some(kernels), unrecorded, ..KernelMark::default() };
        self.keep_in_kernel(&of_kernel, &mut fault);
        self.told = self.told.or_else(|| self.unrecorded.last().and_then(Unrecorded::live_by));
        self.tell(&mut fault);
        // What failed is tried again.
        self.written = fault.is_none().then_some((head, mark.unsaved));
        self.uses = Some((Instant::now(), mark.uses));
        self.fault = fault;
    }

    /// Writes into the file what a store that can't be opened lacks, orders and records of configs, and into the kernel that this
    /// very file has them. The kernel has that of configs first, whatever the file's disk does, and also where there is no file
    /// to write into.
    pub(super) fn write_unsaved(&mut self, unsaved: Vec<StandingOrder>, to_note: Vec<Unrecorded>) {
        let kernel = self.read_kernel();
        let mut fault = MarkFault::default();
        let own = std::mem::take(&mut self.unrecorded);
        // Until it is known what the file has: a digest that no file has says that there is more, of which the first is the same.
        let beforehand: Vec<Unrecorded> = own.iter().chain(&to_note).cloned().collect();
        let beforehand = Noted::of(&beforehand).map(|it| kernel.unrecorded.unwrap_or(it).with(&it));
        if !to_note.is_empty() {
            self.keep_in_kernel(&KernelMark { unrecorded: beforehand, ..kernel }, &mut fault);
        }
        let file = self.read_file_in_time(&mut fault);
        let of_notes = file.as_ref().map(|it| it.unrecorded.clone()).unwrap_or_default();
        self.unrecorded = unrecorded::together(own, of_notes, kernel.unrecorded);
        self.unrecorded.extend(to_note);
        let mut mark = KernelMark { unrecorded: Noted::of(&self.unrecorded), ..kernel };
        self.keep_in_kernel(&mark, &mut fault);
        match (&self.folder, file) {
            (Some(folder), Some(mut file)) => {
                // Those that a daemon before this one noted stay.
                let new: Vec<_> = unsaved.iter().filter(|it| !file.unsaved.contains(it)).cloned().collect();
                let of_trail = file.head();
                let before = of_trail.map(|head| file.kernels(head));
                file.unsaved.extend(new);
                file.unrecorded.clone_from(&self.unrecorded);
                file.time = file.time.max(kernel.time);
                file.before = kernel.head.map(|it| (it.sequence, it.hash_text()));
                match self.file_work.write(folder, &file) {
                    // Where the one that is there was the kernel's.
                    Ok(()) if kernel.head == before => mark.head = of_trail.map(|head| file.kernels(head)),
                    Ok(()) => {}
                    Err(why) => fault.file = Some(of_file(folder, &format!("can't be written: {why}"))),
                }
            }
            (Some(folder), None) => {
                let why = "is not there: what the store can't take is not noted in it";
                fault.file.get_or_insert_with(|| of_file(folder, why));
            }
            (None, _) => {}
        }
        self.keep_in_kernel(&mark, &mut fault);
        self.told = self.unrecorded.last().and_then(Unrecorded::live_by);
        self.tell(&mut fault);
        // What failed is tried again.
        self.written = fault.is_none().then_some((audit::Head::START, unsaved));
        self.fault = fault;
    }

    fn keep_in_kernel(&self, mark: &KernelMark, fault: &mut MarkFault) {
        if let Some(keeper) = &self.kernel
            && let Err(why) = keeper.write(mark)
        {
            fault.kernel = Some(not_in_kernel(&why));
        }
    }

    /// As [`read_file`](Self::read_file), where the disk answers in time.
    fn read_file_in_time(&self, fault: &mut MarkFault) -> Option<Mark> {
        let folder = self.folder.as_ref()?;
        let file = folder.join(FILE);
        self.file_work.in_time(move || read(&file)).and_then(|read| read).unwrap_or_else(|why| {
            fault.file = Some(of_file(folder, &format!("can't be read: {why}")));
            None
        })
    }
}

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    format: u32,
    /// Of the last record.
    pub(super) sequence: u64,
    /// SHA-256 of its line, 64 hexadecimal digits.
    pub(super) hash: String,
    /// The highest version of each id that was ever loaded.
    pub(super) versions: BTreeMap<String, u32>,
    /// The orders that stand.
    pub(super) orders: Vec<StandingOrder>,
    /// Those that the store could not keep yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) unsaved: Vec<StandingOrder>,
    /// Configs that were live and of which the trail has no record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) unrecorded: Vec<Unrecorded>,
    /// The configs that were in force and were replaced, by their SHA-256.
    #[serde(default)]
    pub(super) replaced_configs: BTreeSet<String>,
    /// What the exemptions that are not closed had let through when this was written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) uses: Vec<MarkedUse>,
    /// What the kernel had when this was written, as number and hash: a file that is ahead of the kernel's mark has all that was
    /// there only where it came next.
    #[serde(default)]
    pub(super) before: Option<(u64, String)>,
    /// The latest time that the kernel's mark had when this was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<Timestamp>,
}

impl Mark {
    pub(super) fn new(
        head: &audit::Head,
        versions: BTreeMap<String, u32>,
        (orders, unsaved): (Vec<StandingOrder>, Vec<StandingOrder>),
        replaced_configs: BTreeSet<String>,
    ) -> Self {
        let (sequence, hash) = (head.sequence, head.hash_text());
        let (unrecorded, uses) = (Vec::new(), Vec::new());
        Self {
            format: FORMAT,
            sequence,
            hash,
            versions,
            orders,
            unsaved,
            unrecorded,
            replaced_configs,
            uses,
            before: None,
            time: None,
        }
    }

    /// Whether it has all that there was where the kernel's mark has this end: it is of the same one, or of the next.
    pub(super) fn has_all_of(&self, kernel: &(u64, String)) -> bool {
        (self.sequence, &self.hash) == (kernel.0, &kernel.1) || self.before.as_ref() == Some(kernel)
    }

    /// The end of the trail that it is of; `None` where it says none.
    pub(super) fn head(&self) -> Option<audit::Head> {
        Some(audit::Head { sequence: self.sequence, hash: from_hexadecimal(&self.hash)? })
    }

    /// What the kernel has where this is in the file, and this is the end of the trail: another file, also an earlier one with
    /// other orders, is not the one.
    pub(super) fn kernels(&self, head: audit::Head) -> audit::Head {
        match self.unsaved.is_empty() {
            true => head,
            // They were read from JSON, or are to be written as such.
            false => head.pending(&serde_json::to_vec(&self.unsaved).unwrap_or_default()),
        }
    }
}

/// Has the file of this folder know this time, where there is one.
///
/// # Errors
/// Where it can't be read or written.
pub fn keep_time(folder: &Path, time: Timestamp) -> Result<(), String> {
    let at = |why: String| of_file(folder, &why);
    let Some(mut mark) = read(&folder.join(FILE)).map_err(|why| at(format!("can't be read: {why}")))? else {
        return Err(at("is not there".to_owned()));
    };
    mark.time = mark.time.max(Some(time));
    write(folder, &mark).map_err(|why| at(format!("can't be written: {why}")))
}

/// What is wrong with the file of this folder.
fn of_file(folder: &Path, why: &str) -> String {
    format!("{} {why}", folder.join(FILE).display())
}

fn not_in_kernel(why: &str) -> String {
    format!("the kernel's mark can't be written: {why}")
}

/// Work on the file, which a disk may hold up: then the next waits for its end, so that what is late goes over nothing newer.
#[derive(Clone, Default)]
struct FileWork(Arc<AtomicBool>);

impl FileWork {
    /// What this comes to, on a thread of its own, where it is done in time.
    fn in_time<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
        let late = || format!("the disk has not answered for {} s", PATIENCE.as_secs());
        if self.0.swap(true, Ordering::SeqCst) {
            return Err(late());
        }
        let ((sender, done), is_busy) = (mpsc::channel(), Arc::clone(&self.0));
        let work = move || {
            let came = work();
            is_busy.store(false, Ordering::SeqCst);
            let _nobody_waits_any_more = sender.send(came);
        };
        if let Err(error) = thread::Builder::new().name("mark-file".to_owned()).spawn(work) {
            self.0.store(false, Ordering::SeqCst);
            return Err(format!("no thread can be had: {error}"));
        }
        done.recv_timeout(PATIENCE).map_err(|_| late())
    }

    fn write(&self, folder: &Path, mark: &Mark) -> Result<(), String> {
        let (folder, mark) = (folder.to_owned(), mark.clone());
        self.in_time(move || write(&folder, &mark).map_err(|error| error.to_string())).and_then(|it| it)
    }
}

fn read(file: &Path) -> Result<Option<Mark>, String> {
    let bytes = match fs::metadata(file) {
        Ok(metadata) if !metadata.is_file() => return Err("it is no regular file".to_owned()),
        Ok(metadata) if metadata.len() > FILE_BYTES => return Err("it is too long".to_owned()),
        Ok(_) => fs::read(file).map_err(|error| error.to_string())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mark: Mark = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    match mark.format {
        FORMAT => Ok(Some(mark)),
        other => Err(format!("its form is {other}, and this version reads {FORMAT}")),
    }
}

/// Writes the file whole or not at all. That it has its name need not be on the disk at once: one that is behind the store says
/// nothing. What it has must be, for after a loss of power some file systems have the name and an empty file.
fn write(folder: &Path, mark: &Mark) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let beside = folder.join(format!("{FILE}.new"));
    let mut text = serde_json::to_vec(mark)?;
    text.push(b'\n');
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(&text)?;
    file.sync_data()?;
    fs::rename(&beside, folder.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_hangs_holds_up_nobody_who_asks_for_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut marks = Marks::new(folder.path().to_owned(), None);
        assert!(!marks.has_file());
        let head = audit::Head { sequence: 1, hash: [7; 32] };
        let mark = || Mark::new(&head, BTreeMap::new(), (Vec::new(), Vec::new()), BTreeSet::new());
        marks.write(mark(), head);
        assert!(marks.has_file() && marks.fault().is_none());
        let (go_on, hangs) = mpsc::channel::<()>();
        let begin = Instant::now();
        marks.file_work.in_time(move || hangs.recv()).unwrap_err();
        // What is asked next is told so at once: it is not known to be there, and can't be written.
        assert!(!marks.has_file());
        marks.write(mark(), head);
        let fault = marks.fault().unwrap().to_string();
        assert!(fault.contains("the disk has not answered for 2 s"), "{fault}");
        assert!(begin.elapsed() < PATIENCE * 2, "{:?}", begin.elapsed());
        drop(go_on);
        while !marks.has_file() {
            assert!(begin.elapsed() < PATIENCE * 5);
        }
        marks.write(mark(), head);
        assert!(marks.fault().is_none());
    }
}
