//! What the log's lines have told of the kernel's totals, so that both add up to the same.
//!
//! Each line that is written adds what it has of a hook, verdict and reason. The totals are looked at before each sweep over
//! the flows. Where one stood still for two sweeps, all its flows were quiet and have been reported: what the log does not
//! have by then it will never have by events, and a line says so ([`Difference`]). What was told is in a file of the state
//! directory, written as the lines are, for the next run. It is of these counters alone: where the kernel's maps are others,
//! as after a reboot, nothing of them was told yet.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use guard_common::abi::{Count, TOTALS, total_at, total_index};
use guard_common::verdict::{Reason, Verdict};
use jiff::Timestamp;
use rustix::fs::{CWD, Mode, OFlags, openat};
use tracing::warn;

use super::difference::Difference;
use super::record::Record;

/// The file of the state directory.
pub(super) const FILE: &str = "event-log.told";
/// Bytes of its head: by which counters it goes.
const HEAD: usize = 128;
/// Bytes of a row: packets and bytes, in this machine's order, for no other machine has its counters.
const ROW: usize = 16;
/// For how many looks a total has to have stood still.
const STILL: u8 = 2;

/// What the kernel has counted, by [`total_index`]; what is not in it is zero.
pub type Totals = Vec<(u32, Count)>;

/// What was told, and what was seen of the totals.
#[derive(Debug)]
pub(super) struct Told {
    rows: Vec<Row>,
    file: Option<File>,
    has_failed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Row {
    told: Count,
    seen: Count,
    still: u8,
}

impl Told {
    /// What earlier runs have told, from the state directory, of the counters of this name.
    pub(super) fn open(state: &Path, counters: &str) -> Self {
        let mut told = Self::nothing();
        match told.read(state, counters) {
            Ok(file) => told.file = Some(file),
            Err(error) => warn!(
                "what the event log has told can't be kept in {}: {error}; the next run's log may tell it again",
                state.display()
            ),
        }
        told
    }

    /// Nothing was told, and nothing is kept.
    pub(super) fn nothing() -> Self {
        Self { rows: vec![Row::default(); TOTALS], file: None, has_failed: false }
    }

    fn read(&mut self, state: &Path, counters: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = File::from(openat(CWD, state.join(FILE), flags, Mode::from_raw_mode(0o600))?);
        let mut found = vec![0; HEAD + TOTALS * ROW];
        let mut fresh = found.clone();
        fresh.iter_mut().zip(counters.bytes().take(HEAD)).for_each(|(to, byte)| *to = byte);
        let is_whole = file.read_at(&mut found, 0)? == found.len();
        if !is_whole || found.get(..HEAD) != fresh.get(..HEAD) {
            file.write_all_at(&fresh, 0)?;
            return Ok(file);
        }
        let rows = found.get(HEAD..).unwrap_or_default();
        for (row, bytes) in self.rows.iter_mut().zip(rows.chunks_exact(ROW)) {
            let (packets, bytes) = bytes.split_at(ROW / 2);
            let number = |it: &[u8]| it.try_into().map(u64::from_ne_bytes).unwrap_or_default();
            row.told = Count { packets: number(packets), bytes: number(bytes) };
        }
        Ok(file)
    }

    /// Takes up what a line has told that was written.
    pub(super) fn add(&mut self, record: &Record) {
        let Some((index, packets, bytes)) = told_by(record) else { return };
        let Some(row) = self.rows.get_mut(index as usize) else { return };
        row.told.packets = row.told.packets.wrapping_add(packets);
        row.told.bytes = row.told.bytes.wrapping_add(bytes);
        let told = row.told;
        self.keep(index as usize, told);
    }

    /// Looks at the totals, and says what no line has of those that stood still. Each is to be given back to
    /// [`add`](Self::add) once it is written.
    pub(super) fn look(&mut self, totals: &[(u32, Count)], now: Timestamp) -> Vec<Difference> {
        let mut differences = Vec::new();
        for (index, count) in totals {
            let Some((hook, verdict, reason)) = total_at(*index).filter(|it| has_events(it.1, it.2)) else {
                continue;
            };
            let Some(row) = self.rows.get_mut(*index as usize) else { continue };
            row.still = if row.seen == *count { row.still.saturating_add(1) } else { 0 };
            row.seen = *count;
            if row.still < STILL || row.told == *count {
                continue;
            }
            let [packets, bytes] =
                [(count.packets, row.told.packets), (count.bytes, row.told.bytes)].map(|(counted, told)| {
                    // Of two that are near each other, whatever they wrapped around.
                    counted.wrapping_sub(told).cast_signed()
                });
            differences.push(Difference { time: now, hook, verdict, reason, packets, bytes });
        }
        differences
    }

    /// Forgets which totals stood still: their flows were not gone over.
    pub(super) fn unsettle(&mut self) {
        self.rows.iter_mut().for_each(|row| row.still = 0);
    }

    fn keep(&mut self, index: usize, told: Count) {
        let mut bytes = [0; ROW];
        let (packets, rest) = bytes.split_at_mut(ROW / 2);
        packets.copy_from_slice(&told.packets.to_ne_bytes());
        rest.copy_from_slice(&told.bytes.to_ne_bytes());
        let Some(file) = &self.file else { return };
        let written = file.write_all_at(&bytes, (HEAD + index * ROW) as u64);
        if let (Err(error), false) = (&written, self.has_failed) {
            warn!("what the event log has told can't be kept: {error}; the next run's log may tell it again");
        }
        self.has_failed = written.is_err();
    }
}

/// Whether what is judged so has events: a pin forbids it, or it could not be judged.
const fn has_events(verdict: Verdict, reason: Reason) -> bool {
    !matches!(verdict, Verdict::Pass) || matches!(reason, Reason::Exempt | Reason::Failsafe)
}

/// Which total a line tells of, and how much.
fn told_by(record: &Record) -> Option<(u32, u64, u64)> {
    match record {
        Record::Event(entry) => {
            let event = entry.flow()?;
            let index = total_index(event.hook, event.verdict as u8, event.reason as u8);
            Some((index, event.packets, event.bytes))
        }
        Record::Summary(summary) => {
            let index = total_index(summary.hook, summary.verdict as u8, summary.reason as u8);
            Some((index, summary.packets, summary.bytes))
        }
        Record::Difference(it) => {
            let index = total_index(it.hook, it.verdict as u8, it.reason as u8);
            Some((index, it.packets.cast_unsigned(), it.bytes.cast_unsigned()))
        }
        Record::Lost(_) | Record::Start(_) | Record::End(_) => None,
    }
}

#[cfg(test)]
mod tests;
