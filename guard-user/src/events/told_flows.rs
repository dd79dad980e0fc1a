//! What the log's lines have told of each flow, for the next run of the daemon to go on from.
//!
//! It is in a file of the state directory, in rows of one length. A flow's row has a place by its key, which it shares with
//! others: a row may be written over by another flow's, and that flow is then one of which the next run does not know what was
//! told ([`Phase::Resumed`](super::event::Phase::Resumed)). A row that is there and does not tell the last is known by the moment
//! up to which rows were left out. At its end a daemon writes a row of every flow, as far as there is room.
//!
//! The log's writer keeps it, in the order of the lines: the rows of events are written before their lines. As the totals
//! ([`told`](super::told)) it is of these counters alone, and it is not forced to the disk, for it ends with the boot.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use guard_common::abi::{Count, FlowKey};
use guard_common::packet::Addr;
use jiff::Timestamp;
use tracing::warn;

use super::kept::open;

/// The file of the state directory.
pub(super) const FILE: &str = "event-log.flows";
/// Bytes of its head: the form and the counters' name.
const HEAD: usize = 128;
/// How its head begins; another one is no such file.
const FORM: &str = "flows 1 ";
/// Where it is written up to when rows were left out, nanoseconds of `CLOCK_BOOTTIME`: 0 where a run has left a row of every flow.
const LEFT_OUT: usize = HEAD;
/// Behind it, when the daemon started whose run keeps the file, and the one of the last line before: nanoseconds since 1970.
/// Where the last line is another one's, as of an earlier version which knows no such file, it tells nothing.
const RUNS: usize = LEFT_OUT + MOMENT;
/// Where the rows begin.
const BEGIN: usize = RUNS + 2 * MOMENT;
/// Bytes of a moment.
const MOMENT: usize = 8;
/// Rows that there is room for.
const ROWS: usize = 1 << 15;
/// Bytes of a key in a row, and of a row: the key, and four numbers. All are in this machine's order.
const KEY: usize = 48;
const ROW: usize = KEY + 4 * MOMENT;
/// Up to when rows were left out where none was; what was told of other flows is not there.
const NONE: u64 = 1;
/// Likewise where every row may be an old one.
const ALL: u64 = u64::MAX;

/// What lines have told of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToldFlow {
    /// The flow.
    pub key: FlowKey,
    /// When its record began, nanoseconds of `CLOCK_BOOTTIME`.
    pub first_ns: u64,
    /// Packets, and bytes on the wire; `None` where some are to be told in a sum that is not written yet.
    pub told: Option<Count>,
}

/// What an earlier run has told of flows.
#[derive(Clone, Debug, Default)]
pub struct KnownFlows {
    flows: Arc<HashMap<FlowKey, Row>>,
    /// Rows were left out up to here.
    left_out_ns: Option<u64>,
}

/// What is in a row beside its flow.
#[derive(Clone, Copy, Debug)]
struct Row {
    first_ns: u64,
    told: Count,
    told_ns: u64,
}

impl KnownFlows {
    /// What was told of the flow whose record began then and has so many packets by now. `None` where that is not known.
    #[must_use]
    pub fn told(&self, key: &FlowKey, first_ns: u64, packets: u64) -> Option<Count> {
        let row = self.flows.get(key).filter(|row| row.first_ns == first_ns)?;
        let is_last =
            self.left_out_ns.is_some_and(|until| row.told_ns > until) || row.told.packets == packets;
        is_last.then_some(row.told)
    }

    fn rows_at_their_places(&self) -> Vec<u8> {
        let mut rows = vec![0; if self.flows.is_empty() { 0 } else { ROWS * ROW }];
        for (key, row) in self.flows.iter() {
            let flow = ToldFlow { key: *key, first_ns: row.first_ns, told: Some(row.told) };
            let begin = usize::try_from(row_number(key)).map_or(0, |number| number * ROW);
            if let Some(place) = rows.get_mut(begin..begin + ROW) {
                place.copy_from_slice(&row_of(&flow, row.told_ns));
            }
        }
        rows
    }

    /// Whether nothing was told of any other flow.
    #[must_use]
    pub fn are_all(&self) -> bool {
        self.left_out_ns == Some(0)
    }
}

