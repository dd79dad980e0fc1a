//! What the log's lines have told of the kernel's totals, so that both add up to the same.
//!
//! Each line that is written adds what it has of a hook, verdict and reason. The totals are looked at before each sweep over
//! the flows. Where one stood still for two sweeps, all its flows were quiet and have been reported: what the log does not
//! have by then it will never have by events, and a line says so ([`Difference`]). What was told is in a file of the state
//! directory, written as the lines are, for the next run. It is of these counters alone: where the kernel's maps are others,
//! as after a reboot, nothing of them was told yet. `borderguard detach` leaves what the counters came to ([`leave`]), so
//! that the next run tells what was counted and not told by then. What the kernel program could not keep or send is told so
//! too: what was lost while no daemon ran, the next run tells. And the file has up to when flows were told of
//! ([`Reported`]), for the next run not to take for new what this one has told.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use guard_common::abi::{Count, Loss, TOTALS, total_at, total_index};
use guard_common::verdict::{Reason, Verdict};
use jiff::Timestamp;
use tracing::warn;

use super::difference::Difference;
use super::kept::open;
use super::lost::{Lost, What};
use super::record::Record;
use crate::exemption::Clocks;

/// The file of the state directory.
pub(super) const FILE: &str = "event-log.told";
/// The file of the state directory that has what counters came to that are no more.
const LEFT: &str = "event-log.left";
/// Bytes of its head: by which counters it goes.
const HEAD: usize = 128;
/// Bytes of a row: packets and bytes, in this machine's order, for no other machine has its counters.
const ROW: usize = 16;
/// Bytes of the file of an earlier version, which had no losses behind the totals.
const WITHOUT_LOSSES: usize = HEAD + TOTALS * ROW;
/// Where the row with the moments is, behind the losses: those of all flows, and of the last line with one. Earlier versions
/// had none.
const MOMENTS: usize = WITHOUT_LOSSES + Loss::COUNT * ROW;
/// How far the moment of the last line may be behind it, nanoseconds: it is not written for each.
const BEHIND_NS: u64 = 100_000_000;
/// For how many looks a total has to have stood still.
const STILL: u8 = 2;

/// What the kernel has counted, by [`total_index`]; what is not in it is zero.
pub type Totals = Vec<(u32, Count)>;

/// How much the kernel program could not keep or send, by [`Loss`].
pub type Losses = [u64; Loss::COUNT];

/// Up to when the lines of earlier runs tell of flows, nanoseconds of `CLOCK_BOOTTIME`; zero where that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// All flows were gone over then, and lines tell what those had that were quiet.
    pub swept_ns: u64,
    /// No line tells of a flow that began after this.
    pub last_ns: u64,
}

