//! Where it is kept how far the store had come: a file apart from it, and another place.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::unrecorded::{self, Noted, Unrecorded};
use crate::audit;
use crate::digest::from_hexadecimal;
use crate::exemption::StandingOrder;

/// The file's name in its folder.
const FILE: &str = "high-water.json";
/// Version of the file's form.
const FORMAT: u32 = 1;
/// The most bytes of the file that are read.
const FILE_BYTES: u64 = 64 << 20;

/// What is kept in the place that is no file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelMark {
    /// The end of the trail; `None` where none was kept yet.
    pub head: Option<audit::Head>,
    /// Of the file's notes on configs of which the trail has no record; `None` where there are none.
    pub unrecorded: Option<Noted>,
}

/// Where the mark is kept that is no file.
pub trait MarkKeeper {
    /// What was kept last.
    ///
    /// # Errors
    /// Why it can't be read.
    fn read(&self) -> Result<KernelMark, String>;

    /// Keeps this.
    ///
    /// # Errors
    /// Why it can't be written.
    fn write(&self, mark: &KernelMark) -> Result<(), String>;
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
    /// The configs of which no trail has a record, as they are noted.
    pub(super) unrecorded: Vec<Unrecorded>,
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

    /// Whether the file is there: somebody may have removed it, with its folder.
    pub(super) fn has_file(&self) -> bool {
        self.folder.as_ref().is_none_or(|folder| folder.join(FILE).exists())
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
        Self { unrecorded: before.unrecorded.clone(), ..self }
    }

    /// Writes both. While the store lacks an order, the kernel has an end that no store has: without the file, which has that
    /// order, the next start closes everything.
    pub(super) fn write(&mut self, mut mark: Mark, head: audit::Head) {
        let mut fault = MarkFault::default();
        mark.before = self.kernels_end();
        let kernels = mark.kernels(head);
        if let Some(folder) = &self.folder
            && let Err(error) = write(folder, &mark)
        {
            fault.file = Some(of_file(folder, &format!("can't be written: {error}")));
        }
        if let Some(kernel) = &self.kernel
            && let Err(why) = kernel.write(&KernelMark { head: Some(kernels), unrecorded: None })
        {
            fault.kernel = Some(format!("the kernel's mark can't be written: {why}"));
        }
        // What failed is tried again.
        self.written = fault.is_none().then_some((head, mark.unsaved));
        self.fault = fault;
    }

    /// Writes into the file what a store that can't be opened lacks, orders and records of configs, and into the kernel that this
    /// very file has them. The kernel has that of configs also where there is no file to write into.
    pub(super) fn write_unsaved(
        &mut self,
        file: Option<Mark>,
        unsaved: Vec<StandingOrder>,
        to_note: Vec<Unrecorded>,
    ) {
        let kernel = self.read_kernel();
        let of_notes = file.as_ref().map(|it| it.unrecorded.clone()).unwrap_or_default();
        let own = std::mem::take(&mut self.unrecorded);
        self.unrecorded = unrecorded::together(own, of_notes, kernel.unrecorded);
        self.unrecorded.extend(to_note);
        let mut head = kernel.head;
        let mut fault = MarkFault::default();
        match (&self.folder, file) {
            (Some(folder), Some(mut mark)) => {
                // Those that a daemon before this one noted stay.
                let new: Vec<_> = unsaved.iter().filter(|it| !mark.unsaved.contains(it)).cloned().collect();
                let of_trail = mark.head();
                let before = of_trail.map(|head| mark.kernels(head));
                mark.unsaved.extend(new);
                mark.unrecorded.clone_from(&self.unrecorded);
                mark.before = kernel.head.map(|it| (it.sequence, it.hash_text()));
                match write(folder, &mark) {
                    // Where the one that is there was the kernel's.
                    Ok(()) if kernel.head == before => head = of_trail.map(|head| mark.kernels(head)),
                    Ok(()) => {}
                    Err(error) => fault.file = Some(of_file(folder, &format!("can't be written: {error}"))),
                }
            }
            (Some(folder), None) => {
                fault.file =
                    Some(of_file(folder, "is not there: what the store can't take is not noted in it"));
            }
            (None, _) => {}
        }
        let mark = KernelMark { head, unrecorded: Noted::of(&self.unrecorded) };
        if let Some(keeper) = &self.kernel
            && mark != kernel
            && let Err(why) = keeper.write(&mark)
        {
            fault.kernel = Some(format!("the kernel's mark can't be written: {why}"));
        }
        // What failed is tried again.
        self.written = fault.is_none().then_some((audit::Head::START, unsaved));
        self.fault = fault;
    }

    /// What the kernel has now.
    fn kernels_end(&self) -> Option<(u64, String)> {
        let head = self.kernel.as_ref()?.read().ok()?.head?;
        Some((head.sequence, head.hash_text()))
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
    /// What the kernel had when this was written, as number and hash: a file that is ahead of the kernel's mark has all that was
    /// there only where it came next.
    #[serde(default)]
    pub(super) before: Option<(u64, String)>,
}

impl Mark {
    pub(super) fn new(
        head: &audit::Head,
        versions: BTreeMap<String, u32>,
        (orders, unsaved): (Vec<StandingOrder>, Vec<StandingOrder>),
        replaced_configs: BTreeSet<String>,
    ) -> Self {
        let (sequence, hash) = (head.sequence, head.hash_text());
        let unrecorded = Vec::new();
        Self {
            format: FORMAT,
            sequence,
            hash,
            versions,
            orders,
            unsaved,
            unrecorded,
            replaced_configs,
            before: None,
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

/// What is wrong with the file of this folder.
fn of_file(folder: &Path, why: &str) -> String {
    format!("{} {why}", folder.join(FILE).display())
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

/// Writes the file whole or not at all. It need not be on the disk at once: one that is behind the store says nothing.
fn write(folder: &Path, mark: &Mark) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let beside = folder.join(format!("{FILE}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    serde_json::to_writer(&mut file, mark)?;
    file.write_all(b"\n")?;
    fs::rename(&beside, folder.join(FILE))
}
