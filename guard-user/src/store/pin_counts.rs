//! Whose counts the kernel's counts are.
//!
//! The kernel counts by a pin's number, which is its place in the config, over generations and daemon
//! restarts. A reload may give a number to another pin. The ledger then books what was counted so far
//! under the old names, so that no pin is shown another's counts. It is kept in the state directory.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use guard_common::abi::{Count, Hook};
use guard_common::jurisdiction::Jurisdiction;
use guard_common::verdict::{Reason, Verdict};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::config::policy::{Action, Ingress, Pin};
use crate::events::names::{Names, PinName};
use crate::kernel::Counters;
use super::Judged;

/// Version of the file's form.
const FORMAT: u32 = 1;
/// The file's name in the state directory.
const FILE: &str = "counts.json";

/// How packets were judged: what counts are kept by, beside the pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Judgement {
    hook: u8,
    verdict: u8,
    reason: u8,
    jurisdiction: u8,
}

impl Judgement {
    /// The hook.
    #[must_use]
    pub fn hook(self) -> Hook {
        Hook::from_index(self.hook).unwrap_or(Hook::Egress)
    }

    /// The verdict.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        Verdict::from_index(self.verdict).unwrap_or(Verdict::Drop)
    }

    /// The reason.
    #[must_use]
    pub fn reason(self) -> Reason {
        Reason::from_index(self.reason).unwrap_or(Reason::NoTables)
    }

    /// The jurisdiction of the destination.
    #[must_use]
    pub fn jurisdiction(self) -> Jurisdiction {
        Jurisdiction::from_index(self.jurisdiction).unwrap_or(Jurisdiction::UNKNOWN)
    }
}

/// Packets and bytes of a pin, by how they were judged.
pub type Rows<K> = BTreeMap<(K, Judgement), (u64, u64)>;

/// The names under which counts are booked.
#[derive(Clone, Debug, Default)]
pub struct PinCounts {
    file: Option<PathBuf>,
    book: Book,
}

/// What is kept on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Book {
    generation: u64,
    pins: Vec<BookedPin>,
    /// The kernel's counts when the numbers last changed hands.
    base: Rows<u8>,
    /// What was counted before, by name.
    archive: Rows<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct BookedPin {
    name: String,
    line: usize,
    action: String,
    ingress: String,
}

/// The file: lists in place of maps, whose keys JSON wants to be strings.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    generation: u64,
    pins: Vec<BookedPin>,
    base: Vec<(u8, Judgement, u64, u64)>,
    archive: Vec<(String, Judgement, u64, u64)>,
}

impl PinCounts {
    /// The ledger of a state directory; an empty one where the kernel's counts began anew.
    #[must_use]
    pub fn open(state: &Path, adopted: bool) -> Self {
        let file = state.join(FILE);
        let book = match adopted.then(|| read(&file)) {
            Some(Ok(book)) => book,
            Some(Err(error)) => {
                warn!(%error, file = %file.display(),
                    "it can't be told which pins the counts so far are of: they are shown under the present ones");
                Book::default()
            }
            None => Book::default(),
        };
        Self { file: Some(file), book }
    }

    /// The names of the generation that an earlier daemon left, for events of its that are still to come.
    #[must_use]
    pub fn names(&self, generation: u64, config: &Path) -> Option<Names> {
        (self.book.generation == generation && generation > 0).then(|| Names {
            generation,
            config: config.to_string_lossy().into(),
            pins: self.book.pins.iter().map(BookedPin::name).collect(),
            exemptions: Default::default(),
            interfaces: Default::default(),
            cgroups: Default::default(),
        })
    }

    /// Whether a number that was counted under goes to another pin.
    pub fn change_hands(&self, pins: &[Pin]) -> bool {
        self.book.changes_hands(&pins.iter().map(BookedPin::of).collect::<Vec<_>>())
    }

    /// Switch.
    pub fn switch(&mut self, pins: &[Pin], generation: u64, counters: Option<&Counters>) {
        let next: Vec<BookedPin> = pins.iter().map(BookedPin::of).collect();
        if self.book.changes_hands(&next) && let Some(counters) = counters {
            self.book.close(&rows(counters));
        }
        self.book.pins = next;
        self.book.generation = generation;
    }

    /// Save.
    pub fn save(&self) {
        if let Some(file) = &self.file { let _ = write(file, &self.book); }
    }

    /// What was counted, by the pins' names; rows of zero are left out.
    #[must_use]
    pub fn by_name(&self, counters: &Counters) -> Rows<String> {
        self.book.by_name(&rows(counters))
    }
}