/// The file.
#[derive(Debug, Default)]
pub(super) struct ToldFlows {
    file: Option<File>,
    left_out_ns: u64,
    known: KnownFlows,
}

impl ToldFlows {
    /// Reads what an earlier run has told of flows, by the counters of this name, and begins anew with that. `last` is when the daemon started that wrote the last line.
    pub(super) fn open(state: &Path, counters: &str, last: Option<Timestamp>) -> Self {
        match Self::read(state, counters, last) {
            Ok(flows) => flows,
            Err(error) => {
                warn!(
                    "what the event log has told of flows can't be kept in {}: {error}; the next run may tell of them again",
                    state.display()
                );
                Self::default()
            }
        }
    }

    fn read(state: &Path, counters: &str, last: Option<Timestamp>) -> io::Result<Self> {
        let file = open(&state.join(FILE))?;
        let (mut found, head) = (Vec::new(), head_of(counters));
        (&file).take(place_of(ROWS as u64)).read_to_end(&mut found)?;
        let is_of_last = [RUNS, RUNS + MOMENT].iter().any(|at| number(&found, *at) == Some(moment_of(last)));
        let known =
            if found.starts_with(&head) && is_of_last { known(&found) } else { KnownFlows::default() };
        let left_out_ns = match known.left_out_ns {
            None => {
                file.set_len(0)?;
                file.write_all_at(&head, 0)?;
                NONE
            }
            // This run tells of more flows.
            Some(0) => NONE,
            Some(until) => until,
        };
        // A run at its end has left rows one behind the other. While they are brought to their places, none counts.
        file.set_len(LEFT_OUT as u64)?;
        file.write_all_at(&[ALL.to_ne_bytes(), moment_of(last), moment_of(last)].concat(), LEFT_OUT as u64)?;
        file.write_all_at(&known.rows_at_their_places(), place_of(0))?;
        file.write_all_at(&left_out_ns.to_ne_bytes(), LEFT_OUT as u64)?;
        Ok(Self { file: Some(file), left_out_ns, known })
    }

    /// Takes note of the run that keeps it from now on, behind that of the last line.
    pub(super) fn begin(&mut self, session: Timestamp, last: Option<Timestamp>) {
        self.write(&[moment_of(Some(session)), moment_of(last)].concat(), RUNS as u64);
    }

    /// What an earlier run has told. It is given once.
    pub(super) fn take_known(&mut self) -> KnownFlows {
        std::mem::take(&mut self.known)
    }

    /// Takes note that rows were left out up to this moment.
    pub(super) fn left_out(&mut self, until_ns: u64) {
        if until_ns > self.left_out_ns {
            self.left_out_ns = until_ns;
            self.write(&until_ns.to_ne_bytes(), LEFT_OUT as u64);
        }
    }

    /// Keeps what is told of these flows by now.
    pub(super) fn keep(&mut self, flows: &[ToldFlow], now_ns: u64) {
        for flow in flows {
            self.write(&row_of(flow, now_ns), place_of(row_number(&flow.key)));
        }
    }

    /// Keeps what is told of every flow, at the end of the run.
    pub(super) fn keep_all(&mut self, flows: &[ToldFlow], now_ns: u64) {
        // While it is written, and where that is broken off, no row is known to be the last one.
        self.write(&ALL.to_ne_bytes(), LEFT_OUT as u64);
        if let Some(file) = &self.file
            && let Err(error) = file.set_len(place_of(0))
        {
            return self.failed(&error);
        }
        let rows: Vec<u8> = flows.iter().take(ROWS).flat_map(|flow| row_of(flow, now_ns)).collect();
        self.write(&rows, place_of(0));
        let left_out = if flows.len() <= ROWS { 0 } else { NONE };
        self.write(&left_out.to_ne_bytes(), LEFT_OUT as u64);
    }

    fn write(&mut self, bytes: &[u8], at: u64) {
        let written = self.file.as_ref().map_or(Ok(()), |file| file.write_all_at(bytes, at));
        if let Err(error) = written {
            self.failed(&error);
        }
    }

