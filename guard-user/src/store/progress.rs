//! How far the kernel's counts and events are taken over: which pins the counts are of, what of them is in the days'
//! sums, and up to when flows were reported.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;

use super::days::day;
use super::tables::{CURSORS, FLOWS, NOW, PIN_COUNTS};
use super::{Cursor, Judged, PinCounts, Problem, Store, StoreError, rollup};

/// The files in which earlier versions kept what is in the database now.
const COUNTS_FILE: &str = "counts.json";
const CURSOR_FILE: &str = "told.json";

/// What is saved together; what is `None` stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress<'a> {
    /// Which pins the kernel's counts are of.
    pub pin_counts: Option<&'a PinCounts>,
    /// The kernel's counts of this moment, packets and bytes: sums since its counters began. What they grew by since
    /// they were last saved is added to the present day.
    pub judged: Option<&'a BTreeMap<Judged, (u64, u64)>>,
    /// Up to when flows were reported.
    pub cursor: Option<&'a Cursor>,
}

impl Store {
    /// Which pins the kernel's counts are of, as it was last saved; empty where it never was, or the counters began
    /// anew since.
    ///
    /// # Errors
    /// Where it can't be read: then it is not known which pins the counts so far are of.
    pub fn pin_counts(&self) -> Result<PinCounts, StoreError> {
        let Some(bytes) = self.reader()?.pin_counts()? else { return Ok(PinCounts::default()) };
        PinCounts::from_bytes(&bytes).map_err(|error| StoreError::Damaged {
            path: self.path.clone(),
            reason: format!("which pins the counts are of can't be read: {error}"),
        })
    }

    /// Up to when flows were reported, as it was last saved.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn cursor(&self) -> Result<Option<Cursor>, StoreError> {
        self.reader()?.cursor()
    }

    /// Saves all of it in one transaction. Nothing is written where nothing of it changed.
    ///
    /// # Errors
    /// Where the disk refuses; then nothing of it is saved, and a later call saves all that came meanwhile.
    pub fn save_progress(&mut self, progress: Progress<'_>, now: Timestamp) -> Result<(), StoreError> {
        let Progress { pin_counts, judged, cursor } = progress;
        self.leave_doubt()?;
        let reader = self.reader()?;
        let pin_counts =
            pin_counts.map(PinCounts::to_bytes).transpose().map_err(|error| self.unwritable(error))?;
        let pin_counts = match pin_counts {
            Some(bytes) if reader.pin_counts()?.as_ref() == Some(&bytes) => None,
            other => other,
        };
        let cursor = match cursor {
            Some(cursor) if reader.cursor()?.as_ref() == Some(cursor) => None,
            other => other,
        };
        let grown = judged.map(|counts| reader.grown(counts)).transpose()?.unwrap_or_default();
        drop(reader);
        if pin_counts.is_none() && cursor.is_none() && grown.is_empty() && !self.is_ahead() {
            return Ok(());
        }
        let day = day(now);
        self.commit(&[], Vec::new(), |batch| {
            if let Some(bytes) = &pin_counts {
                batch.open_table(PIN_COUNTS)?.insert(NOW, bytes.as_slice())?;
            }
            if let Some(Cursor { boot, swept_ns }) = cursor {
                batch.open_table(CURSORS)?.insert(FLOWS, (boot.as_str(), *swept_ns))?;
            }
            if !grown.is_empty() {
                rollup::counted_until(batch, now)?;
            }
            rollup::add_counts(batch, &day, &grown)
        })
    }

    /// Saves which pins the kernel's counts are of: see [`save_progress`](Self::save_progress).
    ///
    /// # Errors
    /// As there.
    pub fn save_pin_counts(&mut self, pin_counts: &PinCounts) -> Result<(), StoreError> {
        self.save_progress(
            Progress { pin_counts: Some(pin_counts), ..Progress::default() },
            Timestamp::UNIX_EPOCH,
        )
    }

    /// Adds what the kernel's counts grew by to the present day: see [`save_progress`](Self::save_progress).
    ///
    /// # Errors
    /// As there.
    pub fn record_counts(
        &mut self,
        judged: &BTreeMap<Judged, (u64, u64)>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.save_progress(Progress { judged: Some(judged), ..Progress::default() }, now)
    }

    /// Saves up to when flows were reported: see [`save_progress`](Self::save_progress).
    ///
    /// # Errors
    /// As there.
    pub fn save_cursor(&mut self, cursor: &Cursor) -> Result<(), StoreError> {
        self.save_progress(Progress { cursor: Some(cursor), ..Progress::default() }, Timestamp::UNIX_EPOCH)
    }

    /// Takes over the files in which earlier versions kept this beside the database, and removes them. What can't be
    /// read of them is named, and its file left where it is. To be called before the counts are first asked for.
    ///
    /// # Errors
    /// Where the disk refuses; then the files are left, and the next call tries again.
    pub fn take_over_files(&mut self) -> Result<Vec<Problem>, StoreError> {
        let folder = self.path.parent().unwrap_or(Path::new("/")).to_owned();
        let (mut problems, mut taken) = (Vec::new(), Vec::new());
        let pin_counts = found(folder.join(COUNTS_FILE), PinCounts::from_bytes, &mut taken);
        let pin_counts = pin_counts.unwrap_or_else(|reason| {
            let reason = format!(
                "it can't be read, so counts from before this version may be shown under other pins' names: \
                 {reason}. Remove it"
            );
            problems.push(Problem { place: folder.join(COUNTS_FILE).display().to_string(), reason });
            None
        });
        let cursor = found(folder.join(CURSOR_FILE), cursor_of, &mut taken);
        let cursor = cursor.unwrap_or_else(|reason| {
            let reason =
                format!("it can't be read, so some flows may be reported twice: {reason}. Remove it");
            problems.push(Problem { place: folder.join(CURSOR_FILE).display().to_string(), reason });
            None
        });
        if taken.is_empty() {
            return Ok(problems);
        }
        let progress = Progress { pin_counts: pin_counts.as_ref(), judged: None, cursor: cursor.as_ref() };
        self.save_progress(progress, Timestamp::UNIX_EPOCH)?;
        for file in taken {
            let failed = |source| StoreError::Disk { path: file.clone(), step: "removing it", source };
            fs::remove_file(&file).map_err(failed)?;
        }
        // Were they there again after a loss of power, they would go over what is saved later.
        let synced = fs::File::open(&folder).and_then(|folder| folder.sync_all());
        synced.map_err(|source| StoreError::Disk { path: folder, step: "syncing it", source })?;
        Ok(problems)
    }

    fn unwritable(&self, error: serde_json::Error) -> StoreError {
        StoreError::Disk { path: self.path.clone(), step: "writing it", source: error.into() }
    }
}

/// What a file says; `None` where it is not there. One that was read is among the `taken`.
fn found<T>(
    file: PathBuf,
    read: impl FnOnce(&[u8]) -> Result<T, String>,
    taken: &mut Vec<PathBuf>,
) -> Result<Option<T>, String> {
    let bytes = match fs::read(&file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let found = read(&bytes)?;
    taken.push(file);
    Ok(Some(found))
}

fn cursor_of(bytes: &[u8]) -> Result<Cursor, String> {
    #[derive(Deserialize)]
    struct Mark {
        boot: String,
        swept_ns: u64,
    }
    let Mark { boot, swept_ns } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    Ok(Cursor { boot, swept_ns })
}