/// What was told, and what was seen of the totals.
#[derive(Debug)]
pub(super) struct Told {
    rows: Vec<Row>,
    reported: Reported,
    /// By [`Loss`]; `None` where it is not known.
    losses: Option<Losses>,
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
    /// What earlier runs have told, from the state directory, of the counters of this name. Where they did not keep which losses
    /// they told, those until now, `lost`, are none that are to be told.
    pub(super) fn open(state: &Path, counters: &str, lost: Option<Losses>) -> Self {
        let mut told = Self::nothing();
        match told.read(state, (counters, lost)) {
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
        let (rows, reported) = (vec![Row::default(); TOTALS], Reported::default());
        Self { rows, reported, losses: None, file: None, has_failed: false }
    }

    /// Up to when flows were told of.
    pub(super) const fn reported(&self) -> Reported {
        self.reported
    }

    /// All flows were gone over at this moment, and lines tell what those had that were quiet.
    pub(super) fn swept(&mut self, swept_ns: u64) {
        self.reported.swept_ns = swept_ns;
        self.keep_reported();
    }

    /// A line tells of a flow at this moment.
    fn told_at(&mut self, now_ns: u64) {
        if now_ns > self.reported.last_ns {
            self.reported.last_ns = now_ns.saturating_add(BEHIND_NS);
            self.keep_reported();
        }
    }

    fn keep_reported(&mut self) {
        let Reported { swept_ns, last_ns } = self.reported;
        self.keep((MOMENTS - HEAD) / ROW, Count { packets: swept_ns, bytes: last_ns });
    }

    /// The losses that earlier runs have told of.
    pub(super) const fn losses(&self) -> Option<Losses> {
        self.losses
    }

    fn read(&mut self, state: &Path, (counters, lost): (&str, Option<Losses>)) -> io::Result<File> {
        let file = open(&state.join(FILE))?;
        let mut found = vec![0; MOMENTS + ROW];
        let there = file.read_at(&mut found, 0)?;
        let (is_whole, is_earlier) = (there >= MOMENTS, there == WITHOUT_LOSSES);
        let moments = counts_of(&found.split_off(MOMENTS));
        let told_losses = counts_of(&found.split_off(WITHOUT_LOSSES));
        self.losses = Some([0; Loss::COUNT]);
        if is_whole || is_earlier {
            let told = rows_of(&found);
            if found.get(..HEAD) == Some(&head_of(counters)[..]) {
                self.rows.iter_mut().zip(told).for_each(|(row, told)| row.told = told);
                self.losses = if is_whole { Some(losses_of(&told_losses)) } else { lost };
                if let Some(Count { packets, bytes }) = moments.first().copied() {
                    self.reported = Reported { swept_ns: packets, last_ns: bytes };
                }
                self.keep_losses(&file)?;
                return Ok(file);
            }
            // What was counted and not told is told as if these counters had begun with it.
            if let Some(left) = left(state, &found) {
                for (row, (told, left)) in self.rows.iter_mut().zip(told.into_iter().zip(left)) {
                    row.told = minus(told, left);
                }
            }
        }
        let rows = self.rows.iter().map(|row| row.told);
        file.write_all_at(&bytes_of(counters, rows), 0)?;
        self.keep_losses(&file)?;
        file.write_all_at(&row_of(Count::default()), MOMENTS as u64)?;
        Ok(file)
    }

    fn keep_losses(&self, file: &File) -> io::Result<()> {
        let rows = self.losses.unwrap_or_default().into_iter().flat_map(|count| row_of(lost(count)));
        file.write_all_at(&rows.collect::<Vec<u8>>(), WITHOUT_LOSSES as u64)
    }

    /// Takes up what a line has told that was written.
    pub(super) fn add(&mut self, record: &Record) {
        if let Record::Lost(Lost { what: What::Kernel(loss), count, .. }) = record
            && let Some(losses) = &mut self.losses
            && let Some(told) = losses.get_mut(*loss as usize)
        {
            *told = told.wrapping_add(*count);
            let told = lost(*told);
            return self.keep(TOTALS + *loss as usize, told);
        }
        if matches!(record, Record::Event(_) | Record::Summary(_)) {
            self.told_at(Clocks::read().boot_ns);
        }
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
        let mut counts = vec![Count::default(); self.rows.len()];
        for (index, count) in totals {
            if let Some(of) = counts.get_mut(*index as usize) {
                *of = *count;
            }
        }
        let mut differences = Vec::new();
        for ((index, row), count) in (0..).zip(&mut self.rows).zip(counts) {
            let Some((hook, verdict, reason)) = total_at(index).filter(|it| has_events(it.1, it.2)) else {
                continue;
            };
            row.still = if row.seen == count { row.still.saturating_add(1) } else { 0 };
            row.seen = count;
            if row.still < STILL || row.told == count {
                continue;
            }
            let Count { packets, bytes } = minus(count, row.told);
            let (packets, bytes) = (packets.cast_signed(), bytes.cast_signed());
            differences.push(Difference { time: now, hook, verdict, reason, packets, bytes });
        }
        differences
    }

    /// Forgets which totals stood still: their flows were not gone over.
    pub(super) fn unsettle(&mut self) {
        self.rows.iter_mut().for_each(|row| row.still = 0);
    }

    fn keep(&mut self, index: usize, told: Count) {
        let Some(file) = &self.file else { return };
        let written = file.write_all_at(&row_of(told), (HEAD + index * ROW) as u64);
        if let (Err(error), false) = (&written, self.has_failed) {
            warn!("what the event log has told can't be kept: {error}; the next run's log may tell it again");
        }
        self.has_failed = written.is_err();
    }
}

/// Leaves what counters have come to that are gone now, in the state directory.
///
/// # Errors
/// Where it can't be written.
pub fn leave(state: &Path, counters: &str, totals: &[(u32, Count)]) -> io::Result<()> {
    let mut rows = vec![Count::default(); TOTALS];
    for (index, count) in totals {
        if let Some(row) = rows.get_mut(*index as usize) {
            *row = *count;
        }
    }
    open(&state.join(LEFT))?.write_all_at(&bytes_of(counters, rows), 0)
}

/// What the counters came to of which `told` tells, where they are no more and that is known.
fn left(state: &Path, told: &[u8]) -> Option<Vec<Count>> {
    let file = open(&state.join(LEFT)).ok()?;
    let mut found = vec![0; told.len()];
    let is_of_them = file.read_at(&mut found, 0).ok()? == told.len() && found.get(..HEAD) == told.get(..HEAD);
    is_of_them.then(|| rows_of(&found))
}

/// A row for so many of a [`Loss`].
const fn lost(count: u64) -> Count {
    Count { packets: count, bytes: 0 }
}

fn losses_of(rows: &[Count]) -> Losses {
    let mut losses = [0; Loss::COUNT];
    losses.iter_mut().zip(rows).for_each(|(to, row)| *to = row.packets);
    losses
}

/// What is above another count, below zero by two's complement.
const fn minus(count: Count, other: Count) -> Count {
    Count { packets: count.packets.wrapping_sub(other.packets), bytes: count.bytes.wrapping_sub(other.bytes) }
}

fn head_of(counters: &str) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head.iter_mut().zip(counters.bytes()).for_each(|(to, byte)| *to = byte);
    head
}

fn row_of(count: Count) -> [u8; ROW] {
    let mut bytes = [0; ROW];
    let (packets, rest) = bytes.split_at_mut(ROW / 2);
    packets.copy_from_slice(&count.packets.to_ne_bytes());
    rest.copy_from_slice(&count.bytes.to_ne_bytes());
    bytes
}

fn bytes_of(counters: &str, rows: impl IntoIterator<Item = Count>) -> Vec<u8> {
    head_of(counters).into_iter().chain(rows.into_iter().flat_map(row_of)).collect()
}

/// The rows behind the head of a file.
fn rows_of(file: &[u8]) -> Vec<Count> {
    counts_of(file.get(HEAD..).unwrap_or_default())
}

fn counts_of(rows: &[u8]) -> Vec<Count> {
    let number = |it: &[u8]| it.try_into().map(u64::from_ne_bytes).unwrap_or_default();
    let row = |bytes: &[u8]| {
        let (packets, bytes) = bytes.split_at(ROW / 2);
        Count { packets: number(packets), bytes: number(bytes) }
    };
    rows.chunks_exact(ROW).map(row).collect()
}

/// Whether what is judged so has events: a pin forbids it, or it could not be judged.
pub const fn has_events(verdict: Verdict, reason: Reason) -> bool {
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
        // No count has a canary, and the log has no line of what no pin tags.
        Record::Untagged(_) | Record::Canary(_) | Record::Lost(_) | Record::Start(_) | Record::End(_) => None,
    }
}

#[cfg(test)]
mod tests;