impl PinCounts {
    /// Everything counted so far, under the names that the store books it by.
    #[must_use]
    pub fn judged(&self, counters: &Counters) -> BTreeMap<Judged, (u64, u64)> {
        let mut counts: BTreeMap<Judged, (u64, u64)> = BTreeMap::new();
        for ((pin, judgement), (packets, bytes)) in self.by_name(counters) {
            let judged = Judged {
                pin,
                hook: judgement.hook().name().to_owned(),
                jurisdiction: judgement.jurisdiction().to_string(),
                verdict: judgement.verdict().name().to_owned(),
                reason: judgement.reason().name().to_owned(),
            };
            let sum = counts.entry(judged).or_default();
            *sum = (sum.0 + packets, sum.1 + bytes);
        }
        counts
    }
}

/// What the kernel counted for a daemon that has ended, whose state directory this is, under the names that
/// its store books it by.
#[must_use]
pub fn counted_for(state: &Path, counters: &Counters) -> BTreeMap<Judged, (u64, u64)> {
    PinCounts::open(state, true).judged(counters)
}

impl Book {
    /// Whether a number that was counted under goes to another pin.
    fn changes_hands(&self, next: &[BookedPin]) -> bool {
        self.pins
            .iter()
            .enumerate()
            .any(|(number, pin)| next.get(number).is_none_or(|new| new.name != pin.name))
    }

    fn close(&mut self, rows: &Rows<u8>) {
        self.archive = self.by_name(rows);
        self.base = rows.clone();
    }

    fn by_name(&self, rows: &Rows<u8>) -> Rows<String> {
        let mut named = self.archive.clone();
        for (&(number, judgement), &(packets, bytes)) in rows {
            let base = self.base.get(&(number, judgement)).copied().unwrap_or_default();
            let (packets, bytes) = (packets.saturating_sub(base.0), bytes.saturating_sub(base.1));
            if (packets, bytes) == (0, 0) {
                continue;
            }
            let pin = self.pins.get(usize::from(number));
            let name = pin.map_or_else(|| format!("#{number}"), |pin| pin.name.clone());
            let sum = named.entry((name, judgement)).or_default();
            *sum = (sum.0 + packets, sum.1 + bytes);
        }
        named
    }
}

impl BookedPin {
    fn of(pin: &Pin) -> Self {
        Self {
            name: pin.name.clone(),
            line: pin.line,
            action: crate::daemon::action_name(pin.action).to_owned(),
            ingress: crate::daemon::ingress_name(pin.ingress).to_owned(),
        }
    }

    fn name(&self) -> PinName {
        PinName {
            name: self.name.as_str().into(),
            line: self.line,
            action: match self.action.as_str() {
                "drop" => Action::Drop,
                "flag" => Action::Flag,
                _ => Action::Observe,
            },
            ingress: match self.ingress.as_str() {
                "drop" => Ingress::Drop,
                "flag" => Ingress::Flag,
                _ => Ingress::Off,
            },
        }
    }
}

fn rows(counters: &Counters) -> Rows<u8> {
    let permitted = counters.permitted.iter().map(|row| {
        let judgement = Judgement {
            hook: Hook::Egress as u8,
            verdict: Verdict::Pass as u8,
            reason: Reason::Permitted as u8,
            jurisdiction: row.jurisdiction.index(),
        };
        ((row.pin, judgement), row.count)
    });
    let outcomes = counters.outcomes.iter().map(|row| {
        let judgement = Judgement {
            hook: row.hook as u8,
            verdict: row.verdict as u8,
            reason: row.reason as u8,
            jurisdiction: row.jurisdiction.index(),
        };
        ((row.pin, judgement), row.count)
    });
    permitted.chain(outcomes).map(|(key, Count { packets, bytes })| (key, (packets, bytes))).collect()
}

fn read(file: &Path) -> io::Result<Book> {
    let stored: Stored = serde_json::from_slice(&std::fs::read(file)?)?;
    if stored.format != FORMAT {
        return Err(io::Error::other(format!(
            "its format is {}, and this version reads {FORMAT}",
            stored.format
        )));
    }
    Ok(Book {
        generation: stored.generation,
        pins: stored.pins,
        base: unlist(stored.base),
        archive: unlist(stored.archive),
    })
}

fn write(file: &Path, book: &Book) -> io::Result<()> {
    let stored = Stored {
        format: FORMAT,
        generation: book.generation,
        pins: book.pins.clone(),
        base: list(&book.base),
        archive: list(&book.archive),
    };
    // Beside it and then in its place: a crash leaves the old or the new one.
    let beside = file.with_extension("json.new");
    std::fs::write(&beside, serde_json::to_vec(&stored)?)?;
    std::fs::rename(&beside, file)
}

fn list<K: Clone + Ord>(rows: &Rows<K>) -> Vec<(K, Judgement, u64, u64)> {
    rows.iter().map(|((key, judgement), count)| (key.clone(), *judgement, count.0, count.1)).collect()
}

fn unlist<K: Ord>(list: Vec<(K, Judgement, u64, u64)>) -> Rows<K> {
    list.into_iter().map(|(key, judgement, packets, bytes)| ((key, judgement), (packets, bytes))).collect()
}