    /// A row that could not be written is an old one: the file is given up. Where that can't be written either, it is emptied.
    fn failed(&mut self, error: &io::Error) {
        let Some(file) = self.file.take() else { return };
        warn!(
            "what the event log has told of flows can't be kept: {error}; the next run may tell of them again"
        );
        if file.write_all_at(&ALL.to_ne_bytes(), LEFT_OUT as u64).is_err() {
            let _nothing_more_can_be_done = file.set_len(0);
        }
    }
}

/// The number of the flow's row, which is another one's too.
fn row_number(key: &FlowKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish() % ROWS as u64
}

const fn place_of(row: u64) -> u64 {
    BEGIN as u64 + row * ROW as u64
}

fn moment_of(time: Option<Timestamp>) -> [u8; MOMENT] {
    let moment = time.and_then(|time| i64::try_from(time.as_nanosecond()).ok());
    moment.unwrap_or_default().to_ne_bytes()
}

fn head_of(counters: &str) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head.iter_mut().zip(FORM.bytes().chain(counters.bytes())).for_each(|(to, byte)| *to = byte);
    head
}

/// With a moment of 0 the row is none.
fn row_of(flow: &ToldFlow, told_ns: u64) -> [u8; ROW] {
    let (Count { packets, bytes: told }, told_ns) =
        flow.told.map_or_else(Default::default, |told| (told, told_ns));
    let FlowKey { src, dst, sport, dport, proto, hook, verdict, reason, place, exemption, pins } = flow.key;
    let mut row = [0; ROW];
    let bytes = [src.hi, src.lo, dst.hi, dst.lo].map(u64::to_ne_bytes).into_iter().flatten();
    let bytes = bytes
        .chain([sport, dport].map(u16::to_ne_bytes).into_iter().flatten())
        .chain([proto, hook, verdict, reason])
        .chain([place, exemption].map(u16::to_ne_bytes).into_iter().flatten())
        .chain(pins.to_ne_bytes());
    let numbers = [flow.first_ns, packets, told, told_ns].map(u64::to_ne_bytes);
    row.iter_mut().zip(bytes.chain(numbers.into_iter().flatten())).for_each(|(to, byte)| *to = byte);
    row
}

/// The rows of a file, of two of one flow the later one.
fn known(file: &[u8]) -> KnownFlows {
    let Some(left_out_ns) = number(file, LEFT_OUT).map(u64::from_ne_bytes) else {
        return KnownFlows::default();
    };
    let mut flows: HashMap<FlowKey, Row> = HashMap::new();
    let rows = file.get(BEGIN..).unwrap_or_default();
    for (key, row) in rows.chunks_exact(ROW).filter_map(read_row) {
        let there = flows.entry(key).or_insert(row);
        if row.told_ns > there.told_ns {
            *there = row;
        }
    }
    KnownFlows { flows: Arc::new(flows), left_out_ns: Some(left_out_ns) }
}

fn number<const N: usize>(row: &[u8], at: usize) -> Option<[u8; N]> {
    row.get(at..)?.first_chunk().copied()
}

/// A row that was written.
fn read_row(row: &[u8]) -> Option<(FlowKey, Row)> {
    let word = |at| number(row, at).map(u64::from_ne_bytes);
    let short = |at| number(row, at).map(u16::from_ne_bytes);
    let address = |at| Some(Addr { hi: word(at)?, lo: word(at + 8)? });
    let [proto, hook, verdict, reason] = number(row, 36)?;
    let key = FlowKey {
        src: address(0)?,
        dst: address(16)?,
        sport: short(32)?,
        dport: short(34)?,
        proto,
        hook,
        verdict,
        reason,
        place: short(40)?,
        exemption: short(42)?,
        pins: number(row, 44).map(u32::from_ne_bytes)?,
    };
    let [first_ns, packets, bytes, told_ns] = [0, 1, 2, 3].map(|nth| word(KEY + nth * MOMENT));
    let told = Count { packets: packets?, bytes: bytes? };
    let row = Row { first_ns: first_ns?, told, told_ns: told_ns? };
    (row.told_ns > 0).then_some((key, row))
}

#[cfg(test)]
mod tests;
